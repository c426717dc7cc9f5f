"""Plain methods whose logits are averaged with those of EMERGE's network (``model.experts``).

Each member has experts that were fitted on the same patients. The weights of network and experts, and an intercept, are fitted
out of fold: on logits of patients whom the member was not trained on. No weight is negative.
"""

import json
from collections.abc import Mapping, Sequence
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
from emerge_ehr.models.batch import Batch
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.training.members import Member

FOLDER = "experts"  # beside the checkpoints of a member, with a folder for each expert
WEIGHTS = "weights.json"
SPREAD = 0.5  # of the weights of network and experts, before any patient is seen
OPTIONS: dict[str, dict[str, Any]] = {"gradient_boosting": {}, "logistic_regression": {"penalty": "l1"}}


@dataclass(frozen=True)
class Experts:
    """The experts of one member, by name. ``weights`` [K, 1 + experts] of the network and of each expert; ``intercept`` [K]."""

    fitted: Mapping[str, Estimator]
    weights: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def joined(self, network: Tensor, batch: Batch) -> Tensor:
        """The network's logits [N,K] of the batch -> the weighted sum with the experts'."""
        logits = torch.stack([network, *(expert.logits(batch) for expert in self.fitted.values())], dim=-1).double()
        weighted = (logits * torch.from_numpy(self.weights)).sum(dim=-1) + torch.from_numpy(self.intercept)
        return weighted.to(network.dtype)

    def save(self, folder: Path) -> None:
        """Write the experts and the weights into ``folder``, which is a member's."""
        for name, expert in self.fitted.items():
            (folder / FOLDER / name).mkdir(parents=True)
            expert.save(folder / FOLDER / name)
        written = {"weights": self.weights.tolist(), "intercept": self.intercept.tolist()}
        (folder / FOLDER / WEIGHTS).write_text(json.dumps(written) + "\n", encoding="utf-8")


def fit(config: Config, dataset: Dataset, member: Member) -> dict[str, Estimator]:
    """The experts of ``config``, fitted on the member's patients, who are in memory."""
    found = _untrained(config, dataset, member.seed)
    for expert in found.values():
        assert isinstance(member.train, Batch) and isinstance(member.validation, Batch)
        expert.fit(member.train, member.validation)
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
    labels = dataset.label.shape[1]
    if not isinstance(kept, dict):
        raise ValueError(f"{WEIGHTS} does not hold weights and intercept")
    weights, intercept = (np.array(kept.get(key), dtype=np.float64) for key in ("weights", "intercept"))
    if weights.shape != (labels, 1 + len(found)) or intercept.shape != (labels,) or not np.isfinite(weights).all():
        raise ValueError(f"{WEIGHTS} does not hold a weight for network and experts of each label")
    return Experts(found, weights, intercept)


def weigh(
    team: Sequence[Member], networks: Sequence[Tensor], experts: Sequence[Mapping[str, Estimator]]
) -> list[Experts]:
    """Each member's experts with the weights, the same for all. ``networks``: each network's logits of its member's validation
    patients [N,K]."""
    logits = [
        torch.stack([network, *(expert.logits(_whole(member)) for expert in found.values())], dim=-1)
        for member, network, found in zip(team, networks, experts, strict=True)
    ]
    together = torch.cat(logits).double().numpy()
    label = torch.cat([member.validation.label.cpu() for member in team]).double().numpy()
    defined = torch.cat([member.validation.label_mask.cpu() for member in team]).numpy() > 0
    columns = [_weights(together[defined[:, k], k], label[defined[:, k], k]) for k in range(label.shape[1])]
    weights, intercept = np.stack([one[:-1] for one in columns]), np.array([one[-1] for one in columns])
    return [Experts(found, weights, intercept) for found in experts]


def told(experts: Experts, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Label -> the weights of ``network`` and of each expert, and the ``intercept``."""
    of = ["network", *experts.fitted]
    return {
        name: {**dict(zip(of, weights, strict=True)), "intercept": intercept}
        for name, weights, intercept in zip(names, experts.weights.tolist(), experts.intercept.tolist(), strict=True)
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


def _whole(member: Member) -> Batch:
    assert isinstance(member.validation, Batch)
    return member.validation


def _weights(logits: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights of M logits [N,M], none negative, and an intercept [M + 1].

    They have the highest posterior probability, if weights are spread around the plain mean, and the intercept around 0, with a
    standard deviation of ``SPREAD``: a thousand patients decide freely, a handful hardly move the mean.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    count = logits.shape[1]
    centre = np.array([*[1 / count] * count, 0.0])
    columns = np.column_stack([logits, np.ones(len(logits))])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, away = columns @ weights, weights - centre
        value = float(np.sum(np.logaddexp(0.0, total) - label * total) + (away**2).sum() / (2 * SPREAD**2))
        slope: NDArray[np.float64] = columns.T @ (expit(total) - label) + away / SPREAD**2
        return value, slope

    bounds = [(0.0, None)] * count + [(None, None)]
    found: NDArray[np.float64] = minimize(loss, centre, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found
