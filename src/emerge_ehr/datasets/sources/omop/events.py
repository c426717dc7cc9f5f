"""Turns rows of ``measurement`` and ``observation`` into lazy frames of measurements in the signals' units."""

from collections.abc import Collection

import polars as pl

from emerge_ehr.datasets import dates
from emerge_ehr.datasets.dates import Dates
from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._mimic.events import with_early_at_start
from emerge_ehr.datasets.sources._mimic.items import score_table
from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.concepts import Meanings
from emerge_ehr.datasets.sources.omop.tables import ID, NUMBER, TEXT, TIME, Tables
from emerge_ehr.datasets.window import inside
from emerge_ehr.signals import numbers, readings, units
from emerge_ehr.storage.ids import stated
from emerge_ehr.storage.times import day_end

# Column here -> in measurement, in observation
COLUMNS = {
    "person_id": (ID, "person_id", "person_id"),
    "concept_id": (ID, "measurement_concept_id", "observation_concept_id"),
    "date": (TIME, "measurement_date", "observation_date"),
    "datetime": (TIME, "measurement_datetime", "observation_datetime"),
    "operator_concept_id": (ID, "operator_concept_id", "operator_concept_id"),
    "value_as_number": (NUMBER, "value_as_number", "value_as_number"),
    "value_as_concept_id": (ID, "value_as_concept_id", "value_as_concept_id"),
    "value_as_string": (TEXT, "value_as_string", "value_as_string"),
    "value_source_value": (TEXT, "value_source_value", "value_source_value"),
    "unit_concept_id": (ID, "unit_concept_id", "unit_concept_id"),
    "unit_source_value": (TEXT, "unit_source_value", "unit_source_value"),
    "visit_occurrence_id": (ID, "visit_occurrence_id", "visit_occurrence_id"),
    "visit_detail_id": (ID, "visit_detail_id", "visit_detail_id"),
}
NEEDED = ("person_id", "concept_id", "date")
TABLES = ("measurement", "observation")
LISTED, LONGEST = 10, 60  # concepts that no signal has: how many are listed, and the characters of a name
LESS, GREATER = (4171754, 4171756), (4171755, 4172704)  # the operators <= and <, >= and >
DROPS = {
    "other_sample": "of another stay or admission in the window",
    "unit_unknown": "in a unit that the signal does not have",
    "no_unit": "without a unit, which the signal needs",
}
REPAIRS = {
    "anonymous": "matched by person and time, having no id of the stay or admission",
    "dated": "dates without a time of day, taken as the end of the day",
    "other_unit": "converted from another unit",
    "from_text": "numbers taken from the text, having none in value_as_number",
    **readings.BOUND,
}
FRAME = ("n", "event_time", "code", "value", "rank", *DROPS, *REPAIRS)


def rows(tables: Tables, name: str, meanings: Meanings) -> pl.LazyFrame:
    """The rows of a table whose concepts are measured, in the columns of ``COLUMNS`` and with ``event_time, dated``."""
    place = TABLES.index(name) + 1
    columns = {str(names[place]): names[0] for names in COLUMNS.values()}
    needed = [str(COLUMNS[column][place]) for column in NEEDED]
    only = {str(COLUMNS["concept_id"][place]): meanings.measured["concept_id"].to_list()}
    frame = tables.scan(name, columns, needed, only)
    frame = frame.rename({str(names[place]): column for column, names in COLUMNS.items()})
    time = pl.coalesce("datetime", day_end(pl.col("date"))).alias("event_time")
    return frame.with_columns(time, pl.col("datetime").is_null().alias("dated")).drop("datetime", "date")


