"""From probabilities to what a run reports: thresholds, metrics of each split and label, the printed table."""

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.evaluation import metrics
from src.evaluation.metrics import Array

TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "min_precision_sensitivity": "min(+P,Se)",
    "f1": "F1",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class Predictions:
    """A split's labels, where they are ``defined``, and probabilities [N,K]; rows as in ``patient_id``, columns as in
    ``label_names``."""

    split: str
    patient_id: list[str]
    label_names: list[str]
    label: Array
    defined: NDArray[np.bool_]
    probability: Array

    def known(self, column: int) -> tuple[Array, Array]:
        """Labels and probabilities of the patients for whom this outcome is defined."""
        rows = self.defined[:, column]
        return self.label[rows, column], self.probability[rows, column]


@dataclass(frozen=True)
class Prediction:
    """A row of predictions.csv; ``y_true`` is empty where the outcome is not defined."""

    patient_id: str
    split: str
    label_code: str
    y_true: int | None
    y_prob: float


def rows(predictions: Sequence[Predictions]) -> list[tuple[Any, ...]]:
    """The rows of predictions.csv, as ``Prediction``."""
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


def evaluate(predictions: Sequence[Predictions], resamples: int, seed: int) -> dict[str, Any]:
    """Thresholds from the first split (validation), then every metric of every split and label; ready for JSON."""
    names = predictions[0].label_names
    thresholds = [_threshold(predictions[0], column) for column in range(len(names))]
    splits = {
        part.split: {
            name: dataclasses.asdict(
                metrics.evaluate(*part.known(column), thresholds[column]["value"], resamples, seed)
            )
            for column, name in enumerate(names)
        }
        for part in predictions
    }
    return {
        "interval": "95 % percentile bootstrap over patients",
        "seed": seed,
        "thresholds": dict(zip(names, thresholds, strict=True)),
        "splits": splits,
    }


def table(evaluated: dict[str, Any]) -> str:
    """The metrics as aligned text: a row for each split and label."""
    lines = [["split", "label", "patients", "positive", *TITLES.values()]]
    for split, labels in evaluated["splits"].items():
        for name, found in labels.items():
            cells = [_cell(found["metrics"][metric]) for metric in TITLES]
            lines.append([split, name, str(found["patients"]), str(found["positives"]), *cells])
    return "\n".join(
        [*aligned(lines), f"({evaluated['interval']}; F1 and accuracy at a threshold chosen on validation)"]
    )


def flat(evaluated: dict[str, Any]) -> dict[str, float]:
    """The defined point estimates by ``split/label/metric``."""
    return {
        f"{split}/{name}/{metric}": found["value"]
        for split, labels in evaluated["splits"].items()
        for name, label in labels.items()
        for metric, found in label["metrics"].items()
        if found["value"] is not None
    }


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of text, columns below each other."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _threshold(validation: Predictions, column: int) -> dict[str, Any]:
    value = metrics.best_threshold(*validation.known(column))
    if value is None:
        return {"value": 0.5, "chosen": "0.5, because validation has one class only"}
    return {"value": value, "chosen": "highest F1 on validation"}


def _cell(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "undefined"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} ({metric['low']:.3f}-{metric['high']:.3f})"


def write_csv(path: Path, row: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """``row`` is the dataclass whose fields name the columns; None is an empty field, floats keep every digit."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in dataclasses.fields(row)])
        writer.writerows(rows)
