"""What the checks of the deep audit look at: the artefacts, the tables they are made of, and the samples of each split."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.audit.deep import ridge
from emerge_ehr.config import Config
from emerge_ehr.models.batch import MODALITIES
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.rag.records_file import Record
from emerge_ehr.storage.dataset import PARTS, Dataset
from emerge_ehr.training import inputs
from emerge_ehr.training.patients import table

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST = 10  # samples of each class, in training and held out; with fewer, nothing can be told from chance
BATCH = 1024  # samples whose arrays are read at a time
TOO_FEW = f"no outcome has {LEAST} samples of each class, in training and held out"


@dataclass(frozen=True)
class Label:
    """An outcome that can be judged. ``train`` and ``held``: the rows for which it is defined, of training, and of validation and
    test together; ``test``: those of test."""

    name: str
    column: int
    train: Rows
    held: Rows
    test: Rows


@dataclass(frozen=True)
class Examined:
    """``notes`` and ``records`` are in the order of the arrays. ``refitted``: fitted on the training samples just now."""

    config: Config
    dataset: Dataset
    tables: CheckedTables
    notes: Sequence[str]
    records: Sequence[Record]
    refitted: Fitted

    @cached_property
    def part(self) -> NDArray[np.str_]:
        """The split of each sample [N]; "" for those that were left out."""
        found = np.full(len(self.dataset.patient_id), "", dtype="<U5")
        for name in PARTS:
            found[inputs.rows_of(self.dataset, name)] = name
        return found

    @cached_property
    def persons(self) -> NDArray[np.str_]:
        """The person of each sample [N]."""
        return self.tables.cohort["subject_id"].to_numpy().astype(np.str_)

    @cached_property
    def labels(self) -> list[Label]:
        """The outcomes that enough samples of both classes have."""
        return list(self._labels())

    def _labels(self) -> Iterator[Label]:
        for column, name in enumerate(self.dataset.metadata["label_names"]):
            defined = self.dataset.label_mask[:, column] > 0
            train, held, test = (
                np.flatnonzero(defined & np.isin(self.part, names)) for names in (["train"], ["val", "test"], ["test"])
            )
            counts = [
                int((self.dataset.label[rows, column] == value).sum()) for rows in (train, held) for value in (0, 1)
            ]
            if min(counts) >= LEAST:
                yield Label(name, column, train, held, test)

    @cached_property
    def columns(self) -> dict[str, Array]:
        """The columns of the plain method, of all samples, by modality; age and sex as ``static``."""
        patients = inputs.mapped(self.dataset, "train", pieces=False)
        everyone = dataclasses.replace(patients, rows=np.arange(len(self.dataset.patient_id)))
        found = {name: table(everyone, [name], BATCH) for name in MODALITIES}
        return {**found, "static": self.dataset.static.astype(np.float64)}

    @cached_property
    def everything(self) -> Array:
        """The columns of all modalities."""
        return np.concatenate(list(self.columns.values()), axis=1)

    def outcome(self, label: Label, rows: Rows) -> Array:
        """The outcome of the samples in these rows."""
        found: Array = self.dataset.label[rows, label.column].astype(np.float64)
        return found

    def held_scores(self, label: Label, columns: Array) -> Array:
        """The scores of the held-out samples by the plain method on ``columns`` of all samples, fitted on training."""
        train = self.outcome(label, label.train)[:, None]
        return ridge.scores(columns[label.train], train, columns[label.held])[:, 0]

    def generator(self, check: str) -> np.random.Generator:
        """The random numbers of a check: they depend on the seed and the check alone."""
        return np.random.default_rng([self.config.seed, *check.encode()])

    def of_patients(self) -> pl.DataFrame:
        """``patient_id``, its row ``n``, person, split, and the start and end of the window."""
        return self.tables.cohort.select(
            "patient_id",
            "window_start",
            "window_end",
            pl.int_range(pl.len()).alias("n"),
            pl.Series("person", self.persons),
            pl.Series("part", self.part),
        )


def within(label: Array, score: Array, persons: NDArray[np.str_]) -> tuple[float, float, float]:
    """The AUROC and its 95 % limits, by DeLong's variance; samples of one person may depend on each other."""
    area, error = _with_error(label, score, persons)
    return area, area - 1.959964 * error, area + 1.959964 * error


def by_chance(label: Array, score: Array, persons: NDArray[np.str_]) -> float:
    """The standard error of the AUROC of a score that knows nothing.

    Where persons have several samples it is larger by as much as the error of this ``score`` is.
    """
    alone = ridge.chance(int(label.sum()), int((1 - label).sum()))
    if len(np.unique(persons)) == len(persons):
        return alone
    together, independent = (
        _with_error(label, score, whose)[1] for whose in (persons, np.arange(len(persons)).astype(np.str_))
    )
    return alone * max(1.0, together / independent) if independent > 0 else alone


def _with_error(label: Array, score: Array, persons: NDArray[np.str_]) -> tuple[float, float]:
    from emerge_ehr.evaluation import resampling
    from emerge_ehr.evaluation.significance import delong

    found = delong(label, score, np.zeros_like(score), resampling.persons(persons.tolist()))
    if found.first is None:  # all samples of a class are one person's
        return ridge.area(label, score), 0.5
    return found.first, found.standard_error or 0.0
