"""How well the synthetic hospital's own risk ranks the test patients: what no model can beat but by chance."""

from collections.abc import Callable

import numpy as np
import polars as pl

from src.config import Config
from src.datasets.dataset import load_dataset
from src.evaluation import metrics


def score(config: Config, metric: Callable[[metrics.Curve], metrics.Array]) -> float:
    """A ranking metric of ``risk.csv`` on the test patients of the processed artefacts."""
    dataset = load_dataset(config.processed_dir)
    risk = dict(pl.read_csv(config.raw_dir / "risk.csv").cast({"stay_id": pl.String}).rows())
    label = dict(zip(dataset.patient_id.tolist(), dataset.label[:, 0].tolist(), strict=True))
    patients = dataset.split["test"]
    truth, known = np.array([label[one] for one in patients]), np.array([risk[one] for one in patients])
    value = metrics.point(metric, truth, known)
    assert value is not None
    return value
