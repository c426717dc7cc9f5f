"""What a population is like, in the quantities whose shift is measured: a run's training split, or those it is evaluated on.

Dimensions: N samples, T hours (or longer steps), F signals, K labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import components
from emerge_ehr.embeddings.tfidf_svd import words
from emerge_ehr.evaluation import subgroups
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Persons, persons
from emerge_ehr.preprocess.fitted import NOTE
from emerge_ehr.preprocess.inputs import own_notes, tables
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.rag import records_file
from emerge_ehr.rag.records_file import Record
from emerge_ehr.storage import artefacts, schema
from emerge_ehr.storage.dataset import Dataset, load_patients
from emerge_ehr.training.inputs import rows_of
from emerge_ehr.training.trained import Trained

CENTRAL = (0.5, 99.5)  # percentiles of the training hours' values that bound a signal's range
SEVERAL = 2  # training notes that hold a word, for it to be known where the encoder has no vocabulary of its own


@dataclass(frozen=True)
class Series:
    """Of N samples and F signals: ``hours [N]`` observed, ``measured [N, F]`` hours with a value, their mean z-score ``mean
    [N, F]`` (NaN where there is none), and the hours ``outside [N, F]`` the range of the training hours."""

    hours: Array
    measured: Array
    mean: Array
    outside: Array


@dataclass(frozen=True)
class Words:
    """Of N samples: ``length [N]`` words of the notes, and ``unknown [N]``, the share of them that the training notes did not
    have (NaN without a note); ``share``: word -> share of the samples with a note that have it.

    ``length`` and ``unknown`` are None where the training notes are gone, all is empty where nothing tells their words.
    """

    length: Array | None
    unknown: Array | None
    share: Mapping[str, float]


@dataclass(frozen=True)
class Profile:
    """A population of N samples. ``groups``: attribute -> the group of each sample, as for subgroups; ``diseases [N]``: how many
    are linked; ``disease_share``: name -> share of the samples."""

    persons: Persons
    age: Array
    groups: Mapping[str, NDArray[np.str_]]
    label: Array
    defined: NDArray[np.bool_]
    series: Series
    noted: NDArray[np.bool_]
    words: Words
    diseases: Array
    disease_share: Mapping[str, float]


@dataclass(frozen=True)
class Range:
    """The z-scores ``low [F]`` and ``high [F]`` between which the central hours of the training split lie."""

    low: Array
    high: Array


def training_range(data: Dataset) -> Range:
    """The central range of each signal's measured training hours; everything where none was measured."""
    rows = rows_of(data, "train")
    low, high = np.full(data.ehr.shape[2], -np.inf), np.full(data.ehr.shape[2], np.inf)
    for feature in range(data.ehr.shape[2]):
        values = data.ehr[rows, :, feature][data.ehr_mask[rows, :, feature] > 0]
        if len(values):
            low[feature], high[feature] = np.percentile(values, CENTRAL)
    return Range(low, high)


def series(ehr: NDArray[np.float32], mask: NDArray[np.float32], length: NDArray[np.int64], bounds: Range) -> Series:
    """Describe the series ``ehr [N, T, F]`` with its ``mask`` and ``length [N]``."""
    seen = mask > 0
    measured = seen.sum(axis=1).astype(np.float64)
    total = np.where(seen, ehr, 0).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        mean = total / np.where(measured > 0, measured, np.nan)
    outside = (seen & ((ehr < bounds.low) | (ehr > bounds.high))).sum(axis=1).astype(np.float64)
    return Series(length.astype(np.float64), measured, mean, outside)


