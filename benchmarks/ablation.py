"""What adding a modality gains in test AUROC, paired by training seed, from the results of a grid.

    python src/main.py --stage benchmark --config configs/benchmark/synthetic_ablation.toml
    python benchmarks/ablation.py runs/synthetic_ablation

Each set of modalities is compared with every set that lacks one of them. A seed decides the initial weights, dropout and the
order of batches in the same way for every row, so differences are paired by seed. The interval of a difference is that of
Student's t over the seeds: it describes the training, not other patients. Only rows whose names join modalities by " + " are
read.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

MODALITIES = {"EHR", "note", "summary"}


def main() -> None:
    """Print one line for each pair of sets of modalities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    results = pl.read_csv(parser.parse_args().grid / "results.csv")
    auroc = results.filter((pl.col("split") == "test") & (pl.col("metric") == "auroc")).sort("seed")
    auroc_by_row = {name: own["value"].to_numpy() for (name,), own in auroc.group_by("variant", maintain_order=True)}
    subsets = [name for name in auroc_by_row if set(str(name).split(" + ")) <= MODALITIES]
    subsets.sort(key=lambda name: -len(str(name).split(" + ")))
    for larger in subsets:
        for smaller in subsets:
            inside, outside = (set(str(name).split(" + ")) for name in (smaller, larger))
            if inside < outside and len(inside) == len(outside) - 1:
                print(f"{larger:<20} - {smaller:<14} {gain(auroc_by_row[larger] - auroc_by_row[smaller])}")


def gain(differences: np.ndarray) -> str:
    """Mean of paired differences with its 95 % interval."""
    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
