"""What the report says of the run as a whole, as plain values for the templates."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr.config import Cohort
from emerge_ehr.datasets.sources._raw.surrogate_notes import WARNING as SURROGATE
from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.catalogue import Metric
from emerge_ehr.fields import to_dict
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import labels, percent
from emerge_ehr.signals.signals import described
from emerge_ehr.storage import spreadsheet, table_files
from emerge_ehr.storage.dataset import Dataset, load_patients
from emerge_ehr.training import results
from emerge_ehr.training.inputs import rows_of
from emerge_ehr.training.reported import Reported

INTERCEPT = "intercept"
COLUMNS = 48  # columns of the missingness figure at most; longer windows are shown in blocks of hours


@dataclass(frozen=True)
class MetricRow:
    """The metrics of one split and label, overall or at an operating point. ``point``: its target sensitivity, and ``words`` for
    it; both are empty for the overall metrics."""

    split: str
    code: str
    label: str
    point: str
    words: str
    patients: int
    positives: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class SplitRow:
    """What one split holds."""

    name: str
    stays: int
    persons: int | None
    outcomes: tuple[tuple[int, int], ...]  # per label: how many have the outcome, and for how many it is defined
    notes: float
    summaries: float
    hours: float
    measured: float


@dataclass(frozen=True)
class Missingness:
    """``share``: for each signal and block of ``block`` steps of ``bin_hours``, the share of observed steps with a measurement;
    None where nobody is observed any more. ``whole``: the same over the whole window."""

    names: tuple[str, ...]
    block: int
    bin_hours: int
    share: tuple[tuple[float | None, ...], ...]
    whole: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """A subgroup. ``metrics``: metric -> its row of subgroups.csv. ``small``: too few patients for a reliable number."""

    name: str
    patients: int
    positives: int
    small: bool
    metrics: dict[str, dict[str, Any]]


def flow(material: Material) -> list[dict[str, Any]]:
    """The steps by which the cohort was selected; none for a user's own tables."""
    steps: list[dict[str, Any]] = material.metadata.get("cohort_flow") or []
    return steps


def rows(material: Material) -> dict[str, Any]:
    """What ``convert`` counted: ``measurements``, a record per file and signal (``harmonise.Flow``), and ``stays`` and ``notes``,
    reason -> number. All are empty for a user's own tables."""
    counted = material.metadata.get("rows") or {}
    return {
        "measurements": (counted.get("measurements") or {}).get("flow", []),
        "stays": {reason: count for reason, count in (counted.get("stays") or {}).items() if count},
        "notes": {reason: count for reason, count in (counted.get("notes") or {}).get("counts", {}).items() if count},
    }


def splits(material: Material) -> list[SplitRow]:
    """A row per split: training, validation and test."""
    dataset = material.trained.dataset
    table = load_patients(material.config.processed_dir, dataset.patient_id)
    rule, told = material.config.cohort, material.trained.reported
    return [_split(dataset, name, table, rule, told) for name in ("train", "val", "test")]


def _split(dataset: Dataset, name: str, table: pl.DataFrame | None, rule: Cohort, told: Reported) -> SplitRow:
    rows = rows_of(dataset, name)
    label, defined = told.outcomes(dataset.label[rows], dataset.label_mask[rows])
    length = dataset.ehr_length[rows]
    hours = length * rule.bin_hours
    if rule.window != "whole":  # the last bin may reach beyond the window
        hours = np.minimum(hours, rule.window_hours)
    cells = length.sum() * dataset.ehr.shape[2]
    return SplitRow(
        name=name,
        stays=len(rows),
        persons=None if table is None else table["subject_id"].gather(rows).n_unique(),
        outcomes=tuple(
            (int((label[:, k] * defined[:, k]).sum()), int(defined[:, k].sum())) for k in range(label.shape[1])
        ),
        notes=float(dataset.note_mask[rows].mean()),
        summaries=float(dataset.summary_mask[rows].mean()),
        hours=float(hours.mean()),
        measured=float(dataset.ehr_mask[rows].sum() / cells) if cells else 0.0,
    )


