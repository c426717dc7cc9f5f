"""What the report says of the run as a whole, as plain values for the templates."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr.audit.audit import AUDIT
from emerge_ehr.datasets.sources._raw.surrogate_notes import WARNING as SURROGATE
from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.catalogue import Metric
from emerge_ehr.fields import to_dict
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import percent
from emerge_ehr.signals.signals import described
from emerge_ehr.storage import artefacts, table_files
from emerge_ehr.storage.dataset import Dataset, load_patients
from emerge_ehr.storage.schema import METADATA
from emerge_ehr.training.inputs import label_warnings, rows_of

COLUMNS = 48  # of the figure of missingness: longer windows are shown in blocks of hours
FEW = 30  # patients with, or without, the outcome: fewer make an interval wide


@dataclass(frozen=True)
class MetricRow:
    """The metrics of one split and label, or at one operating point."""

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
    outcomes: tuple[tuple[int, int], ...]  # with the outcome, of how many where it is defined
    notes: float
    summaries: float
    hours: float
    measured: float


@dataclass(frozen=True)
class Missingness:
    """Share of patients measured, signals by blocks of ``block`` hours; None where nobody was observed any more."""

    names: tuple[str, ...]
    block: int
    hours: int
    share: tuple[tuple[float | None, ...], ...]
    whole: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """A subgroup: metric -> row of subgroups.csv."""

    name: str
    patients: int
    positives: int
    small: bool
    metrics: dict[str, dict[str, Any]]


def flow(material: Material) -> list[dict[str, Any]]:
    """The cohort's steps; none for a user's own tables."""
    found: list[dict[str, Any]] = material.metadata.get("cohort_flow") or []
    return found


def splits(material: Material) -> list[SplitRow]:
    """Training, validation and test."""
    dataset = material.trained.dataset
    table = load_patients(material.config.processed_dir, dataset.patient_id)
    return [_split(dataset, name, table) for name in ("train", "val", "test")]


def _split(dataset: Dataset, name: str, table: pl.DataFrame | None) -> SplitRow:
    rows = rows_of(dataset, name)
    label, defined = dataset.label[rows], dataset.label_mask[rows] > 0
    length = dataset.ehr_length[rows]
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
        hours=float(length.mean()),
        measured=float(dataset.ehr_mask[rows].sum() / cells) if cells else 0.0,
    )


def missingness(material: Material) -> Missingness:
    """Over all patients of the three splits."""
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
    whole = tuple(float(measured[:, f].sum() / observed.sum()) for f in range(features))
    names = tuple(described(feature["name"]).label for feature in material.metadata["features"])
    return Missingness(names, block, hours, share, whole)


def metrics(material: Material) -> list[MetricRow]:
    """Every number of metrics.json: the test split first, the chosen label first."""
    titles = {one.code: one.title for one in material.labels}
    found = []
    for split in ("test", "val"):
        labels = material.metrics["splits"].get(split, {})
        for code in sorted(labels, key=lambda code: code != material.main.code):
            one = labels[code]
            whole = (split, code, titles.get(code, code))
            counts = (one["patients"], one["positives"])
            found.append(MetricRow(*whole, "", "", *counts, _ordered(one["metrics"])))
            for target, point in one.get("operating_points", {}).items():
                cut = "none" if point["threshold"] is None else f"{point['threshold']:.3f}"
                words = f"at sensitivity {target} on validation (threshold {cut})"
                found.append(MetricRow(*whole, target, words, *counts, _ordered(point["metrics"])))
    return found


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    """By the order of the catalogue; metrics of other versions follow."""
    order = [metric.key for metric in catalogue.METRICS if metric.key in found]
    return {key: found[key] for key in dict.fromkeys([*order, *found])}


def glossary(share: float | None) -> list[tuple[str, str]]:
    """The metrics' names and what they mean; ``share``: of the test patients who have the outcome."""
    explained = [one for one in catalogue.METRICS if one.meaning and {"splits", "operating_points"} & set(one.shown)]
    groups = itertools.groupby(explained, key=lambda one: one.meaning)
    return [(", ".join(one.reported for one in own), meaning.format(share=percent(share))) for meaning, own in groups]


