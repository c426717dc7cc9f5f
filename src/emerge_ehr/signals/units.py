"""Units in which the benchmark's signals are written, and how each is converted to the signal's unit (``signals``).

A value in a unit that is not listed for its signal is another quantity or cannot be read: it must not be taken as it is.
"""

from collections.abc import Mapping
from functools import cache

import polars as pl

SAME = (1.0, 0.0)
FAHRENHEIT = (5 / 9, -160 / 9)
KELVIN = (1.0, -273.15)
POUND, OUNCE, GRAM = (0.45359237, 0.0), (0.45359237 / 16, 0.0), (0.001, 0.0)
INCH, FOOT, METRE, MILLIMETRE = (2.54, 0.0), (30.48, 0.0), (100.0, 0.0), (0.1, 0.0)
KILOPASCAL = (7.50061683, 0.0)
MILLIMOLE_OF_GLUCOSE = (18.0156, 0.0)  # mg/dL per mmol/L, from the molar mass of 180.156 g/mol

FACTORS = pl.Struct({"stated": pl.Boolean, "scale": pl.Float64, "offset": pl.Float64})
# Texts that state no unit.
NONE = ("", "-", ".", "none", "null", "nan", "na", "n/a", "unk", "nounit", "nounits", "unknown")
_PRESSURE = {
    "mmhg|mm_hg|millimeterhg|millimetersofmercury|millimetermercurycolumn|torr": SAME,
    "kpa|kilopascal": KILOPASCAL,
    "cmh2o|cm_h2o": (0.73555924, 0.0),
}
_POINTS = {"points|point|score|scores|pts|1": SAME}
# signal -> unit texts as ``folded`` gives them -> (scale, offset)
UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "capillary_refill_rate": {},
    "diastolic_blood_pressure": _PRESSURE,
    "systolic_blood_pressure": _PRESSURE,
    "mean_blood_pressure": _PRESSURE,
    # A fraction and a percentage are told apart by the value (``Signal.percent``), since charts mix them under one unit;
    # CareVue in MIMIC-III writes its fractions under "torr".
    "fraction_inspired_oxygen": {"%|percent|pct|fraction|decfrc|decimalfraction|ratio|1|torr": SAME},
    "gcs_eye": _POINTS,
    "gcs_motor": _POINTS,
    "gcs_total": _POINTS,
    "gcs_verbal": _POINTS,
    "glucose": {
        "mg/dl|mgs/dl|mg/100ml|mg%|milligram/deciliter": SAME,
        "mmol/l|mm/l|mmols/l|millimole/liter": MILLIMOLE_OF_GLUCOSE,
        "mg/l": (0.1, 0.0),
        "g/l": (100.0, 0.0),
    },
    "heart_rate": {"bpm|beats/min|beats/minute|beat/min|beat/minute|/min|1/min|min-1|counts/minute": SAME},
    "height": {
        "cm|centimeter|centimeters|centimetre|centimetres": SAME,
        "in|inch|inches|ins|in_i|in_us": INCH,
        "ft|foot|feet|ft_i": FOOT,
        "m|meter|meters|metre|metres": METRE,
        "mm|millimeter|millimeters|millimetre|millimetres": MILLIMETRE,
    },
    "oxygen_saturation": {"%|percent|pct": SAME, "fraction|decfrc|ratio": (100.0, 0.0)},
    "respiratory_rate": {
        "bpm|breaths/min|breaths/minute|breath/min|insp/min|resp/min|br/min|brpm|/min|1/min|min-1|counts/minute": SAME
    },
    "temperature": {
        "degc|c|cel|celsius|degreec|degreecelsius|degreescelsius|degreesc|degcelsius": SAME,
        "degf|f|fahrenheit|degreef|degreefahrenheit|degreesfahrenheit|degreesf|degfahrenheit": FAHRENHEIT,
        "k|kelvin": KELVIN,
    },
    "weight": {
        "kg|kgs|kilogram|kilograms|kilo|kilos": SAME,
        "lb|lbs|pound|pounds|lb_av": POUND,
        "oz|ounce|ounces|oz_av": OUNCE,
        "g|gm|gms|gram|grams": GRAM,
    },
    "ph": {"ph|phunit|phunits|units|unit|1": SAME},
}


