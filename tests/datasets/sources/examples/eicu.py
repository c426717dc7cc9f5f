"""Raw files of the true layout of eICU."""

import csv
import gzip
import io
import random
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.examples import edit

ORIGIN = datetime(2100, 1, 1)

# Headers as in the demo 2.0.1
COLUMNS = {
    "patient": "patientunitstayid,patienthealthsystemstayid,gender,age,ethnicity,hospitalid,wardid,apacheadmissiondx,"
    "admissionheight,hospitaladmittime24,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,"
    "hospitaldischargetime24,hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,"
    "unitadmittime24,unitadmitsource,unitvisitnumber,unitstaytype,admissionweight,dischargeweight,unitdischargetime24,"
    "unitdischargeoffset,unitdischargelocation,unitdischargestatus,uniquepid",
    "vitalPeriodic": "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,cvp,etco2,"
    "systemicsystolic,systemicdiastolic,systemicmean,pasystolic,padiastolic,pamean,st1,st2,st3,icp",
    "vitalAperiodic": "vitalaperiodicid,patientunitstayid,observationoffset,noninvasivesystolic,noninvasivediastolic,"
    "noninvasivemean,paop,cardiacoutput,cardiacinput,svr,svri,pvr,pvri",
    "lab": "labid,patientunitstayid,labresultoffset,labtypeid,labname,labresult,labresulttext,labmeasurenamesystem,"
    "labmeasurenameinterface,labresultrevisedoffset",
    "nurseCharting": "nursingchartid,patientunitstayid,nursingchartoffset,nursingchartentryoffset,nursingchartcelltypecat,"
    "nursingchartcelltypevallabel,nursingchartcelltypevalname,nursingchartvalue",
    "respiratoryCharting": "respchartid,patientunitstayid,respchartoffset,respchartentryoffset,respcharttypecat,"
    "respchartvaluelabel,respchartvalue",
    "note": "noteid,patientunitstayid,noteoffset,noteenteredoffset,notetype,notepath,notevalue,notetext",
    "pastHistory": "pasthistoryid,patientunitstayid,pasthistoryoffset,pasthistoryenteredoffset,pasthistorynotetype,"
    "pasthistorypath,pasthistoryvalue,pasthistoryvaluetext",
    "admissionDx": "admissiondxid,patientunitstayid,admitdxenteredoffset,admitdxpath,admitdxname,admitdxtext",
    "diagnosis": "diagnosisid,patientunitstayid,activeupondischarge,diagnosisoffset,diagnosisstring,icd9code,diagnosispriority",
}
# What the plain loop knows, written out by hand
WIDE = {
    "temperature": "temperature",
    "sao2": "oxygen_saturation",
    "heartrate": "heart_rate",
    "respiration": "respiratory_rate",
    "systemicsystolic": "systolic_blood_pressure",
    "systemicdiastolic": "diastolic_blood_pressure",
    "systemicmean": "mean_blood_pressure",
    "noninvasivesystolic": "systolic_blood_pressure",
    "noninvasivediastolic": "diastolic_blood_pressure",
    "noninvasivemean": "mean_blood_pressure",
}
LABS = {"glucose": "glucose", "bedside glucose": "glucose", "pH": "ph", "FiO2": "fraction_inspired_oxygen"}
PRESSURES = {"Systolic": "systolic", "Diastolic": "diastolic", "Mean": "mean"}
CELLS = {
    "Heart Rate/Heart Rate": "heart_rate",
    "Respiratory Rate/Respiratory Rate": "respiratory_rate",
    "O2 Saturation/O2 Saturation": "oxygen_saturation",
    "Bedside Glucose/Bedside Glucose": "glucose",
    "Temperature/Temperature (C)": "temperature",
    "Temperature/Temperature (F)": "temperature",
    "Glasgow coma score/Eyes": "gcs_eye",
    "Glasgow coma score/Motor": "gcs_motor",
    "Glasgow coma score/Verbal": "gcs_verbal",
    "Glasgow coma score/GCS Total": "gcs_total",
    "Score (Glasgow Coma Scale)/Value": "gcs_total",
    "Best Eye Response/Value": "gcs_eye",
    "Best Motor Response/Value": "gcs_motor",
    "Best Verbal Response/Value": "gcs_verbal",
    "Admission Weight/Value": "weight",
    "Admit weight/Value": "weight",
    "WEIGHT in Kg/Value": "weight",
    "MAP (mmHg)/Value": "mean_blood_pressure",
    "Arterial Line MAP (mmHg)/Value": "mean_blood_pressure",
    **{
        f"{kind} BP/{kind} BP {part}": f"{name}_blood_pressure"
        for kind in ("Invasive", "Non-Invasive")
        for part, name in PRESSURES.items()
    },
}
# Of pressures at one time those of an arterial line count, then those of a chart that does not say, then a cuff's.
CELL_RANKS = {"Invasive BP": 0, "Arterial Line MAP (mmHg)": 0, "MAP (mmHg)": 1, "Non-Invasive BP": 2}
OXYGEN = ("FiO2", "FIO2 (%)", "Set Fraction of Inspired Oxygen (FIO2)")
# What therapists write into the cell, and the value it has; 3 is litres a minute and implausible, 1 and 1.0 may be either
INSPIRED = {
    "40": 0.4,
    "60%": 0.6,
    " 0.5 ": 0.5,
    "3": 0.03,
    "1": None,
    "1.0": None,
    ">60": 0.6,
    "see note": None,
    "": None,
}
WORDS = {
    "6-->(M6) obeys commands": 6,
    "4-->(E4) spontaneous": 4,
    "Abnormal flexion": 3,
    "Trached or intubated": 1,
    "Oriented": 5,
}
CHARTED = (
    "80",
    " 97.5",
    "98.6",
    ">600",
    "LESS THAN 70",
    "7",
    "3",
    "15",
    "4",
    "120",
    "500",
    "",
    "Unable to score due to medication",
    "WDL",
    "-",
    *WORDS,
)

