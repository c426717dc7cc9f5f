"""Checks that all tables must pass, wherever they come from. ``where`` names the table at the start of a message."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from emerge_ehr.config import Cohort
from emerge_ehr.fields import UserError, plural
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.signals.hourly import Floats
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage import table_files
from emerge_ehr.storage.ids import respelt, without_zeros

LONG_BEFORE = timedelta(days=365)  # before the observation window; no hospital stay that is looked at is so long

FEW = 10  # patients, below which it is chance that all have one value


def refuse_windows(where: Path, cohort: pl.DataFrame, rule: Cohort) -> None:
    """Check that every observation window is longer than 0 h and no longer than the config says.

    Raises:
        UserError: a window is empty or too long.
    """
    longest = timedelta(hours=rule.window_hours) if rule.window != "whole" else timedelta(days=36500)
    span = pl.col("window_end") - pl.col("window_start")
    wrong = cohort.filter((span <= timedelta(0)) | (span > longest))
    if wrong.height:
        patient, start, end = wrong.select("patient_id", "window_start", "window_end").row(0)
        raise UserError(
            f"{where}: the window of patient_id '{patient}', {start} to {end}, is not 0 to {rule.window_hours} h long "
            f"(cohort.window_hours, cohort.window = '{rule.window}'); mend {plural(wrong.height, 'such row')}, or set these keys"
        )


def hourly(
    where: Path,
    dynamic: pl.LazyFrame,
    cohort: pl.DataFrame,
    signals: tuple[Signal, ...],
    span: tuple[int | None, int],
    refuse_unreadable: Callable[[], None],
) -> tensors.Hourly:
    """The hourly values of the measurements, which are read once, in batches.

    They are read again only where something is wrong, to find the row; ``refuse_unreadable`` raises if a field cannot be read.
    ``span``: the hours that the tensor covers (None: those of the longest window), and the length of its bins in hours.

    Raises:
        UserError: a measurement is of a patient outside the cohort or of an unknown code, lies outside the window, or is not a
            number.
    """
    names = tuple(signal.name for signal in signals)
    hours, bin_hours = span
    grid = tensors.empty(cohort, names, hours, bin_hours, tuple(signal.hour for signal in signals))
    for placed in table_files.batches(tensors.place(dynamic, cohort, names), where):
        if placed.null_count().sum_horizontal().item():
            refuse_unreadable()
            _refuse_misplaced(where, dynamic, cohort, names)
        grid.fill(placed)
    return grid.settled([signal.name for signal in signals if signal.score])


def refuse_no_rows(where: Path, found: tensors.Hourly) -> None:
    """Refuse a table of which nothing is a measurement.

    Raises:
        UserError: nothing was measured of anybody.
    """
    if np.isnan(found.value).all():
        raise UserError(f"{where}: has a header and no rows; one row per measurement is needed")


def _refuse_misplaced(where: Path, dynamic: pl.LazyFrame, cohort: pl.DataFrame, names: tuple[str, ...]) -> None:
    """Refuse the first row that fits no sample, signal or window, although every field of it can be read."""
    rows = dynamic.select("patient_id", "event_time", "code")
    numbered = rows.with_row_index("row")
    patients = cohort.lazy().select("patient_id", "window_start", "window_end")
    if strangers := _counted(numbered.join(patients, on="patient_id", how="anti"), rows, where):
        count, patient, _ = strangers
        raise _stranger(where, patient, count, cohort)
    codes = table_files.collect_table(rows.select(pl.col("code").unique()), where)["code"]
    if unknown := sorted(set(codes) - set(names)):
        raise UserError(
            f"{where}: code '{unknown[0]}' is not one of the signals: {', '.join(names)}; rename it, or remove its rows"
        )
    inside = pl.col("event_time").is_between(pl.col("window_start"), pl.col("window_end"), closed="left")
    if outside := _counted(numbered.join(patients, on="patient_id").filter(~inside), rows, where):
        count, patient, time = outside
        raise UserError(
            f"{where}: {plural(count, 'row')} outside the observation window, first: {patient} at {time}; remove them, or mend "
            "window_start and window_end in cohort.csv"
        )


def _counted(wrong: pl.LazyFrame, rows: pl.LazyFrame, where: Path) -> tuple[int, str, datetime] | None:
    """The number of ``wrong`` rows, and patient and time of the first, looked up in all ``rows``; None if no row is wrong."""
    count, at = table_files.collect_table(wrong.select(pl.len(), pl.col("row").min()), where).row(0)
    if not count:
        return None
    patient, time = table_files.collect_table(rows.slice(at, 1), where).select("patient_id", "event_time").row(0)
    return count, patient, time


def refuse_late_notes(where: Path, notes: pl.DataFrame, cohort: pl.DataFrame) -> None:
    """Check that no note was written after the window; surrogates are passed over, since their times mean nothing.

    Raises:
        UserError: a note is late.
    """
    times = notes.select("patient_id", "note_time", "note_type")  # not the texts, which would be copied
    timed = times.filter(pl.col("note_type") != "surrogate").join(cohort, on="patient_id")
    late = timed.filter(pl.col("note_time") >= pl.col("window_end"))
    if late.height:
        patient, time = late.select("patient_id", "note_time").row(0)
        raise UserError(
            f"{where}: {plural(late.height, 'note')} written after the observation window, first: {patient} at {time}; "
            "remove them"
        )


def refuse_treatments_outside(where: Path, treatments: pl.DataFrame, cohort: pl.DataFrame) -> None:
    """Check that every treatment begins in its patient's window, and states no end outside it.

    Raises:
        UserError: one does not.
    """
    timed = treatments.join(cohort.select("patient_id", "window_start", "window_end"), on="patient_id")
    rules = {
        "start_time": (pl.col("start_time") < pl.col("window_start"), "remove them"),
        "end_time": (pl.col("end_time") < pl.col("start_time"), "leave end_time empty where it is not known"),
    }
    for name, (early, remedy) in rules.items():
        outside = timed.filter((early | (pl.col(name) >= pl.col("window_end"))).fill_null(value=False))
        if outside.height:
            patient, time = outside.select("patient_id", name).row(0)
            raise UserError(
                f"{where}: {plural(outside.height, 'row')} with a {name} outside the observation window (or an end before "
                "the start), "
                f"first: {patient} at {time}; {remedy}"
            )


def refuse_strangers(where: Path, rows: pl.DataFrame, cohort: pl.DataFrame) -> None:
    """Check that every row belongs to a patient of the cohort.

    Raises:
        UserError: a row belongs to another patient.
    """
    strangers = rows.join(cohort, on="patient_id", how="anti")
    if strangers.height:
        raise _stranger(where, strangers["patient_id"][0], strangers.height, cohort)


def _stranger(where: Path, patient: str, count: int, cohort: pl.DataFrame) -> UserError:
    return UserError(
        f"{where}: patient_id '{patient}' is not in cohort.csv{near(patient, cohort['patient_id'])}; remove "
        f"{plural(count, 'such row')}, "
        "or give it a row there"
    )


def refuse_respelt(where: Path, rows: pl.DataFrame, cohort: pl.DataFrame) -> None:
    """Check that no row of another patient has the id of one of the cohort but for leading zeros or case.

    Raises:
        UserError: one has.
    """
    if alike := respelt(rows["patient_id"], cohort["patient_id"]):
        patient, known = alike[0]
        raise UserError(
            f"{where}: patient_id '{patient}' is not in cohort.csv, but '{known}' is (write ids one way in all tables); "
            f"{plural(len(alike), 'such id')}"
        )


def near(patient: str, others: pl.Series) -> str:
    """A remark on an id that is ``patient`` but for leading zeros; nothing where there is none."""
    plain = pl.select(without_zeros(pl.lit(patient))).item()
    alike = others.filter(others.to_frame("id").select(without_zeros(pl.col("id")) == plain).to_series())
    return f", but '{alike[0]}' is (write ids one way in all tables)" if len(alike) else ""


def note_warnings(notes: pl.DataFrame, cohort: pl.DataFrame) -> list[str]:
    """Warnings that the notes themselves, or their times, give rise to."""
    warnings = []
    if notes.is_empty():
        warnings.append("there are no notes: that modality is empty and masked")
    if surrogates := notes.filter(pl.col("note_type") == "surrogate").height:
        warnings.append(
            f"{plural(surrogates, 'note is', 'notes are')} surrogates made from codes: they may leak the future"
        )
    if untimed := notes["note_time"].null_count():
        warnings.append(
            f"{plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the observation window"
        )
    starts = cohort.select("patient_id", "window_start")
    times = notes.select("patient_id", "note_time").join(starts, on="patient_id")
    if old := times.filter(pl.col("window_start") - pl.col("note_time") > LONG_BEFORE).height:
        warnings.append(
            f"{plural(old, 'note is', 'notes are')} dated more than {LONG_BEFORE.days} days before the observation "
            "window: are they right?"
        )
    if twice := notes.height - notes.n_unique():
        warnings.append(f"{plural(twice, 'note stands', 'notes stand')} twice in their patient's text: remove them")
    return warnings


def unknown(cohort: pl.DataFrame, found: tensors.Hourly) -> Iterator[str]:
    """Warnings of patients whose age, sex or measurements are missing."""
    for name in ("age", "sex"):
        if absent := cohort[name].null_count():
            yield f"static.csv: {absent} of {cohort.height} patients have no {name}"
    if unmeasured := int(np.isnan(found.value).all(axis=(1, 2)).sum()):
        yield f"dynamic: {unmeasured} of {cohort.height} patients have no measurement"


def one_class(names: Sequence[str], label: Floats, mask: Floats) -> Iterator[str]:
    """Warnings of outcomes that are the same for all patients, from which nothing can be learned."""
    for name, values, defined in zip(names, label.T, mask.T, strict=True):
        if len(alike := np.unique(values[defined > 0])) == 1:
            yield f"label.csv: all {plural(int(defined.sum()), 'patient has', 'patients have')} {name} = {alike[0]:g}"


def one_value(signals: tuple[Signal, ...], found: tensors.Hourly) -> Iterator[str]:
    """A warning of signals that have the same value wherever they were measured, as codes that are written as 1 alone.

    What a network sees of one is in which hour it was measured, and then nothing more.
    """
    alone = []
    for feature, signal in enumerate(signals):
        measured = ~np.isnan(found.value[:, :, feature])
        patients, values = int(measured.any(axis=1).sum()), found.value[:, :, feature][measured]
        if FEW <= patients < len(measured) and values.min() == values.max():
            alone.append(f"{signal.name} (always {values[0]:g})")
    if alone:
        others = " and others" if alone[1:] else ""
        yield (
            f"{plural(len(alone), 'signal has', 'signals have')} one value only, so that a network sees no more of it than the "
            f"hour in which it was measured: {alone[0]}{others}; if that says what a patient has, write 0 for those who do not "
            "have it"
        )


def implausible(signals: tuple[Signal, ...], found: tensors.Hourly) -> Iterator[str]:
    """Warnings of values that a signal cannot have in its unit; tables that ``convert`` wrote hold no such values."""
    spaced = "hourly" if found.bin_hours == 1 else f"{found.bin_hours}-hourly"
    for feature, signal in enumerate(signals):
        low, high = signal.plausible
        if signal.hour == "sum":  # the range is that of one value; a sum of several such may be above it, or below 0
            low, high = low if low >= 0 else -math.inf, math.inf
        value = found.value[:, :, feature]
        outside = int(((value < low - 1e-3) | (value > high + 1e-3)).sum())
        if outside:
            measured = int((~np.isnan(value)).sum())
            yield (
                f"{outside} of {measured} {spaced} values of {signal.name} lie outside {low:g}-{high:g} {signal.unit}: "
                "are they in that unit?"
            )
