"""Train and test swapped: what is fitted on the test samples and judged on training should do as random splits do."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.deep import ridge
from emerge_ehr.audit.deep.chance import ERRORS
from emerge_ehr.audit.deep.examined import LEAST, TOO_FEW, Examined
from emerge_ehr.audit.findings import Finding, Verdict, of_labels

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
DRAWS = 40  # splits of the same sizes, drawn at random by person
WIDTH = 200  # principal components that are read: a fit takes milliseconds
MOST_LABELS = 5
CHECK = "train and test swapped"


def check(examined: Examined) -> Finding:
    """The finding on the first ``MOST_LABELS`` outcomes."""
    return of_labels(CHECK, _parts(examined), TOO_FEW)


def _parts(examined: Examined) -> Iterator[tuple[str, str, Verdict]]:
    components = ridge.compressed(examined.everything, WIDTH)
    for label in examined.labels[:MOST_LABELS]:
        rows = np.concatenate([label.train, label.test])
        outcome, tested = examined.outcome(label, rows), np.arange(len(rows)) >= len(label.train)
        counts = [int((outcome[side] == value).sum()) for side in (tested, ~tested) for value in (0, 1)]
        if min(counts) < LEAST:
            yield label.name, f"fewer than {LEAST} samples of a class in test", "skipped"
            continue
        rng = examined.generator(f"swapped {label.name}")
        yield label.name, *judge(components[rows], outcome, tested, examined.persons[rows], rng)


def judge(
    columns: Array, outcome: Array, tested: Bools, persons: NDArray[np.str_], rng: np.random.Generator
) -> tuple[str, Verdict]:
    """Compare the two AUROCs of a split, and their difference, with those of random splits of the same persons.

    ``tested`` [N]: the test samples; the others are training samples. A person with the outcome is drawn in place of another who
    has it, so that the shares stay as they are.
    """
    forth, back = both(columns, outcome, tested)
    drawn = np.array([both(columns, outcome, redrawn(outcome, tested, persons, rng)) for _ in range(DRAWS)])
    drawn = np.column_stack([drawn, drawn[:, 0] - drawn[:, 1]])
    mean, spread = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    away = np.abs(np.array([forth, back, forth - back]) - mean) / np.maximum(spread, 1e-6)
    told = (
        f"AUROC {forth:.3f} from train to test, {back:.3f} from test to train; in random splits {mean[0]:.3f} ± "
        f"{ERRORS * spread[0]:.3f} and {mean[1]:.3f} ± {ERRORS * spread[1]:.3f}"
    )
    if (away <= ERRORS).all():
        return told, "passed"
    return f"{told}: the two splits are not alike", "warning"


def both(columns: Array, outcome: Array, tested: Bools) -> tuple[float, float]:
    """The AUROC of what is fitted on the others and judged on the ``tested`` samples, and the other way round."""
    forth = ridge.scores(columns[~tested], outcome[~tested, None], columns[tested])[:, 0]
    back = ridge.scores(columns[tested], outcome[tested, None], columns[~tested])[:, 0]
    return ridge.area(outcome[tested], forth), ridge.area(outcome[~tested], back)


def redrawn(outcome: Array, tested: Bools, persons: NDArray[np.str_], rng: np.random.Generator) -> Bools:
    """Another split of the same persons, with as many test persons with the outcome, and as many without it."""
    names, person = np.unique(persons, return_inverse=True)
    positive, test = np.zeros((2, len(names)), dtype=bool)
    np.logical_or.at(positive, person, outcome > 0)
    np.logical_or.at(test, person, tested)
    drawn = test.copy()
    for side in (positive, ~positive):
        drawn[side] = rng.permutation(test[side])
    found: Bools = drawn[person]
    return found
