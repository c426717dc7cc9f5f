"""Makes admissions and ICU stays of visits, their details, deaths and persons."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from emerge_ehr.datasets.sources import Extract
from emerge_ehr.datasets.sources._mimic import outcomes
from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.options import Options
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables
from emerge_ehr.fields import UserError
from emerge_ehr.storage.ids import stated
from emerge_ehr.storage.times import day_end

VISIT = {
    **dict.fromkeys(("visit_occurrence_id", "person_id", "visit_concept_id", "visit_source_concept_id"), ID),
    **dict.fromkeys(("visit_start_date", "visit_start_datetime", "visit_end_date", "visit_end_datetime"), TIME),
    **dict.fromkeys(("discharged_to_concept_id", "discharge_to_concept_id"), ID),  # the latter up to version 5.3
    **dict.fromkeys(("discharged_to_source_value", "discharge_to_source_value"), TEXT),
    **dict.fromkeys(("admitted_from_concept_id", "admitting_source_concept_id"), ID),
}
DETAIL = {
    **dict.fromkeys(("visit_detail_id", "person_id", "visit_detail_concept_id", "visit_occurrence_id"), ID),
    **dict.fromkeys(("visit_detail_start_date", "visit_detail_start_datetime"), TIME),
    **dict.fromkeys(("visit_detail_end_date", "visit_detail_end_datetime"), TIME),
    "visit_detail_source_value": TEXT,
}
PERSON = {
    **dict.fromkeys(("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"), ID),
    "birth_datetime": TIME,
    "race_concept_id": ID,
    **dict.fromkeys(("gender_source_value", "race_source_value", "ethnicity_source_value"), TEXT),
}
GAP = timedelta(minutes=1)  # between details that adjoin, as 23:59 and 0:00 do
SEXES = {8507: "M", 8532: "F"}  # standard concepts
MALE_FEMALE = (list(SEXES), list(SEXES.values()))


@dataclass(frozen=True)
class Visits:
    """``admissions``: ``subject_id, hadm_id, admittime, dischtime, deathtime, death, died, planned`` and whether times are
    ``bare`` dates; ``stays``: ``subject_id, hadm_id, stay_id, intime, outtime, icu_type``; ``details``: ``visit_detail_id,
    stay_id``. Ids are numbers. ``counts`` and ``warnings`` as in ``Extract``.
    """

    admissions: pl.DataFrame
    stays: pl.DataFrame
    details: pl.DataFrame
    counts: dict[str, int]
    warnings: tuple[str, ...]


def read(tables: Tables, options: Options) -> Visits:
    """The visits that are admissions to a hospital, and the stays in them.

    Raises:
        UserError: no visit is an admission, or none is in an ICU where the options want one.
    """
    needed = ("visit_occurrence_id", "person_id", "visit_start_date", "visit_concept_id")
    visits = _timed(tables.read("visit_occurrence", VISIT, needed), "visit").with_columns(map(stated, VISIT_IDS))
    _refuse_twice(visits, "visit_occurrence_id", tables, "visit_occurrence")
    details, warnings = _details(tables, visits, options), []
    if options.stays == "icu" and details.is_empty():
        raise UserError(
            f"{tables.raw_dir}: no visit or detail of one has a concept of source.icu = {list(options.icu)}; set it to this "
            "hospital's, or source.stays to 'admissions'"
        )
    in_icu = pl.col("visit_occurrence_id").is_in(details["visit_occurrence_id"].drop_nulls().implode())
    kind = pl.col("visit_concept_id").is_in([*options.admissions, *options.icu])
    admitted = visits.filter(kind | in_icu)
    if admitted.is_empty():
        raise UserError(
            f"{tables.path('visit_occurrence')}: none of {visits.height} visits has a concept of source.admissions = "
            f"{list(options.admissions)}; set it to this hospital's"
        )
    judged = _with_outcomes(admitted, tables, options)
    by_icu = options.stays != "admissions" and not details.is_empty()
    if options.stays == "auto" and not by_icu:
        warnings.append(f"no visit is intensive care (source.icu = {list(options.icu)}): every admission is a stay")
    if by_icu:
        details = _merged(details)
        stays = _stays(details, judged.table)
    else:
        details = details.clear().with_columns(pl.lit(None, ID).alias("stay_id"))
        stays = judged.table.select(
            "subject_id",
            "hadm_id",
            pl.col("hadm_id").alias("stay_id"),
            pl.col("admittime", "admittime bare", "dischtime", "dischtime bare")
            .name.replace("admit", "in")
            .name.replace("disch", "out"),
            pl.lit(None, TEXT).alias("icu_type"),
        )
    of_stays = details.drop_nulls("visit_detail_id").select("visit_detail_id", "stay_id").unique("visit_detail_id")
    return Visits(judged.table, stays, of_stays, dict(judged.counts), (*warnings, *judged.warnings))


VISIT_IDS = ("visit_occurrence_id", "person_id", "discharged_to_concept_id", "discharge_to_concept_id")


def _timed(rows: pl.DataFrame, of: str) -> pl.DataFrame:
    """Add ``start, end`` and whether they are dates: ``start bare, end bare``."""
    ends = ("start", "end")
    return rows.with_columns(
        *(pl.coalesce(f"{of}_{end}_datetime", f"{of}_{end}_date").alias(end) for end in ends),
        *(pl.col(f"{of}_{end}_datetime").is_null().alias(f"{end} bare") for end in ends),
    )


def _refuse_twice(rows: pl.DataFrame, key: str, tables: Tables, table: str) -> None:
    twice = rows.filter(pl.col(key).is_duplicated() | pl.col(key).is_null())
    if twice.height:
        raise UserError(
            f"{tables.path(table)}: {table} has {key} {twice[key][0]} twice, or a row without; mend {twice.height} rows"
        )


def _details(tables: Tables, visits: pl.DataFrame, options: Options) -> pl.DataFrame:
    """Intensive care: ``visit_detail_id, subject_id, visit_occurrence_id, intime, outtime`` (with ``bare``) and ``icu_type``.

    A visit that is itself intensive care is one where none of its details is.
    """
    columns = (
        "visit_detail_id",
        "subject_id",
        "visit_occurrence_id",
        "intime",
        "intime bare",
        "outtime",
        "outtime bare",
        "icu_type",
    )
    needed = ("visit_detail_id", "person_id", "visit_detail_concept_id", "visit_detail_start_date")
    tables_of: list[pl.DataFrame] = []
    if tables.has("visit_detail"):
        rows = tables.read("visit_detail", DETAIL, needed, {"visit_detail_concept_id": options.icu})
        rows = _timed(rows, "visit_detail").with_columns(map(stated, ("visit_detail_id", "visit_occurrence_id")))
        _refuse_twice(rows, "visit_detail_id", tables, "visit_detail")
        tables_of.append(rows.rename({"visit_detail_source_value": "icu_type"}))
    of_visits = [rows["visit_occurrence_id"].drop_nulls() for rows in tables_of] or [pl.Series(dtype=ID)]
    whole = visits.filter(
        pl.col("visit_concept_id").is_in(list(options.icu))
        & ~pl.col("visit_occurrence_id").is_in(of_visits[0].implode())
    )
    tables_of.append(
        whole.with_columns(pl.lit(None, ID).alias("visit_detail_id"), pl.lit(None, TEXT).alias("icu_type"))
    )
    names = {
        "person_id": "subject_id",
        "start": "intime",
        "end": "outtime",
        "start bare": "intime bare",
        "end bare": "outtime bare",
    }
    return pl.concat([rows.rename(names).select(columns) for rows in tables_of]).drop_nulls("intime")


def _merged(details: pl.DataFrame) -> pl.DataFrame:
    """Add ``stay_id``, the same for details of one visit, each of which begins when one before it ends, or up to ``GAP`` later.

    >>> ids = {"visit_detail_id": [1, 2, 3], "subject_id": 7, "visit_occurrence_id": 5}
    >>> hours = pl.DataFrame({**ids, "intime": [1, 4, 9], "outtime": [4, 6, 11]})
    >>> times = [pl.from_epoch(pl.col(name) * 3600).alias(name) for name in ("intime", "outtime")]
    >>> _merged(hours.with_columns(times))["stay_id"].to_list()
    [1, 1, 3]
    """
    whose = ["subject_id", "visit_occurrence_id"]
    ordered = details.sort(*whose, "intime", "visit_detail_id", nulls_last=True)
    begins = (pl.col("intime") > pl.col("outtime").cum_max().shift(1).over(whose) + GAP).fill_null(value=True)
    alone = pl.col("visit_occurrence_id").is_null()  # nobody knows whether they adjoin
    ordered = ordered.with_columns((begins | alone).cum_sum().alias("run"))
    own = pl.coalesce("visit_detail_id", "visit_occurrence_id")
    return ordered.with_columns(own.first().over("run").alias("stay_id")).drop("run")


def _stays(details: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """One row per ``stay_id``, with the admission that its details name, else the latest of the person that it begins in."""
    unknown_end = pl.col("outtime").is_null().any()
    stays = details.group_by("stay_id", maintain_order=True).agg(
        pl.col("subject_id", "visit_occurrence_id", "icu_type").first(),
        pl.col("intime").min(),
        pl.when(~unknown_end).then(pl.col("outtime").max()).alias("outtime"),
        pl.col("intime bare", "outtime bare").all(),
    )
    known = pl.col("visit_occurrence_id").is_in(admissions["hadm_id"].implode()).fill_null(value=False)
    stays = stays.with_columns(pl.when(known).then("visit_occurrence_id").alias("hadm_id")).drop("visit_occurrence_id")
    around = (
        stays.filter(pl.col("hadm_id").is_null())
        .drop("hadm_id")
        .join(admissions.select("subject_id", "hadm_id", "admittime", "dischtime"), on="subject_id")
    )
    lasting = pl.col("intime").is_between("admittime", pl.coalesce("dischtime", "intime"))
    around = around.filter(lasting).sort("admittime").unique("stay_id", keep="last", maintain_order=True)
    around = around.select("stay_id", pl.col("hadm_id").alias("around"))
    stays = stays.join(around, on="stay_id", how="left", maintain_order="left")
    return stays.with_columns(pl.coalesce("hadm_id", "around").alias("hadm_id")).drop("around")


def _with_outcomes(visits: pl.DataFrame, tables: Tables, options: Options) -> Extract:
    """``Visits.admissions`` with what contradicts itself.

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


PLANNED = ("visit_concept_id", "visit_source_concept_id", "admitted_from_concept_id", "admitting_source_concept_id")


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


def persons(tables: Tables) -> pl.DataFrame:
    """``subject_id, sex, ethnicity, year, month, day`` (of birth; the latter may be null)."""
    rows = tables.read("person", PERSON, ("person_id",))
    _refuse_twice(rows, "person_id", tables, "person")
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


def without_admission(stays: pl.DataFrame) -> Sequence[str]:
    """A warning of the stays that lie in no admission."""
    alone = stays["admittime"].null_count()
    return (
        [f"{alone} of {stays.height} ICU stays lie in no hospital admission: their outcome is unknown"] if alone else []
    )
