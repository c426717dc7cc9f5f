"""Makes admissions and ICU stays of visits and their details."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from emerge_ehr.datasets.sources.omop import admissions
from emerge_ehr.datasets.sources.omop.options import Options
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables
from emerge_ehr.fields import UserError
from emerge_ehr.storage.ids import stated

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
GAP = timedelta(minutes=1)  # between details that adjoin, as 23:59 and 0:00 do


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
    tables.refuse_twice(visits, "visit_occurrence_id", "visit_occurrence")
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
    judged = admissions.with_outcomes(admitted, tables, options)
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
        tables.refuse_twice(rows, "visit_detail_id", "visit_detail")
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


def without_admission(stays: pl.DataFrame) -> Sequence[str]:
    """A warning of the stays that lie in no admission."""
    alone = stays["admittime"].null_count()
    return (
        [f"{alone} of {stays.height} ICU stays lie in no hospital admission: their outcome is unknown"] if alone else []
    )
