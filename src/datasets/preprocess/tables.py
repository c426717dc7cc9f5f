"""Reads the OneEHR tables, ours or a user's own, and refuses what does not fit together or leaks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.config import Cohort, Config
from src.datasets import artefacts, schema
from src.datasets.cohort import known_in_window
from src.datasets.preprocess import tensors
from src.datasets.signals import SIGNALS, Signal, described
from src.datasets.tasks import Task
from src.fields import UserError, to_dict


@dataclass(frozen=True)
class Tables:
    """The tables of stage convert, checked. N patients by ``patient_id``, K labels.

    ``cohort`` has age and sex, and ``positive``: the first label, by which splits are stratified. ``label`` and
    ``label_mask`` are [N, K].
    """

    cohort: pl.DataFrame
    signals: tuple[Signal, ...]
    hourly: tensors.Hourly
    notes: pl.DataFrame
    label_names: tuple[str, ...]
    label: NDArray[np.float32]
    label_mask: NDArray[np.float32]
    provenance: Mapping[str, Any]
    warnings: list[str]


def read(folder: Path, config: Config, task: Task) -> Tables:
    """The tables in ``folder`` with the labels of ``task``, joined and checked against each other and the windows.

    Raises:
        UserError: a table is missing or does not fit its schema, the others, the config, or the observation windows.
    """
    provenance = _provenance(folder, config)
    cohort = artefacts.read_table(folder, schema.COHORT)
    static = artefacts.read_table(folder, schema.STATIC)
    joined = cohort.join(static, on="patient_id")
    if joined.height != cohort.height:
        lost = cohort.join(joined, on="patient_id", how="anti")["patient_id"][0]
        raise UserError(f"{folder / schema.STATIC.file}: patient_id '{lost}' of cohort.csv is not there")
    joined = joined.sort("patient_id")
    _refuse_windows(folder / schema.COHORT.file, joined, config.cohort)
    names, label, mask = _labels(folder, joined, task)
    joined = joined.with_columns(pl.Series("positive", label[:, 0].astype(np.int64)))
    notes = _notes(folder, joined, provenance)
    signals = _signals(folder, provenance)
    hours = config.cohort.window_hours if config.cohort.window != "whole" else None
    hourly = _hourly(folder, joined, signals, hours)
    warnings = [*_warnings(notes, provenance), *_implausible(signals, hourly)]
    return Tables(joined, signals, hourly, notes, names, label, mask, provenance, warnings)


def patients(cohort: pl.DataFrame) -> pl.DataFrame:
    """patients.csv of ``Tables.cohort``: who the samples are; what ``static.csv`` does not say is empty."""
    names = [column.name for column in schema.PATIENTS.columns]
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in cohort.columns]
    return cohort.with_columns(absent).select(names)


def _provenance(folder: Path, config: Config) -> Mapping[str, Any]:
    """What ``convert`` recorded, for this config and these very files; empty for a user's own tables."""
    artefacts.finish_interrupted(folder)
    path = folder / schema.PROVENANCE
    if not path.is_file():
        return {}
    provenance = artefacts.read_json(path, "convert")
    if not isinstance(provenance, dict) or not {"cohort", "task", "source", "tables", "warnings"} <= provenance.keys():
        raise UserError(f"{path}: not a record of --stage convert; run it again, or delete the file to use own tables")
    for part in ("cohort", "task", "source"):
        if provenance[part] != to_dict(getattr(config, part)):
            raise UserError(
                f"{folder}: converted with other [{part}] settings than this config's; run --stage convert again"
            )
    artefacts.refuse_changed(folder, provenance["tables"], "convert")
    return provenance


def _labels(
    folder: Path, cohort: pl.DataFrame, task: Task
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]:
    """Names [K], labels [N, K] (0 where undefined) and where they are defined [N, K]."""
    path = folder / schema.LABEL.file
    rows = artefacts.read_table(folder, schema.LABEL)
    names = task.codes or tuple(sorted(rows["label_code"].unique().to_list()))
    rows = rows.filter(pl.col("label_code").is_in(list(names))).join(
        cohort.select("patient_id", pl.int_range(pl.len()).alias("n")), on="patient_id"
    )
    other = rows.filter(~pl.col("label_value").is_in([0.0, 1.0]))
    if other.height:
        patient, value = other.select("patient_id", "label_value").row(0)
        raise UserError(f"{path}: label_value {value} of patient_id '{patient}' is neither 0 nor 1")
    early = known_in_window(rows, cohort)
    if early.height:
        patient, time = early.select("patient_id", "label_time").row(0)
        raise UserError(
            f"{path}: label_time {time} of patient_id '{patient}' lies before the end of the observation window, "
            f"which would show the outcome; {early.height} such rows"
        )
    lost = cohort.join(rows, on="patient_id", how="anti")["patient_id"]
    if len(lost) or not names:
        raise UserError(
            f"{path}: patient_id '{lost[0] if len(lost) else ''}' of cohort.csv has no {' or '.join(names)}"
        )
    label, mask = np.zeros((2, cohort.height, len(names)), dtype=np.float32)
    column = [names.index(code) for code in rows["label_code"]]
    label[rows["n"].to_numpy(), column] = rows["label_value"].to_numpy()
    mask[rows["n"].to_numpy(), column] = 1
    return names, label, mask


