"""How close the runs of a grid on synthetic hospitals come to the true risk, which no model can exceed except by chance.

    python src/main.py --stage benchmark --config configs/benchmark/synthetic_hospitals.toml
    python benchmarks/true_risk.py runs/synthetic_hospitals

Prints one line per point of the grid: test AUROC and AUPRC as means over its seeds, those of ``risk.csv`` on the same samples,
and the gaps.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from emerge_ehr.config import from_record
from emerge_ehr.evaluation import metrics

METRICS = {"AUROC": metrics.auroc, "AUPRC": metrics.auprc}


def main() -> None:
    """Print one line per point of the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    results = pl.read_csv(parser.parse_args().grid / "results.csv").filter(pl.col("failed").is_null())
    points: dict[Path, list[Path]] = {}
    for run in results["run"].unique(maintain_order=True):
        points.setdefault(Path(run).parent, []).append(Path(run))
    for point, runs in points.items():
        cells = [f"{name} {line(runs, metric)}" for name, metric in METRICS.items()]
        print(f"{point.name:<32} {'   '.join(cells)}")


def line(runs: list[Path], metric: Callable[[metrics.Curve], metrics.Array]) -> str:
    """The metric's mean over the runs, that of the true risk, and the gap, as text."""
    ours, best = np.array([score(run, metric) for run in runs]).mean(axis=0)
    return f"{ours:.3f}, true risk {best:.3f}, gap {best - ours:.3f}"


def score(run: Path, metric: Callable[[metrics.Curve], metrics.Array]) -> tuple[float, float]:
    """A ranking metric of a run's test predictions, and of the true risk of the same samples."""
    config = from_record(json.loads((run / "config.json").read_text()), run / "config.json")
    risk = pl.read_csv(config.raw_dir / "risk.csv").rename({"stay_id": "patient_id"})
    test = pl.read_csv(run / "predictions.csv").filter((pl.col("split") == "test") & pl.col("y_true").is_not_null())
    joined = test.join(risk, on="patient_id")
    truth = joined["y_true"].to_numpy().astype(np.float64)
    ours, best = (metrics.point(metric, truth, joined[name].to_numpy()) for name in ("y_prob", "true_risk"))
    assert ours is not None and best is not None and joined.height == test.height
    return ours, best


if __name__ == "__main__":
    main()
