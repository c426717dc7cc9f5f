"""Metrics of groups of patients, and the gap between a group and everybody else, with intervals from the same resamples.

Groups are formed by landmark, site, sex, age band, ethnicity and ICU type, as far as these are known. A patient belongs to one
group of each attribute: to ``unknown`` where the source does not state it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.evaluation.measure import measure, why_no_interval
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Interval, Persons, Sampling

METRICS = keys("subgroups")
SMALL_PATIENTS, SMALL_CLASS = 50, 10
UNKNOWN = "unknown"
AGE_BANDS = ((18, "under 18"), (45, "18-44"), (65, "45-64"), (80, "65-79"), (np.inf, "80+"))
# The first group with a word in the source's text is chosen. White comes first, because CAUCASIAN contains ASIAN.
ETHNICITIES = (
    ("white", ("WHITE", "CAUCASIAN")),
    ("hispanic", ("HISPANIC", "LATIN", "SOUTH AMERICAN")),
    ("black", ("BLACK", "AFRICAN")),
    ("asian", ("ASIAN",)),
    (UNKNOWN, ("UNKNOWN", "UNABLE", "DECLINED", "NOT SPECIFIED", "NOT STATED")),
)
DENIED = re.compile(
    r"\b(NOT|NON)[ -](?!SPECIFIED|STATED)\w+( OR LATIN\w*)?"
)  # "not Hispanic" says what somebody is not


@dataclass(frozen=True)
class Subgroup:
    """A row of subgroups.csv: one metric of one group. ``gap`` is its value minus that of all other patients of the split.

    ``small`` is 1 where the group has fewer than ``SMALL_PATIENTS`` patients, or fewer than ``SMALL_CLASS`` with the outcome or
    without it. A value that is undefined is None, an empty field.
    """

    split: str
    label_code: str
    attribute: str
    group: str
    patients: int
    positives: int
    metric: str
    value: float | None
    low: float | None
    high: float | None
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    small: int


def groups(patients: pl.DataFrame) -> dict[str, NDArray[np.str_]]:
    """Attribute -> the group of each row of patients.csv; an attribute that is known for nobody is left out."""
    hours = [int(hour) for hour in patients["landmark"]] if "landmark" in patients.columns else []
    width = len(str(max(hours, default=0)))
    columns = {
        **({"landmark": [f"hour {hour:>{width}}" for hour in hours]} if hours else {}),
        **({"site": [name or UNKNOWN for name in patients["site"]]} if "site" in patients.columns else {}),
        "sex": [{"F": "female", "M": "male"}.get(sex or "", UNKNOWN) for sex in patients["sex"]],
        "age": [age_band(age) for age in patients["age"]],
        "ethnicity": [ethnicity(text) for text in patients["ethnicity"]],
        "icu_type": [(text or "").strip() or UNKNOWN for text in patients["icu_type"]],
    }
    return {name: np.array(column) for name, column in columns.items() if set(column) - {UNKNOWN}}


def age_band(years: float | None) -> str:
    """The age band of a patient of so many ``years``.

    >>> age_band(44.9), age_band(45), age_band(None)
    ('18-44', '45-64', 'unknown')
    """
    return UNKNOWN if years is None else next(band for end, band in AGE_BANDS if years < end)


def ethnicity(text: str | None) -> str:
    """The group that a source's description of somebody's ethnicity belongs to.

    >>> [ethnicity(text) for text in ("WHITE - BRAZILIAN", "Caucasian", "ASIAN - CHINESE", "PORTUGUESE", None)]
    ['white', 'white', 'asian', 'other', 'unknown']
    >>> [ethnicity(text) for text in ("BLACK, NOT HISPANIC", "Not Hispanic or Latino", "NON-WHITE", "NOT STATED")]
    ['black', 'other', 'other', 'unknown']
    """
    if not text or not text.strip():
        return UNKNOWN
    stated = DENIED.sub("", text.upper())
    return next((name for name, words in ETHNICITIES if any(word in stated for word in words)), "other")


def evaluate(
    split: str,
    label_code: str,
    label: Array,
    probability: Array,
    threshold: float | Array,
    attributes: Mapping[str, NDArray[np.str_]],
    persons: Persons,
    sampling: Sampling,
) -> list[Subgroup]:
    """The rows of one label [N] and its probabilities [N] on one split; ``attributes`` as ``groups`` gives them.

    ``threshold``: as ``measure`` takes it.
    """
    members = {
        (attribute, group): column == group
        for attribute, column in attributes.items()
        for group in sorted(set(column.tolist()))
    }
    if not len(label) or not members:
        return []
    parts = {(*key, side): np.flatnonzero(inside == side) for key, inside in members.items() for side in (True, False)}
    cuts = np.broadcast_to(threshold, label.shape)
    measures = {
        key: measure(label[rows], probability[rows], METRICS, cuts[rows]) for key, rows in parts.items() if len(rows)
    }

    def values_of(counts: Array) -> dict[str, Array]:
        values: dict[str, Array] = {}
        for number, key in enumerate(members):
            group, rest = (
                measures[*key, side](counts[:, parts[*key, side]]) if (*key, side) in measures else {}
                for side in (True, False)
            )
            for name in METRICS:
                values[f"{number} {name}"] = group[name]
                values[f"{number} {name} gap"] = group[name] - rest[name] if rest else np.full(len(counts), np.nan)
        return values

    samples = resampling.sample(values_of, persons, sampling)
    intervals: dict[str, Interval] = {}
    for number, key in enumerate(members):
        sides = [(label[rows], persons[rows]) for rows in (parts[*key, True], parts[*key, False])]
        for name in METRICS:
            group, rest = (why_no_interval(name, *side) for side in sides)
            constant = bool(np.ptp(probability[parts[*key, True]]) == 0)
            intervals[f"{number} {name}"] = samples[f"{number} {name}"].interval("", group, constant=constant)
            intervals[f"{number} {name} gap"] = samples[f"{number} {name} gap"].interval("", group or rest)
    return [
        row
        for number, (key, inside) in enumerate(members.items())
        for row in _rows((split, label_code, *key), label[inside], intervals, number)
    ]


def _rows(where: Sequence[str], label: Array, intervals: Mapping[str, Interval], number: int) -> Iterator[Subgroup]:
    patients, positives = len(label), int(label.sum())
    small = int(patients < SMALL_PATIENTS or min(positives, patients - positives) < SMALL_CLASS)
    split, label_code, attribute, group = where
    for name in METRICS:
        estimate, gap = intervals[f"{number} {name}"], intervals[f"{number} {name} gap"]
        yield Subgroup(
            *(split, label_code, attribute, group, patients, positives, name),
            *(estimate.value, estimate.low, estimate.high, gap.value, gap.low, gap.high, small),
        )
