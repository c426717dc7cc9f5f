"""Who the patients are: sex, ethnicity and age."""

import polars as pl

from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables

PERSON = {
    **dict.fromkeys(("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"), ID),
    "birth_datetime": TIME,
    "race_concept_id": ID,
    **dict.fromkeys(("gender_source_value", "race_source_value", "ethnicity_source_value"), TEXT),
}
SEXES = {8507: "M", 8532: "F"}  # standard concepts
MALE_FEMALE = (list(SEXES), list(SEXES.values()))


def persons(tables: Tables) -> pl.DataFrame:
    """``subject_id, sex, ethnicity, year, month, day`` (of birth; the latter may be null)."""
    rows = tables.read("person", PERSON, ("person_id",))
    tables.refuse_twice(rows, "person_id", "person")
    races = concepts.names(tables, rows["race_concept_id"]).select("concept_id", "concept_name").drop_nulls()
    race = pl.col("race_concept_id").replace_strict(
        races["concept_id"], races["concept_name"], default=None, return_dtype=TEXT
    )
    born = pl.col("birth_datetime").dt
    sex = pl.col("gender_concept_id").replace_strict(*MALE_FEMALE, default=None, return_dtype=TEXT)
    return rows.select(
        pl.col("person_id").alias("subject_id"),
        pl.coalesce(sex, "gender_source_value").alias("sex"),
        pl.coalesce("race_source_value", race, "ethnicity_source_value").alias("ethnicity"),
        pl.coalesce("year_of_birth", born.year().cast(ID)).alias("year"),
        pl.coalesce("month_of_birth", born.month().cast(ID)).alias("month"),
        pl.coalesce("day_of_birth", born.day().cast(ID)).alias("day"),
    )


def age(time: str) -> pl.Expr:
    """Completed years at ``time``; where only the year of birth is known, the difference of the years."""
    now = pl.col(time).dt
    today, birthday = now.month().cast(ID) * 100 + now.day().cast(ID), pl.col("month") * 100 + pl.coalesce("day", 1)
    before = (today < birthday).fill_null(value=False).cast(ID)
    return (now.year().cast(ID) - pl.col("year") - before).alias("age")
