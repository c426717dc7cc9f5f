"""Units in which the values of signals are written, and how each is converted to the signal's unit (``unit_forms``).

``signals``: those that ``code`` names; by default those of the benchmark. A value in a unit that is not listed for
its signal is another quantity or cannot be read: it must not be taken as it is.
"""

from collections.abc import Mapping
from functools import cache

import polars as pl

from emerge_ehr.signals import unit_forms
from emerge_ehr.signals.signals import SIGNALS, Signal
from emerge_ehr.signals.unit_forms import Factors

FACTORS = pl.Struct({"stated": pl.Boolean, "scale": pl.Float64, "offset": pl.Float64})
# Texts that state no unit.
NONE = ("", "-", ".", "none", "null", "nan", "na", "n/a", "unk", "nounit", "nounits", "unknown")


def known(signals: tuple[Signal, ...]) -> Mapping[str, Mapping[str, Factors]]:
    """Of each signal the spellings of units, as ``folded`` gives them, and their factors."""
    return {signal.name: unit_forms.forms(signal.unit, signal.molar_mass, signal.charge) or {} for signal in signals}


UNITS = known(SIGNALS)


def folded(unit: pl.Expr) -> pl.Expr:
    """The text of a unit in lower case, without spaces and brackets, so that spellings of one unit agree; null if none is stated.

    >>> units = ["mm Hg", "Deg. F", "°C", "?F", "unit(s)", "{Beats}/min", "breaths per minute", "[lb_av]", " ", "None", None]
    >>> pl.DataFrame({"unit": units}).select(folded(pl.col("unit"))).to_series().to_list()
    ['mmhg', 'degf', 'degc', 'degf', 'units', 'beats/min', 'breaths/minute', 'lb_av', None, None, None]
    """
    # Copies in another encoding hold the degree sign as "?", "\ufffd" or "\xc2\xb0"; eICU writes it as web pages do.
    text = (
        unit.str.to_lowercase()
        .str.replace_all(r"â?[°º]|&#176;|&deg;|^\s*[?\x{FFFD}]+", "deg")
        .str.replace_all(r"\s+per\s+", "/")
    )
    text = text.str.replace_all(r"[\s(){}\[\]]", "").str.replace_all(r"([a-z])\.", "${1}")
    return pl.when(~text.is_in(NONE)).then(text)


def scale(code: pl.Expr, unit: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """What a value of the signal ``code`` in ``unit`` is multiplied with; null if the unit is unknown or not stated."""
    return factors(code, unit, signals).struct.field("scale")


def offset(code: pl.Expr, unit: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """What is added after ``scale``; null if the unit is unknown or not stated.

    >>> rows = pl.DataFrame({"code": ["glucose", "temperature", "heart_rate"], "unit": ["mmol/L", "°F", "mmHg"]})
    >>> code, unit = pl.col("code"), pl.col("unit")
    >>> rows.select((90.0 * scale(code, unit) + offset(code, unit)).round(1)).to_series().to_list()
    [1621.4, 32.2, None]
    """
    return factors(code, unit, signals).struct.field("offset")


def is_stated(unit: pl.Expr) -> pl.Expr:
    """Whether ``unit`` states one."""
    return folded(unit).is_not_null()


def is_known(code: pl.Expr, unit: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """Whether values of the signal can be converted from ``unit``, or no unit is stated."""
    found = factors(code, unit, signals).struct
    return ~found.field("stated") | found.field("scale").is_not_null()


def converted(
    value: pl.Expr,
    code: pl.Expr,
    unit: pl.Expr,
    otherwise: tuple[pl.Expr, pl.Expr],
    signals: tuple[Signal, ...] = SIGNALS,
) -> pl.Expr:
    """``value`` in the signal's unit; null where ``unit`` is not one of the signal's.

    Where no unit is stated, ``otherwise`` is taken: the scale and offset that follow from the item's definition.
    """
    found = factors(code, unit, signals).struct
    factor = pl.when(found.field("stated")).then(found.field("scale")).otherwise(otherwise[0])
    shift = pl.when(found.field("stated")).then(found.field("offset")).otherwise(otherwise[1])
    return value * factor + shift


def factors(code: pl.Expr, unit: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """Whether a unit is ``stated``, and ``scale, offset`` of the signal ``code`` in ``unit``, as the functions give them."""
    pairs = pl.struct(code.cast(pl.String).alias("code"), unit.alias("unit"))
    return pairs.map_batches(lambda rows: _looked_up(rows, signals), return_dtype=FACTORS, is_elementwise=True)


def _looked_up(pairs: pl.Series, signals: tuple[Signal, ...]) -> pl.Series:
    """Each pair is taken apart once, since preparing the patterns of ``folded`` takes long, and most rows state no unit."""
    table = pairs.struct.unnest()
    different = table.filter(pl.col("unit").is_not_null()).unique()
    found = pl.DataFrame(schema={"code": pl.String, "unit": pl.String, **FACTORS.to_schema()})
    if not different.is_empty():
        keys, pairs_of = _listed(signals)
        key = pl.concat_str("code", folded(pl.col("unit")), separator="\t")
        found = different.with_columns(
            is_stated(pl.col("unit")).alias("stated"),
            *(
                key.replace_strict(
                    list(keys), [pair[place] for pair in pairs_of], default=None, return_dtype=pl.Float64
                ).alias(name)
                for place, name in enumerate(("scale", "offset"))
            ),
        )
    rows = table.join(found, on=["code", "unit"], how="left", maintain_order="left")
    stated = pl.col("stated").fill_null(value=False)
    return rows.select(pl.struct(stated, "scale", "offset").alias(pairs.name)).to_series()


@cache
def every(signals: tuple[Signal, ...] = SIGNALS) -> tuple[str, ...]:
    """All units of all signals, as ``folded`` gives them; a bare 1 is none that a text would state."""
    return tuple(sorted({pair.partition("\t")[2] for pair in _listed(signals)[0]} - {"1"}))


@cache
def _listed(signals: tuple[Signal, ...]) -> tuple[tuple[str, ...], tuple[Factors, ...]]:
    """``signal<tab>unit`` and the factors of each."""
    pairs = {f"{code}\t{unit}": factors for code, forms in known(signals).items() for unit, factors in forms.items()}
    return tuple(pairs), tuple(pairs.values())
