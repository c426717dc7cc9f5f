"""The units that signals are measured in, how charts and laboratories spell them, and how one becomes another.

A family holds units of one kind; its first unit is the one that the others are told in. Units of mass, of substance and of
charge per volume become each other where the substance's molar mass (g/mol) and charge are known: 1 mmol/L of glucose, whose
molar mass is 180.156, is 18.0156 mg/dL; 1 mmol/L of calcium, whose charge is 2, is 2 mEq/L.
"""

import re
from collections.abc import Iterator, Mapping

Factors = tuple[float, float]  # scale and offset: a value in another unit times scale plus offset is one in this
Forms = Mapping[str, Factors]  # spellings, as ``units.folded`` gives them, joined by "|" -> factors

SAME: Factors = (1.0, 0.0)
FAHRENHEIT: Factors = (5 / 9, -160 / 9)
KELVIN: Factors = (1.0, -273.15)
POUND, OUNCE, GRAM = (0.45359237, 0.0), (0.45359237 / 16, 0.0), (0.001, 0.0)
INCH, FOOT, METRE, MILLIMETRE = (2.54, 0.0), (30.48, 0.0), (100.0, 0.0), (0.1, 0.0)
KILOPASCAL = (7.50061683, 0.0)
MILLIBAR, OF_WATER = KILOPASCAL[0] / 10, 0.73555924  # mmHg
UNIT_COLUMNS = ("unit", "units", "valueuom", "uom")  # what exports call the column that says each value's unit
FLAG = re.compile(r"0 \S.*, 1 \S.*")  # "0 normal, 1 delayed": what the numbers mean stands for the unit

MASS: Forms = {
    "mg/dl|mgs/dl|mg/100ml|mg%|milligram/deciliter": SAME,
    "g/dl|gm/dl|gms/dl|gram/deciliter|g%|gm%": (1000.0, 0.0),
    "g/l|gm/l|gram/liter": (100.0, 0.0),
    "mg/l|mg/liter|mg/litre|ug/ml|mcg/ml|µg/ml|μg/ml": (0.1, 0.0),
    "ug/dl|mcg/dl|µg/dl|μg/dl": (1e-3, 0.0),
    "ng/ml|ug/l|mcg/l|µg/l|μg/l": (1e-4, 0.0),
    "ng/dl": (1e-6, 0.0),
    "pg/ml|ng/l": (1e-7, 0.0),
}
SUBSTANCE: Forms = {
    "mmol/l|mm/l|mmols/l|mmol/liter|mmol/litre|millimole/liter": SAME,
    "umol/l|umol/liter|umol/litre|mcmol/l|µmol/l|μmol/l|micromol/l|micromole/liter": (1e-3, 0.0),
    "nmol/l": (1e-6, 0.0),
    "pmol/l": (1e-9, 0.0),
}
CHARGE: Forms = {"meq/l|meqs/l|meq/liter|mval/l|milliequivalent/liter": SAME}


def _of_day(unit: str) -> str:
    """The spellings of ``unit`` per 24 hours.

    >>> _of_day("mg")
    'mg/24hr|mg/24hrs|mg/24h|mg/24.h|mg/24hour|mg/24hours|mg/day|mg/d'
    """
    return "|".join(f"{unit}/{day}" for day in ("24hr", "24hrs", "24h", "24.h", "24hour", "24hours", "day", "d"))


