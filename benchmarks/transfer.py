"""How often recalibration on a few persons of another hospital brings the calibration slope back.

    python src/main.py --stage evaluate --run runs/X --tables FOLDER --output evaluation
    python benchmarks/transfer.py evaluation

Reads ``predictions.csv`` of an evaluation. Persons are drawn anew with each of many seeds, the risks are recalibrated on them as
``--recalibrate`` does, and slope and ECE are measured on the others. Besides the outcomes as they are there are two shifts whose
truth is known: ``--survivors 0.5`` keeps that share of the samples without the outcome, so that it is more frequent, and
``--slope 0.6 --intercept -0.5`` draws the outcomes anew with logit P(y) = intercept + slope · logit(risk).

A line per method and number of persons: the median slope on the others with the middle 95 % of the draws, the share of draws in
which it lies within 0.9 to 1.1, the mean ECE, and in how many draws nothing could be fitted.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from emerge_ehr.evaluation import recalibration
from emerge_ehr.evaluation.calibration import Calibration, logit
from emerge_ehr.evaluation.recalibration import Method

Array = NDArray[np.float64]
METHODS: tuple[Method, ...] = ("logistic", "intercept", "closed_test", "isotonic")


def main() -> None:
    """Print a line per method and number of persons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="the folder that --stage evaluate wrote")
    parser.add_argument("--label", help="the label_code; by default the first")
    parser.add_argument("--persons", type=int, nargs="+", default=[50, 100, 200, 500, 1000])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--survivors", type=float, default=1.0)
    parser.add_argument("--slope", type=float)
    parser.add_argument("--intercept", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    person, label, risk = read(given.evaluation, given.label)
    generator = np.random.default_rng(given.seed)
    if given.slope is not None:
        drawn = generator.random(len(risk)) < expit(given.intercept + given.slope * logit(risk))
        label = drawn.astype(np.float64)
    kept = (label > 0) | (generator.random(len(label)) < given.survivors)
    person, label, risk = person[kept], label[kept], risk[kept]
    whole = measured(label, risk)
    print(
        f"{len(label)} samples of {len(np.unique(person))} persons, {label.mean():.1%} with the outcome; as they are: slope "
        f"{whole[0]:.3f}, ECE {whole[1]:.3f}; {given.draws} draws"
    )
    for persons in given.persons:
        for method in METHODS:
            print(line(method, persons, given.draws, (person, label, risk)))


def read(folder: Path, label_code: str | None) -> tuple[NDArray[np.int64], Array, Array]:
    """Person, outcome and risk of each sample with an outcome."""
    rows = pl.read_csv(folder / "predictions.csv", infer_schema_length=None)
    chosen = label_code or rows["label_code"][0]
    rows = rows.filter((pl.col("label_code") == chosen) & pl.col("y_true").is_not_null())
    person = rows["subject_id"].cast(pl.String).rank("dense").to_numpy().astype(np.int64)
    return person, rows["y_true"].to_numpy().astype(np.float64), rows["y_prob"].to_numpy()


def measured(label: Array, risk: Array) -> tuple[float, float]:
    """Calibration slope and ECE."""
    of, everyone = Calibration(label, risk), np.ones((1, len(label)))
    return float(of.slope(everyone)[0]), float(of.ece(everyone)[0])


def line(method: Method, persons: int, draws: int, of: tuple[NDArray[np.int64], Array, Array]) -> str:
    """What came out of all draws."""
    person, label, risk = of
    names, found, unfit = np.unique(person), [], 0
    for seed in range(draws):
        chosen = np.isin(person, np.random.default_rng(seed).permutation(names)[:persons])
        fitted = recalibration.fit(method, label[chosen], risk[chosen])
        if fitted is None:
            unfit += 1
            continue
        found.append(measured(label[~chosen], fitted.apply(risk[~chosen])))
    if not found:
        return f"{method:<12} {persons:>5} persons: nothing could be fitted"
    slopes, errors = np.array(found).T
    low, middle, high = np.nanpercentile(slopes, [2.5, 50, 97.5])
    inside = float(((slopes >= 0.9) & (slopes <= 1.1)).mean())
    return (
        f"{method:<12} {persons:>5} persons: slope {middle:.3f} ({low:.3f} to {high:.3f}), within 0.9 to 1.1 in {inside:.0%}, "
        f"ECE {errors.mean():.3f}, unfit {unfit}"
    )


if __name__ == "__main__":
    main()
