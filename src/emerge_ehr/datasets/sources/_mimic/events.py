"""Turns chart and lab rows of MIMIC-III and IV into lazy frames of measurements in canonical units."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._mimic.items import ids, item_table, score_table, usual_units
from emerge_ehr.datasets.sources._raw.number_fields import with_bounds_as_text
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.signals import numbers, readings, units
from emerge_ehr.signals.items import RANKS, Wanted
from emerge_ehr.storage.times import day_end, has_no_time_of_day, strict_time

# Height and weight from the admission form carry a time shortly before the ICU admission.
EARLY_SIGNALS, EARLY = ("height", "weight"), timedelta(hours=24)
# Boolean columns of the frames, and what they mean
ERROR, PERSON = {"in_error": "marked as errors in the file"}, {"other_person": "of another person than the stay's"}
ADMISSION = {"other_admission": "of another admission than the stay's"}
UNIT = {"unit_unknown": "in a unit that the signal does not have"}
BY_TIME = "matched by person and time, having no id of the {}"
REPAIRS = {
    "from_text": "numbers taken from the text, having none in valuenum",
    "dated": "dates without a time of day, taken as the end of the day",
    "other_unit": "converted from another unit than the item's",
    **readings.BOUND,
    **readings.ONE_PLAUSIBLE,
}


def chart(path: Path, rows: pl.LazyFrame, read: Wanted, cohort: pl.DataFrame, match: Match, stays: pl.Series) -> Events:
    """Measurements from chart rows; a score in words becomes its number.

    ``rows`` has ``subject_id, hadm_id, stay_id, itemid, in_error`` and the texts ``charttime, value, valuenum, valueuom``, and is
    matched by the id that ``match`` names. Where it is blank, they are matched by time and person or, where they name none, by
    the other id, unless they name another admission. ``stays``: the ``stay_id`` of all stays, in the cohort or not.
    """
    counts = RowCounts("stay_id", stays)
    events = _matched(_wanted(rows, read, counts), cohort, match)
    events = events.with_columns(pl.col("in_error").fill_null(value=False)).join(
        score_table().lazy(), on=["code", "text"], how="left"
    )
    frame = _in_signals_unit(with_early_at_start(events), read)
    repairs = {"by_time": BY_TIME.format("stay" if match == "stay_id" else "admission"), **REPAIRS}
    return Events(
        path,
        frame,
        drops={**ERROR, **PERSON, **ADMISSION, **UNIT, **readings.DISAGREE},
        repairs=repairs,
        read=counts.read,
        orphans=counts.orphans,
    )


def labs(path: Path, rows: pl.LazyFrame, read: Wanted, cohort: pl.DataFrame) -> Events:
    """Measurements from lab rows, matched by person and time.

    ``rows`` has ``subject_id, hadm_id, itemid`` and, as text, ``charttime, value, valuenum, valueuom, comments``. Rows of another
    admission are left out; rows without ``hadm_id`` (a tenth in MIMIC) are kept and counted. Where MIMIC-IV has no value, the
    comment may begin with a bound: ``GREATER THAN 500.  VERIFIED.``
    """
    counts = RowCounts()
    own = pl.col("hadm_id").cast(pl.Int64).alias("own_hadm_id")
    samples = cohort.lazy().select(pl.col("subject_id").cast(pl.Int64), "n", own)
    whose = cohort.lazy().select(pl.col("hadm_id", "subject_id").cast(pl.Int64)).unique()
    events = _wanted(rows, read, counts).join(whose.rename({"subject_id": "of_admission"}), on="hadm_id", how="left")
    # an admission is one person's, whomever the row names, or if it names nobody
    other = (pl.col("subject_id") != pl.col("of_admission")).fill_null(value=False)
    events = events.with_columns(
        other.alias("other_person"), pl.coalesce("of_admission", "subject_id").alias("subject_id")
    )
    events = events.join(samples, on="subject_id")
    remark = pl.col("comments").str.strip_chars()
    by_remark = (
        pl.col("valuenum").is_null()
        & ~numbers.is_bound(pl.col("text"), read.signals)
        & numbers.is_bound(remark, read.signals)
    )
    events = events.with_columns(
        pl.when(by_remark).then(remark).otherwise("text").alias("text"),
        pl.lit(None, pl.Float64).alias("score"),
        pl.col("hadm_id").is_null().alias("by_time"),
        (pl.col("hadm_id") != pl.col("own_hadm_id")).fill_null(value=False).alias("other_admission"),
    )
    repairs = {"by_time": BY_TIME.format("admission"), **REPAIRS}
    return Events(
        path,
        _in_signals_unit(events, read),
        drops={**PERSON, **ADMISSION, **UNIT, **readings.DISAGREE},
        repairs=repairs,
        read=counts.read,
        orphans=counts.orphans,
    )


def _wanted(rows: pl.LazyFrame, read: Wanted, counts: RowCounts) -> pl.LazyFrame:
    """The rows of items that are ``read``, with the columns of ``item_table``, and ``event_time, dated, text`` instead of
    ``charttime, value``.

    Texts are parsed or copied first, because one that is as it was read keeps its whole block of the file in memory in a join.
    """
    selected = rows.filter(pl.col("itemid").is_in(ids(read)))
    time, dated = strict_time("charttime"), has_no_time_of_day(pl.col("charttime"))
    time = pl.when(dated).then(day_end(time)).otherwise(time).alias("event_time")
    selected = selected.with_columns(time, dated.alias("dated")).drop("charttime")
    selected = with_bounds_as_text(selected, "valuenum", "value")
    selected = selected.with_columns(pl.col("value").str.strip_chars().str.to_lowercase().alias("text")).drop("value")
    return counts.counting(selected.join(item_table(read).lazy(), on="itemid"))


def _matched(events: pl.LazyFrame, cohort: pl.DataFrame, match: Match) -> pl.LazyFrame:
    """The events of the cohort's samples, with ``n, window_start, by_time, other_person, other_admission``.

    A row without the id ``match`` is placed by its time among the samples of its person or, where it names none, of the other id.
    """
    other: Match = "hadm_id" if match == "stay_id" else "stay_id"
    own = cohort.lazy().select(
        pl.col(name).cast(pl.Int64).alias(f"own_{name}") for name in ("subject_id", "hadm_id", "stay_id")
    ).with_columns(cohort.select("n", "window_start", "window_end").get_columns())  # fmt: skip
    ids = ("subject_id", "hadm_id")
    by_id = own.select(pl.col(f"own_{match}").alias(match), "n", "window_start", *(f"own_{name}" for name in ids))
    nameless = pl.col(match).is_null()
    events = events.join(by_id, on=match, how="left")
    events = events.with_columns(
        pl.when(nameless).then("subject_id").alias("person"),
        pl.when(nameless & pl.col("subject_id").is_null()).then(other).alias("other"),
    )
    for key, name in (("person", "subject_id"), ("other", other)):
        placed = own.select(
            pl.col(f"own_{name}").alias(key),
            pl.col("n").alias(f"{key}_n"),
            pl.col("window_start").alias(f"{key}_start"),
            pl.col("window_end").alias(f"{key}_end"),
            pl.col("own_hadm_id").alias(f"{key}_hadm_id"),
        )
        events = events.join(placed, on=key, how="left")
    # a row of no sample at all, or of another time, leaves here
    found = pl.col("n").is_not_null()
    for key in ("person", "other"):
        time = pl.col("event_time").is_between(pl.col(f"{key}_start") - EARLY, f"{key}_end", closed="left")
        found |= time.fill_null(value=False)
    placed_in = pl.coalesce("own_hadm_id", "person_hadm_id", "other_hadm_id")
    elsewhere = (pl.col("hadm_id") != placed_in).fill_null(value=False)
    return events.filter(found).with_columns(
        pl.coalesce("n", "person_n", "other_n").alias("n"),
        pl.coalesce("window_start", "person_start", "other_start").alias("window_start"),
        nameless.alias("by_time"),
        (pl.col("subject_id") != pl.col("own_subject_id")).fill_null(value=False).alias("other_person"),
        elsewhere.alias("other_admission"),
    )


def with_early_at_start(events: pl.LazyFrame) -> pl.LazyFrame:
    """Move heights and weights from up to ``EARLY`` before the window to its start, where the latest of them has the lowest rank.

    ``events`` has ``code, event_time, window_start, rank``.
    """
    before = pl.col("window_start") - pl.col("event_time")
    early = before.is_between(timedelta(0), EARLY) & pl.col("code").is_in(EARLY_SIGNALS)
    rank = pl.col("rank").cast(pl.UInt32)
    return events.with_columns(
        pl.when(early).then("window_start").otherwise("event_time").alias("event_time"),
        pl.when(early)
        .then(rank + RANKS * before.dt.total_seconds().cast(pl.UInt32, strict=False))
        .otherwise(rank)
        .alias("rank"),
    )


def _in_signals_unit(events: pl.LazyFrame, read: Wanted) -> pl.LazyFrame:
    """The columns of ``Events.frame``, of ``valuenum``, ``text``, its ``score`` and ``valueuom``.

    Values are in the unit that the text of a bound states, else in the row's, else in the item's.
    """
    # Nearly all rows state the item's usual unit: only the others' texts are taken apart.
    usual = pl.concat_str(pl.col("itemid").cast(pl.String), "valueuom", separator="\t").is_in(usual_units(read))
    unit = pl.when(~usual.fill_null(value=True)).then("valueuom")
    # and nearly all texts repeat the number, or are words of a score
    repeated = pl.col("text").cast(pl.Float64, strict=False) == pl.col("valuenum")
    text = pl.when(~repeated.fill_null(value=False) & pl.col("score").is_null()).then("text")
    code, own, parts = pl.col("code"), (pl.col("scale"), pl.col("offset")), pl.col("parsed").struct
    written = pl.coalesce(pl.when(pl.col("valuenum").is_null()).then("score"), parts.field("number"))
    events = events.with_columns(
        unit.alias("number_unit"), numbers.parsed(text, read.signals).alias("parsed")
    ).with_columns(
        pl.coalesce(parts.field("unit"), "number_unit").alias("text_unit"),
        numbers.as_written(written, text, code, read.signals).alias("written"),
        numbers.as_written(pl.col("valuenum"), text, code, read.signals).alias("shown"),
        parts.field("bound"),
    )
    events = events.with_columns(
        units.converted(pl.col("shown"), code, pl.col("number_unit"), own, read.signals).alias("number"),
        units.converted(pl.col("written"), code, pl.col("text_unit"), own, read.signals).alias("sent"),
    )
    # where the unit of a row was changed with its number, the text may have stayed in the item's
    unchanged = pl.col("written") * own[0] + own[1]
    same = ((unchanged - pl.col("number")).abs() <= readings.ROUNDED * pl.col("number").abs()).fill_null(value=False)
    sent = pl.when(same).then(unchanged).otherwise("sent")
    reading = readings.read(pl.col("number"), sent, code, readings.ROUNDED, read.signals)
    by_text = reading.by_text & pl.col("written").is_not_null()
    counting = pl.when(by_text).then("text_unit").otherwise("number_unit")
    events = events.with_columns(units.factors(code, counting, read.signals).alias("factors"))
    stated, scale, offset = (pl.col("factors").struct.field(name) for name in ("stated", "scale", "offset"))
    other = scale.is_not_null() & ((scale != pl.col("scale")) | (offset != pl.col("offset")))
    absent = pl.col("valuenum").is_null() & pl.col("score").is_null() & pl.col("written").is_not_null()
    flags = {"in_error", "other_person", "other_admission", "by_time", "dated"} & set(events.collect_schema().names())
    return events.select(
        "n",
        "event_time",
        "code",
        reading.value.alias("value"),
        "rank",
        (stated & scale.is_null()).alias("unit_unknown"),
        other.fill_null(value=False).alias("other_unit"),
        reading.disagree.alias("disagree"),
        reading.one_plausible.alias("one_plausible"),
        (pl.col("bound") & (by_text | reading.agree)).alias("bound"),
        (absent & ~pl.col("bound")).alias("from_text"),
        *sorted(flags),
    )
