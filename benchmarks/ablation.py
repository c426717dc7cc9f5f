"""What the larger sets of modalities gain over the smaller ones inside them, in a grid's results: test AUROC, paired by seed.

    python src/main.py --stage benchmark --config configs/benchmark/synthetic_ablation.toml
    python benchmarks/ablation.py runs/synthetic_ablation

The seed sets initial weights, dropout and the order of batches, the same for every row, so that differences are paired. A
difference's interval is that of Student's t over the seeds: it tells of training, not of other patients. Rows are those whose
names join modalities by " + ".
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

MODALITIES = {"EHR", "note", "summary"}


def main() -> None:
    """Print a line a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    results = pl.read_csv(parser.parse_args().grid / "results.csv")
    auroc = results.filter((pl.col("split") == "test") & (pl.col("metric") == "auroc")).sort("seed")
    found = {name: own["value"].to_numpy() for (name,), own in auroc.group_by("variant", maintain_order=True)}
    subsets = [name for name in found if set(str(name).split(" + ")) <= MODALITIES]
    subsets.sort(key=lambda name: -len(str(name).split(" + ")))
    for larger in subsets:
        for smaller in subsets:
            inside, outside = (set(str(name).split(" + ")) for name in (smaller, larger))
            if inside < outside and len(inside) == len(outside) - 1:
                print(f"{larger:<20} - {smaller:<14} {gain(found[larger] - found[smaller])}")


def gain(differences: np.ndarray) -> str:
    """Mean of paired differences with its 95 % interval."""
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.3f} ({differences.mean() - half:+.3f} to {differences.mean() + half:+.3f})"


if __name__ == "__main__":
    main()
