"""What eICU tells of treatments: ventilation in ``respiratoryCare``, from start to end, and entries of the list ``treatment``.

An entry says that something was given when it was written, and nothing of when it began or ended; so there are ones and no zeros.
"""

from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events
from emerge_ehr.datasets.sources._raw import lasting
from emerge_ehr.datasets.sources._raw.raw_csv import collect, scan
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.datasets.sources.eicu.events import STAY, Served, inside_windows, on_calendar
from emerge_ehr.datasets.sources.eicu.items import item_table
from emerge_ehr.fields import UserError
from emerge_ehr.signals.items import Wanted

VENTILATION = "ventilation"  # the only item of respiratoryCare
WRITTEN = "respcarestatusoffset"
PERIODS = (("ventstartoffset", "ventendoffset"), ("priorventstartoffset", "priorventendoffset"))


def ventilation(path: Path, wanted: Wanted, served: Served, cohort: pl.DataFrame) -> Events:
    """Periods of ventilation, by the hour (``lasting``), from rows that were written before the end of the window.

    An offset of 0 means that there is none. A period without an end lasts until its row was written, and what comes then is not
    known; after an end the value is 0.
    """
    counts = RowCounts(STAY, served.known)
    codes = pl.LazyFrame({"code": [item.code for item in wanted.items]}, schema={"code": pl.String})
    columns = dict.fromkeys((STAY, WRITTEN, *(name for pair in PERIODS for name in pair)), pl.Int64)
    rows = counts.counting(scan(path, columns).join(codes, how="cross")).join(served.windows, on=STAY)
    written = collect(rows.filter(on_calendar(pl.col(WRITTEN)) < pl.col("window_end")), path).lazy()
    periods, told = [], on_calendar(pl.col(WRITTEN)).alias("told")
    for begun, ended in PERIODS:
        found = written.filter(pl.col(begun).fill_null(0) != 0)
        over = (pl.col(ended) > pl.col(begun)) & (pl.col(ended) != 0)
        end = pl.when(over).then(ended).otherwise(WRITTEN)
        start = on_calendar(pl.col(begun)).alias("start")
        periods.append(
            found.select("n", "code", start, on_calendar(end).alias("end"), pl.lit(1.0).alias("value"), told)
        )
        stop = on_calendar(pl.col(ended)).alias("start")
        after = on_calendar(pl.col(ended) + 60).alias("end")
        periods.append(found.filter(over).select("n", "code", stop, after, pl.lit(0.0).alias("value"), told))
    nobody = pl.LazyFrame(schema={"n": pl.UInt32, "code": pl.String, "told": pl.Datetime("us")})
    frame = lasting.hourly(pl.concat(periods), cohort, nobody)
    return Events(path, frame, read=counts.read, orphans=counts.orphans, tells_later=True)


def entries(path: Path, wanted: Wanted, served: Served) -> Events:
    """A 1 when an entry was written that is an item, or that begins with an item ending in ``*``."""
    counts = RowCounts(STAY, served.known)
    text, items = pl.col("treatmentstring").str.strip_chars().str.to_lowercase(), item_table(wanted)
    of_item = [
        pl.when(text.str.starts_with(name[:-1]) if name.endswith("*") else text == name).then(pl.lit(code))
        for name, code in items.select("item", "code").rows()
    ]
    columns = {STAY: pl.Int64, "treatmentoffset": pl.Int64, "treatmentstring": pl.String}
    rows = scan(path, columns).select(STAY, "treatmentoffset", pl.concat_list(of_item).list.drop_nulls().alias("code"))
    rows = rows.filter(pl.col("code").list.len() > 0).explode("code", empty_as_null=True).unique()
    events = inside_windows(counts.counting(rows), "treatmentoffset", served)
    frame = events.select("n", "event_time", "code", pl.lit(1.0).alias("value"))
    return Events(path, frame, read=counts.read, orphans=counts.orphans)


def check(wanted: Wanted) -> None:
    """Refuse items of ``respiratoryCare`` that it does not have.

    Raises:
        UserError: there is one.
    """
    for item in wanted.of("respiratoryCare").items:
        if item.name.lower() != VENTILATION:
            raise UserError(f"[source] signals: item 'respiratoryCare:{item.name}' is unknown; there is {VENTILATION}")
