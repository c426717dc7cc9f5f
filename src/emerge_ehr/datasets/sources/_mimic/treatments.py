"""Prescriptions and infusions of MIMIC-III and IV, as the rows that ``datasets.treatments.of_windows`` takes."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets import treatments
from emerge_ehr.datasets.sources import Match
from emerge_ehr.datasets.sources._mimic import given
from emerge_ehr.datasets.sources._raw.raw_csv import collect, read, scan
from emerge_ehr.datasets.treatments import RAW, Treatments

DILUENT = "BASE"  # drug_type of what a drug is dissolved in
DILUENTS = "rows of the cohort's stays that are diluents (drug_type BASE), left out"
CORRECTED = "rows of the cohort's stays that others correct (Rewritten), left out"


def prescriptions(
    path: Path, cohort: pl.DataFrame, start: str, end: str, entered: Path | None = None, *, dates: bool = False
) -> Treatments:
    """The prescriptions of the cohort's admissions, without diluents.

    ``entered``: the file ``pharmacy``, which says when each was entered: their start may be written earlier. ``dates`` as in
    ``of_windows``.
    """
    texts = (
        start,
        end,
        "drug_type",
        "drug",
        "dose_val_rx",
        "dose_unit_rx",
        "route",
        *(["pharmacy_id"] if entered else []),
    )
    own = cohort.lazy().select(pl.col("hadm_id").cast(pl.Int64), "patient_id")
    found = scan(path, {"hadm_id": pl.Int64, **dict.fromkeys(texts, pl.String)}).join(own, on="hadm_id")
    rows = collect(found, path).with_columns(pl.lit(None, pl.String).alias("ordered"))
    if entered:
        orders = scan(entered, {"pharmacy_id": pl.String, "entertime": pl.String})
        known = collect(orders.join(rows.lazy(), on="pharmacy_id", how="semi"), entered)
        first = known.group_by("pharmacy_id").agg(pl.col("entertime").min().alias("ordered"))
        rows = rows.drop("ordered").join(first, on="pharmacy_id", how="left")
    main = rows.filter((pl.col("drug_type") != DILUENT).fill_null(value=True))
    named = main.rename({start: "start_time", end: "end_time"}).with_columns(
        pl.concat_str("dose_val_rx", "dose_unit_rx", separator=" ").alias("dose"), pl.lit("prescription").alias("kind")
    )
    return _counting(
        treatments.of_windows(named.select(RAW), cohort, path, dates=dates), {DILUENTS: rows.height - main.height}
    )


def infusions(
    path: Path,
    items: Path,
    cohort: pl.DataFrame,
    match: Match,
    stay: str = "stay_id",
    times: tuple[str, str] | None = None,
) -> Treatments:
    """What was given to the cohort's stays (or admissions) by the ICU's charts.

    ``items``: the file ``d_items``, which has the names. ``stay``: the column with the stay's id. ``times``: the columns of start
    and end or, where rows have one time, that one twice.
    """
    start, end = times or ("starttime", "endtime")
    rated = ("rate", "rateuom")
    rows = given.rows(path, ("itemid", "hadm_id", stay), (*dict.fromkeys((start, end)), *rated))
    key = stay if match == "stay_id" else "hadm_id"
    own = cohort.lazy().select(pl.col(match).cast(pl.Int64).alias(key), "patient_id")
    found = collect(rows.join(own, on=key), path)
    kept = found.filter(~pl.col("corrected"))
    names = read(items, {"itemid": pl.Int64, "label": pl.String}).unique("itemid", keep="first", maintain_order=True)
    named = kept.join(names, on="itemid", how="left").with_columns(
        pl.col(start).alias("start_time"),
        (pl.col(end) if start != end else pl.lit(None, pl.String)).alias("end_time"),
        pl.lit(None, pl.String).alias("ordered"),
        pl.col("label").alias("drug"),
        pl.lit(None, pl.String).alias("route"),
        pl.concat_str(*rated, separator=" ").alias("dose"),
        pl.lit("infusion").alias("kind"),
    )
    return _counting(treatments.of_windows(named.select(RAW), cohort, path), {CORRECTED: found.height - kept.height})


def _counting(found: Treatments, more: dict[str, int]) -> Treatments:
    return replace(found, counts={**{reason: count for reason, count in more.items() if count}, **found.counts})
