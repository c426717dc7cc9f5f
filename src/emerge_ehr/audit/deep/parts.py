"""What each part of the inputs tells by itself, and what is told by whether anything was measured or written at all."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.deep.chance import ERRORS
from emerge_ehr.audit.deep.examined import TOO_FEW, Examined, Label, by_chance, within
from emerge_ehr.audit.findings import Finding, Verdict, of_labels
from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.significance import delong
from emerge_ehr.models.window_statistics import STATISTICS

Array = NDArray[np.float64]
# What is published for in-hospital mortality from the first 48 hours with all inputs lies at 0.85 to 0.90; a single one that is
# surely above knows more than the window should tell.
TOO_GOOD = 0.9
# Below what the values themselves are published to tell (0.85): how often something is measured is a habit of the ward.
TOO_GOOD_BY_ABSENCE = 0.8
NAMES = {"ehr": "series", "note": "notes", "summary": "summaries", "static": "age and sex"}


def check(examined: Examined) -> Iterator[Finding]:
    """The findings on each modality, and on missingness."""
    for name, columns in examined.columns.items():
        parts = (_alone(examined, label, columns) for label in examined.labels)
        yield of_labels(f"{NAMES[name]} alone", parts, TOO_FEW)
    absent = absences(examined)
    yield of_labels(
        "the outcome from missingness alone", (_missing(examined, label, absent) for label in examined.labels), TOO_FEW
    )


def _alone(examined: Examined, label: Label, columns: Array) -> tuple[str, str, Verdict]:
    outcome, score = examined.outcome(label, label.held), examined.held_scores(label, columns)
    area, low, high = within(outcome, score, examined.persons[label.held])
    told = f"AUROC {area:.3f} ({low:.3f} to {high:.3f}) of the plain method, held out"
    if low < TOO_GOOD:
        return label.name, told, "passed"
    return (
        label.name,
        f"{told}: surely above {TOO_GOOD}, more than all inputs together are published to tell",
        "warning",
    )


def absences(examined: Examined) -> Array:
    """Columns [N,D] that know no value: of each signal in how many hours it was measured, whether ever, and when first and last;
    the length of the window; and whether there is a text."""
    mask = examined.dataset.ehr_mask > 0
    hours, ever = mask.shape[1], mask.any(axis=1)
    first = np.where(ever, mask.argmax(axis=1), hours)
    last = np.where(ever, hours - 1 - mask[:, ::-1].argmax(axis=1), -1)
    whole = np.stack([examined.dataset.note_mask, examined.dataset.summary_mask], axis=1)
    length = examined.dataset.ehr_length[:, None]
    found: Array = np.concatenate([mask.sum(axis=1), ever, first, last, length, whole], axis=1).astype(np.float64)
    return found


def _missing(examined: Examined, label: Label, absent: Array) -> tuple[str, str, Verdict]:
    outcome = examined.outcome(label, label.held)
    by_absence = examined.held_scores(label, absent)
    features = examined.dataset.ehr.shape[2]
    assert STATISTICS[-1] == "count"
    by_value = examined.held_scores(label, examined.columns["ehr"][:, :-features])
    persons = examined.persons[label.held]
    area, low, _ = within(outcome, by_absence, persons)
    error = by_chance(outcome, by_absence, persons)
    compared = delong(outcome, by_value, by_absence, resampling.persons(persons.tolist()))
    told = f"AUROC {area:.3f} by what was measured and when, {compared.first:.3f} by the values"
    if low >= TOO_GOOD_BY_ABSENCE:
        return label.name, f"{told}: surely above {TOO_GOOD_BY_ABSENCE}, so that recording itself tells it", "warning"
    as_good = compared.low is not None and compared.low <= 0
    if area > 0.5 + ERRORS * error and as_good:
        return label.name, f"{told}: the values are not surely better", "warning"
    return label.name, told, "passed"