# The same three per hour, as infusions give them
MASS_RATE: Forms = {
    "mcg/hour|mcg/hr|mcg/h|ug/hour|ug/hr|ug/h|µg/hour|µg/h|μg/h": SAME,
    "mg/hour|mg/hr|mg/h": (1e3, 0.0),
    "g/hour|g/hr|g/h|gm/hour|gm/hr|grams/hour|gram/hour|grams/hr": (1e6, 0.0),
    _of_day("mg"): (1e3 / 24, 0.0),
    _of_day("g"): (1e6 / 24, 0.0),
    "mcg/min|ug/min|µg/min|μg/min": (60.0, 0.0),
    "mg/min": (6e4, 0.0),
    "g/min|gm/min|grams/min|gram/min": (6e7, 0.0),
}
SUBSTANCE_RATE: Forms = {
    "mmol/hour|mmol/hr|mmol/h": SAME,
    "mmol/min": (60.0, 0.0),
    _of_day("mmol"): (1 / 24, 0.0),
}
CHARGE_RATE: Forms = {
    "meq/hour|meq/hr|meq/h": SAME,
    "meq/min": (60.0, 0.0),
    _of_day("meq"): (1 / 24, 0.0),
}
# Mass, substance and charge of one kind, and what one mg/dL, one mcg/hour is in the mg of mmol/L and mmol/hour: mg/L, mg/hour
SUBSTANCES = ((MASS, SUBSTANCE, CHARGE, 10.0), (MASS_RATE, SUBSTANCE_RATE, CHARGE_RATE, 1e-3))
_RATE = "1/min|min-1|counts/minute"
# The unit as tables and summaries write it -> its family
FAMILIES: Mapping[str, Forms] = {
    "mmHg": {
        "mmhg|mm_hg|millimeterhg|millimetersofmercury|millimetermercurycolumn|torr|mm/hg": SAME,
        "kpa|kilopascal": KILOPASCAL,
        "mbar|hpa|millibar": (MILLIBAR, 0.0),
        "cmh2o|cm_h2o": (OF_WATER, 0.0),
    },
    "cmH2O": {
        "cmh2o|cm_h2o|cmh20|cm/h2o|cmsh2o": SAME,
        "mmhg|mm_hg": (1 / OF_WATER, 0.0),
        "mbar|hpa|millibar": (MILLIBAR / OF_WATER, 0.0),
    },
    "%": {"%|percent|pct": SAME, "fraction|decfrc|ratio|l/l": (100.0, 0.0)},
    # A fraction and a percentage are told apart by the value (``Signal.percent``), since charts mix them under one unit;
    # CareVue in MIMIC-III writes its fractions under "torr".
    "fraction": {"%|percent|pct|fraction|decfrc|decimalfraction|ratio|1|torr": SAME},
    "points": {"points|point|score|scores|pts|1": SAME},
    "INR": {"inr|ratio|1": SAME},
    "mg/dL": MASS,
    "mmol/L": SUBSTANCE,
    "mEq/L": CHARGE,
    "U/L": {
        "u/l|iu/l|units/l|unit/l|u/liter|iu/liter|unit/liter|miu/ml|mu/ml": SAME,
        "u/ml|iu/ml|units/ml|ku/l|kiu/l": (1e3, 0.0),
        "miu/l|mu/l|uiu/ml|uu/ml|µiu/ml|μiu/ml|µu/ml|μu/ml|mcu/ml|mciu/ml": (1e-3, 0.0),
        "ukat/l|µkat/l|μkat/l": (60.0, 0.0),
        "nkat/l": (0.06, 0.0),
    },
    "K/uL": {
        "k/ul|k/mcl|k/µl|k/μl|k/mm3|k/cmm|k/cumm|k/mmcu|th/ul|ths/ul|th/mm3|thousand/ul|10*3/ul|10^3/ul|10e3/ul|x10e3/ul|"
        "10*9/l|10^9/l|10e9/l|x10^9/l|x10e9/l|giga/l|thou/ul|thou/cumm|th/cumm|th/cmm|th/mcl|10e3/mcl|103/ul|103/mcl|103mcl|"
        "x103|x103/ul|x103/mcl|10^3/mcl|10*3/mcl|10^3/µl|10*3/µl|10^3/mm3|10*3/mm3|x10^3/ul|x10*3/ul|x10^3/mcl|/nl|gpt/l|g/l|"
        "tsd/ul|tsd/µl|tsd/μl": SAME,
        "/ul|/mcl|/mm3|/cumm|cells/ul|#/ul": (1e-3, 0.0),
        "m/ul|m/mcl|m/mm3|m/cmm|mil/ul|mill/ul|10*6/ul|10^6/ul|10*12/l|10^12/l|10e12/l|x10^12/l|x10e12/l|/pl|tpt/l|t/l|"
        "mio/ul|mio/µl|mio/μl": (1e3, 0.0),
    },
    "seconds": {"sec|secs|second|seconds|s": SAME},
    "milliseconds": {"ms|msec|msecs|millisecond|milliseconds": SAME},
    "minutes": {
        "min|mins|minute|minutes": SAME,
        "sec|secs|second|seconds|s": (1 / 60, 0.0),
        "h|hr|hrs|hour|hours": (60.0, 0.0),
    },
    "mL": {"ml|mls|cc|milliliter|milliliters": SAME, "l|liter|liters|litre|litres": (1e3, 0.0), "dl": (100.0, 0.0)},
    "mL/kg": {"ml/kg|cc/kg": SAME},
    "mL/beat": {"ml/beat": SAME},
    "mL/m2": {"ml/m2|ml/m^2|ml/m²": SAME},
    "L/min/m2": {"l/min/m2|l/min/m^2|l/min/m²": SAME},
    "mL/min/1.73m2": {"ml/min/1.73m2|ml/min/1.73m^2|ml/min/1.73m²|ml/min/1.73_m2": SAME},
    "dynes*sec/cm5": {"dynes*sec/cm5|dyne*sec/cm5|dynesseccm-5|dyns/cm5|dyn*s/cm5|dyn*s*cm-5": SAME},
    "kg/m2": {"kg/m2|kg/m^2|kg/m²": SAME},
    "mA": {"ma|milliamp|milliampere": SAME},
    "mV": {"mv|millivolt": SAME},
    "fL": {"fl|femtoliter|femtoliters|femtolitre|um3|um^3|µm3|μm3|µm^3|μm^3": SAME},
    "pg": {"pg|picogram|picograms": SAME},
    # mmol/kg of osmolality, as SI has it; a litre is no kilogram, so that mOsm/L is another unit
    "mOsm/kg": {"mosm/kg|mosmol/kg|mosm/kgh2o|mosmol/kgh2o|mosmol/kgwater|mmol/kg": SAME},
    "mOsm/L": {"mosm/l|mosmol/l": SAME},
    "mm/hour": {"mm/hour|mm/hr|mm/h|mm/1hr|mm/1h": SAME},
    "mg/g": {"mg/g|mg/gcreat|mg/gcreatinine|ug/mg|mcg/mg|µg/mg|μg/mg": SAME, "mg/mg|g/g": (1e3, 0.0)},
    # Fibrinogen equivalents are about half of what an assay in units of D-dimer gives, so that ng/mL alone is another unit
    "ng/mL FEU": {
        "ng/mlfeu|ngfeu/ml|ug/lfeu|ugfeu/l|mcg/lfeu|µg/lfeu|μg/lfeu": SAME,
        "ug/mlfeu|ugfeu/ml|mcg/mlfeu|mcgfeu/ml|µg/mlfeu|μg/mlfeu|mg/lfeu|mgfeu/l": (1e3, 0.0),
    },
    "/hpf": {"/hpf|#/hpf|cells/hpf|count/hpf": SAME},
    "/lpf": {"/lpf|#/lpf|count/lpf": SAME},
    "L/min": {"l/min|lpm|liter/min|liters/min": SAME, "ml/min": (1e-3, 0.0)},
    "mcg/kg/min": {
        "mcg/kg/min|ug/kg/min|mcgkgmin|µg/kg/min|μg/kg/min": SAME,
        "ng/kg/min": (1e-3, 0.0),
        "mg/kg/min": (1e3, 0.0),
        "mcg/kg/hour|mcg/kg/hr|mcg/kg/h|ug/kg/hour|ug/kg/hr|ug/kg/h|µg/kg/h|μg/kg/h": (1 / 60, 0.0),
        "mg/kg/hour|mg/kg/hr|mg/kg/h": (1e3 / 60, 0.0),
    },
    "mL/hour": {
        "ml/hour|ml/hr|ml/h|mls/hour|mls/hr|mls/h|cc/hour|cc/hr": SAME,
        "ml/min|mls/min|cc/min": (60.0, 0.0),
        "l/hour|l/hr|l/h": (1e3, 0.0),
        _of_day("ml"): (1 / 24, 0.0),
        _of_day("l"): (1e3 / 24, 0.0),
    },
    "mcg/hour": MASS_RATE,
    "mmol/hour": SUBSTANCE_RATE,
    "mEq/hour": CHARGE_RATE,
    "units/hour": {
        "units/hour|units/hr|units/h|unit/hour|unit/hr|u/hour|u/hr|u/h": SAME,
        "units/min|u/min": (60.0, 0.0),
        _of_day("units"): (1 / 24, 0.0),
    },
    "units/kg/hour": {
        "units/kg/hour|units/kg/hr|units/kg/h|unit/kg/hour|u/kg/hour|u/kg/hr|u/kg/h": SAME,
        "units/kg/min|u/kg/min": (60.0, 0.0),
    },
    "mL/kg/hour": {"ml/kg/hour|ml/kg/hr|ml/kg/h|cc/kg/hr": SAME, "ml/kg/min": (60.0, 0.0)},
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
    chosen: dict[str, Factors] = {}
    for other, ratio in [(family, 1.0), *_of_substance(family, molar_mass, charge)]:
        for texts, (scale, offset) in other.items():
            chosen |= dict.fromkeys(texts.split("|"), (scale * ratio / own, (offset - shift) / own))
    return chosen


def _of_substance(family: Forms, molar_mass: float, charge: int) -> Iterator[tuple[Forms, float]]:
    """The other families that become ``family`` by the substance's molar mass and charge; their first unit in its first."""
    for mass, substance, charges, milligrams in SUBSTANCES:
        kinds = ((mass, molar_mass / milligrams), (substance, 1.0), (charges, float(charge)))
        own = next((per_mmol for kind, per_mmol in kinds if kind is family), 0.0)
        if own:
            yield from ((kind, own / per_mmol) for kind, per_mmol in kinds if kind is not family and per_mmol)


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
