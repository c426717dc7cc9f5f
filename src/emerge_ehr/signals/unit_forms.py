"""The units that signals are measured in, how charts and laboratories spell them, and how one becomes another.

A family holds units of one kind; its first unit is the one that the others are told in. Units of mass, of substance and of
charge per volume become each other where the substance's molar mass (g/mol) and charge are known: 1 mmol/L of glucose, whose
molar mass is 180.156, is 18.0156 mg/dL; 1 mmol/L of calcium, whose charge is 2, is 2 mEq/L.
"""

import re
from collections.abc import Mapping

Factors = tuple[float, float]  # scale and offset: a value in another unit times scale plus offset is one in this
Forms = Mapping[str, Factors]  # spellings, as ``units.folded`` gives them, joined by "|" -> factors

SAME: Factors = (1.0, 0.0)
FAHRENHEIT: Factors = (5 / 9, -160 / 9)
KELVIN: Factors = (1.0, -273.15)
POUND, OUNCE, GRAM = (0.45359237, 0.0), (0.45359237 / 16, 0.0), (0.001, 0.0)
INCH, FOOT, METRE, MILLIMETRE = (2.54, 0.0), (30.48, 0.0), (100.0, 0.0), (0.1, 0.0)
KILOPASCAL = (7.50061683, 0.0)
FLAG = re.compile(r"0 \S.*, 1 \S.*")  # "0 normal, 1 delayed": what the numbers mean stands for the unit

MASS: Forms = {
    "mg/dl|mgs/dl|mg/100ml|mg%|milligram/deciliter": SAME,
    "g/dl|gm/dl|gms/dl|gram/deciliter|g%|gm%": (1000.0, 0.0),
    "g/l|gm/l|gram/liter": (100.0, 0.0),
    "mg/l|ug/ml|mcg/ml|µg/ml|μg/ml": (0.1, 0.0),
    "ug/dl|mcg/dl|µg/dl|μg/dl": (1e-3, 0.0),
    "ng/ml|ug/l|mcg/l|µg/l|μg/l": (1e-4, 0.0),
    "ng/dl": (1e-6, 0.0),
    "pg/ml|ng/l": (1e-7, 0.0),
}
SUBSTANCE: Forms = {
    "mmol/l|mm/l|mmols/l|millimole/liter": SAME,
    "umol/l|mcmol/l|µmol/l|μmol/l|micromol/l|micromole/liter": (1e-3, 0.0),
    "nmol/l": (1e-6, 0.0),
}
CHARGE: Forms = {"meq/l|meqs/l|meq/liter|milliequivalent/liter": SAME}
_RATE = "1/min|min-1|counts/minute"
# The unit as tables and summaries write it -> its family
FAMILIES: Mapping[str, Forms] = {
    "mmHg": {
        "mmhg|mm_hg|millimeterhg|millimetersofmercury|millimetermercurycolumn|torr|mm/hg": SAME,
        "kpa|kilopascal": KILOPASCAL,
        "cmh2o|cm_h2o": (0.73555924, 0.0),
    },
    "cmH2O": {"cmh2o|cm_h2o|cmh20|cm/h2o|cmsh2o": SAME, "mmhg|mm_hg": (1 / 0.73555924, 0.0)},
    "%": {"%|percent|pct": SAME, "fraction|decfrc|ratio": (100.0, 0.0)},
    # A fraction and a percentage are told apart by the value (``Signal.percent``), since charts mix them under one unit;
    # CareVue in MIMIC-III writes its fractions under "torr".
    "fraction": {"%|percent|pct|fraction|decfrc|decimalfraction|ratio|1|torr": SAME},
    "points": {"points|point|score|scores|pts|1": SAME},
    "INR": {"inr|ratio|1": SAME},
    "mg/dL": MASS,
    "mmol/L": SUBSTANCE,
    "mEq/L": CHARGE,
    "U/L": {"u/l|iu/l|units/l|unit/l|u/liter|iu/liter|unit/liter": SAME, "ukat/l|µkat/l|μkat/l": (60.0, 0.0)},
    "K/uL": {
        "k/ul|k/mcl|k/µl|k/μl|k/mm3|k/cmm|k/cumm|k/mmcu|th/ul|ths/ul|th/mm3|thousand/ul|10*3/ul|10^3/ul|10e3/ul|x10e3/ul|"
        "10*9/l|10^9/l|10e9/l|x10^9/l|x10e9/l|giga/l|thou/ul|thou/cumm|th/cumm|th/cmm|th/mcl|10e3/mcl|103/ul|103/mcl|103mcl|"
        "x103|x103/ul|x103/mcl": SAME,
        "/ul|/mcl|/mm3|/cumm|cells/ul": (1e-3, 0.0),
        "m/ul|m/mcl|m/mm3|m/cmm|mil/ul|mill/ul|10*6/ul|10^6/ul|10*12/l|10^12/l": (1e3, 0.0),
    },
    "seconds": {"sec|secs|second|seconds|s": SAME},
    "mL": {"ml|mls|cc|milliliter|milliliters": SAME},
    "L/min": {"l/min|lpm|liter/min|liters/min": SAME, "ml/min": (1e-3, 0.0)},
    "mcg/kg/min": {
        "mcg/kg/min|ug/kg/min|mcgkgmin|µg/kg/min|μg/kg/min": SAME,
        "ng/kg/min": (1e-3, 0.0),
        "mg/kg/min": (1e3, 0.0),
        "mcg/kg/hour|mcg/kg/hr": (1 / 60, 0.0),
        "mg/kg/hour|mg/kg/hr": (1e3 / 60, 0.0),
    },
    "mL/hour": {"ml/hour|ml/hr|ml/h|cc/hour|cc/hr": SAME, "ml/min|cc/min": (60.0, 0.0), "l/hour|l/hr|l/h": (1e3, 0.0)},
    "mcg/hour": {
        "mcg/hour|mcg/hr|mcg/h|ug/hour|ug/hr|ug/h|µg/hour|µg/h|μg/h": SAME,
        "mg/hour|mg/hr|mg/h": (1e3, 0.0),
        "mcg/min|ug/min|µg/min|μg/min": (60.0, 0.0),
        "mg/min": (6e4, 0.0),
    },
    "units/hour": {"units/hour|units/hr|unit/hour|u/hr": SAME, "units/min|u/min": (60.0, 0.0)},
    "beats/min": {"bpm|beats/min|beats/minute|beat/min|beat/minute|/min|" + _RATE: SAME},
    "breaths/min": {
        "bpm|breaths/min|breaths/minute|breath/min|insp/min|resp/min|br/min|brpm|/min|" + _RATE: SAME,
    },
    "cm": {
        "cm|centimeter|centimeters|centimetre|centimetres": SAME,
        "in|inch|inches|ins|in_i|in_us": INCH,
        "ft|foot|feet|ft_i": FOOT,
        "m|meter|meters|metre|metres": METRE,
        "mm|millimeter|millimeters|millimetre|millimetres": MILLIMETRE,
    },
    "degrees Celsius": {
        "degc|c|cel|celsius|degreec|degreecelsius|degreescelsius|degreesc|degcelsius": SAME,
        "degf|f|fahrenheit|degreef|degreefahrenheit|degreesfahrenheit|degreesf|degfahrenheit": FAHRENHEIT,
        "k|kelvin": KELVIN,
    },
    "kg": {
        "kg|kgs|kilogram|kilograms|kilo|kilos": SAME,
        "lb|lbs|pound|pounds|lb_av": POUND,
        "oz|ounce|ounces|oz_av": OUNCE,
        "g|gm|gms|gram|grams": GRAM,
    },
    "pH": {"ph|phunit|phunits|units|unit|1": SAME},
}


