"""Which codes of a MEDS dataset are which signal, in which unit, and which of several values at one time they give."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import polars as pl
from annotated_types import Ge, Le
from pydantic import ConfigDict

from emerge_ehr.datasets import dates
from emerge_ehr.datasets.sources.meds.files import Patterns, Shards
from emerge_ehr.fields import UserError, plural
from emerge_ehr.signals import units
from emerge_ehr.signals.unit_forms import FAHRENHEIT, INCH, POUND, SAME

UNITS = {"same": SAME, "fahrenheit": FAHRENHEIT, "pound": POUND, "inch": INCH}
SURE = 3  # letters of another signal's unit at the end of a code that its pattern spells out
SEPARATOR = r"//|[_\s:;|()\[\]]+"  # before the last part of a code
MEANING = {
    "meds_code": pl.String,
    "code": pl.String,
    "unit": pl.String,
    "scale": pl.Float64,
    "offset": pl.Float64,
    "rank": pl.UInt8,
    "stated": pl.Float64,
}


@dataclass(frozen=True)
class Coded:
    """A pattern of codes whose values are charted in ``unit`` instead of the signal's own unit.

    The end of the code may be a unit, as in MIMIC_IV_MEDS; it then counts instead. ``rank``: of several
    values of the signal at one time, those of the codes with the lowest rank count, as arterial before cuff pressures. ``value``:
    the number that a code stands for which ends in a word, as the answers of a score do in some exports.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    code: str
    unit: Literal["same", "fahrenheit", "pound", "inch"] = "same"
    rank: Annotated[int, Ge(0), Le(9)] = 0
    value: float | None = None


def signal_codes(shards: Shards, entries: Sequence[tuple[str, Coded]]) -> pl.DataFrame:
    """``meds_code, code`` (the signal), ``scale, offset, rank, stated, unit_unknown, other_unit``;
    ``entries``: signal, its codes.

    Raises:
        UserError: no code of the dataset matches, or a code matches with two meanings.
    """
    meanings = [
        (code, signal, _unit_of(code, signal, entry), *UNITS[entry.unit], entry.rank, entry.value)
        for signal, entry in entries
        for code in shards.matching((entry.code,))["code"]
    ]
    table = _by_the_codes_unit(pl.DataFrame(meanings, schema=MEANING, orient="row"))
    if table.is_empty():
        raise UserError(
            f"{shards.raw_dir}: none of its {plural(shards.codes.len(), 'code')} matches [source.signals]; "
            f"they are such as {', '.join(shards.codes.head(3))}"
        )
    twice = table.filter(pl.col("meds_code").is_duplicated()).sort("meds_code")
    if twice.height:
        signals = " and ".join(twice.filter(pl.col("meds_code") == twice["meds_code"][0])["code"])
        raise UserError(f"[source.signals]: code '{twice['meds_code'][0]}' matches with two meanings: {signals}")
    return table


def codes_in_other_case(shards: Shards, patterns: Sequence[tuple[str, str]], in_any_case: Patterns) -> list[str]:
    """A warning that lists the codes which match no pattern, but would in upper or lower case; [] if there is none.

    ``patterns``: what each stands for, and the pattern; those ``in_any_case`` match in any.
    """
    read = shards.matching((*(pattern for _, pattern in patterns), *in_any_case))["code"].implode()
    told = []
    for name, pattern in patterns:
        codes = shards.matching((pattern,), any_case=True)["code"]
        if unread := codes.filter(~codes.is_in(read)).to_list():
            told.append(f"{name}: {dates.named(unread)}")
    codes_told = "; ".join(dict.fromkeys(told))
    return [f"codes that differ from those of [source] by case alone and are not read: {codes_told}"] if told else []


def _unit_of(code: str, signal: str, entry: Coded) -> str | None:
    """The part of the code that is a unit: one of the signal's, else one of other signals or what looks like a unit (``mEq/L``).

    Units are looked for in the parts that the pattern leaves open at its end, and in the code's last part, whatever separates it.
    The latter, where the pattern does not leave it open, may be a name that looks like a unit: only those of three letters or
    more count as another signal's.
    """
    parts: list[str] = []
    if entry.value is not None:
        return None
    if entry.code.endswith("*") and code.startswith(entry.code[:-1]):
        rest_of_a_name = entry.code[-2:-1].isalnum()  # ``5093*``
        parts = code[len(entry.code) - 1 :].split("//")[rest_of_a_name:]
    elif entry.code.endswith("//*"):
        parts = code.split("//")[-1:]
    last = [part for part in (code.rsplit("//", 1)[-1], re.split(SEPARATOR, code.rstrip(")] "))[-1]) if part != code]
    opened = pl.DataFrame({"unit": parts}, schema={"unit": pl.String})
    ends = pl.DataFrame({"unit": last}, schema={"unit": pl.String})
    own = units.scale(pl.lit(signal), pl.col("unit")).is_not_null()
    foreign = pl.any_horizontal(units.scale(pl.lit(name), pl.col("unit")).is_not_null() for name in units.UNITS)
    found = [
        *opened.filter(own)["unit"],
        *ends.filter(own)["unit"],
        *opened.filter(foreign | pl.col("unit").str.contains("/", literal=True))["unit"],
        *ends.filter(foreign & (units.folded(pl.col("unit")).str.len_chars() >= SURE))["unit"],
    ]
    return next(iter(found), None)


def by_the_rows_unit() -> list[pl.Expr]:
    """``scale, offset, unit_unknown, other_unit`` of rows of ``signal_codes``, whose own ``unit`` counts where it states one."""
    code, unit = pl.col("code"), pl.col("unit")
    stated = (units.is_stated(unit) & code.is_in(list(units.UNITS))).fill_null(value=False)
    other = pl.col("other_unit") | (units.scale(code, unit) != pl.col("scale")).fill_null(value=False)
    return [
        pl.coalesce(units.scale(code, unit), "scale").alias("scale"),
        pl.coalesce(units.offset(code, unit), "offset").alias("offset"),
        pl.when(stated).then(units.scale(code, unit).is_null()).otherwise("unit_unknown").alias("unit_unknown"),
        pl.when(stated).then(other).otherwise("other_unit").alias("other_unit"),
    ]


def _by_the_codes_unit(table: pl.DataFrame) -> pl.DataFrame:
    """Replace ``scale, offset`` where the code names a unit; ``unit_unknown``: it names one that the signal does not have."""
    code, unit = pl.col("code"), pl.col("unit")
    factors = [pl.coalesce(units.scale(code, unit), "scale"), pl.coalesce(units.offset(code, unit), "offset")]
    benchmark = code.is_in(list(units.UNITS))
    meaning = ["meds_code", "code", "scale", "offset", "rank", "stated"]
    made = table.select(
        "meds_code",
        "code",
        *(factor.alias(name) for factor, name in zip(factors, ("scale", "offset"), strict=True)),
        "rank",
        "stated",
        (benchmark & unit.is_not_null() & units.scale(code, unit).is_null())
        .fill_null(value=False)
        .alias("unit_unknown"),
        (units.scale(code, unit) != pl.col("scale")).fill_null(value=False).alias("other_unit"),
    )
    return made.unique(meaning, keep="first", maintain_order=True)
