"""What shuffled outcomes give, whether the true ones can be told at all, and whether the order of ids tells them."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emerge_ehr.audit.deep import ridge
from emerge_ehr.audit.deep.examined import LEAST, TOO_FEW, Examined, Label, by_chance, within
from emerge_ehr.audit.findings import Finding, Verdict, of_labels
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.training import devices, inputs, methods
from emerge_ehr.training.members import Member
from emerge_ehr.training.patients import subset

Array = NDArray[np.float64]
SHUFFLES = 50
ERRORS = 4.0  # standard errors; beyond them lies 1 of 16,000 by chance
CLEAR = 2.0  # standard errors above 0.5 from which an outcome counts as told
PRECISE = 0.06  # standard error of an AUROC from which "not told" means something
STEPS = 60  # at least, of the brief training
MOST_TRAINED = 2000  # samples of the brief training
STRONG = (
    0.6  # AUROC from which an order tells the outcome; where wards are numbered one after the other, it tells a little
)


def check(examined: Examined) -> Iterator[Finding]:
    """The findings on all outcomes."""
    yield of_labels(
        "shuffled outcomes, by the plain method", (_shuffled(examined, label) for label in examined.labels), TOO_FEW
    )
    yield _method(examined)
    yield of_labels("inputs tell the outcome", (_told(examined, label) for label in examined.labels), TOO_FEW)
    yield of_labels(
        "order of ids tells no outcome",
        (part for label in examined.labels for part in _ordered(examined, label)),
        TOO_FEW,
    )


def mean_area(columns: Array, mixed: Array, train: int) -> tuple[float, float]:
    """The mean AUROC over outcomes ``mixed`` [N,L], and its standard error by chance alone.

    The first ``train`` samples are fitted on ``columns`` [N,D], the others are judged.
    """
    scores = ridge.scores(columns[:train], mixed[:train], columns[train:])
    judged = [
        (label, score) for label, score in zip(mixed[train:].T, scores.T, strict=True) if 0 < label.sum() < len(label)
    ]
    areas = [ridge.area(label, score) for label, score in judged]
    variances = [ridge.chance(int(label.sum()), int((1 - label).sum())) ** 2 for label, _ in judged]
    return float(np.mean(areas)), float(np.sqrt(np.sum(variances)) / len(judged))


def _shuffled(examined: Examined, label: Label) -> tuple[str, str, Verdict]:
    """The outcomes are shuffled among all samples, so that every shuffle is judged by outcomes that it cannot know."""
    rows = np.concatenate([label.train, label.held])
    outcome, rng = examined.outcome(label, rows), examined.generator(f"shuffled {label.name}")
    mixed = np.stack([rng.permutation(outcome) for _ in range(SHUFFLES)], axis=1)
    mean, error = mean_area(examined.everything[rows], mixed, len(label.train))
    sentence = f"AUROC {mean:.3f} on average over {SHUFFLES} shuffles; chance is 0.5 ± {ERRORS * error:.3f}"
    return label.name, sentence, "passed" if abs(mean - 0.5) <= ERRORS * error else "failed"


def _method(examined: Examined) -> Finding:
    """Train the method that the config chooses, briefly, on outcomes that were shuffled among all samples."""
    check = "shuffled outcomes, by the method itself"
    labels = [label for label in examined.labels if _enough(examined, label)]
    if not labels:
        return Finding(check, "skipped", f"no outcome has {LEAST} test samples of each class")
    dataset, rng = examined.dataset, examined.generator(check)
    mixed = dataset.label.copy()
    for label in labels:
        rows = np.concatenate([label.train, label.held])
        mixed[rows, label.column] = rng.permutation(mixed[rows, label.column])
    logits, true = _trained_briefly(examined, dataclasses.replace(dataset, label=mixed), rng), mixed.astype(np.float64)
    tested = inputs.rows_of(dataset, "test")
    return of_labels(check, (_of_method(true, label, tested, logits) for label in labels), TOO_FEW)


def _enough(examined: Examined, label: Label) -> bool:
    outcome = examined.outcome(label, label.test)
    return bool(min(outcome.sum(), (1 - outcome).sum()) >= LEAST)


def _trained_briefly(examined: Examined, mixed: Dataset, rng: np.random.Generator) -> Array:
    """The logits [N,K] of the test samples, whose own outcomes in ``mixed`` the method must not know."""
    config = examined.config
    with tempfile.TemporaryDirectory() as scratch:
        settings = dataclasses.replace(
            config.training, members=1, max_epochs=_epochs(examined), loggers=(), scheduler="constant", compile=False
        )
        paths = dataclasses.replace(config.paths, run_dir=Path(scratch) / "run")
        brief = dataclasses.replace(config, training=settings, paths=paths, resume=False)
        fabric = devices.fabric(settings)
        with devices.deterministic(config.seed, accelerator=settings.accelerator, on_gpu=settings.deterministic):
            train, validation, test = (inputs.mapped(mixed, name) for name in ("train", "val", "test"))
            some = subset(train, torch.from_numpy(np.sort(rng.permutation(len(train))[:MOST_TRAINED])))
            fold = len(some) + torch.arange(len(validation))
            member = Member(1, "", config.seed, some, validation, fold)
            fitted = methods.fit(brief, mixed, member, fabric, {})
            return fitted.logits(test).double().cpu().numpy()


def _of_method(mixed: Array, label: Label, tested: NDArray[np.int64], logits: Array) -> tuple[str, str, Verdict]:
    known = np.isin(tested, label.test)
    outcome = mixed[tested[known], label.column]
    error = ridge.chance(int(outcome.sum()), int((1 - outcome).sum()))
    area = ridge.area(outcome, logits[known, label.column])
    sentence = (
        f"AUROC {area:.3f} after {STEPS} steps; chance is 0.5 ± {ERRORS * error:.3f} ({int(outcome.sum())} positives)"
    )
    return label.name, sentence, "passed" if abs(area - 0.5) <= ERRORS * error else "failed"


def _epochs(examined: Examined) -> int:
    """The epochs that make ``STEPS`` steps."""
    samples = min(MOST_TRAINED, len(examined.dataset.split["train"]))
    return -(-STEPS // -(-samples // examined.config.training.batch_size))


def _told(examined: Examined, label: Label) -> tuple[str, str, Verdict]:
    """Whether the plain method does better than chance: outcomes that stand at other samples' rows cannot be told."""
    outcome = examined.outcome(label, label.held)
    score = examined.held_scores(label, examined.everything)
    persons = examined.persons[label.held]
    area, low, high = within(outcome, score, persons)
    error = by_chance(outcome, score, persons)
    told = f"AUROC {area:.3f} ({low:.3f} to {high:.3f}) of the plain method, held out"
    if area < 0.5 - ERRORS * error:
        return label.name, f"{told}: held-out outcomes are the reverse of those of training", "failed"
    if area >= 0.5 + CLEAR * error:
        return label.name, told, "passed"
    if error > PRECISE:
        return label.name, f"{told}, by too few samples to tell it from chance", "skipped"
    return label.name, f"{told}, which is chance: do the outcomes stand at the right samples?", "warning"


