"""Plain methods whose logits are added to those of EMERGE's network (``model.experts``).

For each choice of modalities that a patient may have, each member has experts that read these alone, fitted on the same patients
as its network. The weights of network and experts, and an intercept, are fitted out of fold for each choice: on patients whom the
member was not trained on and who have these modalities, as if they had no others. No weight is negative. So a patient who lacks a
text is judged by methods that never saw one, and with a risk as far from everybody's as what is left can tell. A modality that
nobody had in training tells nothing of a patient who has it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.fields import Component
from emerge_ehr.models import by_landmark, emerge, input_table
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.training import patients
from emerge_ehr.training.members import Member
from emerge_ehr.training.patients import Patients

Array = NDArray[np.float64]
FOLDER = "experts"  # beside the checkpoints of a member, with a folder for each choice of modalities, and in it for each expert
WEIGHTS = "weights.json"
LARGEST = 1e6  # no weight or intercept that was fitted comes near it
SPREAD = 0.5  # of the weights of network and experts, before any patient is seen
OPTIONS: dict[str, dict[str, Any]] = {"gradient_boosting": {}, "logistic_regression": {"penalty": "l1"}}


@dataclass(frozen=True)
class Alike:
    """Patients who are judged by the same experts: the number of these experts' choice of modalities, the patients' ``rows`` [n]
    among N, and the ``table`` [n,D] of these modalities (None for nothing)."""

    choice: int
    rows: Tensor
    table: Array | None


@dataclass(frozen=True)
class Experts:
    """The experts of one member, which read M modalities; with landmarks, at these ``steps``, an expert is one for each.

    By the number of a choice of modalities, as ``choices`` numbers them: the experts by name (none for nothing), and the
    ``weights`` [K,1 + experts + 1] of the network, of each expert, and of 1 (the intercept), for each of K labels. There are
    those of the choices that some patient out of fold had.
    """

    reads: tuple[str, ...]
    steps: tuple[int, ...]
    fitted: Mapping[int, Mapping[str, Estimator]]
    weights: Mapping[int, Array]

    @property
    def unseen(self) -> tuple[str, ...]:
        """The modalities that nobody had out of fold; the network is not to read them either."""
        seen = {name for number in self.fitted for name in choices(self.reads)[number]}
        return tuple(name for name in self.reads if name not in seen)

    def joined(self, network: Tensor, read: Sequence[Alike]) -> Tensor:
        """The network's logits [N,K] -> the weighted sum with the experts' logits of the same patients."""
        summed = torch.empty_like(network)
        for alike in read:
            logits = _logits(network[alike.rows], self.fitted[alike.choice], alike.table).double()
            weights = torch.from_numpy(self.weights[alike.choice])
            summed[alike.rows] = ((logits * weights[:, :-1]).sum(dim=-1) + weights[:, -1]).to(network.dtype)
        return summed

    def read(self, of: Patients, batch_size: int) -> list[Alike]:
        """What the experts of every member read of these patients; from disk, they are read batch by batch.

        A patient who has more than anybody had out of fold is judged by what somebody had.
        """
        every, has = choices(self.reads), patients.has(of, self.reads, batch_size)
        nearest = torch.tensor([_nearest(number, self.fitted) for number in range(len(every))])
        choice = nearest[(has * 2 ** torch.arange(len(self.reads))).sum(dim=1)]
        found = []
        for number in sorted(self.fitted):
            rows = torch.nonzero(choice == number)[:, 0]
            if len(rows):
                kept = every[number]
                table = patients.table(patients.subset(of, rows), kept, batch_size, self.steps) if kept else None
                found.append(Alike(number, rows, table))
        return found

    def save(self, folder: Path) -> None:
        """Write the experts and the weights into ``folder``, which is a member's."""
        written, every = {}, titles(self.reads)
        for number, own in self.fitted.items():
            for name, expert in own.items():
                (folder / FOLDER / every[number] / name).mkdir(parents=True)
                expert.save(folder / FOLDER / every[number] / name)
            written[every[number]] = self.weights[number].tolist()
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / FOLDER / WEIGHTS).write_text(json.dumps(written) + "\n", encoding="utf-8")


