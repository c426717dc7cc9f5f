"""EMERGE for patients who lack modalities, against models that were trained without these.

    python -m benchmarks.lacking --seeds 1 2

For each of the seven choices of EHR, note and summary: the test split's patients are given these only, and the model that was
trained on all three predicts them; another model was trained on these alone. Both have members. Prints AUROC, the gap between
the two, and the calibration slope of the former, as means over the generated hospitals (docs/synthetic.md): of the networks
alone, and with their experts.
"""

import argparse
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.rivals import Case, generated, prepare, scores, sigmoid, with_experts
from emerge_ehr.models.batch import MODALITIES, Batch

METHODS = ("network", "with experts")
SUBSETS = [names for size in (3, 2, 1) for names in itertools.combinations(MODALITIES, size)]


def main() -> None:
    """Print a row per choice of modalities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=2000)
    parser.add_argument("--interactions", type=float, default=0.0)
    parser.add_argument("--settings", default="", metavar="TOML", help="of the hospitals; give another --folder too")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("data/rivals"))
    options = parser.parse_args()
    cases = [generated(seed, options) for seed in options.seeds]
    jobs = [(case, names, options.members) for case in cases for names in SUBSETS]
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(prepare, cases, [True] * len(cases)))
        fitted = {
            (job[0].name, job[1]): found
            for job, found in zip(jobs, pool.map(fit, *zip(*jobs, strict=True)), strict=True)
        }
    for method in METHODS:
        print(f"{method:<22} trained on all   trained for it   gap      slope of the former")
        for names in SUBSETS:
            of_all = [fitted[case.name, SUBSETS[0]][method, names] for case in cases]
            own = float(np.mean([fitted[case.name, names][method, names][0] for case in cases]))
            auroc, _, slope = np.mean(of_all, axis=0)
            print(f"{', '.join(names):<22} {auroc:<16.3f} {own:<16.3f} {auroc - own:+.3f}   {slope:.2f}", flush=True)


def fit(case: Case, names: tuple[str, ...], count: int) -> dict[tuple[str, tuple[str, ...]], list[float]]:
    """AUROC, AUPRC and calibration slope on test of each of ``METHODS``, trained on the modalities ``names``, for each choice
    among them that the patients have: all seven for the model of all three, else these alone."""
    from emerge_ehr.models import absence
    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import methods

    config = case.config(f"model.modalities = {list(names)}")
    test, networks, whole = with_experts(config, load_dataset(config.processed_dir), count)
    assert isinstance(test, Batch)
    label = test.label[:, 0].double().numpy()
    found = {}
    for kept in SUBSETS if names == SUBSETS[0] else [names]:
        seen = absence.without(test, [name for name in MODALITIES if name not in kept])
        for method, fitted in zip(METHODS, (networks, whole), strict=True):
            risk = sigmoid(methods.together(fitted).logits(seen)[:, 0].double().numpy())
            found[method, kept] = scores(label, risk)
    return found


if __name__ == "__main__":
    main()
