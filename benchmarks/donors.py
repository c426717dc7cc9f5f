"""How far the risk without a modality is off, by which training patients lend theirs.

    make demo
    python -m benchmarks.donors --run runs/synthetic_mortality

The risk without a modality is an average over training patients (``prediction/donors.py``). Here it is computed with many of
them, and compared with that of a few: drawn at random, or chosen as the product does it. Prints for each modality the root mean
square, over patients and draws, of the error of the risk, and beside it that of the contribution itself.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import donors
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Trained, load

RANDOM = (4, 16, 64)
SEED = 0  # of the draws


def main() -> None:
    """Print a row per modality."""
    options = arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    trained = load(options.run)
    draw = np.random.default_rng(SEED)
    asked, lenders = some(trained, "test", options.patients, draw), some(trained, "train", options.lenders, draw)
    print(f"{len(asked)} patients, {len(lenders)} training patients, {options.draws} draws")
    print(f"{'without':<10}{'contribution':>14}{''.join(f'{count:>4} at random' for count in RANDOM)}{'chosen':>10}")
    risk = trained.probability(asked)
    of_all = donors.lent(trained, asked, dict.fromkeys(trained.reads, lenders))
    true = {name: risks.mean(axis=1) for name, risks in of_all.items()}
    chosen: dict[str, list[float]] = {name: [] for name in true}
    for seed in range(options.draws):
        again = dataclasses.replace(trained, config=dataclasses.replace(trained.config, seed=seed))
        for name, found in donors.without_modalities(trained, asked, donors.of(again)).items():
            chosen[name].append(float(np.square(found - true[name]).mean()))
    for name, risks in of_all.items():
        at_random = []
        for count in RANDOM:
            drawn = [draw.permutation(len(lenders))[:count] for _ in range(20 * options.draws)]
            at_random.append(np.mean([np.square(risks[:, few].mean(axis=1) - true[name]).mean() for few in drawn]))
        cells = "".join(f"{np.sqrt(square):>14.4f}" for square in at_random)
        contribution = np.sqrt(np.square(risk - true[name]).mean())
        print(f"{name:<10}{contribution:>14.4f}{cells}{np.sqrt(np.mean(chosen[name])):>10.4f}", flush=True)


def some(trained: Trained, split: str, count: int, draw: np.random.Generator) -> Batch:
    """At most ``count`` patients of a split, drawn at random."""
    patients = inputs.mapped(trained.dataset, split)
    return patients.select(torch.from_numpy(np.sort(draw.permutation(len(patients))[:count])))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument(
        "--lenders", type=int, default=1024, help="training patients over whom the true average is taken"
    )
    parser.add_argument("--draws", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
