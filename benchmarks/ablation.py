"""What each modality is worth on the synthetic default: test AUROC of every subset over training seeds, beside the true risk's.

    python benchmarks/ablation.py --seeds 42 1 2 3 4

Run ``make demo`` first: it reads what that wrote in the current folder. Data and split stay the same; the seed sets initial
weights, dropout and the order of batches. About 80 s a seed on two cores.
"""

import argparse
import contextlib
import dataclasses
import io
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from src.config import Config, load
from src.evaluation import metrics
from src.training import train

MODALITIES: tuple[Literal["ehr", "note", "summary"], ...] = ("ehr", "note", "summary")


def main() -> None:
    """Print one row a subset: mean, standard deviation and range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4])
    seeds = parser.parse_args().seeds
    config = load(ROOT / "configs" / "synthetic.toml")
    risk = pl.read_csv(config.raw_dir / "risk.csv").rename({"stay_id": "patient_id"})
    print(f"{'modalities':<20} mean   std    min    max")
    for size in (3, 2, 1):
        for chosen in combinations(MODALITIES, size):
            found = np.array([test_auroc(config, chosen, seed, risk)[0] for seed in seeds])
            spread = f"{found.mean():.3f}  {found.std(ddof=1) if len(found) > 1 else 0:.3f}  {found.min():.3f}  {found.max():.3f}"
            print(f"{' + '.join(chosen):<20} {spread}", flush=True)
    print(f"{'true risk':<20} {test_auroc(config, ('note',), seeds[0], risk)[1]:.3f}")


def test_auroc(
    config: Config, chosen: tuple[Literal["ehr", "note", "summary"], ...], seed: int, risk: pl.DataFrame
) -> tuple[float, float]:
    """Test AUROC of a model of the ``chosen`` modalities, and of the generator's own risk on the same patients."""
    with tempfile.TemporaryDirectory() as folder:
        paths = dataclasses.replace(config.paths, run_dir=Path(folder) / "run")
        model = dataclasses.replace(config.model, modalities=chosen)
        with contextlib.redirect_stdout(io.StringIO()):
            train.run(dataclasses.replace(config, seed=seed, paths=paths, model=model))
        rows = pl.read_csv(Path(folder) / "run" / "predictions.csv").filter(pl.col("split") == "test")
    rows = rows.join(risk, on="patient_id")
    truth = rows["y_true"].to_numpy().astype(float)
    ours = metrics.point(metrics.auroc, truth, rows["y_prob"].to_numpy())
    best = metrics.point(metrics.auroc, truth, rows["true_risk"].to_numpy())
    assert ours is not None and best is not None
    return ours, best


if __name__ == "__main__":
    main()