def missingness(material: Material) -> Missingness:
    """How often each signal was measured, over the patients of all three splits."""
    dataset = material.trained.dataset
    hours, features = dataset.ehr_mask.shape[1:]
    block = -(-hours // COLUMNS)
    observed = np.array([(dataset.ehr_length > hour).sum() for hour in range(hours)])
    measured = dataset.ehr_mask.sum(axis=0, dtype=np.float64)
    starts = range(0, hours, block)
    share = tuple(
        tuple(
            float(measured[at : at + block, f].sum() / here) if (here := observed[at : at + block].sum()) else None
            for at in starts
        )
        for f in range(features)
    )
    whole_window = tuple(float(measured[:, f].sum() / observed.sum()) for f in range(features))
    names = tuple(described(feature["name"]).label for feature in material.metadata["features"])
    return Missingness(names, block, material.config.cohort.bin_hours, share, whole_window)


def plain(run: Material) -> dict[str, Any] | None:
    """The plain method's name, and how the AUROC of the main outcome differs from its own; None for a baseline."""
    beside = run.metrics.get("plain_method")
    return beside and {"name": beside["name"], "found": beside["splits"]["test"][run.main.code]["auroc"]}


def in_time(run: Material) -> dict[str, Any] | None:
    """What was measured of the test split over all horizons (``Survival``); None where the outcomes have no time."""
    found = run.metrics.get(results.IN_TIME)
    return found and found["splits"]["test"]


def experts(run: Material) -> dict[str, Any] | None:
    """The weights of network and experts by what a patient has (the most first), ``of`` what, and how the AUROC differs from the
    network's alone; None for a run without experts."""
    weights = run.metrics.get("experts")
    if not weights:
        return None
    learned = run.metadata["label_names"][run.main.column]  # of hazards, death in the interval that ends at the horizon
    of_main = weights[learned]
    by_choice = {
        title: of_main[title] for title in sorted(of_main, key=lambda title: (-title.count("+"), title == "nothing"))
    }
    found = run.metrics["network_alone"]["splits"]["test"][run.main.code]["auroc"]
    names = dict.fromkeys(name for of_choice in by_choice.values() for name in of_choice if name != INTERCEPT)
    return {
        "weights": by_choice,
        "columns": [*names, INTERCEPT],
        "found": found,
        "of": labels(run.task, [learned])[0].title,
    }


def metrics(material: Material) -> list[MetricRow]:
    """Every metric of metrics.json, the test split first, and in each split the chosen label first."""
    titles = {label.code: label.title for label in material.labels}
    rows = []
    for split in ("test", "val"):
        labels = material.metrics["splits"].get(split, {})
        for code in sorted(labels, key=lambda code: code != material.main.code):
            evaluated = labels[code]
            place = (split, code, titles.get(code, code))
            counts = (evaluated["patients"], evaluated["positives"])
            rows.append(MetricRow(*place, "", "", *counts, _ordered(evaluated["metrics"])))
            for target, point in evaluated.get("operating_points", {}).items():
                cut = "none" if point["threshold"] is None else f"{point['threshold']:.3f}"
                words = f"at sensitivity {target} on validation (threshold {cut})"
                rows.append(MetricRow(*place, target, words, *counts, _ordered(point["metrics"])))
    return rows


def _ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics in the catalogue's order, followed by metrics that only other versions know."""
    order = [metric.key for metric in catalogue.METRICS if metric.key in values]
    return {key: values[key] for key in dict.fromkeys([*order, *values])}


def glossary(share: float | None) -> list[tuple[str, str]]:
    """The metrics' names and meanings; ``share``: the share of test patients who have the outcome."""
    explained = [
        metric for metric in catalogue.METRICS if metric.meaning and {"splits", "operating_points"} & set(metric.shown)
    ]
    groups = itertools.groupby(explained, key=lambda metric: metric.meaning)
    return [
        (", ".join(metric.reported for metric in group), meaning.format(share=percent(share)))
        for meaning, group in groups
    ]


def subgroups(material: Material) -> dict[str, list[Group]]:
    """Map each attribute to its groups in the test split, for the chosen label; empty if the run has none.

    Raises:
        UserError: subgroups.csv is damaged.
    """
    path = material.trained.run_dir / "subgroups.csv"
    if not path.is_file():
        return {}
    scanned = pl.scan_csv(path, infer_schema_length=None, glob=False)
    rows = spreadsheet.plain_texts(table_files.collect_table(scanned, path))
    rows = rows.filter((pl.col("split") == "test") & (pl.col("label_code").cast(pl.String) == material.main.code))
    groups_by_attribute: dict[str, dict[str, Group]] = {}
    for row in rows.iter_rows(named=True):
        group = str(row["group"])
        attribute_groups = groups_by_attribute.setdefault(row["attribute"], {})
        known = attribute_groups.setdefault(
            group, Group(group, row["patients"], row["positives"], bool(row["small"]), {})
        )
        known.metrics[row["metric"]] = row
    return {attribute: list(groups.values()) for attribute, groups in groups_by_attribute.items()}


def group_metrics(subgroups: Mapping[str, Sequence[Group]]) -> list[Metric]:
    """The metrics that the report shows for subgroups, if the run has them for every group: other versions may lack some."""
    groups = [group for attribute_groups in subgroups.values() for group in attribute_groups]
    return [
        metric for metric in catalogue.shown("report_subgroups") if all(metric.key in group.metrics for group in groups)
    ]


def has_surrogates(material: Material) -> bool:
    """Whether the notes are surrogates, made from billing codes."""
    return SURROGATE in material.metadata.get("warnings", [])


def provenance(material: Material) -> list[tuple[str, list[tuple[str, str]]]]:
    """Versions, hashes and seeds: titles, each with names and values."""
    metadata, manifest = material.metadata, material.trained.manifest
    counted = ("seed", "split_seed", "dataset", "parameters", "device", "threads", "fingerprint")
    parts: dict[str, Mapping[str, Any]] = {
        "Run": {name: manifest[name] for name in counted if manifest.get(name) is not None},
        "Libraries of training": manifest.get("versions", {}),
        "Libraries of preprocessing": metadata.get("versions", {}),
        "Read by training (SHA-256)": manifest.get("inputs", {}),
        "Read by preprocessing (SHA-256)": metadata.get("inputs", {}),
        "Text encoders": {name: _flat(value) for name, value in metadata.get("encoders", {}).items()},
        "Linking": metadata.get("similarity", {}),
    }
    return [(title, [(name, str(value)) for name, value in part.items()]) for title, part in parts.items() if part]


def settings(material: Material) -> list[tuple[str, str]]:
    """The run's config as dotted keys and values."""
    return list(_leaves(to_dict(material.config), ""))


def _leaves(value: Any, prefix: str) -> Sequence[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, _flat(value))]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value)) or "none"
    return "not set" if value is None else str(value)
