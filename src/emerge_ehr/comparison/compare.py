"""Stage compare: tests whether two runs differ on the same test patients; prints a table and, with ``--output``, writes a CSV."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import privacy
from emerge_ehr.config import Config
from emerge_ehr.datasets.wording import predicted
from emerge_ehr.evaluation import significance
from emerge_ehr.evaluation.catalogue import at_chosen_threshold, keys, metric
from emerge_ehr.evaluation.resampling import Sampling, each_alone, persons
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import load_patients
from emerge_ehr.storage.schema import METADATA
from emerge_ehr.training import folds, horizons, reported, results, tables, trained

FEW = 0.001  # smaller p-values are printed as "<0.001"


@dataclass(frozen=True)
class ComparedRun:
    """A finished run. ``test``: the test rows of predictions.csv, with the ``threshold`` from which each patient is called
    positive; ``inputs``: checksums of the files that the run read."""

    folder: Path
    config: Config
    test: pl.DataFrame
    inputs: frozenset[str]


@dataclass(frozen=True)
class MetricDifference:
    """A row of the CSV: one metric of one label, ``difference`` first minus second. ``test``: paired_bootstrap or delong. A
    number is None where it is undefined; ``reason`` says why."""

    label_code: str
    metric: str
    test: str
    patients: int
    positives: int
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    reason: str | None


def run(runs: Sequence[Path], output: Path | None) -> None:
    """Print how the two ``runs`` differ, and write the same to ``output`` if it is given.

    Raises:
        UserError: there are not two runs, one has not ended, or they differ in test patients or labels.
    """
    if len(runs) != 2:
        raise UserError(f"--runs takes two run folders, not {len(runs)}: --runs runs/first runs/second")
    if output is not None:
        artefacts.require_output(output, runs)
    first, second = (load(folder) for folder in runs)
    known = people(first)
    rows = compare(first, second, known)
    if output is not None:
        kept = [chosen for chosen in (first.config, second.config) if privacy.credentialed(chosen)]
        with privacy.owner_only([*kept, first.config][0]), artefacts.replacing(output) as path:
            results.write_csv(path, MetricDifference, [dataclasses.astuple(row) for row in rows])
    print(table(rows, first, second, by_person=known is not None))
    if output is not None:
        print(f"written to {output}")


def load(folder: Path) -> ComparedRun:
    """Load the run in ``folder``.

    Raises:
        UserError: the folder holds no run or several seeds, or its run has not ended or is damaged.
    """
    config, manifest = trained.settings(folder)
    return ComparedRun(folder, config, folds.test_rows(folder), frozenset(manifest["inputs"].values()))


def people(run: ComparedRun) -> pl.DataFrame | None:
    """The rows of patients.csv of the test patients, as the artefacts say that the run was trained on. None if these artefacts
    were deleted or made again, or do not name persons."""
    folder = run.config.processed_dir
    metadata = folder / METADATA
    if not metadata.is_file() or artefacts.checksum(metadata) not in run.inputs:
        return None
    return load_patients(folder, run.test["patient_id"].unique(maintain_order=True).to_numpy().astype(np.str_))


def compare(first: ComparedRun, second: ComparedRun, known: pl.DataFrame | None) -> list[MetricDifference]:
    """Compare every metric of every label, with the resampling settings of the first run's config. Whole persons are resampled,
    as patients.csv (``known``) names them; single patients if it is None.

    Raises:
        UserError: test patients or labels are not the same.
    """
    joined = _joined(first, second)
    chosen = first.config
    sampling = Sampling(chosen.training.bootstrap_resamples, chosen.seed, chosen.evaluation.interval)
    subjects = None if known is None else dict(known.select("patient_id", "subject_id").rows())
    rows = []
    for name in joined["label_code"].unique(maintain_order=True):
        part = joined.filter((pl.col("label_code") == name) & pl.col("y_true").is_not_null())
        label, left, right = (part[column].to_numpy() for column in ("y_true", "y_prob", "other"))
        names = part["patient_id"].to_list()
        groups = each_alone(len(names)) if subjects is None else persons([subjects[patient] for patient in names])
        cuts = (part["threshold"].to_numpy(), part["other_threshold"].to_numpy())
        about = (len(label), int(label.sum()))
        area = significance.delong(label, left, right, groups)
        rows.append(MetricDifference(name, "auroc", "delong", *about, **_values(area)))
        differences = significance.paired_bootstrap(label, left, right, keys("splits"), sampling, groups, cuts)
        rows += [
            MetricDifference(name, key, "paired_bootstrap", *about, **_values(difference))
            for key, difference in differences.items()
        ]
    return rows if known is None else [*rows, *_in_time(chosen, joined, known, sampling)]


def _in_time(chosen: Config, joined: pl.DataFrame, known: pl.DataFrame, sampling: Sampling) -> list[MetricDifference]:
    """The measures over all horizons, of the patients whose outcome is known at every one; none where outcomes have no time."""
    names = joined["label_code"].unique(maintain_order=True).to_list()
    hours = np.array(reported.of(chosen, names).horizons)
    if not len(hours):
        return []
    values = ["y_true", "y_prob", "other"]
    by_patient = joined.group_by("patient_id", maintain_order=True).agg(*values)
    by_patient = by_patient.filter(pl.col("y_true").list.eval(pl.element().is_not_null()).list.all())
    ended = by_patient.join(known, on="patient_id", how="left", maintain_order="left")
    risks = [np.array(by_patient[column].to_list()).reshape(-1, len(hours)) for column in values[1:]]
    found = significance.paired_in_time(
        *horizons.ends(ended),
        (risks[0], risks[1]),
        hours,
        sampling,
        persons(ended["subject_id"].to_list()),
    )
    deaths = int((np.array(by_patient["y_true"].to_list()).reshape(-1, len(hours))[:, -1] > 0).sum())
    about = (ended.height, deaths)
    return [
        MetricDifference(results.IN_TIME, key, "paired_bootstrap", *about, **_values(difference))
        for key, difference in found.items()
    ]


def table(rows: Sequence[MetricDifference], first: ComparedRun, second: ComparedRun, *, by_person: bool) -> str:
    """The comparison as aligned text, with notes on how it was made."""
    lines = [["label", "patients", "positive", "metric", "first", "second", "first - second", "95 % interval", "p"]]
    for row in rows:
        metric_name = _printed(row) + (" (DeLong)" if row.test == "delong" else "")
        interval = "undefined" if row.low is None else f"{row.low:+.3f} to {row.high:+.3f}"
        numbers = [_number(row.first), _number(row.second), _number(row.difference, "+.3f"), interval, _p(row.p)]
        lines.append([row.label_code, str(row.patients), str(row.positives), metric_name, *numbers])
    chosen = first.config
    samples = f"{predicted(chosen).word}s"
    unit = "persons" if by_person else "patients"
    notes = [
        f"first: {first.folder}; second: {second.folder}",
        f"({chosen.training.bootstrap_resamples} paired resamples of the test {unit}, {chosen.evaluation.interval} intervals, "
        f"as the first run's config says; {at_chosen_threshold()} at each run's own threshold; p is two-sided, of one "
        f"comparison. DeLong takes {samples} as independent)",
    ]
    if not by_person:
        where = first.config.processed_dir
        notes.append(f"({where} is not as {first.folder} read it or names no persons: {samples} count as independent)")
    reasons = dict.fromkeys(f"({row.label_code}, {_printed(row)}: {row.reason})" for row in rows if row.reason)
    return "\n".join([notes[0], *tables.aligned(lines), *notes[1:], *reasons])


def _printed(row: MetricDifference) -> str:
    return horizons.PRINTED[row.metric] if row.label_code == results.IN_TIME else metric(row.metric).printed


def _joined(first: ComparedRun, second: ComparedRun) -> pl.DataFrame:
    """The first run's test rows, with the second run's risk as column ``other``.

    Raises:
        UserError: the runs differ in test patients, labels or outcomes.
    """
    for column, kind in (("label_code", "labels"), ("patient_id", "patients")):
        first_values, second_values = set(first.test[column]), set(second.test[column])
        if first_values != second_values:
            common = len(first_values & second_values)
            raise UserError(
                f"{second.folder}: its test {kind} are not those of {first.folder} ({common} in common, "
                f"{len(first_values) - common} only in the first, {len(second_values) - common} only in the second); "
                "only runs on the same artefacts and split can be compared"
            )
    keys = ["patient_id", "label_code"]
    other = second.test.rename({"y_true": "truth", "y_prob": "other", "threshold": "other_threshold"})
    joined = first.test.join(other, on=keys, how="left", maintain_order="left")
    differing = joined.filter(pl.col("y_true").ne_missing(pl.col("truth")) | pl.col("other").is_null())
    if differing.height:
        patient, label = differing.select(keys).row(0)
        raise UserError(
            f"{second.folder}: {label} of test patient '{patient}' is not what {first.folder} says ({differing.height} such "
            "rows); only runs on the same artefacts and split can be compared"
        )
    return joined.drop("truth")


def _values(test_result: significance.DeLong | significance.Difference) -> dict[str, Any]:
    names = ("first", "second", "difference", "low", "high", "p", "reason")
    return {name: getattr(test_result, name) for name in names}


def _number(value: float | None, form: str = ".3f") -> str:
    return "undefined" if value is None else format(value, form)


def _p(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "undefined"
    return f"<{FEW}" if value < FEW else f"{value:.3f}"
