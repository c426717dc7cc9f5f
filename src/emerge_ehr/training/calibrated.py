"""Calibrates a run's risks (``[calibration] method``): a map for each label, by which all risks that the run gives go.

It is fitted on risks of patients by members that were not trained on them, and on nobody of the test split. With several members
these are all patients of training and validation, each judged by one member. The run's risk for others is the mean of all
members' logits, which spreads a little less; docs/calibration_results.md says what that costs, and what else was tried.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emerge_ehr.config import Calibration, Config
from emerge_ehr.evaluation import recalibration
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.recalibration import Method, Recalibration
from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import artefacts
from emerge_ehr.training.methods import FittedMethod
from emerge_ehr.training.reported import Reported
from emerge_ehr.training.results import Predictions

FILE = "calibration.json"  # in the folder of the checkpoints
METHODS: dict[str, Method] = {"platt": "logistic", "isotonic": "isotonic", "venn_abers": "venn_abers"}
FEW = 10  # fewer patients with the outcome, or without, are told
BESIDE = (
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)  # measures of test before calibration, in metrics.json

logger = logging.getLogger(__name__)

Maps = tuple[Recalibration | None, ...]  # of K labels; None where nothing could be fitted, and risks stay as they are


@dataclass(frozen=True)
class Calibrated:
    """The ``fitted`` method with its maps; the calibrated risks of the patients on whom they were fitted (``judged``), and
    of validation and test (``predictions``)."""

    fitted: FittedMethod
    judged: Predictions
    predictions: Sequence[Predictions]
    warnings: Sequence[str]


def check(config: Config, told: Reported) -> None:
    """Check that the risks which the run reports can be calibrated, each by a map of its own.

    Raises:
        UserError: they follow from hazards, and the risk by a later day could become the lower one.
    """
    if told.intervals and (config.calibration.method != "none" or config.calibration.coverage):
        raise UserError(
            f"[calibration] does not go with task '{config.task.name}', whose risks by several days belong together; leave it "
            "out, or take the task 'death_within'"
        )


def fit(
    config: Config, fitted: FittedMethod, judged: Sequence[Predictions], test: Predictions, of_folds: Sequence[Config]
) -> Calibrated:
    """The method with the maps that the config asks for, and the predictions of validation and ``test`` by these.

    ``judged``: the training and the validation split, each patient by the member that was not trained on that patient; a single
    member says nothing of the former. With ``of_folds`` each patient of ``test`` has been calibrated by the map of a fold.
    """
    validation = judged[-1]
    fitted_on = together(judged) if config.training.members > 1 else validation
    if config.calibration.method == "none":
        return Calibrated(fitted, fitted_on, [validation, test], [])
    maps, told = _maps(config.calibration, fitted_on)
    for warning in told:
        logger.warning("%s", warning)
    about = _described(config.calibration, maps, fitted_on, None if of_folds else test)
    whole = dataclasses.replace(
        fitted, save=_saving(fitted, maps, fitted_on.label_names), selection={**fitted.selection, "calibration": about}
    )
    calibrated = [_calibrated(maps, part) for part in (fitted_on, validation, test)]
    return Calibrated(whole, calibrated[0], [calibrated[1], test if of_folds else calibrated[2]], told)


def _maps(chosen: Calibration, judged: Predictions) -> tuple[Maps, list[str]]:
    """The maps fitted on ``judged`` patients, and warnings."""
    maps: list[Recalibration | None] = []
    told = []
    for k, name in enumerate(judged.label_names):
        label, probability = judged.known(k)
        positives = int(label.sum())
        fitted = recalibration.fit(METHODS[chosen.method], label, probability) if len(label) else None
        of = f"the {plural(len(label), 'patient')} to calibrate on"
        if fitted is None:
            why = "are all alike" if positives in (0, len(label)) else "are separated by their risks"
            told.append(f"{name}: risks are not calibrated, as {of} {why}")
        elif fitted.described().get("slope", 1.0) <= 0:
            fitted = None
            told.append(f"{name}: risks are not calibrated, as among {of} those with higher risks have it less often")
        elif (few := min(positives, len(label) - positives)) < FEW:
            having = "have" if positives == few else "do not have"
            told.append(f"{name}: only {few} of {of} {having} it; what calibrates the risks is mostly chance")
        maps.append(fitted)
    return tuple(maps), told


def together(parts: Sequence[Predictions]) -> Predictions:
    """The patients of all ``parts``, one after the other."""
    return dataclasses.replace(
        parts[0],
        patient_id=[name for part in parts for name in part.patient_id],
        label=np.concatenate([part.label for part in parts]),
        defined=np.concatenate([part.defined for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
    )


def applied(maps: Maps, probability: Array) -> Array:
    """The calibrated risks [..., K] of risks [..., K]."""
    if not any(maps):
        return probability
    columns = [probability[..., k] if of is None else of.apply(probability[..., k]) for k, of in enumerate(maps)]
    return np.stack(columns, axis=-1)


def _calibrated(maps: Maps, part: Predictions) -> Predictions:
    return dataclasses.replace(part, probability=applied(maps, part.probability))


def _saving(fitted: FittedMethod, maps: Maps, names: Sequence[str]) -> Callable[[Path], None]:
    """Writes the checkpoints, and beside them the maps."""

    def save(folder: Path) -> None:
        fitted.save(folder)
        of_label = {name: of and recalibration.recorded(of) for name, of in zip(names, maps, strict=True)}
        artefacts.write_json(folder / FILE, of_label)

    return save


def _described(chosen: Calibration, maps: Maps, judged: Predictions, before: Predictions | None) -> dict[str, Any]:
    labels = {}
    for k, name in enumerate(judged.label_names):
        label = judged.known(k)[0]
        of = maps[k]
        labels[name] = {
            "patients": len(label),
            "positives": int(label.sum()),
            "map": of and of.described(),
            "test_before": None if before is None else _measured(*before.known(k)),
        }
    return {"method": chosen.method, "labels": labels}


def _measured(label: Array, probability: Array) -> dict[str, float | None]:
    if not len(label):
        return dict.fromkeys(BESIDE)
    found = measure(label, probability, BESIDE)(np.ones((1, len(label))))
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in found.items()}


def load(config: Config, names: Sequence[str], folder: Path) -> Maps:
    """Read the maps in the ``folder`` of the checkpoints; none where the config asks for none.

    Raises:
        UserError: the file is missing or damaged.
    """
    if config.calibration.method == "none":
        return ()
    path = folder / FILE
    record = artefacts.read_json(path, "train")
    try:
        if not isinstance(record, dict) or {*record} != {*names}:
            raise ValueError("does not hold a map for each label")
        return tuple(record[name] and recalibration.restored(record[name]) for name in names)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {artefacts.first_line(error)}; run --stage train again") from None
