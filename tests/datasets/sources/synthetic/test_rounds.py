"""When values are charted: informative missingness, bursts and gaps, and nothing in the window that tells how the stay ends."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate, hospital_and_rounds

HEART_RATE = 220045


def charted(folder: Path, name: str = "icu/chartevents", **options: Any) -> pl.DataFrame:
    """Rows in the window of the stays that last as long, with ``minute`` after ICU admission, and ``died``."""
    generate(folder, Options(**options), 1)
    stays = pl.read_csv(folder / "icu/icustays.csv.gz", try_parse_dates=True).filter(pl.col("los") >= 2)
    died = pl.read_csv(folder / "hosp/admissions.csv.gz").select("hadm_id", died="hospital_expire_flag")
    rows = pl.read_csv(folder / f"{name}.csv.gz", schema_overrides={"value": pl.String}).with_columns(
        pl.col("charttime").str.to_datetime()
    )
    rows = stays.select("hadm_id", "intime", in_stay="stay_id").join(died, on="hadm_id").join(rows, on="hadm_id")
    minute = ((pl.col("charttime") - pl.col("intime")).dt.total_seconds() / 60).alias("minute")
    return rows.with_columns(minute).filter(pl.col("minute") < 48 * 60)


def gaps(rows: pl.DataFrame) -> NDArray[np.float64]:
    """Minutes between the different times at which a heart rate was charted, within stays."""
    times = rows.filter(pl.col("itemid") == HEART_RATE).unique(["in_stay", "minute"]).sort("in_stay", "minute")
    steps: NDArray[np.float64] = times.select(pl.col("minute").diff().over("in_stay")).drop_nulls().to_numpy()[:, 0]
    return steps


@pytest.mark.parametrize(("informative", "low", "high"), [(0.0, 0.47, 0.53), (0.5, 0.67, 0.74), (1.0, 0.88, 0.93)])
def test_how_often_rounds_are_made_predicts_the_outcome_as_documented(
    informative: float, low: float, high: float
) -> None:
    hospital, rounds = hospital_and_rounds(Options(8000, informative_missingness=informative), 2)
    lasting = hospital.los_hours >= 48
    count = rounds.made[lasting, :48].sum(axis=1) + np.random.default_rng(0).random(lasting.sum()) / 2
    assert low < roc_auc_score(hospital.died[lasting], count) < high


@pytest.mark.parametrize("name", ["icu/chartevents", "hosp/labevents"])
def test_the_number_of_rows_alone_predicts_the_outcome_only_if_missingness_is_informative(
    name: str, tmp_path: Path
) -> None:
    scores = {}
    for informative in (0.0, 0.75):
        rows = charted(tmp_path / str(informative), name, stays=500, informative_missingness=informative)
        counts = rows.group_by("in_stay", "died").len()
        scores[informative] = roc_auc_score(counts["died"], counts["len"])
    assert abs(scores[0.0] - 0.5) < 0.07 and scores[0.75] > 0.68


def test_irregular_charts_come_in_bursts_and_gaps_and_are_as_long(tmp_path: Path) -> None:
    hourly, irregular = (charted(tmp_path / kind, stays=150, sampling=kind) for kind in ("hourly", "irregular"))
    regular, wild = gaps(hourly), gaps(irregular)
    assert np.quantile(regular, 0.25) > 30 and regular.max() < 6 * 60
    assert np.quantile(wild, 0.25) < 15 and (wild > 6 * 60).mean() > 0.01
    rows = [table.height / table["in_stay"].n_unique() for table in (hourly, irregular)]
    assert rows[1] == pytest.approx(rows[0], rel=0.05)


def test_the_drift_follows_the_clock_however_irregular_the_rounds(tmp_path: Path) -> None:
    options = Options(stays=300, sampling="irregular")
    rows = charted(tmp_path, stays=300, sampling="irregular").filter(pl.col("itemid") == HEART_RATE)
    rate = pl.col("value").cast(pl.Float64)
    late = pl.col("minute") >= 36 * 60
    moved = rows.filter(rate.is_between(20, 250), (pl.col("minute") < 12 * 60) | late).group_by("in_stay")
    moved = moved.agg((rate.filter(late).mean() - rate.filter(~late).mean()).alias("rise")).drop_nulls()
    hospital, _ = hospital_and_rounds(options, 1)
    stays = pl.DataFrame({"in_stay": hospital.stay_id, "series": hospital.series})
    joined = moved.join(stays, on="in_stay")
    assert joined.height > 200 and np.corrcoef(joined["rise"], joined["series"])[0, 1] > 0.8


@pytest.mark.parametrize("sampling", ["hourly", "irregular"])
def test_an_early_death_does_not_show_in_the_charts_of_the_window(sampling: str, tmp_path: Path) -> None:
    rows = charted(tmp_path, stays=600, sampling=sampling, death_times="risk")
    last = rows.group_by("in_stay", "died").agg(pl.col("minute").max(), pl.len())
    for column in ("minute", "len"):
        assert abs(roc_auc_score(last["died"], last[column]) - 0.5) < 0.07
