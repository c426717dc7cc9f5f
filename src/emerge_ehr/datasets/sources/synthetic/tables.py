"""Writes MIMIC-IV's administrative tables and dictionaries; apart from the outcome, they do not depend on the risk."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.datasets.sources.synthetic.horizons import HORIZONS, risk_within
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital

UNITS = ("Medical Intensive Care Unit (MICU)", "Surgical Intensive Care Unit (SICU)", "Coronary Care Unit (CCU)")
# itemid, label, abbreviation, category, unitname, param_type
ItemRow = tuple[int, str, str, str, str | None, str]
ITEMS: tuple[ItemRow, ...] = (
    (220045, "Heart Rate", "HR", "Routine Vital Signs", "bpm", "Numeric"),
    (220050, "Arterial Blood Pressure systolic", "ABPs", "Routine Vital Signs", "mmHg", "Numeric"),
    (220051, "Arterial Blood Pressure diastolic", "ABPd", "Routine Vital Signs", "mmHg", "Numeric"),
    (220052, "Arterial Blood Pressure mean", "ABPm", "Routine Vital Signs", "mmHg", "Numeric"),
    (220179, "Non Invasive Blood Pressure systolic", "NBPs", "Routine Vital Signs", "mmHg", "Numeric"),
    (220180, "Non Invasive Blood Pressure diastolic", "NBPd", "Routine Vital Signs", "mmHg", "Numeric"),
    (220181, "Non Invasive Blood Pressure mean", "NBPm", "Routine Vital Signs", "mmHg", "Numeric"),
    (220210, "Respiratory Rate", "RR", "Respiratory", "insp/min", "Numeric"),
    (220277, "O2 saturation pulseoxymetry", "SpO2", "Respiratory", "%", "Numeric"),
    (220739, "GCS - Eye Opening", "Eye Opening", "Neurological", None, "Text"),
    (223761, "Temperature Fahrenheit", "Temperature F", "Routine Vital Signs", "°F", "Numeric"),
    (223762, "Temperature Celsius", "Temperature C", "Routine Vital Signs", "°C", "Numeric"),
    (223830, "PH (Arterial)", "PH (Arterial)", "Labs", None, "Numeric"),
    (223835, "Inspired O2 Fraction", "FiO2", "Respiratory", None, "Numeric"),
    (223900, "GCS - Verbal Response", "Verbal Response", "Neurological", None, "Text"),
    (223901, "GCS - Motor Response", "Motor Response", "Neurological", None, "Text"),
    (223951, "Capillary Refill R", "Capillary Refill R", "Cardiovascular (Pulses)", None, "Text"),
    (224308, "Capillary Refill L", "Capillary Refill L", "Cardiovascular (Pulses)", None, "Text"),
    (225664, "Glucose finger stick (range 70-100)", "Glucose FS (range 70 -100)", "Labs", None, "Numeric"),
    (226512, "Admission Weight (Kg)", "Admission Weight (Kg)", "General", "kg", "Numeric"),
    (226531, "Admission Weight (lbs.)", "Admission Weight (lbs.)", "General", None, "Numeric"),
    (226707, "Height", "Height", "General", "Inch", "Numeric"),
    (226730, "Height (cm)", "Height (cm)", "General", "cm", "Numeric"),
)
LAB_ITEMS = (
    (50809, "Glucose", "Blood", "Blood Gas"),
    (50820, "pH", "Blood", "Blood Gas"),
    (50931, "Glucose", "Blood", "Chemistry"),
)
DIAGNOSES = (
    ("Z7901", 10, "Long term (current) use of anticoagulants"),
    ("Z87891", 10, "Personal history of nicotine dependence"),
    ("Z9981", 10, "Dependence on supplemental oxygen"),
    ("E785", 10, "Hyperlipidemia, unspecified"),
    ("Z794", 10, "Long term (current) use of insulin"),
    ("R0902", 10, "Hypoxemia"),
    ("2724", 9, "Other and unspecified hyperlipidemia"),
    ("V1582", 9, "Personal history of tobacco use"),
    ("2768", 9, "Hypopotassemia"),
)
PROCEDURES = (
    ("02HV33Z", 10, "Insertion of Infusion Device into Superior Vena Cava, Percutaneous Approach"),
    ("5A1945Z", 10, "Respiratory Ventilation, 24-96 Consecutive Hours"),
    ("3897", 9, "Central venous catheter placement with guidance"),
    ("966", 9, "Enteral infusion of concentrated nutritional substances"),
)


def administrative_tables(
    hospital: Hospital, rng: np.random.Generator, items: Sequence[ItemRow] = ITEMS
) -> dict[str, pl.DataFrame]:
    """The tables by their path below ``raw_dir``, without suffix; ``items`` are those that are charted."""
    return {
        "hosp/patients": _patients(hospital, rng),
        "hosp/admissions": _admissions(hospital, rng),
        "hosp/diagnoses_icd": _codes(hospital, DIAGNOSES, 3, rng),
        "hosp/procedures_icd": _procedures(hospital, rng),
        "icu/icustays": _stays(hospital, rng),
        **dictionaries(items),
    }


def dictionaries(items: Sequence[ItemRow]) -> dict[str, pl.DataFrame]:
    """The tables that give the meaning of items and codes, by path."""
    names = ["itemid", "label", "abbreviation", "category", "unitname", "param_type"]
    charted = pl.DataFrame(items, schema=names, orient="row").sort("itemid")
    codes = ["icd_code", "icd_version", "long_title"]
    blank = pl.lit(None, pl.String)
    return {
        "icu/d_items": charted.select(
            *("itemid", "label", "abbreviation", pl.lit("chartevents").alias("linksto"), "category", "unitname"),
            *("param_type", blank.alias("lownormalvalue"), blank.alias("highnormalvalue")),
        ),
        "hosp/d_labitems": pl.DataFrame(LAB_ITEMS, schema=["itemid", "label", "fluid", "category"], orient="row"),
        "hosp/d_icd_diagnoses": pl.DataFrame(DIAGNOSES, schema=codes, orient="row"),
        "hosp/d_icd_procedures": pl.DataFrame(PROCEDURES, schema=codes, orient="row"),
    }


def risk_table(hospital: Hospital, horizons: bool = False) -> pl.DataFrame:
    """``risk.csv``: the probability that each outcome was drawn from; for scoring only, never an input.

    ``horizons``: also that of death within each of ``HORIZONS`` after the window.
    """
    table = pl.DataFrame({"stay_id": hospital.stay_id, "true_risk": hospital.true_risk.round(6)})
    lasting = hospital.true_risk > 0
    within = {f"true_risk_{hours}h": np.where(lasting, risk_within(hospital.log_odds, hours), 0) for hours in HORIZONS}
    return table.with_columns(pl.Series(name, risk.round(6)) for name, risk in within.items()) if horizons else table


def _patients(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    """A row per person; ``dod`` is set for those who died in hospital, and for a few who died months later."""
    last = np.flatnonzero(np.append(hospital.subject_id[1:] != hospital.subject_id[:-1], True))
    discharged = hospital.dischtime[last].astype("datetime64[D]")
    later = discharged + rng.integers(30, 360, len(last)).astype("timedelta64[D]")
    died_later = ~hospital.died[last] & (rng.random(len(last)) < 0.05)
    dod = np.where(hospital.died[last], discharged, np.where(died_later, later, np.datetime64("NaT")))
    groups = np.array(["2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019"])
    return pl.DataFrame(
        {
            "subject_id": hospital.subject_id[last],
            "gender": np.where(hospital.female[last], "F", "M"),
            "anchor_age": hospital.anchor_age[last],
            "anchor_year": hospital.anchor_year[last],
            "anchor_year_group": rng.choice(groups, len(last)),
            "dod": dod.astype("datetime64[D]"),
        }
    )


def _admissions(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    stays = len(hospital)
    from_home = rng.choice(["EMERGENCY ROOM", "TRANSFER FROM HOSPITAL", "PHYSICIAN REFERRAL"], stays)
    to_home = rng.choice(["HOME", "SKILLED NURSING FACILITY", "REHAB"], stays)
    through_emergency = from_home == "EMERGENCY ROOM"
    arrived = hospital.admittime - rng.integers(60, 600, stays).astype("timedelta64[m]").astype("timedelta64[s]")
    nowhere = np.datetime64("NaT")
    return pl.DataFrame(
        {
            "subject_id": hospital.subject_id,
            "hadm_id": hospital.hadm_id,
            "admittime": _times(hospital.admittime),
            "dischtime": _times(hospital.dischtime),
            "deathtime": _times(np.where(hospital.died, hospital.dischtime, nowhere)),
            "admission_type": rng.choice(["EW EMER.", "URGENT", "OBSERVATION ADMIT"], stays),
            "admit_provider_id": pl.repeat(None, stays, dtype=pl.String, eager=True),
            "admission_location": from_home,
            "discharge_location": np.where(hospital.died, "DIED", to_home),
            "insurance": rng.choice(["Medicare", "Medicaid", "Other"], stays),
            "language": rng.choice(["ENGLISH", "?"], stays, p=[0.9, 0.1]),
            "marital_status": rng.choice(["MARRIED", "SINGLE", "WIDOWED", "DIVORCED"], stays),
            "race": rng.choice(["WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "HISPANIC OR LATINO", "UNKNOWN"], stays),
            "edregtime": _times(np.where(through_emergency, arrived, nowhere)),
            "edouttime": _times(np.where(through_emergency, hospital.admittime, nowhere)),
            "hospital_expire_flag": hospital.died.astype(np.int64),
        }
    )


def _stays(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    unit = rng.choice(np.array(UNITS), len(hospital))
    return pl.DataFrame(
        {
            "subject_id": hospital.subject_id,
            "hadm_id": hospital.hadm_id,
            "stay_id": hospital.stay_id,
            "first_careunit": unit,
            "last_careunit": unit,
            "intime": _times(hospital.intime),
            "outtime": _times(hospital.outtime),
            "los": (hospital.outtime - hospital.intime).astype(np.int64) / 86400,
        }
    )


def _codes(
    hospital: Hospital, codes: tuple[tuple[str, int, str], ...], most: int, rng: np.random.Generator
) -> pl.DataFrame:
    """One to ``most`` different codes per admission, drawn at random, whatever the patient's risk."""
    stays = len(hospital)
    chosen = rng.random((stays, len(codes))).argsort(axis=1)[:, :most]
    stay, place = np.nonzero(np.arange(most) < rng.integers(1, most + 1, (stays, 1)))
    code = chosen[stay, place]
    return pl.DataFrame(
        {
            "subject_id": hospital.subject_id[stay],
            "hadm_id": hospital.hadm_id[stay],
            "seq_num": place + 1,
            "icd_code": np.array([entry[0] for entry in codes])[code],
            "icd_version": np.array([entry[1] for entry in codes])[code],
        }
    )


def _procedures(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    codes = _codes(hospital, PROCEDURES, 2, rng)
    day = pl.DataFrame({"hadm_id": hospital.hadm_id, "chartdate": hospital.intime.astype("datetime64[D]")})
    joined = codes.join(day, on="hadm_id", how="left", maintain_order="left")
    return joined.select("subject_id", "hadm_id", "seq_num", "chartdate", "icd_code", "icd_version")


def _times(times: NDArray[np.datetime64]) -> pl.Series:
    return pl.Series(times.astype("datetime64[us]"))