def choices(reads: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of the modalities, also none; modality m is in choice c where bit m of c is set.

    >>> choices(["ehr", "note"])
    [(), ('ehr',), ('note',), ('ehr', 'note')]
    """
    return [tuple(name for m, name in enumerate(reads) if c >> m & 1) for c in range(2 ** len(reads))]


def titles(reads: Sequence[str]) -> list[str]:
    """The name of each choice in files."""
    return ["+".join(kept) or "nothing" for kept in choices(reads)]


def _nearest(choice: int, there: Iterable[int]) -> int:
    """The largest choice among ``there`` that has nothing which ``choice`` has not."""
    return max((other for other in sorted(there) if other & choice == other), key=int.bit_count)


def fit(
    config: Config, dataset: Dataset, both: Patients, team: Sequence[Member]
) -> list[dict[int, Mapping[str, Estimator]]]:
    """The experts of each member, fitted on all of its patients, for each choice of modalities that some patient has.

    ``both``: the patients of the training split and of the validation split.
    """
    reads, size = emerge.modalities_read(config.model), config.training.batch_size
    has = patients.has(both, reads, size)
    judged = has[torch.cat([member.fold for member in team])]
    found: list[dict[int, Mapping[str, Estimator]]] = [{} for _ in team]
    for choice, kept in enumerate(choices(reads)):
        if not judged[:, [reads.index(name) for name in kept]].all(dim=1).any():
            continue
        table = patients.table(both, kept, size, config.cohort.landmark_steps) if kept else np.empty((len(both), 0))
        for member, of_member in zip(team, found, strict=True):
            own = _untrained(config, dataset, kept, member.seed)
            inside = np.ones(len(table), dtype=bool)
            inside[member.fold] = False
            for expert in own.values():
                expert.fit(member.train, table[inside], member.validation, table[member.fold])
            of_member[choice] = own
    return found


def load(config: Config, dataset: Dataset, folder: Path) -> Experts:
    """Read what ``save`` wrote.

    Raises:
        OSError: a file is missing.
        ValueError: the files are damaged.
    """
    reads, labels = emerge.modalities_read(config.model), dataset.label.shape[1]
    kept = json.loads((folder / FOLDER / WEIGHTS).read_text(encoding="utf-8"))
    every = titles(reads)
    if not isinstance(kept, dict) or not {"nothing"} <= kept.keys() <= set(every):
        raise ValueError(f"{WEIGHTS} does not name choices of modalities")
    fitted, weights = {}, {}
    for title, rows in kept.items():
        choice = every.index(title)
        own = _untrained(config, dataset, choices(reads)[choice], config.seed)
        for name, expert in own.items():
            expert.load(folder / FOLDER / title / name)
            require_fit(expert, dataset, config.cohort.landmarks)
        weights[choice] = np.array(rows, dtype=np.float64)
        if weights[choice].shape != (labels, 2 + len(own)):
            raise ValueError(f"{WEIGHTS} does not hold a weight for network and experts of each label")
        if not (np.abs(weights[choice]) < LARGEST).all() or (weights[choice][:, :-1] < 0).any():
            raise ValueError(f"{WEIGHTS} holds a weight below 0, or a number that is no weight")
        fitted[choice] = own
    return Experts(reads, config.cohort.landmark_steps, fitted, weights)


def require_fit(estimator: Estimator, dataset: Dataset, landmarks: Sequence[int] = ()) -> None:
    """Check that a loaded estimator takes the columns of the modalities that it reads, and gives each label a log-odds.

    Raises:
        ValueError: it does not.
    """
    columns = input_table.width(
        estimator.reads, dataset.ehr.shape[2], dataset.note_embedding.shape[1], dataset.summary_embedding.shape[1]
    )
    try:
        unknown = np.full((max(1, len(landmarks)), columns), np.nan)
        numbers = [np.arange(len(landmarks))[:, None]] if landmarks else []
        found = estimator.logits(np.concatenate([*numbers, unknown], axis=1))
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"does not fit the inputs: {error}") from None
    if found.shape != (len(unknown), dataset.label.shape[1]) or not found.isfinite().all():
        raise ValueError("does not give a finite log-odds for each label")


def weigh(
    config: Config,
    team: Sequence[Member],
    networks: Sequence[Callable[[Patients], Tensor]],
    experts: Sequence[Mapping[int, Mapping[str, Estimator]]],
) -> list[Experts]:
    """Each member's experts with the weights, the same for all. ``networks``: each gives its logits [N,K] of patients."""
    reads, size, steps = emerge.modalities_read(config.model), config.training.batch_size, config.cohort.landmark_steps
    has = torch.cat([patients.has(member.validation, reads, size) for member in team]).numpy()
    label = torch.cat([member.validation.label.cpu() for member in team]).double().numpy()
    defined = torch.cat([member.validation.label_mask.cpu() for member in team]).numpy() > 0
    weights = {}
    for choice in experts[0]:
        kept = choices(reads)[choice]
        lacks = [name for name in reads if name not in kept]
        logits = []
        for member, network, own in zip(team, networks, experts, strict=True):
            table = patients.table(member.validation, kept, size, steps) if kept else None
            of_network = network(patients.lacking(member.validation, lacks))
            logits.append(_logits(of_network, own[choice], table))
        together = torch.cat(logits).double().numpy()
        able = defined & np.all(has[:, [reads.index(name) for name in kept]], axis=1, keepdims=True)
        weights[choice] = np.stack(
            [_weights(together[rows, k], label[rows, k]) for k, rows in enumerate(np.moveaxis(able, 1, 0))]
        )
    return [Experts(reads, steps, own, weights) for own in experts]


def told(experts: Experts, names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Label -> what a patient has -> the weights of ``network`` and of each expert, and the ``intercept``."""
    return {
        label: {
            titles(experts.reads)[choice]: dict(
                zip(("network", *own, "intercept"), experts.weights[choice][k].tolist(), strict=True)
            )
            for choice, own in experts.fitted.items()
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
    found: dict[str, Estimator] = {}
    for name in config.model.experts if kept else ():
        chosen = Component(name, {"modalities": list(kept), **OPTIONS[name]})
        make = partial(components.build, "baseline", chosen, sizes=sizes, seed=seed)
        found[name] = by_landmark.each(make, len(config.cohort.landmarks))
    return found


def _weights(logits: Array, label: Array) -> Array:
    """The weights of M logits [N,M], none negative, and an intercept [M + 1].

    They have the highest posterior probability, if weights are spread around the plain mean, and the intercept around 0, with a
    standard deviation of ``SPREAD``: a thousand patients decide freely, a handful hardly move the mean. Patients of one class
    only say nothing of weights.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    count = logits.shape[1]
    centre = np.array([*[1 / count] * count, 0.0])
    if len(np.unique(label)) < 2:
        return centre
    columns = np.column_stack([logits, np.ones(len(logits))])

    def loss(weights: Array) -> tuple[float, Array]:
        total, away = columns @ weights, weights - centre
        value = float(np.sum(np.logaddexp(0.0, total) - label * total) + (away**2).sum() / (2 * SPREAD**2))
        slope: Array = columns.T @ (expit(total) - label) + away / SPREAD**2
        return value, slope

    bounds = [(0.0, None)] * count + [(None, None)]
    found: Array = minimize(loss, centre, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found