def unmapped(tables: Tables, meanings: Meanings) -> dict[str, int]:
    """How many rows of ``measurement`` have concepts that no signal has, and of which ``LISTED`` concepts there are most.

    A hospital's own concept of a signal, which ``source.concepts`` could name, stands among them.
    """
    ids = tables.scan("measurement", {"measurement_concept_id": ID}, ("measurement_concept_id",))
    ids = ids.rename({"measurement_concept_id": "concept_id"})
    every = ids.group_by("concept_id").agg(pl.len().alias("rows"))
    others = collect(every.join(meanings.measured.lazy(), on="concept_id", how="anti"), tables.path("measurement"))
    if others.is_empty():
        return {}
    most = others.sort("rows", "concept_id", descending=[True, False]).head(LISTED)
    most = most.join(concepts.names(tables, most["concept_id"]), on="concept_id", how="left", maintain_order="left")
    counts = {
        f"rows of measurement not read, of {others.height} concepts that no signal has": int(others["rows"].sum())
    }
    for concept, rows_of, name in most.select("concept_id", "rows", "concept_name").iter_rows():
        said = f" ({' '.join(name.split())[:LONGEST]})" if name else ""
        counts["... without a concept" if concept is None else f"... of concept {concept}{said}"] = rows_of
    return counts


def dated(tables: Tables, meanings: Meanings) -> tuple[Dates, list[int]]:
    """Which concepts have dates rather than times: what the user is told of them, and their ids."""
    counted = [
        collect(
            rows(tables, name, meanings).filter(~pl.col("dated")).group_by("concept_id").agg(dates.counted()),
            tables.path(name),
        )
        for name in TABLES
        if tables.has(name)
    ]
    labels = meanings.measured.select("concept_id", pl.format("{} ({})", "code", "concept_id").alias("label"))
    every = pl.concat(counted).group_by("concept_id").sum().join(labels, on="concept_id")
    found = dates.found(every.select(pl.col("label").alias("code"), "timed", "midnights", "bare"))
    return found, every.filter(pl.col("label").is_in(list(found.codes)))["concept_id"].to_list()


def events(
    tables: Tables,
    name: str,
    meanings: Meanings,
    cohort: pl.DataFrame,
    match: Match,
    details: pl.DataFrame,
    midnights: Collection[int],
) -> Events:
    """The measurements of the cohort in one table, matched by person and time.

    A row whose stay or admission is not the sample's is left out. ``details``: ``visit_detail_id, stay_id`` of the ICU stays;
    ``midnights``: concepts with dates rather than times.
    """
    counts = RowCounts()
    windows = cohort.lazy().select(
        pl.col("subject_id").cast(ID).alias("person_id"),
        "n",
        "window_start",
        "window_end",
        pl.col("hadm_id").cast(ID, strict=False).alias("our_hadm_id"),
        pl.col("stay_id").cast(ID, strict=False).alias("our_stay_id"),
    )
    matched = rows(tables, name, meanings).join(meanings.measured.lazy(), on="concept_id")
    matched = counts.counting(matched)
    if midnights:
        moved = pl.when(pl.col("concept_id").is_in(list(midnights))).then(day_end(pl.col("event_time")))
        matched = matched.with_columns(moved.otherwise("event_time").alias("event_time"))
    # most rows are dropped here, before their texts are processed
    matched = with_early_at_start(matched.join(windows, on="person_id")).filter(inside())
    ids = ("visit_occurrence_id", "visit_detail_id", "unit_concept_id", "value_as_concept_id")
    matched = matched.with_columns(map(stated, ids))
    matched = matched.join(details.lazy().rename({"stay_id": "of_stay"}), on="visit_detail_id", how="left")
    same = (pl.col("visit_occurrence_id") == pl.col("our_hadm_id")).fill_null(value=True)
    anonymous = pl.col("visit_occurrence_id").is_null()
    if match == "stay_id":
        same = (pl.col("of_stay") == pl.col("our_stay_id")).fill_null(same)
        anonymous &= pl.col("of_stay").is_null()
    flagged = matched.with_columns((~same).alias("other_sample"), anonymous.alias("anonymous"))
    frame = _with_values(flagged, meanings).select(FRAME)
    return Events(tables.path(name), frame, name, DROPS, REPAIRS, counts.read)


