"""Medication orders and infusions of eICU, as the rows that ``datasets.treatments.of_windows`` takes.

Tables and columns are those of https://eicu-crd.mit.edu/eicutables. ``medication`` holds orders, ``infusionDrug`` what ran when
it was charted, with the unit of its rate behind the drug's name. Two tables are not read: ``admissionDrug`` is what was taken
before, and ``treatment`` names procedures and groups of drugs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets import treatments
from emerge_ehr.datasets.sources import Match
from emerge_ehr.datasets.sources._raw.raw_csv import collect, scan
from emerge_ehr.datasets.sources.eicu.events import STAY, on_calendar
from emerge_ehr.datasets.treatments import RAW, Treatments

CANCELLED = "orders of the cohort's stays that were cancelled (drugordercancelled), left out"
NO_STOP = "orders of the cohort's stays whose stop is before their start, which is left empty"
STOPPED = "infusions of the cohort's stays that did not run (rate 0 or OFF), left out"
NOT_RUNNING = r"^(?i:off|0*\.?0+)$"
WRITTEN = "%Y-%m-%d %H:%M:%S"


def orders(path: Path, units: pl.DataFrame, cohort: pl.DataFrame, match: Match) -> Treatments:
    """The orders of the cohort's stays, or of all unit stays of its admissions. ``units``: as for ``events.serving``.

    That an order was cancelled is said in a column of its own, so a stop before the start (such as 0) is taken as none.
    """
    offsets = ("drugorderoffset", "drugstartoffset", "drugstopoffset")
    texts = ("drugordercancelled", "drugname", "dosage", "routeadmin")
    found = _of_cohort(path, offsets, texts, units, cohort, match)
    cancelled = pl.col("drugordercancelled").str.strip_chars().str.to_lowercase() == "yes"
    kept = found.filter(~cancelled.fill_null(value=False))
    backwards = (pl.col("drugstopoffset") < pl.col("drugstartoffset")).fill_null(value=False)
    named = kept.select(
        "patient_id",
        _time(pl.col("drugstartoffset")).alias("start_time"),
        _time(pl.when(~backwards).then("drugstopoffset")).alias("end_time"),
        _time(pl.col("drugorderoffset")).alias("ordered"),
        pl.col("drugname").alias("drug"),
        pl.col("routeadmin").alias("route"),
        pl.col("dosage").alias("dose"),
        pl.lit("prescription").alias("kind"),
    )
    counts = {CANCELLED: found.height - kept.height, NO_STOP: int(kept.select(backwards.sum()).item())}
    return _counting(treatments.of_windows(named.select(RAW), cohort, path), counts)


def infusions(path: Path, units: pl.DataFrame, cohort: pl.DataFrame, match: Match) -> Treatments:
    """What ran in the cohort's stays, or in all unit stays of its admissions, at each time at which it was charted."""
    found = _of_cohort(path, ("infusionoffset",), ("drugname", "drugrate", "infusionrate"), units, cohort, match)
    rates = (pl.col(name).str.strip_chars() for name in ("drugrate", "infusionrate"))
    rate = pl.coalesce(pl.when(text != "").then(text) for text in rates)
    kept = found.filter(~rate.str.contains(NOT_RUNNING).fill_null(value=False))
    named = kept.select(
        "patient_id",
        _time(pl.col("infusionoffset")).alias("start_time"),
        *(pl.lit(None, pl.String).alias(name) for name in ("end_time", "ordered", "route")),
        pl.col("drugname").alias("drug"),
        pl.col("drugrate").alias("dose"),
        pl.lit("infusion").alias("kind"),
    )
    return _counting(treatments.of_windows(named.select(RAW), cohort, path), {STOPPED: found.height - kept.height})


def _of_cohort(
    path: Path, offsets: Sequence[str], texts: Sequence[str], units: pl.DataFrame, cohort: pl.DataFrame, match: Match
) -> pl.DataFrame:
    """The rows of the cohort with ``patient_id, hospitaladmitoffset``."""
    rows = scan(path, {**dict.fromkeys((STAY, *offsets), pl.Int64), **dict.fromkeys(texts, pl.String)})
    served = units.select(STAY, "hospitaladmitoffset", match).join(cohort.select(match, "patient_id"), on=match)
    return collect(rows.join(served.lazy(), on=STAY), path)


def _time(offset: pl.Expr) -> pl.Expr:
    return on_calendar(offset).dt.to_string(WRITTEN)


def _counting(found: Treatments, more: dict[str, int]) -> Treatments:
    return replace(found, counts={**{reason: count for reason, count in more.items() if count}, **found.counts})
