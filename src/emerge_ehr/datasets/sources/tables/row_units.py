"""The column of ``dynamic.csv`` that says each value's unit: values are converted to the unit that ``source.units`` gives a code.

Of a code that it does not name, values are taken as they are, with a warning where the column says several units. mg/dL and
mmol/L become each other where the code is a signal of our lists, whose molar mass is known.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl

from emerge_ehr.datasets import dates
from emerge_ehr.datasets.sources._raw.raw_csv import collect, header, scan
from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.signals import signals as lists
from emerge_ehr.signals import unit_forms, units
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import WIDE
from emerge_ehr.signals.unit_forms import UNIT_COLUMNS
from emerge_ehr.storage import nothing

Units = Mapping[str, str]  # code -> the unit of its values, as the user says
CONVERTED = {"other_unit": "converted from the unit that the row states"}


def column(path: Path) -> str | None:
    """The column of ``dynamic.csv`` that says each value's unit, as it is written; None where there is none."""
    written = {name.lower(): name for name in header(path)}
    return next((written[name] for name in UNIT_COLUMNS if name in written), None)


def factors(own: Units) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """``scale, offset`` to the unit of a row's ``code`` from its ``unit``, and whether that unit cannot be converted.

    They are 1 and 0 where the row states no unit, or ``own`` none of its code.

    >>> rows = pl.DataFrame({"code": ["glucose", "glucose", "x", "mood"], "unit": ["mmol/L", "apples", "mg/dL", " Smileys"]})
    >>> scale, offset, unknown = factors({"glucose": "mg/dL", "mood": "smileys"})
    >>> rows.select(scale.round(2), offset.alias("offset"), unknown.alias("unknown")).rows()
    [(18.02, 0.0, False), (1.0, 0.0, True), (1.0, 0.0, False), (1.0, 0.0, False)]
    """
    if not own:
        return pl.lit(1.0), pl.lit(0.0), pl.lit(value=False)
    code, unit = pl.col("code"), pl.col("unit")
    found = units.factors(code, unit, _signals(tuple(own.items()))).struct
    same = units.folded(unit) == units.folded(code.replace_strict(own, default=None, return_dtype=pl.String))
    named = found.field("stated") & code.is_in(list(own)) & ~same.fill_null(value=False)
    scale = pl.when(named).then(found.field("scale"))
    offset = pl.when(named).then(found.field("offset"))
    return scale.fill_null(1.0).alias("scale"), offset.fill_null(0.0), (named & scale.is_null()).fill_null(value=False)


@cache
def _signals(own: tuple[tuple[str, str], ...]) -> tuple[Signal, ...]:
    """A signal per code, in its unit."""
    ours = {signal.name: signal for signal in lists.read(WIDE)}
    nothing_known = Signal("", "")
    # the fractions of our lists are told from percentages by their values; here the row says which it is
    exact = [(code, "ratio" if unit.strip().lower() == "fraction" else unit) for code, unit in own]
    known = [(code, unit, ours.get(code, nothing_known)) for code, unit in exact]
    return tuple(Signal(code, code, unit, molar_mass=one.molar_mass, charge=one.charge) for code, unit, one in known)


def refuse_unknown(path: Path, row: int, own: Units) -> None:
    """Refuse the row, whose unit cannot be converted to that of its code.

    Raises:
        UserError: always.
    """
    name = column(path) or ""
    wanted = {"code": pl.String, name: pl.String}
    code, unit = collect(scan(path, wanted).with_row_index("row").filter(pl.col("row") == row), path).row(0)[1:]
    (signal,) = _signals(((code, own[code]),))
    forms = unit_forms.forms(signal.unit, signal.molar_mass, signal.charge) or {}
    known = [unit for unit in unit_forms.FAMILIES if pl.select(units.folded(pl.lit(unit))).item() in forms]
    can = f"; units that are converted to it: {listed(sorted({own[code], *known}))}" if forms else ""
    raise UserError(
        f"{path} row {row + 2}: {name} '{unit}' of {code} is not converted to '{own[code]}' (source.units){can}; convert such "
        "values, or write their unit in one of these spellings"
    )


def several(path: Path, own: Units) -> list[str]:
    """A warning of the codes that ``own`` does not name and of which the column says several units."""
    name = column(path)
    if name is None:
        return []
    rows = scan(path, {"code": pl.String, name: pl.String})
    rows = rows.with_columns(pl.col(name).str.strip_chars().alias("unit")).filter(~pl.col("code").is_in(list(own)))
    rows = rows.filter(~nothing.says_nothing(pl.col("unit")))
    found = collect(rows.drop_nulls("code").group_by("code").agg(pl.col("unit").unique().sort()), path).sort("code")
    shown = [
        f"{code} ({dates.named(of_code)})"
        for code, of_code in found.rows()
        if len({one.lower() for one in of_code}) > 1
    ]
    if not shown:
        return []
    return [
        f"{path.name}: the column '{name}' says several units of {plural(len(shown), 'code')}: {dates.named(shown)}; "
        "their values are "
        "taken as they are: give each code its unit in source.units, to which they are then converted"
    ]