def _above() -> pl.Expr:
    """1 where the value lies above the limit of a signal that is read as above or not, else 0; null where a bound tells neither
    (as ``codes.Unit.of_bound``)."""
    number, limit, operator = (pl.col(name) for name in ("value_as_number", "above", "operator_concept_id"))
    return (
        pl.when(operator.is_in(GREATER))
        .then(pl.when(number >= limit).then(pl.lit(1.0, NUMBER)))
        .when(operator.is_in(LESS))
        .then(pl.when(number <= limit).then(pl.lit(0.0, NUMBER)))
        .otherwise((number > limit).cast(NUMBER))
    )


def _with_values(rows: pl.LazyFrame, meanings: Meanings) -> pl.LazyFrame:
    """``FRAME`` of the rows: a number in its unit, else an answer or words of a score, else a number in the text.

    The number is what the hospital standardised, and counts before the text that it was made of. Its unit is the concept, else
    what the source wrote, else that of rows which state none, if the signal leaves no doubt.
    """
    code, wrote = pl.col("code"), pl.col("unit_source_value")
    text = pl.coalesce("value_as_string", "value_source_value").str.strip_chars().str.to_lowercase()
    rows = rows.join(meanings.units.lazy(), on="unit_concept_id", how="left")
    rows = rows.join(meanings.answers.lazy(), on=["loinc", "value_as_concept_id"], how="left").rename(
        {"score": "answer"}
    )
    rows = rows.with_columns(
        units.factors(code, pl.when(pl.col("unit").is_null()).then(wrote)).alias("written"),
        pl.when(pl.col("value_as_number").is_null() & pl.col("answer").is_null()).then(text).alias("text"),
    )
    rows = rows.join(score_table().lazy(), on=["code", "text"], how="left")
    written = pl.col("written").struct
    silent = pl.col("unit").is_null() & pl.col("unit_concept_id").is_null() & ~written.field("stated")
    rows = rows.with_columns(
        pl.coalesce("unit", pl.when(silent).then("own")).alias("unit"),
        pl.coalesce("answer", "score").alias("score"),
        numbers.parsed(pl.when(pl.col("score").is_null()).then("text")).alias("parsed"),
        silent.alias("silent"),
    ).join(meanings.factors.lazy(), on=["loinc", "unit"], how="left")
    parts = pl.col("parsed").struct
    rows = rows.with_columns(
        pl.coalesce("scale", written.field("scale")).alias("scale"),
        pl.coalesce("offset", written.field("offset")).alias("offset"),
        numbers.as_written(parts.field("number"), pl.col("text"), code).alias("shown"),
        parts.field("unit").alias("bounds_unit"),
    )
    scale, offset, by_score = (
        pl.col("scale"),
        pl.col("offset"),
        pl.col("value_as_number").is_null() & pl.col("score").is_not_null(),
    )
    sent = units.converted(pl.col("shown"), code, pl.col("bounds_unit"), (scale, offset))
    own = pl.when(pl.col("above").is_null()).then(pl.col("value_as_number") * scale + offset)
    value = pl.coalesce(own.otherwise(_above()), "score")
    shown = pl.when(pl.col("above").is_null() | pl.col("bounds_unit").is_not_null()).then(sent)
    by_number = pl.coalesce("value_as_number", "shown").is_not_null() & ~by_score
    operator = pl.col("operator_concept_id").is_in([*LESS, *GREATER]) & pl.col("value_as_number").is_not_null()
    bound = operator.fill_null(value=False) | (
        parts.field("bound").fill_null(value=False) & pl.col("value_as_number").is_null()
    )
    return rows.with_columns(
        pl.coalesce(value, shown.otherwise((pl.col("shown") > pl.col("above")).cast(NUMBER))).alias("value"),
        (by_number & scale.is_null() & ~pl.col("silent")).alias("unit_unknown"),
        (by_number & scale.is_null() & pl.col("silent")).alias("no_unit"),
        (by_number & ((scale != 1) | (offset != 0) | pl.col("above").is_not_null()))
        .fill_null(value=False)
        .alias("other_unit"),
        (pl.col("shown").is_not_null() & ~bound).alias("from_text"),
        bound.alias("bound"),
    )
