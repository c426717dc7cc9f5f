"""Item ids of the 17 benchmark signals, and how their values are converted to the canonical unit.

``CHART`` holds ids of MetaVision (MIMIC-IV, and MIMIC-III from 2008), ``CAREVUE`` those of the system before it (MIMIC-III only),
and ``LAB`` those of ``d_labitems``, which are the same in both. The choice follows the benchmark's item map
(Harutyunyan et al. 2019) and MIT-LCP's mimic-code, with deliberate differences, which docs/data_sources.md lists.
An intubated patient's verbal response ("No Response-ETT", "1.0 ET/Trach") scores 1, as the scale's "1T" convention has it.
"""

from collections.abc import Mapping
from functools import cache

import polars as pl

from emerge_ehr.signals import units
from emerge_ehr.signals.units import FAHRENHEIT, INCH, OUNCE, POUND, SAME

# itemid: (signal, (scale, offset)): canonical = value * scale + offset
Items = Mapping[int, tuple[str, tuple[float, float]]]

CHART = {
    223951: ("capillary_refill_rate", SAME),
    224308: ("capillary_refill_rate", SAME),
    220051: ("diastolic_blood_pressure", SAME),
    220180: ("diastolic_blood_pressure", SAME),
    225310: ("diastolic_blood_pressure", SAME),
    224643: ("diastolic_blood_pressure", SAME),
    227242: ("diastolic_blood_pressure", SAME),
    223835: ("fraction_inspired_oxygen", SAME),
    220739: ("gcs_eye", SAME),
    223901: ("gcs_motor", SAME),
    223900: ("gcs_verbal", SAME),
    220621: ("glucose", SAME),
    225664: ("glucose", SAME),
    226537: ("glucose", SAME),
    220045: ("heart_rate", SAME),
    226730: ("height", SAME),
    226707: ("height", INCH),
    220052: ("mean_blood_pressure", SAME),
    220181: ("mean_blood_pressure", SAME),
    225312: ("mean_blood_pressure", SAME),
    220277: ("oxygen_saturation", SAME),
    220227: ("oxygen_saturation", SAME),
    220210: ("respiratory_rate", SAME),
    224690: ("respiratory_rate", SAME),
    220050: ("systolic_blood_pressure", SAME),
    220179: ("systolic_blood_pressure", SAME),
    225309: ("systolic_blood_pressure", SAME),
    224167: ("systolic_blood_pressure", SAME),
    227243: ("systolic_blood_pressure", SAME),
    223761: ("temperature", FAHRENHEIT),
    223762: ("temperature", SAME),
    226329: ("temperature", SAME),
    226512: ("weight", SAME),
    224639: ("weight", SAME),
    226531: ("weight", POUND),
    223830: ("ph", SAME),
    220274: ("ph", SAME),
}
CAREVUE = {
    115: ("capillary_refill_rate", SAME),
    3348: ("capillary_refill_rate", SAME),
    8377: ("capillary_refill_rate", SAME),
    8368: ("diastolic_blood_pressure", SAME),
    8440: ("diastolic_blood_pressure", SAME),
    8441: ("diastolic_blood_pressure", SAME),
    8502: ("diastolic_blood_pressure", SAME),
    8503: ("diastolic_blood_pressure", SAME),
    8504: ("diastolic_blood_pressure", SAME),
    8506: ("diastolic_blood_pressure", SAME),
    8507: ("diastolic_blood_pressure", SAME),
    8555: ("diastolic_blood_pressure", SAME),
    189: ("fraction_inspired_oxygen", SAME),
    190: ("fraction_inspired_oxygen", SAME),
    727: ("fraction_inspired_oxygen", SAME),
    1040: ("fraction_inspired_oxygen", SAME),
    1206: ("fraction_inspired_oxygen", SAME),
    1863: ("fraction_inspired_oxygen", SAME),
    2518: ("fraction_inspired_oxygen", SAME),
    2981: ("fraction_inspired_oxygen", SAME),
    3420: ("fraction_inspired_oxygen", SAME),
    3422: ("fraction_inspired_oxygen", SAME),
    7041: ("fraction_inspired_oxygen", SAME),
    7570: ("fraction_inspired_oxygen", SAME),
    184: ("gcs_eye", SAME),
    454: ("gcs_motor", SAME),
    198: ("gcs_total", SAME),
    723: ("gcs_verbal", SAME),
    807: ("glucose", SAME),
    811: ("glucose", SAME),
    1529: ("glucose", SAME),
    3744: ("glucose", SAME),
    3745: ("glucose", SAME),
    211: ("heart_rate", SAME),
    920: ("height", INCH),
    1394: ("height", INCH),
    52: ("mean_blood_pressure", SAME),
    443: ("mean_blood_pressure", SAME),
    456: ("mean_blood_pressure", SAME),
    3312: ("mean_blood_pressure", SAME),
    3314: ("mean_blood_pressure", SAME),
    3316: ("mean_blood_pressure", SAME),
    3320: ("mean_blood_pressure", SAME),
    3322: ("mean_blood_pressure", SAME),
    6702: ("mean_blood_pressure", SAME),
    646: ("oxygen_saturation", SAME),
    834: ("oxygen_saturation", SAME),
    8498: ("oxygen_saturation", SAME),
    615: ("respiratory_rate", SAME),
    618: ("respiratory_rate", SAME),
    3603: ("respiratory_rate", SAME),
    51: ("systolic_blood_pressure", SAME),
    442: ("systolic_blood_pressure", SAME),
    455: ("systolic_blood_pressure", SAME),
    3313: ("systolic_blood_pressure", SAME),
    3315: ("systolic_blood_pressure", SAME),
    3317: ("systolic_blood_pressure", SAME),
    3321: ("systolic_blood_pressure", SAME),
    3323: ("systolic_blood_pressure", SAME),
    6701: ("systolic_blood_pressure", SAME),
    678: ("temperature", FAHRENHEIT),
    679: ("temperature", FAHRENHEIT),
    3654: ("temperature", FAHRENHEIT),
    676: ("temperature", SAME),
    677: ("temperature", SAME),
    3655: ("temperature", SAME),
    762: ("weight", SAME),
    763: ("weight", SAME),
    3580: ("weight", SAME),
    3693: ("weight", SAME),
    3581: ("weight", POUND),
    3582: ("weight", OUNCE),
    780: ("ph", SAME),
    860: ("ph", SAME),
    1126: ("ph", SAME),
    1673: ("ph", SAME),
    3839: ("ph", SAME),
    4202: ("ph", SAME),
    4753: ("ph", SAME),
}
LAB = {
    50809: ("glucose", SAME),
    50931: ("glucose", SAME),
    50816: ("fraction_inspired_oxygen", SAME),
    50820: ("ph", SAME),
}

