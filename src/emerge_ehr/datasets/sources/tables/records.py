"""When a record begins and ends: by ``cohort.csv`` or, without it, by the times of the measurements and of the outcome."""

from collections.abc import Collection
from datetime import timedelta

import polars as pl

from emerge_ehr.datasets import dates
from emerge_ehr.fields import plural

STAY_TIMES = {"intime": "window_start", "outtime": "window_end", "admittime": "intime", "dischtime": "outtime"}
ENDS = ("outtime", "dischtime")  # a date stands for the end of that day; the end of a window is a time, and exclusive
DAY, INSTANT = timedelta(days=1), timedelta(seconds=1)


def span(rows: pl.LazyFrame) -> pl.LazyFrame:
    """``patient_id, window_start, window_end`` of each record in ``rows`` (``patient_id, event_time, dated``).

    A record lasts from the first measurement to just after the last. If these have a date only, it begins with the first day and
    ends with the last.
    """
    time, day = pl.col("event_time"), pl.col("event_time").dt.truncate("1d")
    timed, dated = ~pl.col("dated"), pl.col("dated")
    ends = rows.group_by("patient_id").agg(
        time.filter(timed).min().alias("first"),
        time.filter(timed).max().alias("last"),
        day.filter(dated).min().alias("first_day"),
        day.filter(dated).max().alias("last_day"),
    )
    same_day = (pl.col("first").dt.date() == pl.col("first_day").dt.date()).fill_null(value=False)
    start = pl.when(same_day).then("first").otherwise(pl.min_horizontal("first", "first_day"))
    end = pl.max_horizontal(pl.col("last") + INSTANT, pl.col("last_day") + DAY)
    return ends.select("patient_id", start.alias("window_start"), end.alias("window_end"))


def until_outcome(records: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The records, each of which ends at the latest when the first of its outcomes (``labels``) was known.

    An outcome from before the record does not shorten it: ``convert`` leaves that out, and counts it.
    """
    timed = labels.join(records.select("patient_id", "window_start"), on="patient_id")
    within = timed.filter(pl.col("label_time") >= pl.col("window_start"))
    known = within.group_by("patient_id").agg(pl.col("label_time").min().alias("known"))
    joined = records.join(known, on="patient_id", how="left", maintain_order="left")
    shorter = (
        pl.col("known").is_between(pl.col("window_start"), pl.col("window_end"), closed="none").fill_null(value=False)
    )
    # an outcome at the time of the only measurement: nothing of the record was known before it
    shorter |= (pl.col("known") == pl.col("window_start")).fill_null(value=False)
    end = pl.when(shorter).then("known").otherwise("window_end").alias("window_end")
    return joined.with_columns(end).drop("known")


def stay_times(stays: pl.DataFrame) -> pl.DataFrame:
    """Fill null ``intime, outtime`` from the window, then null ``admittime, dischtime`` from these, and drop the window."""
    for name, other in STAY_TIMES.items():
        stays = stays.with_columns(pl.coalesce(name, other).alias(name))
    return stays.drop("window_start", "window_end")


def with_whole_days(stays: pl.DataFrame, known: Collection[str] | None) -> tuple[pl.DataFrame, int, list[str]]:
    """Move the ends of stays that are dates to the end of that day, count the stays, and name the columns that hold dates alone.

    Each of ``ENDS`` has ``<name> bare``. ``known``: the columns that hold dates, as a finished run knows them. As the end of a
    stay is exclusive, that of a day is midnight.
    """
    moved = pl.lit(value=False)
    whole = []
    for name in ENDS:
        filled = stays.filter(pl.col(name).is_not_null())
        found = bool(filled.height and filled.select(dates.is_midnight(name).all()).item())
        always = found if known is None else name in known
        whole += [name] if always else []
        day = dates.is_midnight(name) & (pl.col(f"{name} bare") | always)
        stays = stays.with_columns(day.alias(f"{name} bare"))
        moved |= pl.col(f"{name} bare")
    count = int(stays.select(moved.sum()).item())
    for name in ENDS:
        stays = stays.with_columns(pl.when(f"{name} bare").then(pl.col(name) + DAY).otherwise(name).alias(name))
    return stays.drop(f"{name} bare" for name in ENDS), count, whole


def strangers(lost: pl.DataFrame, file: str, other: str) -> list[str]:
    """A warning of the patients in ``lost`` (``patient_id, rows``), who are in ``file`` but not in ``other``; [] if none is."""
    if not lost.height:
        return []
    count, first = int(lost["rows"].sum()), lost["patient_id"].sort()[0]
    return [
        f"{file}: left out: {plural(count, 'row')} of {plural(lost.height, 'patient who is', 'patients who are')} not in "
        f"{other}, first: '{first}'"
    ]
