"""Tests which rows of the table differ from the reference row: a paired bootstrap over the test set's persons, with Holm's
correction.

Seeds do not add patients: each row's risks are first averaged over its training seeds, and then compared on one set of patients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from emerge_ehr.comparison.grid import Grid
from emerge_ehr.comparison.points import Point, columns, row_axes
from emerge_ehr.comparison.results import GridRun
from emerge_ehr.evaluation.catalogue import metric
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.resampling import persons as numbered
from emerge_ehr.evaluation.significance import paired_bootstrap
from emerge_ehr.storage import spreadsheet, table_files
from emerge_ehr.storage.schema import PATIENTS, PREDICTIONS

SAMPLING = Sampling(resamples=5000, seed=42)
LEVEL = 0.05


@dataclass(frozen=True)
class ReferenceComparison:
    """A row against the reference, in one column. ``difference``: the metric of the seed-averaged risks, row minus reference.

    ``adjusted``: p after Holm's correction, over the column's rows with all data or over those with data removed.
    """

    column: str
    label: str
    metric: str
    row: str
    reference: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    reason: str | None

    @property
    def significant(self) -> bool:
        """Whether the row differs from the reference."""
        return self.adjusted is not None and self.adjusted < LEVEL


SCHEMA = {
    **dict.fromkeys(("column", "label", "metric", "row", "reference"), pl.String),
    **dict.fromkeys(("difference", "low", "high", "p", "adjusted"), pl.Float64),
    "reason": pl.String,
}


def reference(grid: Grid, found: Sequence[Point]) -> str:
    """The name of the row that the others are compared with. Its point may stand for several combinations, and
    is then printed under another name."""
    return grid.reference or found[0].combinations[0].named(row_axes(grid))


def compare(grid: Grid, runs: Sequence[GridRun]) -> list[ReferenceComparison]:
    """Compare every row with the reference, in every column, by every ranking metric of the grid; failed runs are left out."""
    against = reference(grid, [run.point for run in runs])
    ended = [run for run in runs if run.failed is None]
    return [
        comparison
        for column, values in columns(grid).items()
        for comparison in _column(grid, [run for run in ended if run.point.stands_in(values)], column, against)
    ]


def _column(grid: Grid, runs: Sequence[GridRun], column: str, name: str) -> Iterator[ReferenceComparison]:
    """Compare the rows of one column. Rows with data removed are corrected as a family of their own, so that their number changes
    no mark of the others."""
    metrics = [key for key in grid.metrics if metric(key).ranked]
    groups: dict[str, list[GridRun]] = {}
    for run in runs:
        groups.setdefault(run.point.named(row_axes(grid)), []).append(run)
    against = next((row for row, group in groups.items() if group[0].point.is_row(name, row_axes(grid))), None)
    if against is None or len(groups) < 2:
        return
    risks = {row: _risks(group) for row, group in groups.items()}
    base = risks.pop(against)
    persons = _persons(groups[against][0])
    for label in base:
        comparisons = [
            comparison
            for row, other in risks.items()
            for comparison in _pair(base[label], other.get(label), persons, metrics, row)
        ]
        for key in metrics:
            compared = [
                replace(comparison, column=column, label=label, reference=against)
                for comparison in comparisons
                if comparison.metric == key
            ]
            for thinned in (False, True):
                family = [
                    comparison
                    for comparison in compared
                    if (groups[comparison.row][0].point.removed is not None) == thinned
                ]
                yield from adjusted(family)


Risks = dict[str, tuple[int, float]]  # patient -> outcome, risk


def _pair(
    base: Risks, other: Risks | None, persons: dict[str, str], metrics: Sequence[str], row: str
) -> Iterator[ReferenceComparison]:
    """Compare two rows by each metric; without numbers if their test patients or outcomes differ, as nothing is paired then."""
    same = other is not None and {k: v[0] for k, v in base.items()} == {k: v[0] for k, v in other.items()}
    if other is None or not same:
        for key in metrics:
            yield ReferenceComparison("", "", key, row, "", None, None, None, None, None, "tested on other patients")
        return
    patients = sorted(base)
    label = np.array([base[patient][0] for patient in patients], dtype=np.float64)
    first, second = (np.array([risks[patient][1] for patient in patients]) for risks in (other, base))
    whose = numbered([persons[patient] for patient in patients])
    for key, gap in paired_bootstrap(label, first, second, metrics, SAMPLING, whose).items():
        numbers = (gap.difference, gap.low, gap.high, gap.p)
        yield ReferenceComparison("", "", key, row, "", *numbers, None, gap.reason)


def adjusted(family: Sequence[ReferenceComparison]) -> list[ReferenceComparison]:
    """The comparisons with p adjusted by Holm (1979): the k-th smallest of m is multiplied by m - k + 1, and is then at least as
    large as the one before and at most 1."""
    tested = sorted(
        (comparison for comparison in family if comparison.p is not None), key=lambda comparison: comparison.p or 0.0
    )
    holm: dict[str, float] = {}
    largest = 0.0
    for rank, comparison in enumerate(tested):
        assert comparison.p is not None
        largest = max(largest, min(1.0, comparison.p * (len(tested) - rank)))
        holm[comparison.row] = largest
    return [replace(comparison, adjusted=holm.get(comparison.row)) for comparison in family]


def _risks(group: Sequence[GridRun]) -> dict[str, Risks]:
    """Map each label to the test patients' outcomes, and their risks averaged over the seeds."""
    tables = [
        spreadsheet.plain_texts(
            pl.read_csv(run.config.run_dir / PREDICTIONS.file, glob=False, schema_overrides={"patient_id": pl.String})
        )
        for run in group
    ]
    known = pl.concat(tables).filter((pl.col("split") == "test") & pl.col("y_true").is_not_null())
    mean = known.group_by("label_code", "patient_id", maintain_order=True).agg(
        pl.col("y_true").first(), pl.col("y_prob").mean()
    )
    risks_by_label: dict[str, Risks] = {}
    for label, patient, outcome, risk in mean.iter_rows():
        risks_by_label.setdefault(label, {})[patient] = (outcome, risk)
    return risks_by_label


def _persons(run: GridRun) -> dict[str, str]:
    """Map patient_id to subject_id."""
    patients = table_files.read_table(run.config.processed_dir, PATIENTS)
    return dict(patients.select("patient_id", "subject_id").rows())


def records(compared: Sequence[ReferenceComparison]) -> list[dict[str, str | float | None]]:
    """The comparisons as rows of ``comparisons.csv``."""
    return [asdict(comparison) for comparison in compared]