# Pressures from an arterial line, which count before others at the same time: those of a cuff, or of an unknown way.
ARTERIAL = frozenset({220050, 220051, 220052, 225309, 225310, 225312, 51, 52, 8368, 6701, 6702, 8555})

# Units as the charts write them, to be compared with an item's own unit.
WRITTEN = (
    *(
        "mmHg",
        "bpm",
        "BPM",
        "insp/min",
        "%",
        "mg/dL",
        "units",
        "UNITS",
        "pH",
        "points",
        "kg",
        "cm",
        "Inch",
        "inches",
        "lbs",
    ),
    *("°F", "°C", "?F", "?C", "Deg. F", "Deg. C", "torr", "decFrc"),
)

# Texts in the chart, in lower case, for rows whose number is blank: MetaVision's words, then CareVue's.
TEXT_SCORES = {
    "capillary_refill_rate": {
        "normal <3 seconds": 0,
        "abnormal >3 seconds": 1,
        "normal <3 secs": 0,
        "brisk": 0,
        "abnormal >3 secs": 1,
        "delayed": 1,
    },
    "gcs_eye": {
        "none": 1,
        "to pain": 2,
        "to speech": 3,
        "spontaneously": 4,
        "1 no response": 1,
        "2 to pain": 2,
        "3 to speech": 3,
        "4 spontaneously": 4,
    },
    "gcs_verbal": {
        "no response-ett": 1,
        "no response": 1,
        "incomprehensible sounds": 2,
        "inappropriate words": 3,
        "confused": 4,
        "oriented": 5,
        "1.0 et/trach": 1,
        "1 no response": 1,
        "2 incomp sounds": 2,
        "3 inapprop words": 3,
        "4 confused": 4,
        "5 oriented": 5,
    },
    "gcs_motor": {
        "no response": 1,
        "abnormal extension": 2,
        "abnormal flexion": 3,
        "flex-withdraws": 4,
        "localizes pain": 5,
        "obeys commands": 6,
        "1 no response": 1,
        "2 abnorm extensn": 2,
        "3 abnorm flexion": 3,
        "4 flex-withdraws": 4,
        "5 localizes pain": 5,
        "6 obeys commands": 6,
    },
}


def item_table(items: Items) -> pl.DataFrame:
    """``items`` as a table with ``itemid, code, scale, offset, rank`` (1 for a blood pressure not from an arterial line)."""
    pressure = ("systolic_blood_pressure", "diastolic_blood_pressure", "mean_blood_pressure")
    rows = [
        (item, code, scale, offset, int(code in pressure and item not in ARTERIAL))
        for item, (code, (scale, offset)) in items.items()
    ]
    schema = {"itemid": pl.Int64, "code": pl.String, "scale": pl.Float64, "offset": pl.Float64, "rank": pl.UInt8}
    return pl.DataFrame(rows, schema=schema, orient="row")


@cache
def usual_units() -> tuple[str, ...]:
    """``itemid<tab>unit`` of the units that are the item's own, as in ``WRITTEN``."""
    pairs = item_table({**CHART, **CAREVUE, **LAB}).join(pl.DataFrame({"unit": WRITTEN}), how="cross")
    code, unit = pl.col("code"), pl.col("unit")
    own = pairs.filter((units.scale(code, unit) == pl.col("scale")) & (units.offset(code, unit) == pl.col("offset")))
    return tuple(own.select(pl.concat_str("itemid", "unit", separator="\t")).to_series())


def score_table() -> pl.DataFrame:
    """``TEXT_SCORES`` as a table with ``code, text, score``."""
    rows = [(code, text, float(score)) for code, scores in TEXT_SCORES.items() for text, score in scores.items()]
    return pl.DataFrame(rows, schema={"code": pl.String, "text": pl.String, "score": pl.Float64}, orient="row")
