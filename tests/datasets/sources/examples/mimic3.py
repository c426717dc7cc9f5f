"""Raw files in the true v1.4 layout of MIMIC-III."""

import gzip
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tests.examples import edit
from tests.mimic_items import LAB

FORM = "%Y-%m-%d %H:%M:%S"
HEADERS = {
    "ADMISSIONS": "ROW_ID SUBJECT_ID HADM_ID ADMITTIME DISCHTIME DEATHTIME ADMISSION_TYPE ADMISSION_LOCATION "
    "DISCHARGE_LOCATION INSURANCE LANGUAGE RELIGION MARITAL_STATUS ETHNICITY EDREGTIME EDOUTTIME DIAGNOSIS "
    "HOSPITAL_EXPIRE_FLAG HAS_CHARTEVENTS_DATA",
    "PATIENTS": "ROW_ID SUBJECT_ID GENDER DOB DOD DOD_HOSP DOD_SSN EXPIRE_FLAG",
    "ICUSTAYS": "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID DBSOURCE FIRST_CAREUNIT LAST_CAREUNIT FIRST_WARDID LAST_WARDID "
    "INTIME OUTTIME LOS",
    "CHARTEVENTS": "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID ITEMID CHARTTIME STORETIME CGID VALUE VALUENUM VALUEUOM "
    "WARNING ERROR RESULTSTATUS STOPPED",
    "LABEVENTS": "ROW_ID SUBJECT_ID HADM_ID ITEMID CHARTTIME VALUE VALUENUM VALUEUOM FLAG",
    "NOTEEVENTS": "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CHARTTIME STORETIME CATEGORY DESCRIPTION CGID ISERROR TEXT",
    "DIAGNOSES_ICD": "ROW_ID SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE",
    "D_ICD_DIAGNOSES": "ROW_ID ICD9_CODE SHORT_TITLE LONG_TITLE",
    "PROCEDURES_ICD": "ROW_ID SUBJECT_ID HADM_ID SEQ_NUM ICD9_CODE",
    "D_ICD_PROCEDURES": "ROW_ID ICD9_CODE SHORT_TITLE LONG_TITLE",
}
# What each item's number means, by hand from the labels of D_ITEMS: signal, unit, a charted number, and the canonical value.
ITEMS: dict[int, tuple[str, str, float, float]] = {
    3348: ("capillary_refill_rate", "", 1, 1),
    8368: ("diastolic_blood_pressure", "mmHg", 61, 61),
    8441: ("diastolic_blood_pressure", "mmHg", 58, 58),
    220180: ("diastolic_blood_pressure", "mmHg", 55, 55),
    3420: ("fraction_inspired_oxygen", "%", 40, 0.4),
    189: ("fraction_inspired_oxygen", "", 0.35, 0.35),
    223835: ("fraction_inspired_oxygen", "%", 50, 0.5),
    184: ("gcs_eye", "", 3, 3),
    454: ("gcs_motor", "", 6, 6),
    198: ("gcs_total", "", 14, 14),
    723: ("gcs_verbal", "", 4, 4),
    220739: ("gcs_eye", "", 4, 4),
    223901: ("gcs_motor", "", 5, 5),
    223900: ("gcs_verbal", "", 5, 5),
    807: ("glucose", "", 133, 133),
    811: ("glucose", "", 141, 141),
    220621: ("glucose", "mg/dL", 122, 122),
    211: ("heart_rate", "BPM", 88, 88),
    220045: ("heart_rate", "bpm", 92, 92),
    920: ("height", "inch", 70, 177.8),
    226730: ("height", "cm", 168, 168),
    226707: ("height", "Inch", 65, 165.1),
    52: ("mean_blood_pressure", "mmHg", 77, 77),
    456: ("mean_blood_pressure", "mmHg", 81, 81),
    220052: ("mean_blood_pressure", "mmHg", 79, 79),
    646: ("oxygen_saturation", "%", 97, 97),
    220277: ("oxygen_saturation", "%", 96, 96),
    618: ("respiratory_rate", "BPM", 18, 18),
    220210: ("respiratory_rate", "insp/min", 21, 21),
    51: ("systolic_blood_pressure", "mmHg", 121, 121),
    455: ("systolic_blood_pressure", "mmHg", 117, 117),
    220179: ("systolic_blood_pressure", "mmHg", 125, 125),
    678: ("temperature", "Deg. F", 98.6, 37),
    679: ("temperature", "Deg. F", 100.4, 38),
    676: ("temperature", "Deg. C", 36.6, 36.6),
    677: ("temperature", "Deg. C", 37.2, 37.2),
    223761: ("temperature", "?F", 101.3, 38.5),
    762: ("weight", "kg", 82, 82),
    763: ("weight", "kg", 80.5, 80.5),
    3580: ("weight", "kg", 71, 71),
    3581: ("weight", "lb", 150, 68.0389),
    3582: ("weight", "oz", 2400, 68.0389),
    226531: ("weight", "", 180, 81.6466),
    780: ("ph", "", 7.36, 7.36),
    223830: ("ph", "", 7.41, 7.41),
    50809: ("glucose", "mg/dL", 101, 101),
    50931: ("glucose", "mg/dL", 155, 155),
    50816: ("fraction_inspired_oxygen", "%", 60, 0.6),
    50820: ("ph", "units", 7.28, 7.28),
}
WORDS = {  # where the chart has words and no number
    (3348, "Brisk"): 0,
    (3348, "Normal <3 secs"): 0,
    (115, "Delayed"): 1,
    (8377, "Abnormal >3 secs"): 1,
    (723, "1.0 ET/Trach"): 1,
    (184, "4 Spontaneously"): 4,
    (454, "2 Abnorm extensn"): 2,
    (223900, "No Response-ETT"): 1,
}
SIGNAL_OF = {item: row[0] for item, row in ITEMS.items()} | {
    115: "capillary_refill_rate",
    8377: "capillary_refill_rate",
}
UNRELATED = (581, 3692, 224, 614, 651, 224689, 128)  # previous weight, balloon pump, spontaneous breaths, code status
UNRELATED_LABS = (50817, 51491, 51478, 50912)  # mixed oxygen saturation, urine pH and glucose, creatinine
Row = dict[str, Any]
Tables = dict[str, list[Row]]


