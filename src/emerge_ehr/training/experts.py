"""Plain methods whose logits are added to those of EMERGE's network (``model.experts``).

For each choice of modalities that a patient may have, each member has experts that read these alone, fitted on the same patients
as its network. The weights of network and experts, and an intercept, are fitted out of fold for each choice: on patients whom the
member was not trained on and who have these modalities, as if they had no others. No weight is negative. So a patient who lacks a
text is judged by methods that never saw one, and with a risk as far from everybody's as what is left can tell.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.fields import Component
from emerge_ehr.models import emerge
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.training import patients
from emerge_ehr.training.members import Member
from emerge_ehr.training.patients import Patients

Array = NDArray[np.float64]
FOLDER = "experts"  # beside the checkpoints of a member, with a folder for each choice of modalities, and in it for each expert
WEIGHTS = "weights.json"
SPREAD = 0.5  # of the weights of network and experts, before any patient is seen
OPTIONS: dict[str, dict[str, Any]] = {"gradient_boosting": {}, "logistic_regression": {"penalty": "l1"}}


@dataclass(frozen=True)
class Alike:
    """Patients who have the same modalities: the number of this choice, their ``rows`` [n] among N patients, and the ``table``
    [n,D] of these modalities (None for nothing)."""

    choice: int
    rows: Tensor
    table: Array | None


@dataclass(frozen=True)
class Experts:
    """The experts of one member, which read M modalities: by choice, as ``choices`` numbers them, and by name.

    ``weights`` [2^M,K,1 + experts] of the network and of each expert (0 where there is nothing to read), and ``intercept``
    [2^M,K].
    """

    reads: tuple[str, ...]
    fitted: Sequence[Mapping[str, Estimator]]
    weights: Array
    intercept: Array

    def joined(self, network: Tensor, read: Sequence[Alike]) -> Tensor:
        """The network's logits [N,K] -> the weighted sum with the experts' logits of the same patients."""
        summed = torch.empty_like(network)
        for alike in read:
            logits = _logits(network[alike.rows], self.fitted[alike.choice], alike.table)
            weights = torch.from_numpy(self.weights[alike.choice][:, : logits.shape[-1]])
            total = (logits.double() * weights).sum(dim=-1) + torch.from_numpy(self.intercept[alike.choice])
            summed[alike.rows] = total.to(network.dtype)
        return summed

    def save(self, folder: Path) -> None:
        """Write the experts and the weights into ``folder``, which is a member's."""
        written = {}
        for title, own, weights, intercept in zip(
            titles(self.reads), self.fitted, self.weights.tolist(), self.intercept.tolist(), strict=True
        ):
            for name, expert in own.items():
                (folder / FOLDER / title / name).mkdir(parents=True)
                expert.save(folder / FOLDER / title / name)
            written[title] = {"weights": weights, "intercept": intercept}
        (folder / FOLDER / WEIGHTS).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def choices(reads: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of the modalities, also none; modality m is in choice c where bit m of c is set.

    >>> choices(["ehr", "note"])
    [(), ('ehr',), ('note',), ('ehr', 'note')]
    """
    return [tuple(name for m, name in enumerate(reads) if c >> m & 1) for c in range(2 ** len(reads))]


def titles(reads: Sequence[str]) -> list[str]:
    """The name of each choice in files."""
    return ["+".join(kept) or "nothing" for kept in choices(reads)]


def read(of: Patients, reads: Sequence[str], batch_size: int) -> list[Alike]:
    """What the experts read of these patients, by what they have; from disk, they are read batch by batch."""
    choice = (patients.has(of, reads, batch_size) * 2 ** torch.arange(len(reads))).sum(dim=1)
    found = []
    for number, kept in enumerate(choices(reads)):
        rows = torch.nonzero(choice == number)[:, 0]
        if len(rows):
            table = patients.table(patients.subset(of, rows), kept, batch_size) if kept else None
            found.append(Alike(number, rows, table))
    return found


def fit(config: Config, dataset: Dataset, both: Patients, team: Sequence[Member]) -> list[list[dict[str, Estimator]]]:
    """The experts of each member and each choice, fitted on all patients of the member. ``both``: the patients of the training
    and the validation split."""
    found: list[list[dict[str, Estimator]]] = [[] for _ in team]
    for kept in choices(emerge.modalities_read(config.model)):
        table = patients.table(both, kept, config.training.batch_size) if kept else np.empty((len(both), 0))
        for member, of_member in zip(team, found, strict=True):
            own = _untrained(config, dataset, kept, member.seed)
            inside = np.ones(len(table), dtype=bool)
            inside[member.fold] = False
            for expert in own.values():
                expert.fit(member.train, table[inside], member.validation, table[member.fold])
            of_member.append(own)
    return found


def load(config: Config, dataset: Dataset, folder: Path) -> Experts:
    """Read what ``save`` wrote.

    Raises:
        OSError: a file is missing.
        ValueError: the files are damaged.
    """
    reads, labels = emerge.modalities_read(config.model), dataset.label.shape[1]
    found = [_untrained(config, dataset, kept, config.seed) for kept in choices(reads)]
    for title, own in zip(titles(reads), found, strict=True):
        for name, expert in own.items():
            expert.load(folder / FOLDER / title / name)
    kept = json.loads((folder / FOLDER / WEIGHTS).read_text(encoding="utf-8"))
    try:
        weights, intercept = (
            np.array([kept[title][key] for title in titles(reads)], dtype=np.float64)
            for key in ("weights", "intercept")
        )
    except (KeyError, TypeError):
        raise ValueError(f"{WEIGHTS} does not hold weights for each choice of modalities") from None
    shape = (len(found), labels, 1 + len(config.model.experts))
    if weights.shape != shape or intercept.shape != shape[:2] or not np.isfinite(weights).all():
        raise ValueError(f"{WEIGHTS} does not hold a weight for network and experts of each label")
    return Experts(reads, found, weights, intercept)


def weigh(
    config: Config,
    team: Sequence[Member],
    networks: Sequence[Callable[[Patients], Tensor]],
    experts: Sequence[Sequence[Mapping[str, Estimator]]],
) -> list[Experts]:
    """Each member's experts with the weights, the same for all. ``networks``: each gives its logits [N,K] of patients."""
    reads, size = emerge.modalities_read(config.model), config.training.batch_size
    has = torch.cat([patients.has(member.validation, reads, size) for member in team]).numpy()
    label = torch.cat([member.validation.label.cpu() for member in team]).double().numpy()
    defined = torch.cat([member.validation.label_mask.cpu() for member in team]).numpy() > 0
    found = np.zeros((2 ** len(reads), label.shape[1], 2 + len(config.model.experts)))
    for choice, kept in enumerate(choices(reads)):
        lacks = [name for name in reads if name not in kept]
        logits = []
        for member, network, own in zip(team, networks, experts, strict=True):
            table = patients.table(member.validation, kept, size) if kept else None
            of_network = network(patients.lacking(member.validation, lacks))
            logits.append(_logits(of_network, own[choice], table))
        together = torch.cat(logits).double().numpy()
        able = np.all(has[:, [reads.index(name) for name in kept]], axis=1)
        for k in range(label.shape[1]):
            rows = able & defined[:, k]
            *weights, intercept = _weights(together[rows, k], label[rows, k])
            found[choice, k, : len(weights)], found[choice, k, -1] = weights, intercept
    return [Experts(reads, own, found[..., :-1], found[..., -1]) for own in experts]


def told(experts: Experts, config: Config, names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Label -> what a patient has -> the weights of ``network`` and of each expert, and the ``intercept``."""
    of = ["network", *config.model.experts]
    return {
        label: {
            title: {**dict(zip(of, experts.weights[c, k].tolist(), strict=True)), "intercept": experts.intercept[c, k]}
            for c, title in enumerate(titles(experts.reads))
        }
        for k, label in enumerate(names)
    }


def _logits(network: Tensor, experts: Mapping[str, Estimator], table: Array | None) -> Tensor:
    """The logits [N,K,1 + experts] of network and experts."""
    beside = [] if table is None else [expert.logits(table) for expert in experts.values()]
    return torch.stack([network, *beside], dim=-1)


def _untrained(config: Config, dataset: Dataset, kept: Sequence[str], seed: int) -> dict[str, Estimator]:
    """The experts that read the modalities ``kept``; none where there is nothing to read."""
    widths = dataset.note_embedding.shape[1], dataset.summary_embedding.shape[1]
    hours, features = dataset.ehr.shape[1:]
    sizes = Sizes(hours, features, *widths, dataset.label.shape[1])
    return {
        name: components.build(
            "baseline", Component(name, {"modalities": list(kept), **OPTIONS[name]}), sizes=sizes, seed=seed
        )
        for name in (config.model.experts if kept else ())
    }


def _weights(logits: Array, label: Array) -> Array:
    """The weights of M logits [N,M], none negative, and an intercept [M + 1].

    They have the highest posterior probability, if weights are spread around the plain mean, and the intercept around 0, with a
    standard deviation of ``SPREAD``: a thousand patients decide freely, a handful hardly move the mean.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    count = logits.shape[1]
    centre = np.array([*[1 / count] * count, 0.0])
    columns = np.column_stack([logits, np.ones(len(logits))])

    def loss(weights: Array) -> tuple[float, Array]:
        total, away = columns @ weights, weights - centre
        value = float(np.sum(np.logaddexp(0.0, total) - label * total) + (away**2).sum() / (2 * SPREAD**2))
        slope: Array = columns.T @ (expit(total) - label) + away / SPREAD**2
        return value, slope

    bounds = [(0.0, None)] * count + [(None, None)]
    found: Array = minimize(loss, centre, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found
