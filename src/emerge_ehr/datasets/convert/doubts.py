"""What ``convert`` warns of: times that cannot be, signals and rows that are lost, and notes that give the outcome away."""

from collections.abc import Iterator, Sequence

import polars as pl

from emerge_ehr.config import Cohort
from emerge_ehr.datasets.convert import harmonise
from emerge_ehr.datasets.convert.cohort import FEW, Step
from emerge_ehr.datasets.convert.harmonise import Measured
from emerge_ehr.datasets.sources import Notes, Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.fields import plural
from emerge_ehr.signals import spelling

LONGEST_STAY = 730  # days from the first admission to the last discharge; longer ones give rise to a warning
NOT_FEW, NOT_SMALL = 10, 0.05  # rows of a signal in one file, and their share, that are not lost without a warning
CODED_NOTES = ("surrogate", "diagnosis")  # note types that are made from diagnosis codes


def of_times(labels: pl.DataFrame, stays: pl.DataFrame, rule: Cohort) -> list[str]:
    """Warnings of the times of stays, and of their outcomes."""
    return [*strange_times(stays), *late_windows(labels, stays, rule)]


def strange_times(stays: pl.DataFrame) -> Iterator[str]:
    """Warnings of discharge times that are missing, and of stays that are too long to be true."""
    ends = pl.max_horizontal("outtime", "dischtime") - pl.min_horizontal("intime", "admittime")
    if count := stays.filter(ends > pl.duration(days=LONGEST_STAY)).height:
        yield f"{plural(count, 'stay lasts', 'stays last')} longer than {LONGEST_STAY} days: are their times right?"
    if count := stays["dischtime"].null_count():
        yield f"{plural(count, 'stay has', 'stays have')} no time of discharge from the hospital: that from the ICU stands for it"


def excluded(flow: Sequence[Step]) -> Iterator[str]:
    """Warnings of records that cannot be true, where they are not few."""
    for step in flow:
        if step.doubtful and step.dropped_stays > FEW * flow[0].stays:
            yield f"{step.dropped_stays} of {flow[0].stays} are left out: {step.reason}; are the times and ids right?"


def early_outcomes(early: pl.DataFrame) -> Iterator[str]:
    """Warnings of outcomes (rows of ``label.csv``) that are left out, because they were known before the window's end."""
    for code, count in early.group_by("label_code").len().sort("label_code").rows():
        yield (
            f"{code}: {plural(count, 'outcome was', 'outcomes were')} known before the end of the observation window, and "
            "left out"
        )


def late_windows(labels: pl.DataFrame, stays: pl.DataFrame, rule: Cohort) -> list[str]:
    """A warning where many outcomes were known within an hour of the window's end, so that they are hardly predicted.

    With landmarks a stay has several windows, each of which ends at one.

    >>> from datetime import datetime
    >>> day = {"patient_id": ["7"], "window_start": [datetime(2150, 1, 1)], "window_end": [datetime(2150, 1, 1, 20)]}
    >>> death = pl.DataFrame({"patient_id": ["7"], "label_time": [datetime(2150, 1, 1, 20)]})
    >>> len(late_windows(death, pl.DataFrame(day), Cohort()))
    1
    >>> late_windows(death, pl.DataFrame(day), Cohort(min_stay_hours=6, landmarks=(6, 12)))
    []
    """
    windows = stays.select("patient_id", "window_start", "window_end")
    if rule.landmarks:
        end = pl.col("window_start") + pl.duration(hours="hour")
        judged = windows.join(pl.DataFrame({"hour": rule.landmarks}), how="cross").filter(end <= pl.col("window_end"))
        windows = judged.with_columns(window_end=end)
    timed = labels.join(windows, on="patient_id")
    close = timed.filter(pl.col("label_time") - pl.col("window_end") < pl.duration(hours=1)).height
    if not close or close < 0.1 * timed.height:
        return []
    which = "cohort.landmarks" if rule.landmarks else f"cohort.window = '{rule.window}'"
    return [
        f"{close} of {timed.height} outcomes were known within an hour of the end of their observation window "
        f"({which}): scores describe the past rather than predict"
    ]


def missing(source: Source, measured: Measured) -> Iterator[str]:
    """Warnings of signals that no sample has, or whose names are almost the same."""
    absent = sorted({signal.name for signal in source.signals()} - set(measured.rows["code"]))
    if absent:
        yield f"no sample has a measurement of {', '.join(absent)}"
    yield from spelling.alike([signal.name for signal in source.signals()])


def lost(measured: Measured) -> Iterator[str]:
    """A warning per file and reason for which much of a signal was dropped: something may be wrong with the file."""
    lost: dict[tuple[object, str], list[str]] = {}
    for row in measured.flow:
        counts = [(reason, count, row.in_windows) for reason, count in row.dropped.items()]
        counts.append((harmonise.ORPHANS, row.orphans, row.in_file or 0))  # of no stay, so in no window
        for reason, count, total in counts:
            usual = reason in (harmonise.TWICE, harmonise.OTHER, harmonise.DIFFERS)
            if not usual and count >= max(NOT_FEW, NOT_SMALL * total):
                lost.setdefault((row.table, reason), []).append(f"{count} of {total} of {row.signal}")
    for (table, reason), signals in lost.items():
        yield f"{table}: rows {reason}, left out: {', '.join(signals)}"


def of_notes(task: Task, notes: Notes) -> Iterator[str]:
    """Warnings of notes that are missing, or that give the labels away."""
    if notes.table.is_empty():
        yield "there are no notes: that modality is empty and masked"
    if task.from_codes and notes.table["note_type"].is_in(CODED_NOTES).any():
        yield "the notes name the codes that the labels are made of: scores with them mean nothing"
