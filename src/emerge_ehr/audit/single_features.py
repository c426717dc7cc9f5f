"""Which features alone nearly determine an outcome, among the training patients: the outcome may have leaked into them.

A feature's AUROC says how well it alone ranks the patients; 1 or 0 means that it separates them. Judged are summaries of each
signal, how often it was measured, the window's length, age and sex, which diseases were linked, and which words the notes hold.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.findings import Finding
from emerge_ehr.evaluation import metrics
from emerge_ehr.storage.dataset import Dataset

Array = NDArray[np.float64]

SUSPICIOUS = 0.95  # AUROC, or 1 - AUROC; the best single vital sign or laboratory value stays far below
LEAST = 10  # patients of each outcome, below which chance separates them
MOST_TOLD = 5  # features a label


def check(
    dataset: Dataset, rows: NDArray[np.int64], notes: Sequence[str], diseases: Sequence[set[str]]
) -> list[Finding]:
    """``rows``: the training patients' in the arrays; ``notes`` and linked ``diseases`` of these."""
    return [
        _of_label(dataset, name, column, rows, notes, diseases)
        for column, name in enumerate(dataset.metadata["label_names"])
    ]


def _of_label(
    dataset: Dataset,
    name: str,
    column: int,
    rows: NDArray[np.int64],
    notes: Sequence[str],
    diseases: Sequence[set[str]],
) -> Finding:
    check_name = f"single features against {name}"
    those = [int(n) for n in np.flatnonzero(dataset.label_mask[rows, column] > 0)]
    label = dataset.label[rows[those], column].astype(np.float64)
    with_it, without = int(label.sum()), int((1 - label).sum())
    if min(with_it, without) < LEAST:
        few = f"not judged: {with_it} training patients with and {without} without it are too few"
        return Finding(check_name, "warning", few)
    alone = dict(_numbers(dataset, rows[those], label))
    alone |= _presence([diseases[n] for n in those], label)
    alone |= _words([notes[n] for n in those], label)
    told = sorted(((value, feature) for feature, value in alone.items()), reverse=True)
    suspicious = [f"{feature} {value:.3f}" for value, feature in told if value >= SUSPICIOUS]
    if not suspicious:
        best = f"the strongest of {len(told)} is {told[0][1]}, AUROC {told[0][0]:.3f}"
        return Finding(check_name, "passed", best)
    more = f" and {len(suspicious) - MOST_TOLD} more" if len(suspicious) > MOST_TOLD else ""
    return Finding(
        check_name, "warning", f"one feature alone tells it, by its AUROC: {', '.join(suspicious[:MOST_TOLD])}{more}"
    )


def strength(label: Array, value: Array) -> float:
    """AUROC of ``value`` [N] for ``label`` [N], or of its negative, whichever is higher.

    >>> strength(np.array([0.0, 1.0, 1.0]), np.array([5.0, 2.0, 1.0]))
    1.0
    """
    area = metrics.point(metrics.auroc, label, value)
    assert area is not None
    return max(area, 1 - area)


def _numbers(dataset: Dataset, rows: NDArray[np.int64], label: Array) -> Iterator[tuple[str, float]]:
    ehr, measured = dataset.ehr[rows].astype(np.float64), dataset.ehr_mask[rows] > 0
    for feature, described in enumerate(dataset.metadata["features"]):
        value, known = ehr[:, :, feature], measured[:, :, feature]
        name, some = described["name"], known.any(axis=1)
        last = value[np.arange(len(rows)), dataset.ehr_length[rows] - 1]
        lowest = np.where(some, np.where(known, value, np.inf).min(axis=1), 0.0)
        highest = np.where(some, np.where(known, value, -np.inf).max(axis=1), 0.0)
        summaries = {"last": last, "lowest": lowest, "highest": highest, "hours measured": known.sum(axis=1)}
        yield from (
            (f"{name} ({what})", strength(label, found.astype(np.float64))) for what, found in summaries.items()
        )
    yield "length of the window", strength(label, dataset.ehr_length[rows].astype(np.float64))
    for column, name in enumerate(dataset.metadata["static"]):
        yield name, strength(label, dataset.static[rows, column].astype(np.float64))
    yield "having a note", strength(label, dataset.note_mask[rows].astype(np.float64))


def _presence(diseases: Sequence[set[str]], label: Array) -> dict[str, float]:
    names = sorted(set[str]().union(*diseases))
    return {f"disease '{name}'": strength(label, np.array([float(name in one) for one in diseases])) for name in names}


def _words(notes: Sequence[str], label: Array) -> dict[str, float]:
    """Of words in at least ``LEAST`` notes, by the share of either outcome's patients whose notes hold them."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, min_df=min(LEAST, len(notes)))
    try:
        present = counter.fit_transform(notes)
    except ValueError:  # no word is in so many notes
        return {}
    having, lacking = (np.asarray(present[label == value].mean(axis=0)).ravel() for value in (1, 0))
    area = (1 + having - lacking) / 2  # the AUROC of a feature that is 0 or 1
    return {
        f"word '{word}' in the notes": float(max(value, 1 - value))
        for word, value in zip(counter.get_feature_names_out(), area, strict=True)
    }
