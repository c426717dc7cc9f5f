"""Where eICU keeps the 17 benchmark signals: columns, lab names and nurse-chart cells, with their units and scores in words.

Names and units are those of the documented tables (https://eicu-crd.mit.edu/eicutables) and of the concepts in MIT-LCP/eicu-code
and ricu; ``docs/data_sources.md`` says where we differ and why. The monitor's ``sao2`` is pulse oximetry. Capillary refill is not
in these tables. Fahrenheit cells are converted; the monitor's temperature is documented in Celsius, so a value in another unit
falls outside the plausible range.
"""

from collections.abc import Mapping

import polars as pl

from emerge_ehr.signals.units import FAHRENHEIT, SAME

# column -> signal
PERIODIC = {
    "temperature": "temperature",
    "sao2": "oxygen_saturation",
    "heartrate": "heart_rate",
    "respiration": "respiratory_rate",
    "systemicsystolic": "systolic_blood_pressure",
    "systemicdiastolic": "diastolic_blood_pressure",
    "systemicmean": "mean_blood_pressure",
}
APERIODIC = {
    "noninvasivesystolic": "systolic_blood_pressure",
    "noninvasivediastolic": "diastolic_blood_pressure",
    "noninvasivemean": "mean_blood_pressure",
}
ADMISSION = {"admissionheight": "height", "admissionweight": "weight"}

# Of several pressures at one time that of the lowest rank counts: an arterial line, a chart that does not say, a cuff.
ARTERIAL, UNSTATED, CUFF = 0, 1, 2

# labname -> signal
LAB = {"glucose": "glucose", "bedside glucose": "glucose", "pH": "ph", "FiO2": "fraction_inspired_oxygen"}

# respchartvaluelabel -> signal
RESPIRATORY = {
    "FiO2": "fraction_inspired_oxygen",
    "FIO2 (%)": "fraction_inspired_oxygen",
    "Set Fraction of Inspired Oxygen (FIO2)": "fraction_inspired_oxygen",
}

# (nursingchartcelltypevallabel, nursingchartcelltypevalname): (signal, (scale, offset))
Cells = Mapping[tuple[str, str], tuple[str, tuple[float, float]]]
CHART: Cells = {
    ("Admission Weight", "Value"): ("weight", SAME),
    ("Admit weight", "Value"): ("weight", SAME),
    ("Arterial Line MAP (mmHg)", "Value"): ("mean_blood_pressure", SAME),
    ("Bedside Glucose", "Bedside Glucose"): ("glucose", SAME),
    ("Best Eye Response", "Value"): ("gcs_eye", SAME),
    ("Best Motor Response", "Value"): ("gcs_motor", SAME),
    ("Best Verbal Response", "Value"): ("gcs_verbal", SAME),
    ("Glasgow coma score", "Eyes"): ("gcs_eye", SAME),
    ("Glasgow coma score", "GCS Total"): ("gcs_total", SAME),
    ("Glasgow coma score", "Motor"): ("gcs_motor", SAME),
    ("Glasgow coma score", "Verbal"): ("gcs_verbal", SAME),
    ("Heart Rate", "Heart Rate"): ("heart_rate", SAME),
    ("Invasive BP", "Invasive BP Diastolic"): ("diastolic_blood_pressure", SAME),
    ("Invasive BP", "Invasive BP Mean"): ("mean_blood_pressure", SAME),
    ("Invasive BP", "Invasive BP Systolic"): ("systolic_blood_pressure", SAME),
    ("MAP (mmHg)", "Value"): ("mean_blood_pressure", SAME),
    ("Non-Invasive BP", "Non-Invasive BP Diastolic"): ("diastolic_blood_pressure", SAME),
    ("Non-Invasive BP", "Non-Invasive BP Mean"): ("mean_blood_pressure", SAME),
    ("Non-Invasive BP", "Non-Invasive BP Systolic"): ("systolic_blood_pressure", SAME),
    ("O2 Saturation", "O2 Saturation"): ("oxygen_saturation", SAME),
    ("Respiratory Rate", "Respiratory Rate"): ("respiratory_rate", SAME),
    ("Score (Glasgow Coma Scale)", "Value"): ("gcs_total", SAME),
    ("Temperature", "Temperature (C)"): ("temperature", SAME),
    ("Temperature", "Temperature (F)"): ("temperature", FAHRENHEIT),
    ("WEIGHT in Kg", "Value"): ("weight", SAME),
}
RANKS = {
    "Arterial Line MAP (mmHg)": ARTERIAL,
    "Invasive BP": ARTERIAL,
    "MAP (mmHg)": UNSTATED,
    "Non-Invasive BP": CUFF,
}

# Some hospitals write the score before its meaning, "6-->(M6) obeys commands"; others write the meaning alone.
# An intubated patient's verbal response scores 1, as in the MIMIC items.
LEADING_SCORE = r"^\s*([1-6])\s*-->"
WORDED_SCORES = {
    "gcs_motor": {
        "flaccid": 1,
        "abnormal extension": 2,
        "abnormal flexion": 3,
        "withdraws": 4,
        "localizes to noxious stimuli": 5,
        "obeys simple commands": 6,
    },
    "gcs_verbal": {
        "none": 1,
        "clearly unresponsive": 1,
        "trached or intubated": 1,
        "incomprehensible sounds": 2,
        "inappropriate words": 3,
        "confused": 4,
        "oriented": 5,
        "orientation/ability to communicate questionable": 5,
        "clearly oriented/can indicate needs": 5,
    },
}


def cell_table() -> pl.DataFrame:
    """``CHART`` as a table with ``label, cell`` (in lower case) and ``code, scale, offset, rank``."""
    rows = [
        (label.lower(), cell.lower(), code, scale, offset, RANKS.get(label, 0))
        for (label, cell), (code, (scale, offset)) in CHART.items()
    ]
    text, number = dict.fromkeys(("label", "cell", "code"), pl.String), dict.fromkeys(("scale", "offset"), pl.Float64)
    return pl.DataFrame(rows, schema={**text, **number, "rank": pl.UInt8}, orient="row")


def score_table() -> pl.DataFrame:
    """``WORDED_SCORES`` as a table with ``code, text, score``."""
    rows = [(code, text, float(score)) for code, scores in WORDED_SCORES.items() for text, score in scores.items()]
    return pl.DataFrame(rows, schema={"code": pl.String, "text": pl.String, "score": pl.Float64}, orient="row")


def lab_table() -> pl.DataFrame:
    """``LAB`` as a table with ``labname`` (in lower case) and ``code``."""
    return _lower("labname", LAB)


def respiratory_table() -> pl.DataFrame:
    """``RESPIRATORY`` as a table with ``label`` (in lower case) and ``code``."""
    return _lower("label", RESPIRATORY)


def _lower(name: str, codes: Mapping[str, str]) -> pl.DataFrame:
    rows = list({label.lower(): code for label, code in codes.items()}.items())
    return pl.DataFrame(rows, schema={name: pl.String, "code": pl.String}, orient="row")
