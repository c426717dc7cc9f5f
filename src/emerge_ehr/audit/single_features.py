"""Single features that nearly determine an outcome among the training samples: the outcome may have leaked into them.

A feature's AUROC says how well the feature alone ranks the samples; at 1 or 0 it separates the classes. The features are
summaries of each signal, how often it was measured, the window's length, age and sex, the linked diseases, and the words of the
notes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.findings import Finding
from emerge_ehr.evaluation import metrics
from emerge_ehr.storage.dataset import Dataset

Array = NDArray[np.float64]

SUSPICIOUS = 0.95  # AUROC, or 1 - AUROC; no single vital sign or laboratory value comes near it
LEAST = 10  # samples of each class; with fewer, a feature may separate them by chance
MOST_TOLD = 5  # features that are named per label


def check(
    dataset: Dataset, rows: NDArray[np.int64], notes: Sequence[str], diseases: Sequence[set[str]]
) -> list[Finding]:
    """A finding for each label. ``rows``: the training samples in the arrays; ``notes`` and ``diseases`` are in their order."""
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
    defined = [int(n) for n in np.flatnonzero(dataset.label_mask[rows, column] > 0)]
    label = dataset.label[rows[defined], column].astype(np.float64)
    with_it, without = int(label.sum()), int((1 - label).sum())
    if min(with_it, without) < LEAST:
        few = f"not judged: {with_it} training patients with and {without} without it are too few"
        return Finding(check_name, "warning", few)
    strengths = dict(_numbers(dataset, rows[defined], label))
    strengths |= _presence([diseases[n] for n in defined], label)
    strengths |= _words([notes[n] for n in defined], label)
    ranked = sorted(((value, feature) for feature, value in strengths.items()), reverse=True)
    suspicious = [f"{feature} {value:.3f}" for value, feature in ranked if value >= SUSPICIOUS]
    if not suspicious:
        best = f"the strongest of {len(ranked)} is {ranked[0][1]}, AUROC {ranked[0][0]:.3f}"
        return Finding(check_name, "passed", best)
    more = f" and {len(suspicious) - MOST_TOLD} more" if len(suspicious) > MOST_TOLD else ""
    return Finding(
        check_name, "warning", f"one feature alone tells it, by its AUROC: {', '.join(suspicious[:MOST_TOLD])}{more}"
    )


def strength(label: Array, value: Array) -> float:
    """The AUROC of ``value`` [N], or of ``-value``, for ``label`` [N]: whichever is higher.

    >>> strength(np.array([0.0, 1.0, 1.0]), np.array([5.0, 2.0, 1.0]))
    1.0
    """
    area = metrics.point(metrics.auroc, label, value)
    assert area is not None
    return max(area, 1 - area)


def _numbers(dataset: Dataset, rows: NDArray[np.int64], label: Array) -> Iterator[tuple[str, float]]:
    """The strength of every feature that is a number, by its name."""
    ehr, measured = dataset.ehr[rows].astype(np.float64), dataset.ehr_mask[rows] > 0
    for feature, described in enumerate(dataset.metadata["features"]):
        value, known = ehr[:, :, feature], measured[:, :, feature]
        name, has_value = described["name"], known.any(axis=1)
        last = value[np.arange(len(rows)), dataset.ehr_length[rows] - 1]
        lowest = np.where(has_value, np.where(known, value, np.inf).min(axis=1), 0.0)
        highest = np.where(has_value, np.where(known, value, -np.inf).max(axis=1), 0.0)
        summaries = {"last": last, "lowest": lowest, "highest": highest, "times measured": known.sum(axis=1)}
        yield from (
            (f"{name} ({kind})", strength(label, summary.astype(np.float64))) for kind, summary in summaries.items()
        )
    yield "length of the window", strength(label, dataset.ehr_length[rows].astype(np.float64))
    for column, name in enumerate(dataset.metadata["static"]):
        yield name, strength(label, dataset.static[rows, column].astype(np.float64))
    yield "having a note", strength(label, dataset.note_mask[rows].astype(np.float64))


def _presence(diseases: Sequence[set[str]], label: Array) -> dict[str, float]:
    names = sorted(set[str]().union(*diseases))
    return {
        f"disease '{name}'": strength(label, np.array([float(name in linked) for linked in diseases])) for name in names
    }


def _words(notes: Sequence[str], label: Array) -> dict[str, float]:
    """The strength of each word that at least ``LEAST`` notes hold, from the shares of either class whose notes hold it."""
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
