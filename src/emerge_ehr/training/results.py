"""From probabilities to what a run reports: thresholds, metrics of each split and label, subgroups, and the rows of its files."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import evaluate as evaluation
from emerge_ehr.evaluation import metrics, survival
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Persons, Sampling, each_alone, persons
from emerge_ehr.evaluation.subgroups import Subgroup
from emerge_ehr.evaluation.subgroups import evaluate as by_group
from emerge_ehr.evaluation.subgroups import groups as by_attribute
from emerge_ehr.storage import meds_predictions, spreadsheet
from emerge_ehr.storage.schema import MEDS_PREDICTIONS

IN_TIME = "in_time"  # in metrics.json, and instead of a label where there is one value for all horizons
INTERVALS = {"percentile": "percentile", "bca": "BCa"}


@dataclass(frozen=True)
class Predictions:
    """Labels and probabilities [N,K] of a split. Rows are those of ``patient_id``, columns those of ``label_names``.

    ``defined`` [N,K] says where a label is defined. ``thresholds``, by label name: given where the patients were predicted by
    different models, each with thresholds of its own.
    """

    split: str
    patient_id: list[str]
    label_names: list[str]
    label: Array
    defined: NDArray[np.bool_]
    probability: Array
    thresholds: Mapping[str, "Thresholds"] | None = None

    def known(self, column: int) -> tuple[Array, Array]:
        """Labels and probabilities of the patients for whom the outcome in this column is defined."""
        rows = self.defined[:, column]
        return self.label[rows, column], self.probability[rows, column]

    def known_at_all(self) -> tuple[Array, Array]:
        """Labels and probabilities [n,K] of the patients for whom every outcome is defined."""
        rows = self.defined.all(axis=1)
        return self.label[rows], self.probability[rows]


@dataclass(frozen=True)
class Thresholds:
    """From which probability patients are called positive: ``chosen``, and for each target sensitivity that of its operating
    point (None: no threshold reaches it). One for all patients, or each patient's own [N]."""

    chosen: float | Array
    points: Mapping[str, float | Array | None]

    def of(self, rows: NDArray[np.bool_]) -> "Thresholds":
        """The thresholds of the patients in these rows [N]."""
        return Thresholds(
            _of(self.chosen, rows), {key: cut if cut is None else _of(cut, rows) for key, cut in self.points.items()}
        )


def _of(cut: float | Array, rows: NDArray[np.bool_]) -> float | Array:
    return cut[rows] if isinstance(cut, np.ndarray) else cut


def rows(predictions: Sequence[Predictions]) -> list[tuple[Any, ...]]:
    """The rows of ``schema.PREDICTIONS``."""
    return [
        (
            patient,
            part.split,
            name,
            int(part.label[row, column]) if part.defined[row, column] else None,
            float(part.probability[row, column]),
        )
        for part in predictions
        for row, patient in enumerate(part.patient_id)
        for column, name in enumerate(part.label_names)
    ]


def evaluate(
    predictions: Sequence[Predictions],
    sensitivities: Sequence[float],
    sampling: Sampling,
    patients: pl.DataFrame | None,
) -> dict[str, Any]:
    """Thresholds from the first split (validation), then every metric of every split and label, as values that JSON can hold.

    Patients who bring thresholds of their own are judged at those.
    ``patients`` is patients.csv, which names the person of each sample: persons are resampled. Without it every sample is taken
    as another person.
    """
    names, validation = predictions[0].label_names, predictions[0]
    thresholds = [_threshold(validation, column) for column in range(len(names))]
    found = {
        name: Thresholds(
            thresholds[column]["value"],
            {str(target): metrics.threshold_reaching(target, *validation.known(column)) for target in sensitivities},
        )
        for column, name in enumerate(names)
    }
    splits = {part.split: judged(part, part.thresholds or found, sampling, patients) for part in predictions}
    return {
        **resampled(sampling, patients),
        "thresholds": dict(zip(names, thresholds, strict=True)),
        "splits": splits,
    }


def judged(
    part: Predictions, thresholds: Mapping[str, Thresholds], sampling: Sampling, patients: pl.DataFrame | None
) -> dict[str, Any]:
    """Every metric of every label of ``part`` at the labels' ``thresholds``; ``patients`` as for ``evaluate``."""
    return {
        name: dataclasses.asdict(
            evaluation.evaluate(
                *part.known(column),
                (cuts := thresholds[name].of(part.defined[:, column])).chosen,
                sampling,
                persons_of(part, column, patients),
                cuts.points,
            )
        )
        for column, name in enumerate(part.label_names)
    }


