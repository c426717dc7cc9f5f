"""Which rows of the table differ from the reference row: a paired bootstrap over the test set's persons, corrected by Holm.

Training seeds are no patients: each row's risks are averaged over its seeds first, and then one set of patients is compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from emerge_ehr.comparison.grid import Grid
from emerge_ehr.comparison.points import Point, columns, row_axes
from emerge_ehr.comparison.results import Run
from emerge_ehr.evaluation.catalogue import metric
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.resampling import persons as numbered
from emerge_ehr.evaluation.significance import paired_bootstrap
from emerge_ehr.storage import table_files
from emerge_ehr.storage.schema import PATIENTS, PREDICTIONS

SAMPLING = Sampling(resamples=5000, seed=42)
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A row against the reference, in one column. ``difference``: of the metrics of seed-averaged risks, row minus reference.

    ``adjusted`` is p times what Holm's procedure asks for, over the column's rows with all data, or those with data removed.
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
    """What the row is called that the others are compared with. Where it is one with others, its row bears another name."""
    return grid.reference or found[0].combinations[0].named(row_axes(grid))


def compare(grid: Grid, runs: Sequence[Run]) -> list[Comparison]:
    """Every row but the reference, in every column and for every ranking metric of the grid; without failed runs."""
    against = reference(grid, [run.point for run in runs])
    ended = [run for run in runs if run.failed is None]
    return [
        one
        for column, values in columns(grid).items()
        for one in _column(grid, [run for run in ended if run.point.stands_in(values)], column, against)
    ]


def _column(grid: Grid, runs: Sequence[Run], column: str, name: str) -> Iterator[Comparison]:
    """The rows with data removed are a family of their own: how many there are changes no mark of the others."""
    metrics = [key for key in grid.metrics if metric(key).ranked]
    own: dict[str, list[Run]] = {}
    for run in runs:
        own.setdefault(run.point.named(row_axes(grid)), []).append(run)
    against = next((row for row, group in own.items() if group[0].point.is_row(name, row_axes(grid))), None)
    if against is None or len(own) < 2:
        return
    risks = {row: _risks(group) for row, group in own.items()}
    base = risks.pop(against)
    persons = _persons(own[against][0])
    for label in base:
        found = [
            one for row, other in risks.items() for one in _pair(base[label], other.get(label), persons, metrics, row)
        ]
        for key in metrics:
            compared = [
                replace(one, column=column, label=label, reference=against) for one in found if one.metric == key
            ]
            for thinned in (False, True):
                family = [one for one in compared if (own[one.row][0].point.removed is not None) == thinned]
                yield from adjusted(family)


Risks = dict[str, tuple[int, float]]  # patient -> outcome, risk


def _pair(
    base: Risks, other: Risks | None, persons: dict[str, str], metrics: Sequence[str], row: str
) -> Iterator[Comparison]:
    """Not where the test patients or their outcomes are others: then nothing is paired."""
    same = other is not None and {k: v[0] for k, v in base.items()} == {k: v[0] for k, v in other.items()}
    if other is None or not same:
        for key in metrics:
            yield Comparison("", "", key, row, "", None, None, None, None, None, "tested on other patients")
        return
    patients = sorted(base)
    label = np.array([base[patient][0] for patient in patients], dtype=np.float64)
    first, second = (np.array([risks[patient][1] for patient in patients]) for risks in (other, base))
    whose = numbered([persons[patient] for patient in patients])
    for key, gap in paired_bootstrap(label, first, second, metrics, SAMPLING, whose).items():
        numbers = (gap.difference, gap.low, gap.high, gap.p)
        yield Comparison("", "", key, row, "", *numbers, None, gap.reason)


def adjusted(family: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's adjusted p (1979): sorted, the k-th smallest of m times m - k + 1, at least the one before, at most 1."""
    tested = sorted((one for one in family if one.p is not None), key=lambda one: one.p or 0.0)
    holm: dict[str, float] = {}
    largest = 0.0
    for rank, one in enumerate(tested):
        assert one.p is not None
        largest = max(largest, min(1.0, one.p * (len(tested) - rank)))
        holm[one.row] = largest
    return [replace(one, adjusted=holm.get(one.row)) for one in family]


def _risks(group: Sequence[Run]) -> dict[str, Risks]:
    """Label -> the test patients' outcomes and risks, these averaged over the seeds."""
    tables = [
        pl.read_csv(run.config.run_dir / PREDICTIONS.file, glob=False, schema_overrides={"patient_id": pl.String})
        for run in group
    ]
    known = pl.concat(tables).filter((pl.col("split") == "test") & pl.col("y_true").is_not_null())
    mean = known.group_by("label_code", "patient_id", maintain_order=True).agg(
        pl.col("y_true").first(), pl.col("y_prob").mean()
    )
    found: dict[str, Risks] = {}
    for label, patient, outcome, risk in mean.iter_rows():
        found.setdefault(label, {})[patient] = (outcome, risk)
    return found


def _persons(run: Run) -> dict[str, str]:
    """Patient -> person."""
    patients = table_files.read_table(run.config.processed_dir, PATIENTS)
    return dict(patients.select("patient_id", "subject_id").rows())


def records(compared: Sequence[Comparison]) -> list[dict[str, str | float | None]]:
    """As rows of ``comparisons.csv``."""
    return [asdict(one) for one in compared]
