"""Reads the ICD codes in ``condition_occurrence``: those of the source concepts, else those that the source wrote."""

import polars as pl

from emerge_ehr.datasets.sources._raw.icd9_codes import icd_code
from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables
from emerge_ehr.storage.ids import stated
from emerge_ehr.storage.times import day_end

COLUMNS = {
    **dict.fromkeys(("person_id", "visit_occurrence_id", "condition_source_concept_id"), ID),
    **dict.fromkeys(("condition_start_date", "condition_start_datetime"), TIME),
    "condition_source_value": TEXT,
}
# A code's form, after which no other version comes into question. V and E begin codes of both, which a dot may tell apart.
NINE = r"^(?:\d{3}(?:\.?\d{1,2})?|E\d{3}\.\d)$"
TEN = r"^(?:[A-DF-UW-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?|E\d\d\.[0-9A-Z]{1,4}|[VE]\d\d\.?[0-9A-Z]{4})$"


def read(tables: Tables, admissions: pl.DataFrame, version: str) -> tuple[pl.DataFrame, list[str]]:
    """``hadm_id`` (text), ``icd_version, icd_code``, and a warning of the codes of which nothing says the version.

    A diagnosis that names no admission is of the person's latest that had begun by its day and not ended. ``version``: of codes
    of which neither the concept nor their form says it.
    """
    rows = tables.read("condition_occurrence", COLUMNS, ("person_id", "condition_start_date")).with_row_index("row")
    rows = rows.with_columns(map(stated, ("visit_occurrence_id", "condition_source_concept_id")))
    vocabulary = concepts.names(tables, rows["condition_source_concept_id"]).rename(
        {"concept_id": "condition_source_concept_id"}
    )
    rows = rows.join(vocabulary, on="condition_source_concept_id", how="left", maintain_order="left")
    told = pl.col("vocabulary_id").str.to_uppercase()
    by_concept = pl.when(told.str.starts_with("ICD9")).then(9).when(told.str.starts_with("ICD10")).then(10)
    written = pl.col("condition_source_value").str.strip_chars().str.to_uppercase()
    by_form = pl.when(written.str.contains(NINE)).then(9).when(written.str.contains(TEN)).then(10)
    either = pl.when(written.str.contains(r"^[VE]\d")).then(pl.lit(int(version) if version else None, ID))
    code = pl.when(by_concept.is_not_null()).then("concept_code").otherwise("condition_source_value")
    known = rows.with_columns(
        pl.coalesce(by_concept, by_form, either).cast(ID).alias("icd_version"), icd_code(code).alias("icd_code")
    )
    doubtful = known.filter(pl.col("icd_version").is_null() & written.str.contains(r"^[VE]\d"))
    warnings = []
    if doubtful.height:
        warnings.append(
            f"condition_occurrence: {doubtful.height} of {known.height} diagnoses are left out, since their codes, such as "
            f"{doubtful['condition_source_value'][0]}, may be of ICD-9 or ICD-10, and nothing says which: set source.icd_version"
        )
    placed = _placed(known.drop_nulls(["icd_version", "icd_code"]), admissions)
    return placed.select(pl.col("hadm_id").cast(TEXT), "icd_version", "icd_code"), warnings


def _placed(rows: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Add ``hadm_id``; rows of no admission are dropped."""
    named = pl.col("visit_occurrence_id").is_in(admissions["hadm_id"].implode()).fill_null(value=False)
    of_admission = rows.filter(named).with_columns(pl.col("visit_occurrence_id").alias("hadm_id"))
    time = pl.coalesce("condition_start_datetime", day_end(pl.col("condition_start_date")))
    around = rows.filter(pl.col("visit_occurrence_id").is_null()).with_columns(time.alias("time"))
    around = around.join(
        admissions.select(pl.col("subject_id").alias("person_id"), "hadm_id", "admittime", "dischtime"), on="person_id"
    )
    lasting = pl.col("time").is_between("admittime", day_end(pl.coalesce("dischtime", "time").dt.truncate("1d")))
    around = around.filter(lasting).sort("admittime").unique("row", keep="last", maintain_order=True)
    return pl.concat([of_admission, around.select(of_admission.columns)]).sort("row")