def generated(seed: int = 7, persons: int = 24) -> Tables:
    """A small hospital: two ICU stays for every third person, all items charted, every fault that v1.4 has."""
    rng = random.Random(seed)
    tables: Tables = {name: [] for name in HEADERS}
    for person in range(persons):
        subject, born = 10006 + 7 * person, datetime(2050 + person, 3, 14)
        first = datetime(2120, 1, 5, 21, 8) + timedelta(days=31 * person)
        if person % 5 == 0:
            born = first.replace(hour=0, minute=0) - timedelta(days=300 * 365.2425 // 1)
        tables["PATIENTS"].append(
            {"SUBJECT_ID": subject, "GENDER": "MF"[person % 2], "DOB": None if person == 23 else born, "EXPIRE_FLAG": 1}
        )
        visits = 2 if person % 3 == 0 else 1
        for visit in range(visits):
            admitted = first + timedelta(days=200 * visit)
            hadm, stay = 142000 + 10 * person + visit, 206504 + 10 * person + visit
            died = (person + visit) % 4 == 0 and visit == visits - 1
            left = admitted + timedelta(days=9, hours=person)
            tables["ADMISSIONS"].append(
                {
                    "SUBJECT_ID": subject,
                    "HADM_ID": hadm,
                    "ADMITTIME": admitted,
                    "DISCHTIME": left,
                    "DEATHTIME": left if died else None,
                    "ADMISSION_TYPE": ("EMERGENCY", "ELECTIVE", "URGENT", "NEWBORN")[person % 4],
                    "ETHNICITY": "BLACK/AFRICAN AMERICAN" if person % 2 else "WHITE",
                    "DIAGNOSIS": 'CHEST PAIN, "R/O MI"\\CATH',
                    "HOSPITAL_EXPIRE_FLAG": int(died),
                    "HAS_CHARTEVENTS_DATA": 1,
                }
            )
            entered = admitted + timedelta(hours=5, seconds=rng.randrange(3600))
            days = 1.2 if person % 6 == 1 else 3.5
            tables["ICUSTAYS"].append(
                {
                    "SUBJECT_ID": subject,
                    "HADM_ID": hadm,
                    "ICUSTAY_ID": stay,
                    "DBSOURCE": "carevue" if person % 2 else "metavision",
                    "FIRST_CAREUNIT": "MICU",
                    "LAST_CAREUNIT": "MICU",
                    "INTIME": entered,
                    "OUTTIME": entered + timedelta(days=days),
                    "LOS": days,
                }
            )
            measure(tables, rng, (subject, hadm, stay), entered)
            code(tables, subject, hadm)
            write_notes(tables["NOTEEVENTS"], subject, hadm, admitted, entered)
    titles = {"D_ICD_DIAGNOSES": {"99591": "Sepsis", "0389": "Septicemia, unspecified"}}
    titles["D_ICD_PROCEDURES"] = {"0331": "Spinal tap", "9671": "Ventilation < 96 hours"}
    for name, named in titles.items():
        tables[name] = [{"ICD9_CODE": key, "SHORT_TITLE": key, "LONG_TITLE": title} for key, title in named.items()]
    return tables


def measure(tables: Tables, rng: random.Random, ids: tuple[int, int, int], entered: datetime) -> None:
    """Chart and lab rows from a day before the ICU stay to a day after its window."""
    subject, hadm, stay = ids
    chart: Row = {"SUBJECT_ID": subject, "HADM_ID": hadm, "ICUSTAY_ID": stay, "CGID": 17525, "STORETIME": entered}

    def moment() -> datetime:
        return (entered + timedelta(hours=rng.randrange(-25, 75), minutes=rng.randrange(60))).replace(second=0)

    for item, (_, unit, number, _) in ITEMS.items():
        for _repeat in range(3):
            value = round(number * rng.choice((0.9, 1, 1, 1.05)), 2)
            value = rng.choice((number, value, -4.0)) if rng.random() < 0.2 else value
            text = f"{value:g}"
            if item in LAB:
                row: Row = {"SUBJECT_ID": subject, "HADM_ID": rng.choice((hadm, hadm, None, hadm + 1)), "ITEMID": item}
                tables["LABEVENTS"].append(
                    {
                        **row,
                        "CHARTTIME": moment(),
                        "VALUE": text,
                        "VALUENUM": value,
                        "VALUEUOM": unit,
                        "FLAG": "abnormal",
                    }
                )
            else:
                newer = item >= 220000
                error = rng.choice((0, 0, 0, 1)) if newer else None
                flags = {"WARNING": 0, "ERROR": error} if newer else {"STOPPED": "NotStopd"}
                row = {**chart, "ITEMID": item, "CHARTTIME": moment(), "VALUE": text, "VALUENUM": value, **flags}
                tables["CHARTEVENTS"].append({**row, "VALUEUOM": unit})
    for item, words in WORDS:
        row = {**chart, "ITEMID": item, "CHARTTIME": entered.replace(second=0) + timedelta(hours=rng.randrange(1, 40))}
        tables["CHARTEVENTS"].append({**row, "VALUE": words})
    tables["CHARTEVENTS"].append({**chart, "ITEMID": 3348, "CHARTTIME": moment(), "VALUE": "Other/Remarks"})
    tables["CHARTEVENTS"].append(  # no ICU stay, though of its admission
        {**chart, "ICUSTAY_ID": None, "ITEMID": 211, "CHARTTIME": moment(), "VALUE": "70", "VALUENUM": 70}
    )
    together = entered.replace(second=0) + timedelta(hours=3)
    for item, score in ((184, 4), (454, 6), (723, 5)):
        tables["CHARTEVENTS"].append(
            {**chart, "ITEMID": item, "CHARTTIME": together, "VALUE": f"{score} Words", "VALUENUM": score}
        )
    for item in UNRELATED:
        tables["CHARTEVENTS"].append({**chart, "ITEMID": item, "CHARTTIME": moment(), "VALUE": "60", "VALUENUM": 60})
    for item in UNRELATED_LABS:
        row = {"SUBJECT_ID": subject, "HADM_ID": hadm, "ITEMID": item}
        tables["LABEVENTS"].append({**row, "CHARTTIME": moment(), "VALUE": "___", "VALUENUM": 7})


def code(tables: Tables, subject: int, hadm: int) -> None:
    ids: Row = {"SUBJECT_ID": subject, "HADM_ID": hadm}
    for number, icd in enumerate(("0389", "99591"), 1):
        tables["DIAGNOSES_ICD"].append({**ids, "SEQ_NUM": number, "ICD9_CODE": icd})
    tables["PROCEDURES_ICD"].append({**ids, "SEQ_NUM": 1, "ICD9_CODE": "0331"})
    if hadm % 10 == 0:
        tables["DIAGNOSES_ICD"].append({**ids, "SEQ_NUM": None, "ICD9_CODE": None})


def write_notes(notes: list[Row], subject: int, hadm: int, admitted: datetime, entered: datetime) -> None:
    """Each text says first whether it must be kept."""
    ids: Row = {"SUBJECT_ID": subject, "HADM_ID": hadm}
    day = timedelta(days=1)
    kinds: list[tuple[str, str, datetime, datetime | None, Row]] = [
        ("keep", "Physician ", entered, entered + 3 * day / 24, {"STORETIME": entered + 4 * day / 24, "CGID": 20823}),
        ("keep", "Radiology", admitted, admitted + day / 24, {}),
        ("keep", "ECG", entered + day / 2, None, {}),  # a date only, before the window's last day ends
        ("keep", "Nursing", entered, entered + day, {"HADM_ID": None}),
        ("late: date only", "Echo", entered + 2 * day, None, {}),
        ("late", "Nursing/other", entered + 3 * day, entered + 3 * day, {}),
        ("wrong", "Nursing", entered, entered + day, {"ISERROR": 1}),
        ("discharge", "Discharge summary", entered + day, None, {}),
        ("other visit", "General", entered - 40 * day, entered - 40 * day, {"HADM_ID": None}),
    ]
    for fate, category, date, time, more in kinds:
        text = f'{fate} {hadm}: Pt. w/ "CHF",\nno edema.\n\n\tBP 120/80, [**2151-7-16**] {category}\r\n'
        row = {**ids, "CHARTDATE": f"{date:%Y-%m-%d}", "CHARTTIME": time, "CATEGORY": category, "TEXT": text}
        notes.append({**row, "DESCRIPTION": "Report", **more})


def write(folder: Path, tables: Tables, demo: bool = False) -> Path:
    """As in the full copy (gzipped, text and headers quoted, upper case), or as in the demo (plain, lower case, no notes)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in HEADERS.items():
        rows = [] if demo and name == "NOTEEVENTS" else tables[name]
        path = folder / (f"{name}.csv" if demo else f"{name}.csv.gz")
        with path.open("wt", newline="") if demo else gzip.open(path, "wt", newline="") as file:
            names = columns.split()
            file.write(",".join(f.lower() if demo else f'"{f}"' for f in names) + "\n")
            quoted: Callable[[Any], str] = plain if demo else always
            for number, row in enumerate(rows, 1):
                file.write(",".join(quoted({"ROW_ID": number, **row}.get(field)) for field in names) + "\n")
    return folder


def always(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return value.strftime(FORM) if isinstance(value, datetime) else str(value)


def plain(value: Any) -> str:
    return (
        always(value) if isinstance(value, str) and any(mark in value for mark in ',"\n') else always(value).strip('"')
    )


def raw_files(raw_dir: Path) -> None:
    write(raw_dir, generated())


def change_after_window(raw_dir: Path) -> None:
    entered = pl.read_csv(raw_dir / "ICUSTAYS.csv.gz", infer_schema=False).select("ICUSTAY_ID", "INTIME")

    def change(chart: pl.DataFrame) -> pl.DataFrame:
        start = chart.join(entered, on="ICUSTAY_ID", how="left", maintain_order="left")["INTIME"].str.to_datetime(FORM)
        late = pl.col("CHARTTIME").str.to_datetime(FORM) >= start + timedelta(hours=48)
        return chart.with_columns(pl.when(late).then(pl.lit("71")).otherwise("VALUENUM").alias("VALUENUM"))

    edit(raw_dir / "CHARTEVENTS.csv.gz", change)
