"""Writes MIMIC-IV's files as tables of the OMOP common data model 5.4, as a hospital's own export would hold them.

Concepts of items, units, places and visits follow OHDSI's published mapping of MIMIC-IV (github.com/OHDSI/MIMIC, its folder
custom_mapping_csv), except that pressures of an arterial line are the concepts of invasive pressures and those of a manual cuff
the noninvasive ones, and that the items which it does not map (capillary refill, glucose by finger stick or of whole blood, daily
weight, venous pH) have the standard concepts of their LOINC codes. Scores of the Glasgow coma scale and capillary refill are
answers, without numbers.
"""

import sqlite3
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources.omop.concepts import published

FORMS = ("csv", "csv.gz", "parquet", "sqlite", "duckdb")
HEART_RATE, PH_VENOUS = 3027018, 3012544
ITEMS = {
    220045: HEART_RATE,
    **dict.fromkeys((220050, 225309), 21490853),
    **dict.fromkeys((220051, 225310), 21490851),
    **dict.fromkeys((220052, 225312), 21490852),
    **dict.fromkeys((220179, 224167, 227243), 21492239),
    **dict.fromkeys((220180, 224643, 227242), 21492240),
    220181: 21492241,
    **dict.fromkeys((220210, 224690), 3024171),
    220277: 40762499,
    220227: 3016502,
    **dict.fromkeys((223761, 223762), 3020891),
    226329: 21490586,
    223830: 3019977,
    220274: PH_VENOUS,
    **dict.fromkeys((223835, 50816), 3020716),
    220739: 3016335,
    223900: 3009094,
    223901: 3008223,
    **dict.fromkeys((223951, 224308), 3045676),
    **dict.fromkeys((220621, 50931), 3004501),
    **dict.fromkeys((226537, 50809), 3000483),
    225664: 3034962,
    **dict.fromkeys((226512, 226531, 224639), 3025315),
    **dict.fromkeys((226707, 226730), 3036277),
    50820: 3010421,
}
UNITS = {
    "bpm": 8483,
    "insp/min": 4141207,
    "mmHg": 8876,
    "%": 8554,
    "°F": 9289,
    "°C": 586323,
    "cm": 8582,
    "Inch": 9327,
    "kg": 9529,
    "lb": 8739,
    "mg/dL": 8840,
    "units": 8510,
}
# what the items' definitions say where a row states no unit
OF_ITEM = {
    226531: "lb",
    226707: "Inch",
    226730: "cm",
    226512: "kg",
    224639: "kg",
    226537: "mg/dL",
    225664: "mg/dL",
    220621: "mg/dL",
}
ANSWERS = {
    220739: {"None": 45877537, "To Pain": 45883351, "To Speech": 45880465, "Spontaneously": 45880466},
    223901: {
        "No response": 45878992,
        "Abnormal extension": 45878993,
        "Abnormal Flexion": 45879885,
        "Flex-withdraws": 45882047,
        "Localizes Pain": 45880467,
        "Obeys Commands": 45880468,
    },
    223900: {
        "No Response": 45877384,
        "No Response-ETT": 45877384,
        "Incomprehensible sounds": 45883352,
        "Inappropriate Words": 45877601,
        "Confused": 45883906,
        "Oriented": 45877602,
    },
    **{item: {"Normal <3 Seconds": 45884153, "Abnormal >3 Seconds": 45878745} for item in (223951, 224308)},
}
SCORES = (220739, 223900, 223901)
POINTS = {item: dict(enumerate(dict.fromkeys(ANSWERS[item].values()), 1)) for item in SCORES}
PLACES = {
    "DIED": 4216643,
    "HOME": 581476,
    "HOME HEALTH CARE": 581476,
    "SKILLED NURSING FACILITY": 8863,
    "HOSPICE": 8546,
    "REHAB": 38004285,
}
PLANNED = {"ELECTIVE": 2000001804, "SURGICAL SAME DAY ADMISSION": 2000001808}
OPTIONS = {"planned": list(PLANNED.values())}
FIRST_ICD = 2100000000