def _ordered(examined: Examined, label: Label) -> Iterator[tuple[str, str, Verdict]]:
    rows = np.concatenate([label.train, label.held])
    outcome, cohort = examined.outcome(label, rows), examined.tables.cohort
    for name in ("patient_id", "subject_id"):
        yield (label.name, *ordered(name, outcome, _places(cohort[name].to_list())[rows], examined.persons[rows]))


def ordered(name: str, outcome: Array, place: Array, persons: NDArray[np.str_]) -> tuple[str, Verdict]:
    """Whether the ``place`` [N] of the samples of these ``persons`` [N] in the order of an id tells their ``outcome`` [N]."""
    area = ridge.area(outcome, place)
    error = by_chance(outcome, place, persons)
    tells = abs(area - 0.5) > ERRORS * error and max(area, 1 - area) >= STRONG
    return f"the order of {name} has AUROC {max(area, 1 - area):.3f}", "warning" if tells else "passed"


def _places(ids: list[str]) -> Array:
    """The place of each id in their order, by number where all are numbers."""
    key: Callable[[str], int | str] = int if all(name.isdecimal() for name in ids) else str
    rank = {name: place for place, name in enumerate(sorted(set(ids), key=key))}
    return np.array([rank[name] for name in ids], dtype=np.float64)
