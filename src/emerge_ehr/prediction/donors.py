"""What a risk becomes when a modality is exchanged for that of training patients, the donors.

A modality that is simply blanked is an input the model never saw: a learned "no note" vector, for example, means nothing where
every training patient has a note. Therefore a patient's modality is replaced by that of each donor, and the risks are averaged:
the expectation over an uninformative modality (the interventional, or marginal, contribution).

The donors stand for all training patients. Drawn at random, a few of them have by chance more or less threatening notes than
all, which shifts everybody's contribution. So they are chosen for each modality: what it does to the risk is tried with many
candidates' in the place of two other training patients'; ordered by this risk, the candidates are cut into strata of equal size,
and the most typical of each stratum is a donor (``benchmarks/donors.py`` measures what that gains).

With landmarks a patient's donors are training samples at the last landmark that the window reaches. The series of another one
would have what is fitted for that landmark judge the patient's texts, and a text would tell of more or fewer hours.

Dimensions: N patients, D donors, C candidates, K labels.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.evaluation.calibration import logit
from emerge_ehr.models import landmarks, window_statistics
from emerge_ehr.models.batch import SHAPES, Batch
from emerge_ehr.training import inputs
from emerge_ehr.training.patients import Patients, subset
from emerge_ehr.training.trained import Hours, Trained

CANDIDATES = 256
REFERENCES = 2
DONORS, OF_SEVERAL = 4, 16  # for one outcome, and for several, of which one order cannot stand for each

Risks = NDArray[np.float64]
Donors = Mapping[str, Batch]  # by modality


def of(trained: Trained) -> Donors:
    """The donors of each modality that the method reads, among training patients who are drawn with the run's seed.

    With landmarks they are those of the first landmark, followed by those of the second, and so on.
    """
    train = inputs.mapped(trained.dataset, "train")
    reached = _reached(trained, torch.from_numpy(trained.dataset.ehr_length[train.rows]))
    of_each = [_of(trained, subset(train, torch.nonzero(reached == at)[:, 0])) for at in sorted(set(reached.tolist()))]
    return {
        name: Batch(**{field: torch.cat([getattr(own[name], field) for own in of_each]) for field in SHAPES})
        for name in trained.reads
    }


def _of(trained: Trained, train: Patients) -> Donors:
    drawn = np.random.default_rng(trained.config.seed).permutation(len(train))
    candidates = train.select(torch.from_numpy(np.sort(drawn[:CANDIDATES])))
    references = train.select(torch.from_numpy(drawn[-REFERENCES:].copy()))
    tried = lent(trained, references, dict.fromkeys(trained.reads, candidates))
    return {name: candidates.select(torch.from_numpy(typical(risks, number(trained)))) for name, risks in tried.items()}


def number(trained: Trained) -> int:
    """The number of donors of each modality."""
    most = DONORS if len(trained.label_names) == 1 else OF_SEVERAL
    return min(most, len(trained.dataset.split["train"]))


def typical(risks: Risks, count: int) -> NDArray[np.int64]:
    """At most ``count`` candidates who stand for all C. ``risks`` [references,C,K]: those of others with each one's modality.

    >>> typical(np.array([[[0.1], [0.9], [0.2], [0.5], [0.15], [0.7]]]), 2).tolist()
    [4, 5]
    """
    effect = logit(risks).mean(axis=(0, 2))
    of_each = np.moveaxis(risks, 1, 0).reshape(len(effect), -1)
    strata = np.array_split(np.argsort(effect, kind="stable"), min(count, len(effect)))
    away = [np.square(of_each[stratum] - of_each[stratum].mean(axis=0)).sum(axis=1) for stratum in strata]
    return np.sort([stratum[distance.argmin()] for stratum, distance in zip(strata, away, strict=True)])


def without_modalities(trained: Trained, batch: Batch, donors: Donors, hours: Hours | None = None) -> dict[str, Risks]:
    """By name the risks [N,K] of the patients when this modality comes from its ``donors`` instead, averaged over them.

    ``hours``: what the method ``hours`` of ``trained`` returned for ``batch``, where it is known.
    """
    if not trained.config.cohort.landmarks:
        return {name: risks.mean(axis=1) for name, risks in lent(trained, batch, donors, hours).items()}
    found = {name: np.empty((len(batch), len(trained.label_names))) for name in donors}
    of_patients = _reached(trained, batch.ehr_length)
    of_donors = {name: _reached(trained, others.ehr_length) for name, others in donors.items()}
    for landmark in sorted(set(of_patients.tolist())):
        rows = torch.nonzero(of_patients == landmark)[:, 0]
        here = {name: others.select(_nearest(of_donors[name], landmark)) for name, others in donors.items()}
        for name, risks in lent(trained, batch.select(rows), here, hours.select(rows) if hours else None).items():
            found[name][rows.numpy()] = risks.mean(axis=1)
    return found


def _reached(trained: Trained, length: Tensor) -> Tensor:
    """The number of the last landmark that windows of ``length`` [N] reach; 0 without landmarks."""
    return landmarks.place(length, trained.config.cohort.landmark_steps).long()


def _nearest(of_donors: Tensor, landmark: int) -> Tensor:
    """The rows of the donors at the ``landmark`` or, if no training sample reached it, at the last that one did."""
    return torch.nonzero(of_donors == of_donors[of_donors <= landmark].max())[:, 0]


def lent(trained: Trained, batch: Batch, donors: Donors, hours: Hours | None = None) -> dict[str, Risks]:
    """By name the risks [N,D,K] of the patients with this modality of each of its ``donors``; all series are read once."""
    for patients in (batch, *donors.values()) if trained.experts else ():
        window_statistics.of_batch(patients, torch.float64)  # the batches of pairs that follow keep them
    if hours is None and set(donors) - {"ehr"}:
        hours = trained.hours(batch)
    of_donors = trained.hours(donors["ehr"]) if "ehr" in donors else None
    found: dict[str, list[Risks]] = {name: [] for name in donors}
    # all pairs of a few patients in one call: a call costs as much as a hundred rows
    most = max((len(others) for others in donors.values()), default=1)
    for part in torch.split(torch.arange(len(batch)), max(1, trained.config.training.batch_size // most)):
        rows = batch.select(part)
        own = hours.select(part) if hours else None
        for name, others in donors.items():
            found[name].append(_pairs(trained, rows, name, others, of_donors if name == "ehr" else own))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _pairs(trained: Trained, batch: Batch, name: str, others: Batch, hours: Hours | None) -> Risks:
    """The risks [N,D,K] of the patients with modality ``name`` of each of the ``others``. ``hours``: what the encoders of the
    series return for the ``others``, if these lend theirs, or else for the patients."""
    row, donor = torch.arange(len(batch)).repeat_interleave(len(others)), torch.arange(len(others)).repeat(len(batch))
    whose = donor if name == "ehr" else row
    risks = trained.probability(batch.lent(row, name, others, donor), hours.shared(whose) if hours else None)
    return risks.reshape(len(batch), len(others), -1)