def write(mimic: Path, raw_dir: Path, form: str = "csv.gz", *, vocabulary: bool = True) -> None:
    """Write the tables of the copy of MIMIC-IV in ``mimic`` as ``form``; ``vocabulary``: whether ``concept`` is among them."""
    made = tables(mimic)
    if not vocabulary:
        del made["concept"]
    raw_dir.mkdir(parents=True, exist_ok=True)
    if form == "sqlite":
        with sqlite3.connect(raw_dir / "cdm.sqlite") as connection:
            for name, table in made.items():
                connection.execute(f"create table {name} ({', '.join(f'{column} text' for column in table.columns)})")
                places = ", ".join("?" * table.width)
                connection.executemany(f"insert into {name} values ({places})", table.cast(pl.String).rows())
        connection.close()
        return
    if form == "duckdb":
        _write_duckdb(made, raw_dir)
        return
    for name, table in made.items():
        path = raw_dir / f"{name}.{form}"
        if form == "parquet":
            _typed(table).rename(str.upper).write_parquet(raw_dir / f"{name.upper()}.parquet")
        else:
            table.write_csv(path, compression="gzip" if form == "csv.gz" else "uncompressed")


def _write_duckdb(made: dict[str, pl.DataFrame], raw_dir: Path) -> None:
    import duckdb

    with duckdb.connect(str(raw_dir / "cdm.duckdb")) as connection:
        connection.execute("create schema cdm")  # as the file is called
        for name, table in made.items():
            path = raw_dir / f"{name}.parquet"
            _typed(table).write_parquet(path)
            connection.execute(f"create table cdm.cdm.{name} as select * from read_parquet('{path}')")
            path.unlink()


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """Ids as whole numbers and times as such, as a database has them."""
    kinds = {"_id": pl.Int64, "_of_birth": pl.Int64, "_as_number": pl.Float64}
    names = [name for name in table.columns if name != "vocabulary_id"]
    numbers = [pl.col(name).cast(kind) for name in names for end, kind in kinds.items() if name.endswith(end)]
    times = [pl.col(name).str.to_datetime() for name in table.columns if name.endswith("_datetime")]
    days = [pl.col(name).str.to_date() for name in table.columns if name.endswith("_date")]
    return table.with_columns(*numbers, *times, *days)


def tables(mimic: Path) -> dict[str, pl.DataFrame]:
    """All tables, as texts."""
    patients, admissions = _read(mimic / "hosp" / "patients"), _read(mimic / "hosp" / "admissions")
    codes = _read(mimic / "hosp" / "diagnoses_icd").with_columns(pl.col("icd_code").str.strip_chars())
    icd = codes.select("icd_version", "icd_code").unique().sort("icd_version", "icd_code").with_row_index("n")
    icd = icd.with_columns((pl.col("n") + FIRST_ICD).cast(pl.String).alias("id")).drop("n")
    made = {
        "person": _persons(patients, admissions),
        "visit_occurrence": _visits(admissions),
        "visit_detail": _details(_read(mimic / "icu" / "icustays")),
        "death": _deaths(patients, admissions),
        "condition_occurrence": _conditions(codes, admissions, icd),
        "measurement": _measurements(mimic),
        "concept": _vocabulary(icd),
    }
    notes = next((path for path in (mimic / "note").glob("*.csv.gz")), None) if (mimic / "note").is_dir() else None
    return {**made, "note": _notes(pl.read_csv(notes, infer_schema=False), admissions)} if notes else made


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path.with_suffix(".csv.gz"), infer_schema=False)


def _at(name: str, time: str) -> list[pl.Expr]:
    """``name_date`` and ``name_datetime``."""
    return [pl.col(time).str.slice(0, 10).alias(f"{name}_date"), pl.col(time).alias(f"{name}_datetime")]


