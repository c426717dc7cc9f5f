"""Infusions and procedures of MIMIC, which last from a start to an end: rates, and whether something is given or done at all."""

from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._mimic import given
from emerge_ehr.datasets.sources._mimic.items import ids, item_table
from emerge_ehr.datasets.sources._raw import lasting
from emerge_ehr.datasets.sources._raw.number_fields import decimal
from emerge_ehr.datasets.sources._raw.raw_csv import collect, header
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.signals import unit_forms, units
from emerge_ehr.signals.items import Wanted
from emerge_ehr.storage.ids import stated
from emerge_ehr.storage.times import strict_time

DROPS = {"unit_unknown": "in a unit that the signal does not have", "backwards": "whose end is not after their start"}


def running(path: Path, read: Wanted, cohort: pl.DataFrame, match: Match, stay_id: str) -> Events:
    """What is infused or done, by the hour (``lasting``); the rows of another stay or admission are passed over.

    ``stay_id``: what the file calls the id of a stay. A signal whose unit says what
    its numbers mean ("0 not given, 1 given") is 1 while an item of it runs; any other is the item's rate. Hours in which nothing
    runs are 0 for samples of which the file has a row that begins before the end of the window, and missing while a row runs that
    cannot be read. Rows that others correct are passed over.
    """
    counts, rows = (
        RowCounts(),
        _rows(path, stay_id if match == "stay_id" else match).rename({stay_id: "stay_id"}, strict=False),
    )
    samples = cohort.lazy().select(pl.col(match).cast(pl.Int64), "n", "window_end")
    times = (strict_time(name) for name in ("starttime", "endtime"))
    rows = rows.with_columns(*times).rename({"starttime": "start", "endtime": "end"})
    begun = rows.join(samples, on=match).filter(pl.col("start") < pl.col("window_end"))
    told = begun.group_by("n").agg(pl.col("start").min().alias("told"))
    codes = pl.LazyFrame({"code": sorted({item.code for item in read.items})}, schema={"code": pl.String})
    charted = collect(told, path).lazy().join(codes, how="cross")
    wanted = rows.filter(pl.col("itemid").is_in(ids(read))).join(item_table(read).lazy(), on="itemid")
    # few rows, read here once: what follows takes them twice
    periods = collect(counts.counting(wanted).join(samples, on=match).with_columns(decimal("rate")), path).lazy()
    flags = [signal.name for signal in read.signals if unit_forms.FLAG.fullmatch(signal.unit)]
    code, flag = pl.col("code"), pl.col("code").is_in(flags)
    own = (pl.col("scale"), pl.col("offset"))
    value = units.converted(pl.col("rate"), code, pl.col("rateuom"), own, read.signals)
    unknown = ~flag & ~units.is_known(code, pl.col("rateuom"), read.signals)
    periods = periods.with_columns(
        pl.when(flag).then(1.0).otherwise(value).alias("value"),
        unknown.alias("unit_unknown"),
        (pl.col("end") <= pl.col("start")).fill_null(value=True).alias("backwards"),
        pl.col("start").alias("told"),
    )
    wrong = pl.col("unit_unknown") | pl.col("backwards") | pl.col("value").is_null()
    left_out = periods.filter(wrong).select("n", pl.col("start").alias("event_time"), "code", "value", "told", *DROPS)
    lasts = ("n", "code", "start", "end", "value", "told")
    kept = lasting.hourly(periods.filter(~wrong).select(lasts), cohort, charted)
    unread = periods.filter(wrong & ~pl.col("backwards")).with_columns(pl.lit(1.0).alias("value")).select(lasts)
    unread = lasting.hourly(unread, cohort, charted.clear()).select(
        "n", "code", "event_time", pl.lit(value=True).alias("unread")
    )
    kept = kept.join(unread, on=["n", "code", "event_time"], how="left")
    kept = kept.filter((pl.col("value") > 0) | pl.col("unread").is_null()).drop("unread")
    kept = kept.with_columns(pl.lit(value=False).alias(name) for name in DROPS)
    frame = pl.concat([kept.select("n", "event_time", "code", "value", "told", *DROPS), left_out])
    return Events(path, frame, drops=DROPS, read=counts.read, tells_later=True)


def _rows(path: Path, key: str) -> pl.LazyFrame:
    """The rows with the id ``key``, ``itemid`` and the texts ``starttime, endtime, rate, rateuom``, which procedures lack."""
    names = {name.lower() for name in header(path)}
    texts = ("starttime", "endtime", "rate", "rateuom")
    there = [name for name in texts if name in names or not name.startswith("rate")]
    rows = given.rows(path, ("itemid", key), there).filter(~pl.col("corrected")).drop("corrected")
    return rows.with_columns(stated(key), *(pl.lit(None, pl.String).alias(name) for name in texts if name not in there))