def forms(unit: str, molar_mass: float = 0, charge: int = 0) -> dict[str, Factors] | None:
    """Every spelling that can be converted to ``unit``, with its factors; none where the unit only says what numbers mean, or is
    empty. None if the unit is unknown. ``molar_mass`` and ``charge`` are 0 where they do not matter or are not known.

    >>> forms("mg/dL", molar_mass=180.156)["mmol/l"], forms("0 normal, 1 delayed"), forms("bushels")
    ((18.0156, 0.0), {}, None)
    """
    if not unit or FLAG.fullmatch(unit):
        return {}
    found = _family(unit)
    if found is None:
        return None
    family, (own, shift) = found
    per_mmol = {id(MASS): molar_mass / 10, id(SUBSTANCE): 1.0, id(CHARGE): float(charge)}
    chosen: dict[str, Factors] = {}
    for other in [
        family,
        *(kind for kind in (MASS, SUBSTANCE, CHARGE) if id(family) in per_mmol and kind is not family),
    ]:
        ratio = 1.0
        if other is not family:
            if not (per_mmol[id(family)] and per_mmol[id(other)]):
                continue
            ratio = per_mmol[id(family)] / per_mmol[id(other)]
        for texts, (scale, offset) in other.items():
            chosen |= dict.fromkeys(texts.split("|"), (scale * ratio / own, (offset - shift) / own))
    return chosen


def _family(unit: str) -> tuple[Forms, Factors] | None:
    """The family of a unit, and the unit's factors in it. The name of a family counts before spellings in others."""
    if unit in FAMILIES:
        return FAMILIES[unit], SAME
    text = "".join(unit.lower().split())
    for family in FAMILIES.values():
        for texts, factors in family.items():
            if text in texts.split("|"):
                return family, factors
    return None