def resampled(sampling: Sampling, patients: pl.DataFrame | None) -> dict[str, Any]:
    """How intervals were made, for metrics.json."""
    return {
        "interval": f"95 % {INTERVALS[sampling.interval]} bootstrap over {'patients' if patients is None else 'persons'}",
        "resampled": "patient_id" if patients is None else "subject_id",
        "seed": sampling.seed,
    }


def subgroups(
    predictions: Sequence[Predictions],
    thresholds: Mapping[str, Mapping[str, Any]],
    sampling: Sampling,
    patients: pl.DataFrame | None,
) -> list[Subgroup]:
    """The rows of subgroups.csv for all splits but the first (validation); none without ``patients``, which is patients.csv."""
    if patients is None:
        return []
    group_rows = []
    for part in predictions[1:]:
        groups = by_attribute(aligned(part.patient_id, patients))
        for column, name in enumerate(part.label_names):
            known = {attribute: group[part.defined[:, column]] for attribute, group in groups.items()}
            label, probability = part.known(column)
            threshold: float | Array = thresholds[name]["value"]
            if part.thresholds is not None:
                threshold = part.thresholds[name].of(part.defined[:, column]).chosen
            persons = persons_of(part, column, patients)
            group_rows += by_group(part.split, name, label, probability, threshold, known, persons, sampling)
    return group_rows


def flat(evaluated: dict[str, Any]) -> dict[str, float]:
    """The defined point estimates by ``split/label/metric``; at an operating point, ``metric_at_sensitivity_target``. Those over
    all horizons of outcomes in time have ``IN_TIME`` for a label."""
    found = {
        f"{split}/{name}/{metric}": estimate
        for split, labels in evaluated["splits"].items()
        for name, label in labels.items()
        for metric, estimate in (*label["metrics"].items(), *_at_sensitivities(label))
    }
    for split, over_all in evaluated.get(IN_TIME, {}).get("splits", {}).items():
        found |= {f"{split}/{IN_TIME}/{metric}": over_all[metric] for metric in survival.UNDEFINED}
    return {key: estimate["value"] for key, estimate in found.items() if estimate["value"] is not None}


def _at_sensitivities(label: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for target, point in label["operating_points"].items():
        for metric, estimate in point["metrics"].items():
            yield f"{metric}_at_sensitivity_{target}", estimate


def _threshold(validation: Predictions, column: int) -> dict[str, Any]:
    value = metrics.best_threshold(*validation.known(column))
    if value is None:
        return {"value": 0.5, "chosen": "0.5, because validation has one class only"}
    return {"value": value, "chosen": "highest F1 on validation"}


def persons_of(part: Predictions, column: int, patients: pl.DataFrame | None) -> Persons:
    """The persons of the samples for which the outcome in this column is defined; without ``patients`` (patients.csv) each sample
    is another person's."""
    rows = part.defined[:, column]
    if patients is None:
        return each_alone(int(rows.sum()))
    return persons(aligned(part.patient_id, patients)["subject_id"].filter(pl.Series(rows)).to_list())


def aligned(patient_id: Sequence[str], patients: pl.DataFrame) -> pl.DataFrame:
    """The rows of patients.csv for these samples, in their order."""
    return pl.DataFrame({"patient_id": patient_id}).join(patients, on="patient_id", how="left", maintain_order="left")


def write_for_meds(folder: Path, part: Predictions, thresholds: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``part``, which has one outcome, in the schema of meds-evaluation; nothing where its ids are not of prediction times.

    ``thresholds``: those of metrics.json, which count for patients who bring none of their own.
    """
    (name,) = part.label_names
    cut = np.asarray(thresholds[name]["value"] if part.thresholds is None else part.thresholds[name].chosen)
    risk = part.probability[:, 0]
    label = [float(value) if known else None for value, known in zip(part.label[:, 0], part.defined[:, 0], strict=True)]
    rows = meds_predictions.table(part.patient_id, risk.tolist(), (risk >= cut).tolist(), label)
    if rows is not None:
        meds_predictions.write(rows, folder / MEDS_PREDICTIONS)


def write_csv(path: Path, row: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write ``rows`` as a CSV whose columns are the fields of the dataclass ``row``."""
    write_rows(path, [field.name for field in dataclasses.fields(row)], rows)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write ``rows`` as a CSV; None becomes an empty field, floats keep every digit, and no text is a formula."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(spreadsheet.line(row) for row in (columns, *rows))