def joined(parts: Sequence[Series], value: NDArray[np.float32]) -> Series:
    """The series of all parts, one after the other, with what is measured in ``value [N, T, F]``.

    Of signals that the run has not learned from, the parts have nothing, as the model reads nothing of them.
    """
    names = ("hours", "mean", "outside")
    measured = (~np.isnan(value)).sum(axis=1).astype(np.float64)
    return Series(
        measured=measured, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def of_training(run: Trained, bounds: Range, vocabulary: Mapping[str, float] | None) -> Profile | None:
    """The training split of the ``run``; None where its artefacts do not say who the patients are."""
    data = run.dataset
    rows = rows_of(data, "train")
    patients = load_patients(run.config.processed_dir, data.patient_id[rows])
    if patients is None:
        return None
    label, defined = run.reported.outcomes(data.label[rows], data.label_mask[rows])
    records = records_file.read(run.config.processed_dir, set(data.split["train"]))
    noted = data.note_mask[rows] > 0
    notes = training_notes(run)
    length, unknown, _ = counted(notes, vocabulary) if notes is not None else (None, None, {})
    return Profile(
        persons=persons(patients["subject_id"].to_list()),
        age=_ages(patients),
        groups=subgroups.groups(patients),
        label=label,
        defined=defined,
        series=series(data.ehr[rows], data.ehr_mask[rows], data.ehr_length[rows], bounds),
        noted=noted,
        words=Words(length, unknown, vocabulary or {}),
        diseases=np.array([len(record.nodes) for record in records], dtype=np.float64),
        disease_share=linked(records),
    )


def of_tables(
    of: CheckedTables,
    described: Series,
    notes: Sequence[str],
    records: Sequence[Record],
    vocabulary: Mapping[str, float] | None,
) -> Profile:
    """The samples of the checked tables; ``notes`` and ``records`` in their order."""
    patients = tables.patients(of.cohort)
    return Profile(
        persons=persons(patients["subject_id"].to_list()),
        age=_ages(patients),
        groups=subgroups.groups(patients),
        label=of.label.astype(np.float64),
        defined=of.label_mask > 0,
        series=described,
        noted=np.array([bool(text) for text in notes]),
        words=Words(*counted(notes, vocabulary)),
        diseases=np.array([len(record.nodes) for record in records], dtype=np.float64),
        disease_share=linked(records),
    )


def known_words(run: Trained) -> dict[str, float] | None:
    """The words of the training notes, each with the share of these that have it: those of the text encoder's vocabulary or,
    where it has none, those in several training notes. None where there are no notes, or they are gone."""
    data, config = run.dataset, run.config
    texts = int((data.note_mask[rows_of(data, "train")] > 0).sum())
    if not texts:
        return None
    if components.offers("embedding", config.embedding, "vocabulary"):
        folder = config.processed_dir / schema.FITTED
        found: dict[str, float] = components.call(
            "vocabulary", "embedding", config.embedding, folder=folder, name=NOTE, texts=texts
        )
        return found
    notes = training_notes(run)
    if notes is None:
        return None
    _, _, share = counted(notes, None)
    return {word: of for word, of in share.items() if of * texts >= SEVERAL}


def training_notes(run: Trained) -> list[str] | None:
    """The notes of the training split, joined; None where the table is not there as the run read it."""
    path = own_notes.path(run.config)
    if not path.is_file() or artefacts.checksum(path) not in run.dataset.metadata.get("inputs", {}).values():
        return None
    texts = own_notes.joined(run.config, run.dataset.split["train"])
    noted = run.dataset.note_mask[rows_of(run.dataset, "train")] > 0  # [sparsity] may have taken notes away
    return [text if has else "" for text, has in zip(texts, noted, strict=True)]


def counted(
    notes: Sequence[str], vocabulary: Mapping[str, float] | None
) -> tuple[Array | None, Array | None, Mapping[str, float]]:
    """The fields of ``Words``: lengths and shares unknown [N], and word -> share of the notes that have it."""
    length, unknown = np.full((2, len(notes)), np.nan)
    documents = Counter[str]()
    for n, text in enumerate(notes):
        found = Counter(words(text))
        documents.update(found.keys())
        if total := found.total():
            length[n] = total
            if vocabulary is not None:
                unknown[n] = sum(count for word, count in found.items() if word not in vocabulary) / total
    share = {word: count / sum(map(bool, notes)) for word, count in documents.items()}
    return length, None if vocabulary is None else unknown, share


def linked(records: Sequence[Record]) -> dict[str, float]:
    """Each linked disease with the share of the samples that have it."""
    counts = Counter(name for record in records for name in {node.name for node in record.nodes})
    return {name: count / len(records) for name, count in counts.items()}


def _ages(patients: pl.DataFrame) -> Array:
    ages: Array = patients["age"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return ages
