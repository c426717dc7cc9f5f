"""What each modality is worth on the synthetic default: test AUROC of every subset over training seeds, beside the true risk's.

    python benchmarks/ablation.py --seeds 42 1 2 3 4

Run ``make demo`` first: it reads what that wrote in the current folder. Data and split stay the same; the seed sets initial
weights, dropout and the order of batches, the same for every subset, so that differences are paired. A difference's interval is
that of Student's t over the seeds: it tells of training, not of other patients. About a minute a seed on two cores.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import logging
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks import true_risk
from src.config import Config, load
from src.evaluation import metrics
from src.training import train

Modality = Literal["ehr", "note", "summary"]
MODALITIES: tuple[Modality, ...] = ("ehr", "note", "summary")


def main() -> None:
    """Print one row a subset, then what the larger subsets gain over the smaller ones inside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2, 3, 4], help="two or more")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "synthetic.toml")
    arguments = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    config = dataclasses.replace(load(arguments.config), seeds=tuple(arguments.seeds))
    subsets = [chosen for size in (3, 2, 1) for chosen in combinations(MODALITIES, size)]
    found = {}
    print(f"{'modalities':<20} mean   sd     min    max")
    for chosen in subsets:
        found[chosen] = values = test_auroc(config, chosen)
        spread = f"{values.mean():.3f}  {values.std(ddof=1):.3f}  {values.min():.3f}  {values.max():.3f}"
        print(f"{' + '.join(chosen):<20} {spread}", flush=True)
    print(f"{'true risk':<20} {true_risk.score(config, metrics.auroc):.3f}\n")
    for larger in subsets:
        for smaller in (one for one in subsets if len(one) == len(larger) - 1 and set(one) < set(larger)):
            print(f"{' + '.join(larger):<20} - {' + '.join(smaller):<16} {gain(found[larger] - found[smaller])}")


def test_auroc(config: Config, chosen: tuple[Modality, ...]) -> np.ndarray:
    """Test AUROC of a model of the ``chosen`` modalities, one a seed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = dataclasses.replace(config.paths, run_dir=Path(folder) / "run")
        model = dataclasses.replace(config.model, modalities=chosen)
        with contextlib.redirect_stdout(io.StringIO()):
            train.run(dataclasses.replace(config, paths=paths, model=model))
        by_seed = json.loads((Path(folder) / "run" / "seeds.json").read_text())["metrics"]
    return np.array([by_seed[str(seed)]["test/mortality/auroc"] for seed in config.seeds])


def gain(differences: np.ndarray) -> str:
    """Mean of paired differences with its 95 % interval."""
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.3f} ({differences.mean() - half:+.3f} to {differences.mean() + half:+.3f})"


if __name__ == "__main__":
    main()
