"""Turns eICU's minutes from unit admission into times, and its measurement tables into lazy frames of events in canonical units.

eICU holds no dates. Here every hospital admission begins at 2100-01-01 00:00:00: an event of a unit stay happened ``offset -
hospitaladmitoffset`` minutes later, so that all unit stays of one admission share one calendar. The times of
two admissions, even of one person, say nothing about their order.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._raw.number_fields import with_bounds_as_text
from emerge_ehr.datasets.sources._raw.raw_csv import scan
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.datasets.sources.eicu.items import LEADING_SCORE, codes_of_columns, item_table, score_table
from emerge_ehr.datasets.sources.eicu.results import DROPS, REPAIRS, UNIT_UNKNOWN, result_columns
from emerge_ehr.datasets.window import inside
from emerge_ehr.signals import numbers, readings, units
from emerge_ehr.signals.items import Wanted

HOSPITAL_ADMISSION = datetime(2100, 1, 1)
STAY = "patientunitstayid"
# A therapist's "1" may be litres of oxygen per minute, as 2, 3 and 4 in this cell are, or the fraction.
LITRES = {"litres": "an oxygen fraction of 1, which may be litres a minute"}


def on_calendar(offset: pl.Expr) -> pl.Expr:
    """Convert minutes from unit admission to a time, in a table that has the stay's ``hospitaladmitoffset``.

    >>> stays = pl.DataFrame({"hospitaladmitoffset": [-90], "unitdischargeoffset": [60]})
    >>> stays.select(on_calendar(pl.col("unitdischargeoffset"))).item()
    datetime.datetime(2100, 1, 1, 2, 30)
    """
    start = pl.lit(HOSPITAL_ADMISSION, dtype=pl.Datetime("us"))
    return start + pl.duration(minutes=offset - pl.col("hospitaladmitoffset"))


@dataclass(frozen=True)
class Served:
    """``known``: the ids of all unit stays. ``windows``: the samples that each unit stay belongs to, with columns
    ``patientunitstayid, hospitaladmitoffset, n, window_start, window_end``."""

    known: pl.Series
    windows: pl.LazyFrame


def serving(units: pl.DataFrame, cohort: pl.DataFrame, match: Match) -> Served:
    """Match unit stays to samples.

    ``units``: all unit stays, including those outside the cohort, with ``stay_id, hadm_id, hospitaladmitoffset``.
    """
    served = units.join(cohort.select(match, "n", "window_start", "window_end"), on=match)
    windows = served.select(STAY, "hospitaladmitoffset", "n", "window_start", "window_end").lazy()
    return Served(units[STAY], windows)


def inside_windows(rows: pl.LazyFrame, offset: str, served: Served) -> pl.LazyFrame:
    """Add ``n, event_time`` and drop rows outside the windows, which are most of a long stay, before other work is done."""
    events = rows.join(served.windows, on=STAY).with_columns(on_calendar(pl.col(offset)).alias("event_time"))
    return events.filter(inside())


def vitals(path: Path, wanted: Wanted, served: Served) -> Events:
    """The measurements of a table that has one column per signal, blank where it was not measured."""
    counts, codes = RowCounts(STAY, served.known), codes_of_columns(wanted)
    columns = {STAY: pl.Int64, "observationoffset": pl.Int64, **dict.fromkeys(codes, pl.Float64)}
    rows = counts.counting(scan(path, columns), codes)
    events = inside_windows(rows, "observationoffset", served).select("n", "event_time", *codes)
    events = events.unpivot(index=["n", "event_time"], variable_name="item", value_name="value")
    events = events.with_columns(pl.col("item").str.to_lowercase())
    events = events.filter(pl.col("value").is_not_null()).join(item_table(wanted).lazy(), on="item")
    value = pl.col("value") * pl.col("scale") + pl.col("offset")
    events = events.select("n", "event_time", "code", value.alias("value"), "rank")
    return Events(path, events, read=counts.read, orphans=counts.orphans)


def labs(path: Path, wanted: Wanted, served: Served) -> Events:
    """Laboratory results at the time when the specimen was drawn; a revised result is a second value at that time.

    A result is kept twice, as a number in the unit of the ICU's system and as the laboratory sent it (``results``).
    """
    counts = RowCounts(STAY, served.known)
    texts = ("labname", "labresult", "labresulttext", "labmeasurenamesystem", "labmeasurenameinterface")
    columns = {STAY: pl.Int64, "labresultoffset": pl.Int64, **dict.fromkeys(texts, pl.String)}
    named = scan(path, columns).with_columns(_named("labname"))
    rows = counts.counting(named.join(item_table(wanted, "labname").lazy(), on="labname"))
    events = inside_windows(rows, "labresultoffset", served).select(
        *("n", "event_time", "code", "scale", "offset", "rank"),
        *("labresult", "labresulttext", "labmeasurenamesystem", "labmeasurenameinterface"),
    )
    frame = result_columns(with_bounds_as_text(events, "labresult", "labresulttext"), wanted.signals)
    return Events(path, frame, drops=DROPS, repairs=REPAIRS, read=counts.read, orphans=counts.orphans)


def nurse_chart(path: Path, wanted: Wanted, served: Served) -> Events:
    """The nurses' charted values, which are text: a number, a bound, a score in words, or none of these (null).

    A charted GCS total counts where it differs from the sum of its parts (``harmonise``).
    """
    counts = RowCounts(STAY, served.known)
    cells = ("nursingchartcelltypevallabel", "nursingchartcelltypevalname")
    columns = {
        STAY: pl.Int64,
        "nursingchartoffset": pl.Int64,
        **dict.fromkeys([*cells, "nursingchartvalue"], pl.String),
    }
    charted = scan(path, columns).with_columns(
        pl.concat_str(*(_named(column) for column in cells), separator="|").alias("item")
    )
    rows = counts.counting(charted.join(item_table(wanted).lazy(), on="item"))
    events = inside_windows(rows, "nursingchartoffset", served)
    text = pl.col("nursingchartvalue").str.strip_chars().str.to_lowercase()
    events = events.with_columns(text.alias("text")).join(score_table().lazy(), on=["code", "text"], how="left")
    known = wanted.signals
    leading = pl.col("text").str.extract(LEADING_SCORE).cast(pl.Float64)
    number = pl.coalesce(numbers.number(pl.col("text"), known), leading, "score")
    unit = numbers.unit_of_bound(pl.col("text"), known)
    value = units.converted(number, pl.col("code"), unit, (pl.col("scale"), pl.col("offset")), known)
    events = events.select(
        "n",
        "event_time",
        "code",
        value.alias("value"),
        "rank",
        numbers.is_bound(pl.col("text"), known).alias("bound"),
        (~units.is_known(pl.col("code"), unit, known)).alias("unit_unknown"),
    )
    return Events(path, events, "", UNIT_UNKNOWN, readings.BOUND, counts.read, counts.orphans)


def respiratory_chart(path: Path, wanted: Wanted, served: Served) -> Events:
    """What respiratory therapists charted as text, such as oxygen fractions: ``40``, ``40%``, ``0.4`` or ``>60``.

    Numbers of litres a minute that were written into the cell of a fraction are outside the plausible range; a bare 1 or 1.0 is
    left out.
    """
    counts, known = RowCounts(STAY, served.known), wanted.signals
    columns = {
        STAY: pl.Int64,
        "respchartoffset": pl.Int64,
        "respchartvaluelabel": pl.String,
        "respchartvalue": pl.String,
    }
    rows = scan(path, columns).with_columns(_named("respchartvaluelabel").alias("item"))
    events = inside_windows(counts.counting(rows.join(item_table(wanted).lazy(), on="item")), "respchartoffset", served)
    text, code = pl.col("respchartvalue").str.strip_chars(), pl.col("code")
    number = numbers.as_written(numbers.number(text, known), text, code, known)
    unit = numbers.unit_of_bound(text, known)
    events = events.select(
        "n",
        "event_time",
        "code",
        units.converted(number, code, unit, (pl.col("scale"), pl.col("offset")), known).alias("value"),
        "rank",
        numbers.is_bound(text, known).alias("bound"),
        (~units.is_known(code, unit, known)).alias("unit_unknown"),
        (code.is_in(numbers.fractions(known)) & numbers.is_bare_one(text)).alias("litres"),
    )
    return Events(
        path, events, drops={**LITRES, **UNIT_UNKNOWN}, repairs=readings.BOUND, read=counts.read, orphans=counts.orphans
    )


def _named(column: str) -> pl.Expr:
    """The names of results in lower case and without blanks around them, as the tables of items have them."""
    return pl.col(column).str.strip_chars().str.to_lowercase()


def admission(path: Path, wanted: Wanted, units: pl.DataFrame, served: Served) -> Events:
    """Height and weight at unit admission. A value from before the window counts at its start; of several, the latest does."""
    codes = codes_of_columns(wanted)
    measured = units.select(STAY, pl.lit(0).alias("unitadmitoffset"), *codes).rename(dict(codes))
    long = measured.unpivot(index=[STAY, "unitadmitoffset"], variable_name="code", value_name="value")
    long = long.filter(pl.col("value").is_not_null())
    rows = served.windows.collect().join(long, on=STAY)
    rows = rows.with_columns(on_calendar(pl.col("unitadmitoffset")).alias("admitted"))
    rows = rows.drop_nulls("admitted").sort("n", "admitted", "value")
    rows = rows.with_columns(pl.max_horizontal("admitted", "window_start").alias("event_time"))
    latest = rows.unique(["n", "event_time", "code"], keep="last", maintain_order=True)
    read = Counter({str(code): count for code, count in long.group_by("code").len().rows()})
    return Events(path, latest.select("n", "event_time", "code", "value").lazy(), read=read)
