"""Proof that the audit's own detectors work: mistakes are planted in copies of these data, and each must be found."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from emerge_ehr.audit import single_features, times
from emerge_ehr.audit.deep import chance, note_copies, series_copies, words
from emerge_ehr.audit.deep.examined import LEAST, TOO_FEW, Examined, Label
from emerge_ehr.audit.findings import Finding
from emerge_ehr.storage import schema, table_files

CHECK = "planted mistakes are found"
ROWS = 1000  # of the table of measurements that is copied
MENTIONS = 200  # of the planted word


def check(examined: Examined) -> Finding:
    """Plant each mistake in a copy that lives in memory or in a temporary folder; fail if a detector misses one."""
    if not examined.labels:
        return Finding(CHECK, "skipped", TOO_FEW)
    label, rng = examined.labels[0], examined.generator(CHECK)
    plants: Mapping[str, Callable[[], bool]] = {
        "a measurement of an hour after the window": lambda: _late_row(examined),
        "a future value among the series": lambda: _future_value(examined, label, rng),
        "the outcome among the inputs of a shuffled fit": lambda: _shuffled_outcome(examined, label, rng),
        "a stay under a second id": lambda: _second_id(examined, rng),
        "a note in a second record": _second_note,
        "a word that states the outcome": lambda: _stated(examined, label),
    }
    missed = [name for name, found in plants.items() if not found()]
    if missed:
        return Finding(
            CHECK, "failed", f"the audit does not see {', '.join(missed)}: its other verdicts are worth nothing"
        )
    return Finding(CHECK, "passed", f"in copies: {', '.join(plants)}")


def _late_row(examined: Examined) -> bool:
    """Whether the check of times finds one row of an hour after its window among ``ROWS``."""
    folder = examined.config.table_dir
    some = table_files.scan_table(folder, schema.DYNAMIC).select(schema.DYNAMIC.names).head(ROWS)
    rows = table_files.collect_table(some, table_files.place(folder, schema.DYNAMIC))
    windows = table_files.read_table(folder, schema.COHORT).select("patient_id", "window_start", "window_end")
    after = pl.col("window_end") + pl.duration(hours=1)
    code = pl.lit(examined.tables.signals[0].name).alias("code")
    late = windows.head(1).select("patient_id", after.alias("event_time"), code, pl.lit(0.0).alias("value"))
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        table_files.write_table(pl.concat([rows, late], how="vertical_relaxed"), copy / schema.DYNAMIC.file)
        return times.measurements(copy, windows).verdict == "failed"


def _future_value(examined: Examined, label: Label, rng: np.random.Generator) -> bool:
    """Whether the check of single features names the signal whose last value is, of the dead, that of the hours after."""
    dataset, rows = examined.dataset, label.train
    feature = int(dataset.ehr_mask.sum(axis=(0, 1)).argmax())
    ehr, mask = dataset.ehr[rows].copy(), dataset.ehr_mask[rows].copy()
    place = (np.arange(len(rows)), dataset.ehr_length[rows] - 1, feature)
    outcome = examined.outcome(label, rows)
    ehr[place], mask[place] = 5 * outcome + rng.normal(size=len(rows)), 1
    kept = ("ehr_length", "static", "note_mask", "label", "label_mask")
    metadata = {**dataset.metadata, "label_names": [label.name]}
    chosen = {name: getattr(dataset, name)[rows] for name in kept}
    chosen |= {name: chosen[name][:, [label.column]] for name in ("label", "label_mask")}
    copy = dataclasses.replace(dataset, ehr=ehr, ehr_mask=mask, metadata=metadata, **chosen)
    (finding,) = single_features.check(copy, np.arange(len(rows)), [""] * len(rows), [set[str]()] * len(rows))
    return finding.verdict == "warning" and dataset.metadata["features"][feature]["name"] in finding.detail


def _shuffled_outcome(examined: Examined, label: Label, rng: np.random.Generator) -> bool:
    """Whether a fit that reads what it is judged by is seen to be better than chance, although the outcomes are shuffled."""
    rows = np.concatenate([label.train, label.held])
    mixed = rng.permutation(examined.outcome(label, rows))[:, None]
    mean, error = chance.mean_area(3 * mixed + rng.normal(size=mixed.shape), mixed, len(label.train))
    return mean - 0.5 > chance.ERRORS * error


def _second_id(examined: Examined, rng: np.random.Generator) -> bool:
    """Whether the check of copies finds the series of a training sample, slightly changed, among those of test samples."""
    train, test = (np.flatnonzero(examined.part == name) for name in ("train", "test"))
    series = examined.dataset.ehr[[train[0], train[0], *test[:LEAST]]] + rng.normal(
        0, 0.05, (2 + len(test[:LEAST]), *examined.dataset.ehr.shape[1:])
    ).astype(np.float32)
    found = series_copies.pairs(series, np.ones_like(series), np.arange(len(series)))
    return any(pair[:2] == (0, 1) for pair in found)


def _second_note() -> bool:
    """Whether the check of notes finds a text of two persons, and takes no template for one."""
    own = " ".join(f"word{n}" for n in range(60))
    template = " ".join(f"form{n}" for n in range(60))
    texts = [own, own, *[template] * (note_copies.FEW_PERSONS + 1)]
    names = [f"p{n}" for n in range(len(texts))]
    parts = ["train", "test"] * len(texts)
    notes = pl.DataFrame({"patient_id": names, "person": names, "part": parts[: len(texts)], "text": texts})
    return note_copies.copies(notes).select("patient_id", "patient_id_other").rows() == [("p0", "p1")]


def _stated(examined: Examined, label: Label) -> bool:
    """Whether a word that the notes of those with the outcome hold, and no other, is named first.

    Few samples prove nothing of a word: each counts as often as it takes to have ``MENTIONS`` of it.
    """
    outcome = examined.outcome(label, label.train)
    notes = [
        f"{examined.notes[row]} plantedword" if has else examined.notes[row]
        for row, has in zip(label.train, outcome > 0, strict=True)
    ]
    times_each = -(-MENTIONS // int(outcome.sum()))
    first = words.ranked(notes * times_each, np.tile(outcome, times_each))[:1]
    return any(word.text == "plantedword" and words.tells(word) for word in first)
