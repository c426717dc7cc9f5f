"""Time of 1,000 bootstrap resamples of five metrics on 20,000 patients, against a loop over scikit-learn.

    python benchmarks/bootstrap.py --patients 20000 --resamples 1000 --loop 100

Both measure AUROC, AUPRC, min(+P, Se), F1 and accuracy on the same resamples, and their values are compared. Only ``--loop``
resamples of the loop are timed, and the time is scaled to all of them, because every resample costs the same. The two take
turns, so that a busy machine slows both; times are medians. Labels and scores are random, with the prevalence of death in
intensive care.
"""

import argparse
import os
import time
from typing import Literal

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Sampling

FIVE = ("auroc", "auprc", "min_precision_sensitivity", "f1", "accuracy")
THRESHOLD = 0.3


def main() -> None:
    """Print the seconds of both, their ratio, and the time of all nine metrics, also with BCa intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--loop", type=int, default=100, help="resamples that the loop is timed on")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    label, score = patients(chosen.patients)
    sampling = Sampling(chosen.resamples, 0)
    persons = resampling.each_alone(chosen.patients)
    ours: list[float] = []
    loop: list[float] = []
    for _ in range(chosen.rounds):
        start = time.perf_counter()
        sampled = resampling.sample(measure(label, score, FIVE, THRESHOLD), persons, sampling)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        looped = by_scikit_learn(label, score, chosen.loop)
        loop.append((time.perf_counter() - start) * chosen.resamples / chosen.loop)
    apart = max(np.abs(sampled[name].drawn[: chosen.loop] - looped[:, place]).max() for place, name in enumerate(FIVE))
    print(f"{chosen.patients} patients, {label.mean():.1%} positive, {os.cpu_count()} cores")
    print(f"five metrics, {chosen.resamples} resamples: {spread(ours)}")
    print(f"scikit-learn in a loop: {spread(loop)}, scaled from {chosen.loop} resamples")
    print(
        f"the loop takes {np.median(loop) / np.median(ours):.1f} times as long; largest difference of a value {apart:.1e}"
    )
    every = keys("splits")
    kinds: tuple[tuple[str, Literal["percentile", "bca"]], ...] = (("", "percentile"), (", BCa", "bca"))
    for what, kind in kinds:
        start = time.perf_counter()
        resampling.sample(measure(label, score, every, THRESHOLD), persons, Sampling(chosen.resamples, 0, kind))
        print(f"all {len(every)} metrics{what}: {time.perf_counter() - start:.2f} s, once")


def patients(count: int) -> tuple[Array, Array]:
    """Labels and scores, all scores distinct."""
    generator = np.random.default_rng(1)
    label = (generator.random(count) < 0.12).astype(np.float64)
    return label, 1 / (1 + np.exp(2 - label - generator.normal(size=count)))


def by_scikit_learn(label: Array, score: Array, resamples: int) -> Array:
    """Values of the five metrics [R,5], one resample at a time."""
    rows = []
    for index in np.random.default_rng(0).integers(0, len(label), (resamples, len(label))):
        truth, drawn = label[index], score[index]
        precision, recall, _ = precision_recall_curve(truth, drawn)
        called = drawn >= THRESHOLD
        rows.append(
            [
                roc_auc_score(truth, drawn),
                average_precision_score(truth, drawn),
                np.minimum(precision, recall).max(),
                f1_score(truth, called),
                accuracy_score(truth, called),
            ]
        )
    return np.array(rows)


def spread(seconds: list[float]) -> str:
    """The median of the times with their extremes, as text."""
    return f"{np.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    main()