def folded(unit: pl.Expr) -> pl.Expr:
    """The text of a unit in lower case, without spaces and brackets, so that spellings of one unit agree; null if none is stated.

    >>> units = ["mm Hg", "Deg. F", "°C", "?F", "unit(s)", "{Beats}/min", "breaths per minute", "[lb_av]", " ", "None", None]
    >>> pl.DataFrame({"unit": units}).select(folded(pl.col("unit"))).to_series().to_list()
    ['mmhg', 'degf', 'degc', 'degf', 'units', 'beats/min', 'breaths/minute', 'lb_av', None, None, None]
    """
    # Copies in another encoding hold the degree sign as "?", "\ufffd" or "\xc2\xb0".
    text = unit.str.to_lowercase().str.replace_all(r"â?[°º]|^\s*[?\x{FFFD}]+", "deg").str.replace_all(r"\s+per\s+", "/")
    text = text.str.replace_all(r"[\s(){}\[\]]", "").str.replace_all(r"([a-z])\.", "${1}")
    return pl.when(~text.is_in(NONE)).then(text)


def scale(code: pl.Expr, unit: pl.Expr) -> pl.Expr:
    """What a value of the signal ``code`` in ``unit`` is multiplied with; null if the unit is unknown or not stated."""
    return factors(code, unit).struct.field("scale")


def offset(code: pl.Expr, unit: pl.Expr) -> pl.Expr:
    """What is added after ``scale``; null if the unit is unknown or not stated.

    >>> rows = pl.DataFrame({"code": ["glucose", "temperature", "heart_rate"], "unit": ["mmol/L", "°F", "mmHg"]})
    >>> code, unit = pl.col("code"), pl.col("unit")
    >>> rows.select((90.0 * scale(code, unit) + offset(code, unit)).round(1)).to_series().to_list()
    [1621.4, 32.2, None]
    """
    return factors(code, unit).struct.field("offset")


def is_stated(unit: pl.Expr) -> pl.Expr:
    """Whether ``unit`` states one."""
    return folded(unit).is_not_null()


def is_known(code: pl.Expr, unit: pl.Expr) -> pl.Expr:
    """Whether values of the signal can be converted from ``unit``, or no unit is stated."""
    found = factors(code, unit).struct
    return ~found.field("stated") | found.field("scale").is_not_null()


def converted(value: pl.Expr, code: pl.Expr, unit: pl.Expr, otherwise: tuple[pl.Expr, pl.Expr]) -> pl.Expr:
    """``value`` in the signal's unit; null where ``unit`` is not one of the signal's.

    Where no unit is stated, ``otherwise`` is taken: the scale and offset that follow from the item's definition.
    """
    found = factors(code, unit).struct
    factor = pl.when(found.field("stated")).then(found.field("scale")).otherwise(otherwise[0])
    shift = pl.when(found.field("stated")).then(found.field("offset")).otherwise(otherwise[1])
    return value * factor + shift


def factors(code: pl.Expr, unit: pl.Expr) -> pl.Expr:
    """Whether a unit is ``stated``, and ``scale, offset`` of the signal ``code`` in ``unit``, as the functions give them."""
    pairs = pl.struct(code.cast(pl.String).alias("code"), unit.alias("unit"))
    return pairs.map_batches(_looked_up, return_dtype=FACTORS, is_elementwise=True)


def _looked_up(pairs: pl.Series) -> pl.Series:
    """Each pair is taken apart once, since preparing the patterns of ``folded`` takes long, and most rows state no unit."""
    table = pairs.struct.unnest()
    different = table.filter(pl.col("unit").is_not_null()).unique()
    found = pl.DataFrame(schema={"code": pl.String, "unit": pl.String, **FACTORS.to_schema()})
    if not different.is_empty():
        keys, pairs_of = _listed()
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
def every() -> tuple[str, ...]:
    """All units of all signals, as ``folded`` gives them; a bare 1 is none that a text would state."""
    return tuple(sorted({pair.partition("\t")[2] for pair in _listed()[0]} - {"1"}))


@cache
def _listed() -> tuple[tuple[str, ...], tuple[tuple[float, float], ...]]:
    """``signal<tab>unit`` and the factors of each."""
    pairs = {
        f"{code}\t{unit}": factors
        for code, forms in UNITS.items()
        for texts, factors in forms.items()
        for unit in texts.split("|")
    }
    return tuple(pairs), tuple(pairs.values())
