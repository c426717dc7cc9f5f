"""Cross-validation: every person is tested once, by a model of which nothing was fitted on them.

Each fold of ``split.folds`` is a run of its own. Their test predictions are put together here, each with the thresholds that its
own fold chose on validation patients. They are the test predictions of the run whose model is fitted on all patients.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.schema import PREDICTIONS
from emerge_ehr.training.results import Predictions, Thresholds


def tested(of_folds: Sequence[Config], dataset: Dataset, file: str) -> Predictions:
    """The test predictions in ``file`` of the finished runs of all folds, for all patients of ``dataset`` in its order."""
    run_dirs = [of_fold.run_dir for of_fold in of_folds]
    tables = [_read(run_dir / file).with_columns(fold=pl.lit(number)) for number, run_dir in enumerate(run_dirs)]
    names: list[str] = dataset.metadata["label_names"]
    patients = dataset.patient_id.tolist()
    wanted = pl.DataFrame({"patient_id": patients}).join(pl.DataFrame({"label_code": names}), how="cross")
    rows = wanted.join(pl.concat(tables), on=["patient_id", "label_code"], how="left", maintain_order="left")
    assert not rows["y_prob"].null_count(), "the folds test every patient"
    shape = (len(patients), len(names))
    true, risk = (rows[column].to_numpy().astype(np.float64).reshape(shape) for column in ("y_true", "y_prob"))
    fold = rows["fold"].to_numpy().reshape(shape)[:, 0]
    metrics = [_metrics(run_dir) for run_dir in run_dirs]
    thresholds = {name: _thresholds(metrics, name, fold) for name in names}
    return Predictions("test", patients, names, np.nan_to_num(true), ~np.isnan(true), risk, thresholds)


def test_rows(run_dir: Path) -> pl.DataFrame:
    """The test rows of a finished run's predictions.csv, each with the ``threshold`` at which that patient was judged.

    Columns ``patient_id, label_code, y_true, y_prob, threshold``. In a cross-validated run it is the fold's own threshold.
    """
    rows, metrics = _read(run_dir / PREDICTIONS.file), _metrics(run_dir)
    if not metrics.get("folds"):
        return rows.join(_chosen(metrics), on="label_code", how="left", maintain_order="left")
    folds = [run_dir / f"fold_{number}" for number in range(1, metrics["folds"] + 1)]
    keys = ["patient_id", "label_code"]
    judged = [
        _read(fold / PREDICTIONS.file).select(keys).join(_chosen(_metrics(fold)), on="label_code") for fold in folds
    ]
    return rows.join(pl.concat(judged), on=keys, how="left", maintain_order="left")


def _metrics(run_dir: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = artefacts.read_json(run_dir / "metrics.json", "train")
    return metrics


def _chosen(metrics: dict[str, Any]) -> pl.DataFrame:
    """The threshold of each label."""
    chosen = {name: float(one["value"]) for name, one in metrics["thresholds"].items()}
    return pl.DataFrame({"label_code": list(chosen), "threshold": list(chosen.values())})


def _read(path: Path) -> pl.DataFrame:
    """The test rows of a file of ``schema.PREDICTIONS``.

    Raises:
        UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; run --stage train again")
    numbers = {"y_true": pl.Float64, "y_prob": pl.Float64}
    kinds = {**dict.fromkeys(PREDICTIONS.names, pl.String), **numbers}
    rows = pl.read_csv(path, glob=False, schema_overrides=kinds)
    return rows.filter(pl.col("split") == "test").select("patient_id", "label_code", "y_true", "y_prob")


def _thresholds(metrics: Sequence[dict[str, Any]], name: str, fold: NDArray[np.int64]) -> Thresholds:
    """Each patient's thresholds [N]: those of the patient's fold. A point that a fold lacks is a point of none."""
    chosen = np.array([float(of_fold["thresholds"][name]["value"]) for of_fold in metrics])
    points: dict[str, Any] = {}
    for target in metrics[0]["splits"]["test"][name]["operating_points"]:
        cuts = [of_fold["splits"]["test"][name]["operating_points"][target]["threshold"] for of_fold in metrics]
        points[target] = None if None in cuts else np.array(cuts)[fold]
    return Thresholds(chosen[fold], points)
