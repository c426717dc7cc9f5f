"""Plain methods whose logits are added to those of EMERGE's network (``model.experts``).

Each member has experts that were fitted on the same patients. The weights of network and experts, and an intercept, are fitted
out of fold: on logits of patients whom the member was not trained on. No weight is negative. There are weights for each choice of
modalities that a patient may have, fitted on the patients who have these, as if they had no others: who tells less gets a risk
nearer to everybody's, and an expert that cannot do without a text counts for less where it is missing.
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
FOLDER = "experts"  # beside the checkpoints of a member, with a folder for each expert
WEIGHTS = "weights.json"
SPREAD = 0.5  # of the weights of network and experts, before any patient is seen
OPTIONS: dict[str, dict[str, Any]] = {"gradient_boosting": {}, "logistic_regression": {"penalty": "l1"}}


@dataclass(frozen=True)
class Read:
    """What the experts read of N patients: the ``table`` [N,D] of the M modalities, and which of these each patient ``has``
    [N,M]."""

    table: Array
    has: Tensor


@dataclass(frozen=True)
class Experts:
    """The experts of one member, by name, which read M modalities.

    ``weights`` [2^M,K,1 + experts] of the network and of each expert, and ``intercept`` [2^M,K], for each choice of
    ``choices``.
    """

    reads: tuple[str, ...]
    fitted: Mapping[str, Estimator]
    weights: Array
    intercept: Array

    def joined(self, network: Tensor, read: Read) -> Tensor:
        """The network's logits [N,K] -> the weighted sum with the experts' logits of the same patients."""
        logits = torch.stack([network, *(one.logits(read.table) for one in self.fitted.values())], dim=-1).double()
        choice = (read.has * 2 ** torch.arange(len(self.reads))).sum(dim=1)
        weights, intercept = torch.from_numpy(self.weights)[choice], torch.from_numpy(self.intercept)[choice]
        return ((logits * weights).sum(dim=-1) + intercept).to(network.dtype)

    def save(self, folder: Path) -> None:
        """Write the experts and the weights into ``folder``, which is a member's."""
        for name, expert in self.fitted.items():
            (folder / FOLDER / name).mkdir(parents=True)
            expert.save(folder / FOLDER / name)
        written = {
            name: {"weights": weights, "intercept": intercept}
            for name, weights, intercept in zip(
                titles(self.reads), self.weights.tolist(), self.intercept.tolist(), strict=True
            )
        }
        (folder / FOLDER / WEIGHTS).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def choices(reads: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of the modalities, also none; modality m is in choice c where bit m of c is set.

    >>> choices(["ehr", "note"])
    [(), ('ehr',), ('note',), ('ehr', 'note')]
    """
    return [tuple(name for m, name in enumerate(reads) if c >> m & 1) for c in range(2 ** len(reads))]


def titles(reads: Sequence[str]) -> list[str]:
    """The name of each choice in files."""
    return [", ".join(kept) or "nothing" for kept in choices(reads)]


def read(of: Patients, reads: Sequence[str], batch_size: int) -> Read:
    """What the experts read of these patients; from disk, they are read batch by batch."""
    return Read(patients.table(of, reads, batch_size), patients.has(of, reads, batch_size))


def fit(config: Config, dataset: Dataset, both: Patients, team: Sequence[Member]) -> list[dict[str, Estimator]]:
    """The experts of each member, fitted on its patients. ``both``: the patients of the training and the validation split."""
    reads = emerge.modalities_read(config.model)
    table = patients.table(both, reads, config.training.batch_size)
    found = []
    for member in team:
        own = _untrained(config, dataset, member.seed)
        inside = np.ones(len(table), dtype=bool)
        inside[member.fold] = False
        for expert in own.values():
            expert.fit(member.train, table[inside], member.validation, table[member.fold])
        found.append(own)
    return found


def load(config: Config, dataset: Dataset, folder: Path) -> Experts:
    """Read what ``save`` wrote.

    Raises:
        OSError: a file is missing.
        ValueError: the files are damaged.
    """
    found = _untrained(config, dataset, config.seed)
    for name, expert in found.items():
        expert.load(folder / FOLDER / name)
    kept = json.loads((folder / FOLDER / WEIGHTS).read_text(encoding="utf-8"))
    reads, labels = emerge.modalities_read(config.model), dataset.label.shape[1]
    try:
        weights, intercept = (
            np.array([kept[name][key] for name in titles(reads)], dtype=np.float64) for key in ("weights", "intercept")
        )
    except (KeyError, TypeError):
        raise ValueError(f"{WEIGHTS} does not hold weights for each choice of modalities") from None
    shape = (2 ** len(reads), labels, 1 + len(found))
    if weights.shape != shape or intercept.shape != shape[:2] or not np.isfinite(weights).all():
        raise ValueError(f"{WEIGHTS} does not hold a weight for network and experts of each label")
    return Experts(reads, found, weights, intercept)


def weigh(
    config: Config,
    team: Sequence[Member],
    networks: Sequence[Callable[[Patients], Tensor]],
    experts: Sequence[Mapping[str, Estimator]],
) -> list[Experts]:
    """Each member's experts with the weights, the same for all. ``networks``: each gives its logits [N,K] of patients."""
    reads, size = emerge.modalities_read(config.model), config.training.batch_size
    has = torch.cat([patients.has(member.validation, reads, size) for member in team]).numpy()
    label = torch.cat([member.validation.label.cpu() for member in team]).double().numpy()
    defined = torch.cat([member.validation.label_mask.cpu() for member in team]).numpy() > 0
    found = []
    for kept in choices(reads):
        lacks = [name for name in reads if name not in kept]
        logits = []
        for member, network, own in zip(team, networks, experts, strict=True):
            seen = patients.lacking(member.validation, lacks)
            table = patients.table(seen, reads, size)
            logits.append(torch.stack([network(seen), *(expert.logits(table) for expert in own.values())], dim=-1))
        together = torch.cat(logits).double().numpy()
        able = defined & np.all(has[:, [reads.index(name) for name in kept]], axis=1, keepdims=True)
        rows = [able[:, k] for k in range(label.shape[1])]
        found.append(np.stack([_weights(together[row, k], label[row, k]) for k, row in enumerate(rows)]))
    every = np.stack(found)
    return [Experts(reads, own, every[..., :-1], every[..., -1]) for own in experts]


def told(experts: Experts, names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Label -> what a patient has -> the weights of ``network`` and of each expert, and the ``intercept``."""
    of = ["network", *experts.fitted]
    return {
        label: {
            title: {**dict(zip(of, experts.weights[c, k].tolist(), strict=True)), "intercept": experts.intercept[c, k]}
            for c, title in enumerate(titles(experts.reads))
        }
        for k, label in enumerate(names)
    }


def _untrained(config: Config, dataset: Dataset, seed: int) -> dict[str, Estimator]:
    reads = list(emerge.modalities_read(config.model))
    widths = dataset.note_embedding.shape[1], dataset.summary_embedding.shape[1]
    hours, features = dataset.ehr.shape[1:]
    sizes = Sizes(hours, features, *widths, dataset.label.shape[1])
    return {
        name: components.build(
            "baseline", Component(name, {"modalities": reads, **OPTIONS[name]}), sizes=sizes, seed=seed
        )
        for name in config.model.experts
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