def _persons(patients: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    race = admissions.sort("admittime").unique("subject_id", keep="first").select("subject_id", "race")
    born = pl.col("anchor_year").cast(pl.Int64) - pl.col("anchor_age").cast(pl.Int64)
    return patients.join(race, on="subject_id", how="left", maintain_order="left").select(
        pl.col("subject_id").alias("person_id"),
        pl.col("gender").replace({"M": "8507", "F": "8532"}).alias("gender_concept_id"),
        born.cast(pl.String).alias("year_of_birth"),
        pl.col("gender").alias("gender_source_value"),
        pl.col("race").alias("race_source_value"),
    )


def _visits(admissions: pl.DataFrame) -> pl.DataFrame:
    dead = pl.col("hospital_expire_flag") == "1"
    kind = pl.when(pl.col("edregtime").is_not_null()).then(pl.lit("262")).otherwise(pl.lit("9201"))
    place = pl.col("discharge_location").replace_strict(PLACES, default=0, return_dtype=pl.Int64)
    return admissions.select(
        pl.col("hadm_id").alias("visit_occurrence_id"),
        pl.col("subject_id").alias("person_id"),
        kind.alias("visit_concept_id"),
        *_at("visit_start", "admittime"),
        *_at("visit_end", "dischtime"),
        pl.when(dead).then(PLACES["DIED"]).otherwise(place).cast(pl.String).alias("discharged_to_concept_id"),
        pl.col("discharge_location").alias("discharged_to_source_value"),
        pl.col("admission_type").replace_strict(PLANNED, default=0).cast(pl.String).alias("visit_source_concept_id"),
    )


def _details(stays: pl.DataFrame) -> pl.DataFrame:
    return stays.select(
        pl.col("stay_id").alias("visit_detail_id"),
        pl.col("subject_id").alias("person_id"),
        pl.lit("32037").alias("visit_detail_concept_id"),
        *_at("visit_detail_start", "intime"),
        *_at("visit_detail_end", "outtime"),
        pl.col("first_careunit").alias("visit_detail_source_value"),
        pl.col("hadm_id").alias("visit_occurrence_id"),
    )


def _deaths(patients: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    timed = admissions.drop_nulls("deathtime").group_by("subject_id").agg(pl.col("deathtime").min())
    rows = patients.join(timed, on="subject_id", how="left", maintain_order="left")
    rows = rows.filter(pl.col("dod").is_not_null() | pl.col("deathtime").is_not_null())
    return rows.select(
        pl.col("subject_id").alias("person_id"),
        pl.coalesce(pl.col("deathtime").str.slice(0, 10), pl.col("dod").str.slice(0, 10)).alias("death_date"),
        pl.col("deathtime").alias("death_datetime"),
    )


def _conditions(codes: pl.DataFrame, admissions: pl.DataFrame, icd: pl.DataFrame) -> pl.DataFrame:
    rows = codes.join(icd, on=["icd_version", "icd_code"]).join(admissions.select("hadm_id", "dischtime"), on="hadm_id")
    return rows.sort("hadm_id", "seq_num").select(
        pl.col("subject_id").alias("person_id"),
        pl.col("dischtime").str.slice(0, 10).alias("condition_start_date"),
        pl.col("icd_code").alias("condition_source_value"),
        pl.col("id").alias("condition_source_concept_id"),
        pl.col("hadm_id").alias("visit_occurrence_id"),
    )


def _measurements(mimic: Path) -> pl.DataFrame:
    chart, labs = _read(mimic / "icu" / "chartevents"), _read(mimic / "hosp" / "labevents")
    columns = ("subject_id", "hadm_id", "stay_id", "itemid", "charttime", "value", "valuenum", "valueuom")
    remark = pl.when(pl.col("value").is_null() | (pl.col("value") == "___")).then("comments").otherwise("value")
    labs = labs.with_columns(pl.lit(None, pl.String).alias("stay_id"), remark.alias("value"))
    item = pl.col("itemid").cast(pl.Int64)
    rows = pl.concat([chart.select(columns), labs.select(columns)]).with_columns(
        item.replace_strict(ITEMS, default=None, return_dtype=pl.Int64).cast(pl.String).alias("concept"),
        item.is_in(list(ANSWERS)).alias("scored"),
        item.replace_strict(OF_ITEM, default=None, return_dtype=pl.String).alias("of_item"),
    )
    rows = rows.drop_nulls("concept").with_row_index("measurement_id", 1)
    pairs = [(str(item), word, str(concept)) for item, words in ANSWERS.items() for word, concept in words.items()]
    answers = pl.DataFrame(pairs, schema=["itemid", "value", "answer"], orient="row")
    rows = rows.join(answers, on=["itemid", "value"], how="left", maintain_order="left")
    # the demo has no words but points, which are in the order of the answers
    points = [(str(item), float(n), str(concept)) for item in SCORES for n, concept in POINTS[item].items()]
    scores = pl.DataFrame(points, schema=["itemid", "points", "answer of points"], orient="row")
    rows = rows.with_columns(pl.col("valuenum").cast(pl.Float64).alias("points"))
    rows = rows.join(scores, on=["itemid", "points"], how="left", maintain_order="left")
    unit = pl.coalesce("valueuom", "of_item").replace_strict(UNITS, default=0, return_dtype=pl.Int64)
    return rows.select(
        pl.col("measurement_id").cast(pl.String),
        pl.col("subject_id").alias("person_id"),
        pl.col("concept").alias("measurement_concept_id"),
        *_at("measurement", "charttime"),
        pl.when(~pl.col("scored")).then("valuenum").alias("value_as_number"),
        pl.coalesce("answer", "answer of points", pl.lit("0")).alias("value_as_concept_id"),
        unit.cast(pl.String).alias("unit_concept_id"),
        pl.col("hadm_id").alias("visit_occurrence_id"),
        pl.col("stay_id").alias("visit_detail_id"),
        pl.col("valueuom").alias("unit_source_value"),
        pl.col("value").alias("value_source_value"),
    )


def _notes(notes: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    person = admissions.select("hadm_id", "subject_id")
    rows = notes if "subject_id" in notes.columns else notes.join(person, on="hadm_id", maintain_order="left")
    none = pl.lit(None, pl.String)
    return (
        rows.drop("note_id", strict=False)
        .with_row_index("note_id", 1)
        .select(
            pl.col("note_id").cast(pl.String),
            pl.col("subject_id").alias("person_id"),
            *_at("note", "charttime"),
            pl.col("note_type").alias("note_title"),
            pl.col("text").alias("note_text"),
            (pl.col("hadm_id") if "hadm_id" in rows.columns else none).alias("visit_occurrence_id"),
            (pl.col("stay_id") if "stay_id" in rows.columns else none).alias("visit_detail_id"),
        )
    )


def _vocabulary(icd: pl.DataFrame) -> pl.DataFrame:
    """The published concepts and those of the codes, which the vocabulary writes with dots."""
    long = pl.when(pl.col("icd_code").str.starts_with("E") & (pl.col("icd_version") == "9")).then(4).otherwise(3)
    code = pl.col("icd_code")
    dotted = (
        pl.when(code.str.len_chars() > long).then(code.str.slice(0, long) + "." + code.str.slice(long)).otherwise(code)
    )
    columns = ("concept_id", "concept_name", "vocabulary_id", "concept_code")
    ours = published().drop_nulls("concept_code").with_columns(pl.col("concept_id").cast(pl.String)).select(columns)
    codes = icd.select(
        pl.col("id").alias("concept_id"),
        pl.lit("a diagnosis").alias("concept_name"),
        pl.format("ICD{}CM", "icd_version").alias("vocabulary_id"),
        dotted.alias("concept_code"),
    )
    return pl.concat([ours, codes])
