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
from emerge_ehr.storage import artefacts, spreadsheet
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.schema import JUDGED, NETWORK_PREDICTIONS, PLAIN_PREDICTIONS, PREDICTIONS
from emerge_ehr.training.results import Predictions, Thresholds
from emerge_ehr.training.trained import settings


def all_tested(of_folds: Sequence[Config], dataset: Dataset, labels: list[str]) -> dict[str, Predictions]:
    """The test predictions of the finished runs of all folds, for all patients of ``dataset`` in its order, by file: the runs'
    own, and what there is of those that they are compared with. ``labels``: of which risks."""
    run_dirs = [of_fold.run_dir for of_fold in of_folds]
    for run_dir in run_dirs:
        settings(run_dir)  # refuses files that have changed since
    names = (PREDICTIONS.file, PLAIN_PREDICTIONS, NETWORK_PREDICTIONS)
    return {name: _tested(run_dirs, dataset, name, labels) for name in names if (run_dirs[0] / name).is_file()}


def _tested(run_dirs: Sequence[Path], dataset: Dataset, file: str, names: list[str]) -> Predictions:
    """The test predictions in ``file`` of the runs of all folds."""
    tables = [_read(run_dir / file).with_columns(fold=pl.lit(number)) for number, run_dir in enumerate(run_dirs)]
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

    Columns ``patient_id, label_code, y_true, y_prob, threshold``. In a cross-validated run it is the fold's own threshold, which
    the run keeps in ``JUDGED``.
    """
    rows = _read(run_dir / PREDICTIONS.file)
    if (run_dir / JUDGED).is_file():
        text = dict.fromkeys(("patient_id", "label_code"), pl.String)
        judged = spreadsheet.plain_texts(
            pl.read_csv(run_dir / JUDGED, glob=False, schema_overrides={**text, "threshold": pl.Float64})
        )
        return rows.join(judged, on=["patient_id", "label_code"], how="left", maintain_order="left")
    return rows.join(_chosen(_metrics(run_dir)), on="label_code", how="left", maintain_order="left")


def judged_rows(tested: Predictions) -> list[tuple[str, str, float]]:
    """The rows of ``JUDGED``: sample, label and the threshold from which the fold's model calls the sample positive."""
    assert tested.thresholds is not None
    chosen = {name: tested.thresholds[name].chosen for name in tested.label_names}
    return [
        (patient, name, float(np.broadcast_to(chosen[name], len(tested.patient_id))[row]))
        for row, patient in enumerate(tested.patient_id)
        for name in tested.label_names
    ]


def refuse_strange(config: Config, dataset: Dataset, parts: Sequence[Dataset]) -> None:
    """Check that the artefacts of the folds go together: that everyone is tested in one of them, by the same seed's division.

    Raises:
        UserError: they do not.
    """
    tested = [patient for part in parts for patient in part.split["test"]]
    seeds = {part.metadata.get("seed") for part in [dataset, *parts]}
    if parts and (sorted(tested) != sorted(dataset.patient_id.tolist()) or len(seeds) > 1):
        raise UserError(
            f"{config.processed_dir}: its folds do not test every patient once, or were divided with different seeds (was "
            "preprocessing stopped?); run --stage preprocess again"
        )


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
    rows = spreadsheet.plain_texts(pl.read_csv(path, glob=False, schema_overrides=kinds))
    return rows.filter(pl.col("split") == "test").select("patient_id", "label_code", "y_true", "y_prob")


def _thresholds(metrics: Sequence[dict[str, Any]], name: str, fold: NDArray[np.int64]) -> Thresholds:
    """Each patient's thresholds [N]: those of the patient's fold. A point that a fold lacks is a point of none."""
    chosen = np.array([float(of_fold["thresholds"][name]["value"]) for of_fold in metrics])
    points: dict[str, Any] = {}
    for target in metrics[0]["splits"]["test"][name]["operating_points"]:
        cuts = [of_fold["splits"]["test"][name]["operating_points"][target]["threshold"] for of_fold in metrics]
        points[target] = None if None in cuts else np.array(cuts)[fold]
    return Thresholds(chosen[fold], points)
