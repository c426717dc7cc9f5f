"""A stay as several samples: at each landmark, an hour of the stay, with what was known by then.

A stay that lasts 30 hours is, with the landmarks 6, 12, 24 and 48, a sample at the hours 6, 12 and 24: the measurements and notes
before that hour, and the stay's outcome. One network learns from all of them, and experts from those of each. All samples of a
person are in one split. After van Houwelingen 2007 (doi 10.1111/j.1467-9469.2006.00529.x).
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.datasets import timing
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.fields import plural
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.signals.hourly import Hourly
from emerge_ehr.storage.schema import LANDMARK

log = logging.getLogger(__name__)
Split = dict[str, list[str]]


def expand(
    tables: CheckedTables, split: Mapping[str, list[str]], hours: Sequence[int], times: Timing | None = None
) -> tuple[CheckedTables, Split]:
    """The tables and the split with a sample for each landmark that a stay reaches, in order of ``patient_id``.

    ``split`` is of the stays in ``tables``; a stay's samples are in the split of the stay. ``times``: the task's, whose labels
    depend on the landmark; without it a sample has the labels of its stay.
    """
    cohort = samples(tables.cohort.with_row_index("row"), hours)
    rows = cohort["row"].to_numpy()
    steps = cohort[LANDMARK].to_numpy() // tables.hourly.bin_hours
    reached = cohort.group_by(LANDMARK).len().sort(LANDMARK)
    log.info("landmarks: %s", ", ".join(f"hour {hour}: {plural(count, 'sample')}" for hour, count in reached.rows()))
    hourly = _until(tables.hourly, rows, steps)
    unmeasured = int(np.isnan(hourly.value).all(axis=(1, 2)).sum())
    warnings = [f"{unmeasured} of {len(rows)} samples have no measurement before their landmark"] if unmeasured else []
    cohort = timing.ended(cohort) if times else cohort
    label, mask = times.labels(cohort) if times else (tables.label[rows], tables.label_mask[rows])
    expanded = dataclasses.replace(
        tables,
        cohort=cohort.drop("row", "stay"),
        hourly=hourly,
        notes=notes(tables.notes, cohort),
        treatments=treatments(tables.treatments, cohort),
        label=label,
        label_mask=mask,
        warnings=[*tables.warnings, *warnings],
    )
    of_stay = {stay: own["patient_id"].to_list() for (stay,), own in cohort.group_by("stay", maintain_order=True)}
    return expanded, {
        part: sorted(sample for stay in stays for sample in of_stay.get(stay, [])) for part, stays in split.items()
    }


def samples(cohort: pl.DataFrame, hours: Sequence[int]) -> pl.DataFrame:
    """A row per stay of ``cohort`` and landmark that it reaches, in order of ``patient_id``, which names both.

    ``stay`` holds the stay's own id, ``landmark`` the hour; ``window_end`` is at that hour.

    >>> from datetime import datetime
    >>> times = {"window_start": [datetime(2150, 1, 1)], "window_end": [datetime(2150, 1, 1, 12)]}
    >>> samples(pl.DataFrame({"patient_id": ["7"], **times}), (6, 12, 24))["patient_id"].to_list()
    ['7@06h', '7@12h']
    """
    width = len(str(max(hours)))
    landmarks = pl.DataFrame({LANDMARK: sorted(hours)}, schema={LANDMARK: pl.Int64})
    end = pl.col("window_start") + pl.duration(hours=pl.col(LANDMARK))
    hour = pl.col(LANDMARK).cast(pl.String).str.zfill(width)
    named = pl.col("patient_id").alias("stay"), pl.concat_str("patient_id", pl.lit("@"), hour, pl.lit("h"))
    reached = cohort.join(landmarks, how="cross").filter(end <= pl.col("window_end"))
    return reached.with_columns(end.alias("window_end"), *named).sort("patient_id")


def stay_of(sample: str) -> str:
    """The id of the stay of a sample that ``samples`` named.

    >>> stay_of("7@06h")
    '7'
    """
    return sample.rpartition("@")[0]


def hour_of(sample: str) -> int:
    """The landmark of a sample that ``samples`` named.

    >>> hour_of("7@06h")
    6
    """
    return int(sample.rpartition("@")[2].removesuffix("h"))


def notes(written: pl.DataFrame, cohort: pl.DataFrame) -> pl.DataFrame:
    """The notes of each sample: those of its stay that were written before its landmark, or that carry no time.

    Surrogate notes, whose times mean nothing, are all samples'. ``cohort``: as ``samples`` gives it.
    """
    of_samples = cohort.select(pl.col("stay"), pl.col("patient_id").alias("sample"), "window_end")
    joined = written.join(of_samples, left_on="patient_id", right_on="stay", maintain_order="left_right")
    known = (pl.col("note_time") < pl.col("window_end")).fill_null(value=True) | (pl.col("note_type") == "surrogate")
    return joined.filter(known).with_columns(pl.col("sample").alias("patient_id")).select(written.columns)


def treatments(given: pl.DataFrame, cohort: pl.DataFrame) -> pl.DataFrame:
    """The treatments of each sample: those of its stay that were begun before its landmark, without an end after it."""
    of_samples = cohort.select(pl.col("stay"), pl.col("patient_id").alias("sample"), "window_end")
    joined = given.join(of_samples, left_on="patient_id", right_on="stay", maintain_order="left_right")
    known = joined.filter(pl.col("start_time") < pl.col("window_end"))
    end = pl.when(pl.col("end_time") < pl.col("window_end")).then("end_time").alias("end_time")
    return known.with_columns(end, pl.col("sample").alias("patient_id")).select(given.columns)


def _until(hourly: Hourly, rows: NDArray[np.int64], steps: NDArray[np.int64]) -> Hourly:
    """The series of the stays in ``rows`` [M], each up to so many ``steps`` [M]."""
    value = hourly.value[rows]
    value[np.arange(value.shape[1])[None, :] >= steps[:, None]] = np.nan
    return dataclasses.replace(hourly, value=value, length=np.minimum(hourly.length[rows], steps))
