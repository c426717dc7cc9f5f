"""What a row of MEDS states: its number, the number in its text, and the signal's value that they give."""

import polars as pl

from emerge_ehr.signals import numbers, readings, units

REPAIRS = {
    "anonymous": "matched by person and time, having no id of the stay or admission",
    "other_unit": "converted from the unit that the row or its code names",
    **readings.BOUND,
    **readings.ONE_PLAUSIBLE,
}
DROPS = {
    "other_sample": "of another stay or admission in the window",
    "unit_unknown": "in a unit that the signal does not have",
    **readings.DISAGREE,
}
COLUMNS = ("n", "event_time", "code", "value", "rank", *DROPS, *REPAIRS)


def with_values(rows: pl.LazyFrame) -> pl.LazyFrame:
    """``COLUMNS`` of ``numeric_value``, ``text`` and its ``score``; a bound in the text may state its own unit."""
    repeated = pl.col("text").cast(pl.Float64, strict=False) == pl.col("numeric_value")
    text = pl.when(~repeated.fill_null(value=False) & pl.col("score").is_null()).then("text")  # of few rows
    code, own, parts = pl.col("code"), (pl.col("scale"), pl.col("offset")), pl.col("parsed").struct
    unit = pl.when(code.is_in(list(units.UNITS))).then(parts.field("unit")).alias("text_unit")
    written = pl.coalesce(pl.when(pl.col("numeric_value").is_null()).then("score"), parts.field("number"))
    shown, written = (numbers.as_written(value, text, code) for value in (pl.col("numeric_value"), written))
    rows = rows.with_columns(numbers.parsed(text).alias("parsed")).with_columns(unit, parts.field("bound"))
    rows = rows.with_columns(
        (shown * own[0] + own[1]).alias("number"),
        units.converted(written, code, pl.col("text_unit"), own).alias("sent"),
    )
    reading = readings.read(pl.col("number"), pl.col("sent"), code, readings.ROUNDED)
    by_own_unit = reading.by_text & pl.col("text_unit").is_not_null()
    factor = units.scale(code, pl.col("text_unit"))
    return rows.with_columns(
        reading.value.alias("value"),
        pl.when(by_own_unit).then(factor.is_null()).otherwise("unit_unknown").alias("unit_unknown"),
        pl.when(by_own_unit).then((factor != 1).fill_null(value=False)).otherwise("other_unit").alias("other_unit"),
        reading.disagree.alias("disagree"),
        reading.one_plausible.alias("one_plausible"),
        (pl.col("bound") & (reading.by_text | reading.agree)).alias("bound"),
    )