# As in the true files an empty text is quoted, an empty number is not
TEXTS = {
    "gender",
    "age",
    "ethnicity",
    "unittype",
    "hospitaldischargestatus",
    "unitdischargestatus",
    "apacheadmissiondx",
}
TEXTS |= {"respchartvalue", "nursingchartvalue", "labmeasurenamesystem", "notevalue", "notetext", "icd9code"}
EMPTY = "an empty text"

Rows = list[dict[str, Any]]


def write(raw: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Columns that a row does not name are empty."""
    columns, text = COLUMNS[name].split(","), io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | {column: row.get(column) or EMPTY for column in columns if column in TEXTS})
    (raw / f"{name}.csv.gz").write_bytes(gzip.compress(text.getvalue().replace(EMPTY, '""').encode(), compresslevel=1))


def stay(stay_id: int, hadm_id: int, person: str, **other: Any) -> dict[str, Any]:
    return {
        "patientunitstayid": stay_id,
        "patienthealthsystemstayid": hadm_id,
        "uniquepid": person,
        "gender": "Female",
        "age": "61",
        "ethnicity": "Caucasian",
        "unittype": "MICU",
        "admissionheight": "170.00",
        "admissionweight": "80.50",
        "hospitaladmitoffset": -120,
        "hospitaldischargeoffset": 9000,
        "hospitaldischargestatus": "Alive",
        "unitdischargeoffset": 4320,
        "unitdischargestatus": "Alive",
        **other,
    }


def hospital(raw: Path, seed: int = 3) -> None:
    """Thirty persons: several admissions, several unit stays an admission, one of them shorter than the cohort asks for."""
    draw = random.Random(seed)
    patients = unit_stays(draw)
    ids = [int(patient["patientunitstayid"]) for patient in patients]
    periodic, aperiodic = list(WIDE)[:7], list(WIDE)[7:]
    write(raw, "patient", patients)
    write(raw, "vitalPeriodic", vitals(draw, times(draw, ids, 40), periodic))
    write(raw, "vitalAperiodic", vitals(draw, times(draw, ids, 10), aperiodic))
    write(raw, "lab", labs(draw, times(draw, ids, 10)))
    write(raw, "nurseCharting", charted(draw, times(draw, ids, 60)))
    write(raw, "respiratoryCharting", respiratory(draw, times(draw, ids, 20)))
    path = "notes/Progress Notes/Assessment and Plan/Plan/Text"
    write(raw, "note", [element(stay, stay, 30, 40, path, "Text", "Septic shock") for stay in ids[::2]])
    for name in ("pastHistory", "admissionDx", "diagnosis"):
        write(raw, name, [])


def unit_stays(draw: random.Random) -> Rows:
    """The rows of patient: one for each unit stay."""
    patients: Rows = []
    for person in range(30):
        for visit in range(draw.choice((1, 1, 2))):
            hadm, admit = 1000 + 10 * person + visit, -draw.randrange(0, 900)
            leave = admit + draw.randrange(9000, 16000)  # in minutes of the first unit stay
            status = draw.choice(("Alive", "Alive", "Alive", "Expired", ""))
            for number in range(draw.choice((1, 1, 2, 3))):
                begin = number * 3100 + draw.randrange(60)  # of the first unit stay's clock
                length = draw.choice((400, 2900, 2990))
                patients.append(
                    stay(
                        len(patients) + 1,
                        hadm,
                        f"002-{person}",
                        gender=draw.choice(("Male", "Female", "Unknown", "")),
                        age=draw.choice(("> 89", "17", "18", "54", "70", "")),
                        admissionheight=draw.choice(("", "170.00", "0.00", "182.90")),
                        admissionweight=draw.choice(("", "69.70", "80.00")),
                        hospitaladmitoffset=admit - begin,
                        hospitaldischargeoffset=leave - begin,
                        hospitaldischargestatus=status,
                        unitdischargeoffset=length,
                    )
                )
    return patients


def times(draw: random.Random, ids: list[int], count: int) -> list[tuple[int, int]]:
    """For each unit stay so many minutes, some before it begins and some after it ends."""
    return [(key, draw.randrange(-200, 3300)) for key in ids for _ in range(count)]


def vitals(draw: random.Random, moments: list[tuple[int, int]], columns: list[str]) -> Rows:
    return [
        {"patientunitstayid": key, "observationoffset": offset}
        | {column: draw.choice(("", "36.6", "70", "98.2", "4")) for column in columns}
        for key, offset in moments
    ]


def labs(draw: random.Random, moments: list[tuple[int, int]]) -> Rows:
    names, results = (*LABS, "urinary glucose", "potassium"), ("7.41", "40.0000", "0.5", "140.0000", "")
    return [
        {
            "patientunitstayid": key,
            "labresultoffset": offset,
            "labname": draw.choice(names),
            "labresult": draw.choice(results),
        }
        for key, offset in moments
    ]


def charted(draw: random.Random, moments: list[tuple[int, int]]) -> Rows:
    """The rows of nurseCharting: a cell each time, and in a third of them the three parts of the coma scale before it."""
    chart: Rows = []
    for key, offset in moments:
        cells = draw.sample([*CELLS, "Pain Score/Goal/Pain Score", "Heart Rate/Value"], 1)
        if draw.random() < 0.3:
            cells = ["Glasgow coma score/Eyes", "Glasgow coma score/Motor", "Glasgow coma score/Verbal", *cells]
        for cell in cells:
            label, _, name = cell.rpartition("/")
            value = draw.choice(("1", "3", "4")) if label.startswith("Glasgow") else draw.choice(CHARTED)
            chart.append(
                {
                    "patientunitstayid": key,
                    "nursingchartoffset": offset,
                    "nursingchartcelltypevallabel": label,
                    "nursingchartcelltypevalname": name,
                    "nursingchartvalue": value,
                }
            )
    return chart


def respiratory(draw: random.Random, moments: list[tuple[int, int]]) -> Rows:
    return [
        {
            "patientunitstayid": key,
            "respchartoffset": offset,
            "respchartvaluelabel": draw.choice((*OXYGEN, "LPM O2", "Total RR")),
            "respchartvalue": draw.choice(list(INSPIRED)),
        }
        for key, offset in moments
    ]


def element(number: int, unit: int, offset: int, entered: int, path: str, value: str, text: str) -> dict[str, Any]:
    return {
        "noteid": number,
        "patientunitstayid": unit,
        "noteoffset": offset,
        "noteenteredoffset": entered,
        "notetype": "Comprehensive Progress",
        "notepath": path,
        "notevalue": value,
        "notetext": text,
    }


def raw_files(raw_dir: Path) -> None:
    raw_dir.mkdir()
    hospital(raw_dir)


def change_after_window(raw_dir: Path) -> None:
    late = pl.col("observationoffset").cast(pl.Int64) >= 2880
    heart_rate = pl.when(late).then(pl.lit("71")).otherwise("heartrate").alias("heartrate")
    edit(raw_dir / "vitalPeriodic.csv.gz", lambda rows: rows.with_columns(heart_rate))
