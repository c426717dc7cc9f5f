"""``dynamic.csv``: its rows, what the values of each code are, and which of its times are dates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emerge_ehr.datasets import dates
from emerge_ehr.datasets.dates import Dates
from emerge_ehr.datasets.sources._raw.raw_csv import collect, scan
from emerge_ehr.datasets.sources.tables import row_units
from emerge_ehr.datasets.sources.tables.fields import time_of
from emerge_ehr.datasets.sources.tables.row_units import Units
from emerge_ehr.fields import UserError, plural
from emerge_ehr.signals import numbers
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage import nothing
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.times import NOT_A_TIME, day_end, has_no_time_of_day

DYNAMIC = {"patient_id": pl.String, "event_time": pl.String, "code": pl.String, "value": pl.String}
FEATURES = {"code": pl.String, "name": pl.String, "level": pl.String}
# A dash is no value, but of a code whose values are "+" and "-"; ``nothing.PERHAPS`` are none, but of a code of other words.
DASHES, PLUSES = r"^[-\u2013\u2014]+$", r"^\++$"
NUMERIC_SHARE = 0.95  # a code is numeric if at least this share of its values are numbers
YES_OR_NO = "0 no, 1 yes"  # unit of the feature of a word


@dataclass(frozen=True)
class Survey:
    """The features that one pass over ``dynamic.csv`` found, which of its times are dates, and warnings.

    ``features`` has ``code, name, level`` (the word, null for a numeric code) and ``first`` (true for a code's first feature).
    ``blank``: the number of rows without anything in them.
    """

    features: pl.DataFrame
    dates: Dates
    warnings: tuple[str, ...]
    blank: int = 0


def rows_as_written(path: Path, units: Units) -> pl.LazyFrame:
    """The rows ``row, patient_id, event_time, bare, code, text, number, bound, blank, other_unit, unit_unknown``.

    ``blank``: there is nothing in the row, as in those that a spreadsheet writes at the end.
    ``bare``: whether the time is a date only; ``text`` is null where there is no value, ``number`` where that is not a number;
    ``bound``: whether the number was written as a bound. ``other_unit``: whether it was converted from the unit that the row
    states; ``unit_unknown``: that unit cannot be converted.
    """
    stated = row_units.column(path) if units else None
    blank = pl.all_horizontal(pl.col(list(DYNAMIC)).is_null()).alias("blank")
    rows = scan(path, {**DYNAMIC, **({stated: pl.String} if stated else {})}).with_columns(blank).with_row_index("row")
    rows = rows.with_columns((pl.col(stated) if stated else pl.lit(None, pl.String)).alias("unit"))
    rows = rows.with_columns(has_no_time_of_day(pl.col("event_time")).alias("bare"), id_text(pl.col("patient_id")))
    text = pl.col("value").str.strip_chars()
    rows = rows.with_columns(time_of("event_time"), pl.when(~nothing.says_nothing(text)).then(text).alias("text"))
    number, parts = pl.col("text").cast(pl.Float64, strict=False), pl.col("parsed").struct
    strange = pl.when(number.is_null()).then(without_own_unit(pl.col("text"), units))
    rows = rows.with_columns(number.alias("number"), numbers.parsed(strange).alias("parsed"))
    # a bound in a unit that nobody says is the code's is no number: nothing says in which unit the others are
    bound = parts.field("bound") & (parts.field("unit").is_null() | (parts.field("unit") == "%"))
    number = pl.coalesce("number", pl.when(bound).then(parts.field("number")))
    scale, offset, unknown = row_units.factors(units if stated else {})
    own = (strange != pl.col("text")).fill_null(value=False)  # a bound that ends with the code's unit is in that
    number = pl.when(own).then(number).otherwise(number * scale + offset)
    return rows.with_columns(
        pl.when(number.is_finite()).then(number).alias("number"),
        bound.fill_null(value=False).alias("bound"),
        (~own & ((scale != 1) | (offset != 0))).alias("other_unit"),
        (unknown & number.is_not_null()).alias("unit_unknown"),
    ).drop("value", "parsed", "unit")


def without_own_unit(text: pl.Expr, units: Units) -> pl.Expr:
    """The texts of values without the unit of their ``code`` at the end, where ``units`` says it.

    >>> rows = pl.DataFrame({"code": "glucose", "text": ["<10 mg/dL", "< 10 MG/DL.", "<10 mmol/L", "<10 g"]})
    >>> rows.select(without_own_unit(pl.col("text"), {"glucose": "mg/dL"})).to_series().to_list()
    ['<10 ', '< 10 ', '<10 mmol/L', '<10 g']
    """
    if not units:
        return text
    lower = {code: unit.lower() for code, unit in units.items()}
    unit = pl.col("code").replace_strict(lower, default=None, return_dtype=pl.String)
    ended = pl.when(unit.is_not_null()).then(text).str.strip_chars_end(" .")
    rest = ended.str.head(ended.str.len_chars() - unit.str.len_chars())
    own = ended.str.to_lowercase().str.ends_with(unit) & rest.str.contains(r"[\d\s]$")  # mg is no g
    return pl.when(own.fill_null(value=False)).then(rest).otherwise(text)


def timed_rows(path: Path, found: Dates, units: Units) -> pl.LazyFrame:
    """As ``rows_as_written``, without blank rows, and with ``dated`` in place of ``bare``: whether the time is a date, which was
    moved to the end of its day."""
    dated = pl.col("bare") | (pl.col("code").is_in(list(found.codes)) & dates.is_midnight())
    rows = (
        rows_as_written(path, units).filter(~pl.col("blank")).with_columns(dated.alias("dated")).drop("bare", "blank")
    )
    moved = day_end(pl.col("event_time"))
    return rows.with_columns(pl.when("dated").then(moved).otherwise("event_time").alias("event_time"))


def without_dashes(rows: pl.LazyFrame, features: pl.DataFrame) -> pl.LazyFrame:
    """The rows with null for the ``text`` of a dash, unless it is one of the words (``code, level``) of its code."""
    words = features.filter(pl.col("level").str.contains(DASHES))["code"].unique().to_list()
    value = ~pl.col("text").str.contains(DASHES) | pl.col("code").is_in(words)
    return rows.with_columns(pl.when(value).then("text").alias("text"))


def survey(path: Path, max_levels: int, known: Sequence[Signal] | None, units: Units) -> Survey:
    """Find out in one pass what the values of each code are, which features they make, and which times are dates.

    ``known``: the features of a finished run, to which the rows are then put; None: they are found in the file.

    Raises:
        UserError: a row lacks a patient, a time or a code, its unit cannot be converted, or no code can be used.
    """
    wrong = {name: pl.col(name).is_null() & ~pl.col("blank") for name in ("patient_id", "event_time", "code")}
    counts = rows_as_written(path, units).group_by("code").agg(
        pl.len().alias("rows"),
        pl.col("text").filter(_says_something()).count().alias("values"),
        pl.col("number").count().alias("numbers"),
        *dates.counted(pl.col("bare")),
        *(pl.col("row").filter(test).min().alias(f"{name} wrong") for name, test in wrong.items()),
        pl.col("row").filter("unit_unknown").min().alias("unit wrong"),
    )  # fmt: skip
    codes = collect(counts, path).sort("code")
    if codes.is_empty():
        raise UserError(f"{path}: has a header and no rows; one row per measurement was expected")
    _refuse_wrong(path, {name: codes[f"{name} wrong"].min() for name in wrong})
    if (row := codes["unit wrong"].min()) is not None:
        row_units.refuse_unknown(path, int(str(row)), units)
    blank = int(codes.filter(pl.col("code").is_null())["rows"].sum())
    codes = codes.drop_nulls("code")
    features = _found(path, codes, max_levels, units) if known is None else _of_run(known)
    features = features.with_columns((pl.int_range(pl.len()).over("code") == 0).alias("first"))
    left_out = codes.join(features, on="code", how="anti")
    reasons = _reasons(left_out, max_levels) if known is None else _strange(left_out)
    if left_out.height == codes.height:
        raise UserError(
            f"{path}: none of its {plural(codes.height, 'code')} can be used: {reasons}; mend it, or set source.max_levels"
        )
    found = dates.found(codes, None if known is None else _dated(known))
    strange = [] if known is None else _strange_words(path, features, units)
    told = [f"{path.name}: left out: {reasons}"] if reasons else []
    warnings = [*told, *row_units.several(path, units), *strange, *found.warnings(path.name)]
    return Survey(features, found, tuple(warnings), blank)


def _says_something(text: str = "text") -> pl.Expr:
    """Whether the text says something whatever else its code holds: no dash, and no word such as ``none``."""
    return ~pl.col(text).str.contains(DASHES) & ~nothing.may_say_nothing(pl.col(text))


def signal(code: str, name: str, level: str | None, unit: str, *, dated: bool = False) -> Signal:
    """The signal of a feature: of a numeric code in ``unit``, or of a word of a code; ``dated``: its times are dates."""
    words = code.replace("_", " ")
    if level is None:
        return Signal(name, words, unit, dated=dated)
    return Signal(name, f"{words} {level}", YES_OR_NO, dated=dated)


def _found(path: Path, codes: pl.DataFrame, max_levels: int, units: Units) -> pl.DataFrame:
    """The features ``code, name, level`` that the values make."""
    numeric = (pl.col("numbers") >= NUMERIC_SHARE * pl.col("values")) & (pl.col("numbers") > 0)
    numbers = codes.filter(numeric).select("code", pl.col("code").alias("name"), pl.lit(None, pl.String).alias("level"))
    worded = (
        rows_as_written(path, units).filter(pl.col("text").is_not_null()).join(numbers.lazy(), on="code", how="anti")
    )
    levels = collect(worded.group_by("code", pl.col("text").alias("level")).len(), path).sort("code", "level")
    levels = levels.filter(
        ~pl.col("level").str.contains(DASHES) | pl.col("level").str.contains(PLUSES).any().over("code")
    )
    levels = levels.filter(_says_something("level").any().over("code"))
    few = levels.filter(pl.len().over("code") <= max_levels)
    words = few.select("code", pl.format("{}={}", "code", "level").alias("name"), "level")
    features = pl.concat([numbers, words]).sort("name")
    if twice := features.filter(pl.col("name").is_duplicated())["name"].to_list():
        raise UserError(f"{path}: '{twice[0]}' is both a code and a word of a code; rename one of them")
    return features


def _of_run(known: Sequence[Signal]) -> pl.DataFrame:
    """The features ``code, name, level`` of a finished run. The feature of a word may also stand in the file under its own name,
    as in the tables that ``convert`` writes."""
    features = [_parts(one) for one in known]
    features += [(name, name, None) for code, name, level in features if level is not None]
    return pl.DataFrame(features, schema=FEATURES, orient="row")


def _dated(known: Sequence[Signal]) -> set[str]:
    """The codes whose times are dates, as a finished run knows them; a feature may also stand in the file under its own name."""
    return {code for one in known if one.dated for code in (one.name, _parts(one)[0])}


def _strange_words(path: Path, features: pl.DataFrame, units: Units) -> list[str]:
    """Warnings of values that are none of the words which the run knows of their code: they become 0 in each of its features."""
    words = features.drop_nulls("level").select("code", pl.col("level").alias("text"))
    if words.is_empty():
        return []
    rows = without_dashes(rows_as_written(path, units), features)
    values = rows.filter(pl.col("text").is_not_null()).join(words.select("code").unique().lazy(), on="code")
    counted = values.join(words.lazy(), on=["code", "text"], how="anti").group_by("code")
    strange = collect(counted.agg(pl.len().alias("rows"), pl.col("text").unique().sort()), path).sort("code")
    return [
        f"{path.name}: {plural(rows, 'value of', 'values of')} {code} {'is a word' if rows == 1 else 'are words'} that "
        f"the run does not know: {dates.named(texts)}"
        for code, rows, texts in strange.rows()
    ]


def _parts(one: Signal) -> tuple[str, str, str | None]:
    """Code, name and word of a feature.

    >>> _parts(signal("a=b", "a=b=yes", "yes", "")), _parts(signal("ph", "ph", None, ""))
    (('a=b', 'a=b=yes', 'yes'), ('ph', 'ph', None))
    """
    if one.unit == YES_OR_NO:
        pieces = one.name.split("=")
        for at in range(1, len(pieces)):
            code, level = "=".join(pieces[:at]), "=".join(pieces[at:])
            if signal(code, one.name, level, "").label == one.label:
                return code, one.name, level
    return one.name, one.name, None


def _refuse_wrong(path: Path, first: dict[str, object]) -> None:
    for name, row in first.items():
        if row is not None:
            text = collect(scan(path, DYNAMIC).with_row_index("row").filter(pl.col("row") == row), path)[name][0]
            rule = NOT_A_TIME if name == "event_time" else "is empty or a word for nothing"
            told = f"{name} {text!r} {rule}; mend it" if text else f"{name} is empty; fill it in or remove the row"
            raise UserError(f"{path} row {int(str(row)) + 2}: {told}")


def _reasons(left_out: pl.DataFrame, max_levels: int) -> str:
    """Say in one line which codes are left out, and why; nothing if none is."""
    texts = f"more than {max_levels} different texts, so no numbers and no scores (source.max_levels; is a unit in the value?)"
    groups = {
        texts: left_out.filter(pl.col("values") > 0),
        "no value": left_out.filter(pl.col("values") == 0),
    }
    return "; ".join(
        f"{plural(codes.height, 'code')} ({plural(int(codes['rows'].sum()), 'row')}) with {why}: "
        f"{dates.named(codes['code'].to_list())}"
        for why, codes in groups.items()
        if codes.height
    )


def _strange(left_out: pl.DataFrame) -> str:
    """Say in one line which codes the run does not know; nothing if it knows all."""
    names, rows = left_out["code"].to_list(), int(left_out["rows"].sum())
    return (
        f"{plural(len(names), 'code')} ({plural(rows, 'row')}) that the run does not have: {dates.named(names)}"
        if names
        else ""
    )
