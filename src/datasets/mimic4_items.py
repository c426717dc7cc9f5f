"""MIMIC-IV item ids of the 17 benchmark signals, and how each becomes the canonical unit.

Ids are of ``d_items`` (MetaVision charting) and ``d_labitems``. The choice follows the benchmark's item map (Harutyunyan
et al. 2019) with two deliberate differences: blood-gas oxygen saturation (lab 50817) is left out, since it mixes venous with
arterial samples, and respiratory rate keeps only ids that count every breath (not the spontaneous ones alone).
An intubated patient's verbal response ("No Response-ETT") scores 1, as the scale's "1T" convention has it.
"""

import polars as pl

FAHRENHEIT = (5 / 9, -160 / 9)
POUND = (0.45359237, 0.0)
INCH = (2.54, 0.0)
SAME = (1.0, 0.0)

# itemid: (signal, (scale, offset)): canonical = value * scale + offset
CHART = {
    223951: ("capillary_refill_rate", SAME),
    224308: ("capillary_refill_rate", SAME),
    220051: ("diastolic_blood_pressure", SAME),
    220180: ("diastolic_blood_pressure", SAME),
    225310: ("diastolic_blood_pressure", SAME),
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
    223761: ("temperature", FAHRENHEIT),
    223762: ("temperature", SAME),
    226329: ("temperature", SAME),
    226512: ("weight", SAME),
    224639: ("weight", SAME),
    226531: ("weight", POUND),
    223830: ("ph", SAME),
    220274: ("ph", SAME),
}
LAB = {
    50809: ("glucose", SAME),
    50931: ("glucose", SAME),
    50816: ("fraction_inspired_oxygen", SAME),
    50820: ("ph", SAME),
}

# What the chart stores as text where the number is blank, in lower case.
TEXT_SCORES = {
    "capillary_refill_rate": {"normal <3 seconds": 0, "abnormal >3 seconds": 1},
    "gcs_eye": {"none": 1, "to pain": 2, "to speech": 3, "spontaneously": 4},
    "gcs_verbal": {
        "no response-ett": 1,
        "no response": 1,
        "incomprehensible sounds": 2,
        "inappropriate words": 3,
        "confused": 4,
        "oriented": 5,
    },
    "gcs_motor": {
        "no response": 1,
        "abnormal extension": 2,
        "abnormal flexion": 3,
        "flex-withdraws": 4,
        "localizes pain": 5,
        "obeys commands": 6,
    },
}


def item_table(items: dict[int, tuple[str, tuple[float, float]]]) -> pl.DataFrame:
    """``itemid, code, scale, offset``."""
    rows = [(item, code, scale, offset) for item, (code, (scale, offset)) in items.items()]
    return pl.DataFrame(
        rows, schema={"itemid": pl.Int64, "code": pl.String, "scale": pl.Float64, "offset": pl.Float64}, orient="row"
    )


def score_table() -> pl.DataFrame:
    """``code, text, score`` of ``TEXT_SCORES``."""
    rows = [(code, text, float(score)) for code, scores in TEXT_SCORES.items() for text, score in scores.items()]
    return pl.DataFrame(rows, schema={"code": pl.String, "text": pl.String, "score": pl.Float64}, orient="row")
