"""How near the synthetic default comes to the true risk on other generated hospitals: test AUROC of both, a row a seed.

    python benchmarks/hospitals.py --seeds 42 1 2 3 4

Each seed generates, splits and trains anew, in a temporary folder; about 30 s a seed on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from src.evaluation import metrics


def main() -> None:
    """Print stays, deaths, the pipeline's AUROC, the true risk's, and the gap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4])
    gaps = []
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                str(ROOT / "src" / "main.py"),
                "--config",
                str(ROOT / "configs" / "synthetic.toml"),
            ]
            subprocess.run([*command, "--seed", str(seed)], cwd=folder, check=True, capture_output=True)
            found = pl.read_csv(Path(folder) / "runs/synthetic_mortality/predictions.csv").filter(
                pl.col("split") == "test"
            )
            risk = pl.read_csv(Path(folder) / "data/raw/synthetic/risk.csv").rename({"stay_id": "patient_id"})
        joined = found.join(risk, on="patient_id")
        truth = joined["y_true"].to_numpy().astype(np.float64)
        ours, best = (metrics.point(metrics.auroc, truth, joined[name].to_numpy()) for name in ("y_prob", "true_risk"))
        assert ours is not None and best is not None
        gaps.append(best - ours)
        scores = f"AUROC {ours:.3f}, true risk {best:.3f}, gap {gaps[-1]:.3f}"
        print(f"seed {seed:3d}: {len(truth)} stays, {truth.sum():.0f} deaths, {scores}", flush=True)
    print(f"mean gap {np.mean(gaps):.3f}, largest {max(gaps):.3f}")


if __name__ == "__main__":
    main()
