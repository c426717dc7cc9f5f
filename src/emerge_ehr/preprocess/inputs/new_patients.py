"""Reads the tables of patients whom a trained model has not seen.

They pass the checks of ``tables.py``, and are compared with the data that the model learned from. No outcome is read:
``label.csv`` may be missing, and is not opened if it is there.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import decides
from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets import sources
from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.preprocess.inputs import checks, converted, tables
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.signals.hourly import Hourly
from emerge_ehr.signals.signals import SIGNAL_BY_NAME, Signal, from_record
from emerge_ehr.storage import artefacts, schema, table_files
from emerge_ehr.storage.dataset import Dataset

IGNORED = "treatments are not read: the run was made without them (source.treatments)"
MANY = 10  # patients of whom none has a signal are told of; fewer may lack it by chance
UNTREATED = "there are no treatments, which the run's summaries tell of: these patients' say that nothing was given"


@dataclass(frozen=True)
class Expected:
    """What a run expects of new patients: its F signals, and windows of ``shortest`` to ``longest`` hours.

    ``hours``: those that the T bins of its series cover.

    ``dated``: what the run's source found to be dates (``Extract``).

    ``unmeasured``: the names of signals of which the run's own samples have no value, so that it has learned nothing of them.

    ``treatments``: whether its summaries tell what patients were given.

    ``late_notes``: the run learned from notes written after the window, as its config said, so that these are read too.
    """

    signals: tuple[Signal, ...]
    cohort: Cohort
    shortest: int
    longest: int
    hours: int
    late_notes: bool
    label_names: tuple[str, ...]
    dated: tuple[str, ...]
    unmeasured: tuple[str, ...]
    treatments: bool


def expected(config: Config, data: Dataset) -> Expected:
    """What the run's artefacts say about the data that it expects.

    Raises:
        UserError: an earlier version made the artefacts.
    """
    entries = data.metadata["features"]
    if "dated" not in data.metadata or any("label" not in entry for entry in entries):
        raise UserError(
            f"{config.processed_dir / schema.METADATA}: made by an earlier version; "
            "run --stage preprocess and --stage train again"
        )
    bin_hours = config.cohort.bin_hours
    learned = data.metadata.get("learned") or learned_from(data)  # a model folder has no patients to look at
    hours = data.ehr.shape[1] * bin_hours
    bound = hours if config.cohort.window == "whole" else config.cohort.window_hours  # the last bin may reach beyond it
    return Expected(
        tuple(from_record(entry) for entry in entries),
        config.cohort,
        (learned["shortest"] - 1) * bin_hours + 1,
        min(learned["longest"] * bin_hours, bound),
        hours,
        bool(config.source.options.get("notes_after_window")),
        tuple(data.metadata["label_names"]),
        tuple(data.metadata["dated"]),
        tuple(learned["unmeasured"]),
        sources.asks_treatments(config),
    )


def learned_from(data: Dataset) -> dict[str, Any]:
    """What ``expected`` looks for in arrays: the ``shortest`` and ``longest`` window in bins, and the ``unmeasured`` signals."""
    length = data.ehr_length
    return {"shortest": int(length.min()), "longest": int(length.max()), "unmeasured": list(_unmeasured(data))}


def _unmeasured(data: Dataset) -> Iterator[str]:
    """The signals that no sample of the data has a measurement of."""
    absent = data.metadata.get("never_measured_in_training", [])
    for feature, entry in enumerate(data.metadata["features"]):
        if entry["name"] in absent and not data.ehr_mask[:, :, feature].any():
            yield entry["name"]


def read(folder: Path, run: Expected) -> CheckedTables:
    """Read the tables in ``folder``, which ``convert`` or the user made.

    Raises:
        UserError: a table is missing, or does not fit its schema, the others, the observation windows or the run.
    """
    provenance = _provenance(folder, run)
    cohort = tables.persons(folder)
    notes, blank = tables.written(folder, cohort, required=bool(provenance))
    dynamic = table_files.scan_table(folder, schema.DYNAMIC)
    result = checked(
        run,
        cohort,
        dynamic,
        lambda: table_files.refuse_unreadable(folder, schema.DYNAMIC),
        notes,
        lambda table: table_files.place(folder, table),
        tables.given(folder, cohort) if run.treatments and _has_treatments(folder) else None,
    )
    checks.refuse_no_rows(table_files.place(folder, schema.DYNAMIC), result.hourly)
    if not provenance:
        more = (schema.TREATMENTS,) if run.treatments else ()
        table_files.refuse_two_clocks(folder, (schema.DYNAMIC, schema.COHORT, schema.NOTES, *more))
    known = list(provenance["warnings"]) if provenance else [*blank, *checks.note_warnings(notes, cohort)]
    ignored = [IGNORED] if _has_treatments(folder) and not run.treatments else []
    return dataclasses.replace(result, provenance=provenance, warnings=[*known, *ignored, *result.warnings])


def _has_treatments(folder: Path) -> bool:
    return (folder / schema.TREATMENTS.file).is_file()


def checked(
    run: Expected,
    cohort: pl.DataFrame,
    dynamic: pl.LazyFrame,
    refuse_unreadable: Callable[[], None],
    notes: pl.DataFrame,
    where: Callable[[schema.Table], Path],
    treatments: pl.DataFrame | None = None,
) -> CheckedTables:
    """Check tables whose columns and types are known to be right.

    ``where`` gives a table's path for messages; ``refuse_unreadable`` raises if a field of ``dynamic`` cannot be read.

    Raises:
        UserError: the tables do not fit each other, the windows or the run.
    """
    _refuse_windows(where(schema.COHORT), cohort, run)
    if not run.late_notes:
        checks.refuse_late_notes(where(schema.NOTES), notes, cohort)
    cohort = cohort.sort("patient_id")
    span = (run.hours, run.cohort.bin_hours)
    hourly = checks.hourly(where(schema.DYNAMIC), dynamic, cohort, run.signals, span, refuse_unreadable)
    unmeasured = int(np.isnan(hourly.value).all(axis=(1, 2)).sum())
    absent = [
        f"{plural(unmeasured, 'patient has', 'patients have')} no measurement: the model sees the training patients' means"
    ]
    bounded = tuple(_with_bounds(signal) for signal in run.signals)
    warnings = [
        *_unlearned(hourly, run.unmeasured),
        *_missing(hourly, run.unmeasured),
        *(absent if unmeasured else []),
        *checks.implausible(bounded, hourly),
        *([UNTREATED] if run.treatments and (treatments is None or treatments.is_empty()) else []),
    ]
    nothing = np.zeros((cohort.height, len(run.label_names)), dtype=np.float32)
    result = CheckedTables(cohort, run.signals, hourly, notes, run.label_names, nothing, nothing, {}, warnings)
    return result if treatments is None else dataclasses.replace(result, treatments=treatments)


def learned(of: CheckedTables, run: Expected) -> CheckedTables:
    """The tables without the values of signals of which the run has learned nothing.

    Without statistics of training patients, these would reach the model in their own units, as z-scores beyond all others.
    """
    if not run.unmeasured:
        return of
    value = of.hourly.value.copy()
    value[:, :, [of.hourly.features.index(name) for name in run.unmeasured]] = np.nan
    return dataclasses.replace(of, hourly=dataclasses.replace(of.hourly, value=value))


def _unlearned(hourly: Hourly, names: Sequence[str]) -> Iterator[str]:
    """A warning of each signal that ``learned`` takes away from somebody."""
    for name in names:
        measured = ~np.isnan(hourly.value[:, :, hourly.features.index(name)])
        if patients := int(measured.any(axis=1).sum()):
            yield (
                f"{plural(patients, 'patient has', 'patients have')} measurements of {name}, of which the run's own data "
                "have none: it has learned "
                "nothing of them, and they are passed over"
            )


def _missing(hourly: Hourly, unlearned: Sequence[str]) -> Iterator[str]:
    """A warning of the signals that nobody has, of many patients, though the run has learned from them."""
    lacks = [bool(np.isnan(hourly.value[:, :, feature]).all()) for feature in range(len(hourly.features))]
    names = [name for name, nobody in zip(hourly.features, lacks, strict=True) if nobody and name not in unlearned]
    patients = len(hourly.value)
    if names and patients >= MANY and not all(lacks):
        yield (
            f"none of {patients} patients has a measurement of {listed(names)}, from which the run has learned: the model sees "
            "the training patients' means"
        )


def part(whole: CheckedTables, at: int, size: int) -> CheckedTables:
    """The tables of ``size`` patients, from row ``at`` on."""
    return of_rows(whole, np.arange(at, min(at + size, whole.cohort.height)))


def together(parts: Sequence[CheckedTables]) -> CheckedTables:
    """The patients of several tables of one run, in their order. Their ids are numbers then: two tables may name one alike."""
    width, start, cohorts, notes, treatments = len(str(sum(one.cohort.height for one in parts))), 0, [], [], []
    for one in parts:
        ids = one.cohort["patient_id"].to_list()
        number = {name: f"{start + n:0{width}}" for n, name in enumerate(ids)}
        renamed = pl.col("patient_id").replace_strict(number, return_dtype=pl.String)
        cohorts.append(one.cohort.with_columns(renamed))
        notes.append(one.notes.with_columns(renamed))
        treatments.append(one.treatments.with_columns(renamed))
        start += len(ids)
    value, length = (np.concatenate([getattr(one.hourly, name) for one in parts]) for name in ("value", "length"))
    return dataclasses.replace(
        parts[0],
        cohort=pl.concat(cohorts),
        hourly=dataclasses.replace(parts[0].hourly, value=value, length=length),
        notes=pl.concat(notes),
        treatments=pl.concat(treatments),
        label=np.concatenate([one.label for one in parts]),
        label_mask=np.concatenate([one.label_mask for one in parts]),
    )


def of_rows(whole: CheckedTables, rows: NDArray[np.int64]) -> CheckedTables:
    """The tables of the patients in ``rows``."""
    cohort = whole.cohort[rows]
    hourly = dataclasses.replace(whole.hourly, value=whole.hourly.value[rows], length=whole.hourly.length[rows])
    return dataclasses.replace(
        whole,
        cohort=cohort,
        hourly=hourly,
        notes=whole.notes.join(cohort, on="patient_id", how="semi"),
        treatments=whole.treatments.join(cohort, on="patient_id", how="semi"),
        label=whole.label[rows],
        label_mask=whole.label_mask[rows],
    )


def _provenance(folder: Path, run: Expected) -> Mapping[str, Any]:
    """The record of ``convert``; empty for a user's own tables. Source and task may differ from the run's.

    Raises:
        UserError: windows or units differ from the run's, or a table was changed after ``convert`` wrote it.
    """
    provenance = converted.recorded(folder)
    if not provenance:
        return {}
    for key, wanted in decides.settings(run.cohort, lambda decision: decision == decides.TABLES).items():
        if (made := provenance["cohort"].get(key)) != wanted:
            raise UserError(f"{folder}: converted with cohort.{key} = {made!r}, the run learned from {wanted!r}")
    units = {signal.name: signal.unit for signal in run.signals}
    for entry in provenance.get("signals", ()):
        if entry["name"] in units and entry["unit"] != units[entry["name"]]:
            raise UserError(
                f"{folder}: {entry['name']} is in '{entry['unit']}', the run learned from '{units[entry['name']]}'"
            )
    read = {name: known for name, known in provenance["tables"].items() if name != schema.LABEL.file}
    artefacts.refuse_changed(folder, read, "convert")
    converted.refuse_other_parts(folder, provenance)
    return provenance


def _refuse_windows(where: Path, cohort: pl.DataFrame, run: Expected) -> None:
    span = pl.col("window_end") - pl.col("window_start")
    short = span <= timedelta(hours=run.shortest - 1)
    wrong = cohort.filter(short | (span > timedelta(hours=run.longest)))
    if wrong.height:
        patient, start, end = wrong.select("patient_id", "window_start", "window_end").row(0)
        hours = f"{run.shortest}" if run.shortest == run.longest else f"{run.shortest} to {run.longest}"
        raise UserError(
            f"{where}: the window of patient_id '{patient}', {start} to {end}, is not {hours} h long, like those that the run "
            f"learned from; {plural(wrong.height, 'such row')}"
        )


def _with_bounds(signal: Signal) -> Signal:
    """The signal with the benchmark's plausible range, if the benchmark has this signal in the same unit."""
    known = SIGNAL_BY_NAME.get(signal.name)
    return dataclasses.replace(signal, plausible=known.plausible) if known and known.unit == signal.unit else signal
