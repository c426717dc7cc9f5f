"""What became of the admissions: the place of discharge, the time of death, and whether they were planned."""

import polars as pl

from emerge_ehr.datasets.sources import Extract
from emerge_ehr.datasets.sources._mimic import outcomes
from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.options import Options
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables
from emerge_ehr.storage.times import day_end

PLANNED = ("visit_concept_id", "visit_source_concept_id", "admitted_from_concept_id", "admitting_source_concept_id")


def with_outcomes(visits: pl.DataFrame, tables: Tables, options: Options) -> Extract:
    """The admissions (``Visits.admissions``) with what contradicts itself.

    The rules are those of MIMIC, without its flag: the place of discharge and the time of death decide where they agree. Of a
    death with a date alone, one before the day of discharge, or on it where nothing is said of the place, was in the hospital.
    A visit that ended, and of which nothing tells a death, was survived if the tables tell of deaths at all.
    """
    deaths = _deaths(tables)
    place = _places(visits, tables, options)
    planned = pl.any_horizontal(pl.col(name).is_in(list(options.planned)) for name in PLANNED).fill_null(value=False)
    named = visits.with_columns(place).select(
        pl.col("person_id").alias("subject_id"),
        pl.col("visit_occurrence_id").alias("hadm_id"),
        pl.col("start").alias("admittime"),
        pl.col("end").alias("dischtime"),
        pl.col("start bare").alias("admittime bare"),
        pl.col("end bare").alias("dischtime bare"),
        "discharge_location",
        pl.lit(None, ID).alias("died"),
        planned.alias("planned"),
    )
    named = named.join(deaths, on="subject_id", how="left", maintain_order="left")
    left = pl.col("dischtime").dt.truncate("1d") + pl.duration(days=2)
    inside = (
        pl.col("moment").is_between("admittime", left, closed="left").fill_null(pl.col("moment") >= pl.col("admittime"))
    )
    named = named.with_columns(pl.when(inside).then("moment").alias("deathtime"))
    persons = named.select("subject_id", "dod").unique("subject_id")
    judged = outcomes.with_outcomes(named, persons)
    counts = {reason: count for reason, count in judged.counts.items() if reason != outcomes.JUDGED}
    warnings = tuple(warning for warning in judged.warnings if not warning.endswith(outcomes.JUDGED))
    place_text = pl.col("discharge_location").str.strip_chars().str.to_uppercase()
    silent = place_text.is_null() | place_text.is_in(outcomes.UNKNOWN)
    came, gone = pl.col("admittime").dt.truncate("1d"), pl.coalesce("dischtime", "dod").dt.truncate("1d")
    dated = (silent & pl.col("died").is_null() & pl.col("dod").is_between(came, gone)).fill_null(value=False)
    tells = deaths.height > 0 or bool(judged.table["tells_death"].any())
    survived = silent & pl.col("died").is_null() & pl.col("dischtime").is_not_null() & pl.lit(value=tells)
    of_day = pl.when(dated).then(day_end(pl.col("dod"))).otherwise("deathtime").alias("deathtime")
    outcome = pl.when(dated).then(1).when(survived).then(0).otherwise("died").cast(ID).alias("died")
    table = judged.table.with_columns(of_day, outcome, (pl.col("tells_death") | dated).alias("tells_death"))
    table = table.join(outcomes.deaths(table, persons), on="subject_id", how="left", maintain_order="left")
    return Extract(table.drop("discharge_location", "tells_death", "moment", "dod"), counts, warnings)


def _deaths(tables: Tables) -> pl.DataFrame:
    """``subject_id, moment, dod``: when each person died, to the second where that is known, and the day."""
    columns = {"person_id": ID, "death_date": TIME, "death_datetime": TIME}
    if not tables.has("death"):
        return pl.DataFrame(schema={"subject_id": ID, "moment": TIME, "dod": TIME})
    rows = tables.read("death", columns, ("person_id", "death_date"))
    day = pl.coalesce("death_datetime", "death_date").dt.truncate("1d")
    timed = pl.when(pl.col("death_datetime") != day).then("death_datetime")
    rows = rows.select(pl.col("person_id").alias("subject_id"), timed.alias("moment"), day.alias("dod")).drop_nulls(
        "dod"
    )
    return rows.sort("dod", "moment", nulls_last=True).unique("subject_id", keep="first", maintain_order=True)


def _places(visits: pl.DataFrame, tables: Tables, options: Options) -> pl.Expr:
    """Where the patient went, in words; a concept that means death counts before them, and a concept's name after them."""
    concept = pl.coalesce("discharged_to_concept_id", "discharge_to_concept_id")
    ids = visits.select(concept.alias("id")).to_series()
    named = concepts.names(tables, ids).select("concept_id", "concept_name").drop_nulls()
    name = concept.replace_strict(named["concept_id"], named["concept_name"], default=None, return_dtype=TEXT)
    words = pl.coalesce("discharged_to_source_value", "discharge_to_source_value")
    dead = concept.is_in(list(options.died)).fill_null(value=False) | name.str.contains(outcomes.DEAD).fill_null(
        value=False
    )
    spoken = pl.coalesce(pl.when(words.str.strip_chars() != "").then(words), name, pl.format("concept {}", concept))
    return pl.when(dead).then(pl.lit("DIED")).otherwise(spoken).alias("discharge_location")
