"""Measurements that a file tells of later than their own time: the hours of a ventilation in a row that is written at its end.

For a sample that sees the whole window this is known in time, since sources leave out what was written after it. At a landmark
inside the window it may not be: with ``cohort.landmarks`` a row counts only if no landmark lies between its time and the time at
which it was told. So tables with such rows are those of their landmarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr.datasets.sources import Events
from emerge_ehr.fields import UserError

TOLD = "told"  # the column of ``Events.frame``
LATE = {"told_late": "told only after a landmark that they lie before"}
RECORDED = "told_by_landmarks"  # in provenance.json, where a file has the column: the landmarks


def marked(events: Sequence[Events], cohort: pl.DataFrame, landmarks: Sequence[int]) -> list[Events]:
    """The events without the column ``told``, and with the rows marked that are to be left out.

    >>> from datetime import datetime
    >>> start, at = datetime(2150, 1, 1), [datetime(2150, 1, 1, hour) for hour in (1, 7)]
    >>> cohort = pl.DataFrame({"n": [0], "window_start": [start]})
    >>> frame = pl.LazyFrame({"n": [0, 0], "event_time": at, "told": [datetime(2150, 1, 1, 8)] * 2})
    >>> (part,) = marked([Events(Path("a.csv"), frame, tells_later=True)], cohort, (6, 12))
    >>> part.frame.collect()["told_late"].to_list()
    [True, False]
    """
    return [_marked(part, cohort, landmarks) if part.tells_later else part for part in events]


def _marked(part: Events, cohort: pl.DataFrame, landmarks: Sequence[int]) -> Events:
    ends = [pl.col("window_start") + pl.duration(hours=hour) for hour in landmarks]
    late = pl.any_horizontal(
        pl.lit(value=False), *((pl.col("event_time") < end) & (pl.col(TOLD) >= end) for end in ends)
    )
    frame = part.frame.join(cohort.lazy().select("n", "window_start"), on="n").with_columns(
        late.fill_null(value=False).alias(*LATE)
    )
    return replace(part, frame=frame.drop("window_start", TOLD), drops={**part.drops, **LATE})


def refuse_other_landmarks(folder: Path, provenance: Mapping[str, Any], landmarks: Sequence[int]) -> None:
    """Raise UserError if the tables in ``folder`` have such rows, and were made for other landmarks."""
    made = provenance.get(RECORDED)
    if made is not None and made != list(landmarks):
        raise UserError(
            f"{folder}: converted for cohort.landmarks = {made}, now they are {list(landmarks)}; the files tell of some values "
            "only later: run --stage convert again with the same landmarks"
        )