def subgroups(material: Material) -> dict[str, list[Group]]:
    """Attribute -> groups of the test split, of the chosen label; empty where the run has none.

    Raises:
        UserError: subgroups.csv is damaged.
    """
    path = material.trained.run_dir / "subgroups.csv"
    if not path.is_file():
        return {}
    rows = table_files.collect_table(pl.scan_csv(path, infer_schema_length=None, glob=False), path)
    rows = rows.filter((pl.col("split") == "test") & (pl.col("label_code").cast(pl.String) == material.main.code))
    found: dict[str, dict[str, Group]] = {}
    for row in rows.iter_rows(named=True):
        group = str(row["group"])
        own = found.setdefault(row["attribute"], {})
        known = own.setdefault(group, Group(group, row["patients"], row["positives"], bool(row["small"]), {}))
        known.metrics[row["metric"]] = row
    return {attribute: list(groups.values()) for attribute, groups in found.items()}


def group_metrics(subgroups: Mapping[str, Sequence[Group]]) -> list[Metric]:
    """Those that the report shows of groups and the run has of every group; runs of other versions may lack one."""
    groups = [group for own in subgroups.values() for group in own]
    return [one for one in catalogue.shown("report_subgroups") if all(one.key in group.metrics for group in groups)]


def warnings(material: Material) -> list[str]:
    """What a reader must know before the numbers: of leaks, of outcomes of one kind, of few patients, of what failed."""
    metadata, rag = material.metadata, material.metadata.get("rag", {})
    found = [f"audit: {one['check']}: {one['detail']}" for one in audit(material) if one["verdict"] != "passed"]
    found += [*metadata.get("warnings", []), *material.metrics.get("warnings", [])]
    found += label_warnings(material.trained.dataset)
    found += _few(material)
    told = " ".join(found)
    if names := [name for name in metadata.get("never_measured_in_training", []) if name not in told]:
        found.append(f"never measured in any training patient: {', '.join(names)}")
    found = [_labelled(text, metadata["features"]) for text in found]
    for key, words in (
        ("entity_failures", "patients whose notes the entity extractor could not read"),
        ("summary_failures", "patients for whom the summariser gave nothing"),
        ("patients_with_unsupported_claims", "patients whose summary claims what their evidence does not support"),
    ):
        if rag.get(key):
            found.append(f"{rag[key]} {words}")
    return list(dict.fromkeys(text[0].upper() + text[1:] for text in found if text))


def _few(material: Material) -> Iterator[str]:
    """The outcomes, the chosen one first, that are too rare in the test split to trust its numbers."""
    outcomes = splits(material)[2].outcomes
    for label in sorted(material.labels, key=lambda one: one.code != material.main.code):
        positive, known = outcomes[label.column]
        few = min(positive, known - positive)
        if 0 < few < FEW:
            rarer = f"only {few} of {known} patients are of the rarer outcome"
            yield f"test split, {label.title}: {rarer}; read intervals, not points"


def _labelled(text: str, features: Sequence[Mapping[str, Any]]) -> str:
    """With signals by their names instead of their codes."""
    for name in (feature["name"] for feature in features):
        text = re.sub(rf"\b{re.escape(name)}\b", described(name).label, text) if "_" in name else text
    return text


def audit(material: Material) -> list[dict[str, str]]:
    """What ``--stage audit`` found in these very artefacts; nothing where it was not run since they were made."""
    folder = material.config.processed_dir
    if not (folder / AUDIT).is_file():
        return []
    record = artefacts.read_json(folder / AUDIT, "audit")
    findings: list[dict[str, str]] = record["findings"]
    return findings if record["metadata"] == artefacts.checksum(folder / METADATA) else []


def has_surrogates(material: Material) -> bool:
    """Whether what is called a note was made of billing codes."""
    return SURROGATE in material.metadata.get("warnings", [])


def provenance(material: Material) -> list[tuple[str, list[tuple[str, str]]]]:
    """Versions, hashes and seeds: title -> name and value."""
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
    """The run's config, key by key."""
    return list(_leaves(to_dict(material.config), ""))


def _leaves(value: Any, prefix: str) -> Sequence[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [leaf for key, own in value.items() for leaf in _leaves(own, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, _flat(value))]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(own)}" for key, own in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value)) or "none"
    return "not set" if value is None else str(value)