def _refuse_windows(path: Path, cohort: pl.DataFrame, rule: Cohort) -> None:
    longest = timedelta(hours=rule.window_hours) if rule.window != "whole" else timedelta(days=36500)
    span = pl.col("window_end") - pl.col("window_start")
    wrong = cohort.filter((span <= timedelta(0)) | (span > longest))
    if wrong.height:
        patient, start, end = wrong.select("patient_id", "window_start", "window_end").row(0)
        raise UserError(
            f"{path}: the window of patient_id '{patient}', {start} to {end}, is not of 0 to {rule.window_hours} h "
            f"(cohort.window_hours, cohort.window = '{rule.window}'); {wrong.height} such rows"
        )


def _signals(folder: Path, provenance: Mapping[str, Any]) -> tuple[Signal, ...]:
    """What ``convert`` said; for a user's own tables, the benchmark's signals, or whatever codes there are."""
    if "signals" in provenance:
        return tuple(
            Signal(
                entry["name"], entry["label"], entry["unit"], reference=entry["reference"] and tuple(entry["reference"])
            )
            for entry in provenance["signals"]
        )
    codes = artefacts.scan_table(folder, schema.DYNAMIC).select(pl.col("code").drop_nulls().unique())
    found = sorted(artefacts.collect_table(codes, folder / schema.DYNAMIC.file)["code"].to_list())
    return SIGNALS if set(found) <= {signal.name for signal in SIGNALS} else tuple(described(code) for code in found)


def _hourly(folder: Path, cohort: pl.DataFrame, signals: tuple[Signal, ...], hours: int | None) -> tensors.Hourly:
    """The hourly values of ``dynamic.csv``, read once, lazily; only where something is wrong is it read again to say where."""
    path = folder / schema.DYNAMIC.file
    names = tuple(signal.name for signal in signals)
    placed = tensors.place(artefacts.scan_table(folder, schema.DYNAMIC), cohort, names)
    rows = artefacts.collect_table(placed, path)
    if rows.null_count().sum_horizontal().item():
        _refuse_dynamic(folder, cohort, names)
    return tensors.hourly(rows, cohort, names, hours)


def _refuse_dynamic(folder: Path, cohort: pl.DataFrame, names: tuple[str, ...]) -> None:
    path = folder / schema.DYNAMIC.file
    dynamic = artefacts.read_table(folder, schema.DYNAMIC)
    _refuse_strangers(path, dynamic, cohort)
    if unknown := sorted(set(dynamic["code"].unique()) - set(names)):
        raise UserError(f"{path}: code '{unknown[0]}' is none of the signals that provenance.json lists")
    inside = pl.col("event_time").is_between(pl.col("window_start"), pl.col("window_end"), closed="left")
    outside = dynamic.join(cohort, on="patient_id").filter(~inside)
    patient, time = outside.select("patient_id", "event_time").row(0)
    raise UserError(f"{path}: {outside.height} rows outside the observation window, first: {patient} at {time}")


def _notes(folder: Path, cohort: pl.DataFrame, provenance: Mapping[str, Any]) -> pl.DataFrame:
    """The notes, none of them late; the file may be missing from a user's own tables."""
    path = folder / schema.NOTES.file
    if not provenance and not path.is_file():
        return pl.DataFrame(
            schema={"patient_id": pl.String, "note_time": pl.Datetime("us"), "note_type": pl.String, "text": pl.String}
        )
    notes = artefacts.read_table(folder, schema.NOTES)
    _refuse_strangers(path, notes, cohort)
    if not provenance.get("source", {}).get("options", {}).get("notes_after_window"):
        timed = notes.filter(pl.col("note_type") != "surrogate").join(cohort, on="patient_id")
        late = timed.filter(pl.col("note_time") >= pl.col("window_end"))
        if late.height:
            patient, time = late.select("patient_id", "note_time").row(0)
            raise UserError(
                f"{path}: {late.height} notes written after the observation window, first: {patient} at {time}"
            )
    return notes


def _warnings(notes: pl.DataFrame, provenance: Mapping[str, Any]) -> list[str]:
    """What ``convert`` warned of; for a user's own tables, what can be seen in them."""
    if provenance:
        return list(provenance["warnings"])
    warnings = []
    if notes.is_empty():
        warnings.append("there are no notes: that modality is empty and masked")
    if surrogates := notes.filter(pl.col("note_type") == "surrogate").height:
        warnings.append(f"{surrogates} notes are surrogates made from codes: they may leak the future")
    if untimed := notes["note_time"].null_count():
        warnings.append(f"{untimed} notes carry no time: they may have been written after the observation window")
    return warnings


def _implausible(signals: tuple[Signal, ...], hourly: tensors.Hourly) -> Iterator[str]:
    """Warnings of values that a benchmark signal cannot have in its unit; ``convert`` has left none in its tables."""
    for feature, signal in enumerate(signals):
        low, high = signal.plausible
        value = hourly.value[:, :, feature]
        outside = int(((value < low - 1e-3) | (value > high + 1e-3)).sum())
        if outside:
            measured = int((~np.isnan(value)).sum())
            yield (
                f"{outside} of {measured} hourly values of {signal.name} lie outside {low:g}-{high:g} {signal.unit}: "
                "are they in that unit?"
            )


def _refuse_strangers(path: Path, rows: pl.DataFrame, cohort: pl.DataFrame) -> None:
    strangers = rows.join(cohort, on="patient_id", how="anti")
    if strangers.height:
        first = strangers["patient_id"][0]
        raise UserError(f"{path}: patient_id '{first}' is not in cohort.csv; {strangers.height} such rows")
