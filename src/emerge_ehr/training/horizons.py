"""What ``metrics.json`` says of risks by several horizons together: whether those who die earlier have higher ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import survival
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Sampling, persons
from emerge_ehr.storage.schema import DIED, HOURS_TO_END
from emerge_ehr.training import results
from emerge_ehr.training.patients import Patients
from emerge_ehr.training.reported import Reported
from emerge_ehr.training.results import Predictions

PRINTED = {"concordance": "concordance", "integrated_brier": "integrated Brier"}
HEADS = ["split", "patients", "deaths", *PRINTED.values(), "everyone alike", "difference"]
NOTE = (
    "risks by all horizons: concordance of the last with the order of deaths; the integrated Brier score, and that of training's "
    "shares of deaths for everyone"
)


def shares(train: Patients, reported: Reported) -> Array:
    """The shares [H] of training samples with each of the reported outcomes: the risk of everyone, without covariates."""
    outcome, defined = reported.outcomes(train.label.cpu().numpy(), train.label_mask.cpu().numpy())
    found: Array = (outcome * defined).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    return found


def judged(
    predictions: Sequence[Predictions],
    reported: Reported,
    constant: Array,
    patients: pl.DataFrame | None,
    sampling: Sampling,
) -> dict[str, Any]:
    """``Survival`` by split, with the horizons in hours and the ``constant`` [H] risk; empty where the outcomes have no time."""
    if not reported.horizons or patients is None:
        return {}
    splits = {part.split: of(part, reported, constant, patients, sampling) for part in predictions}
    return {"horizons": list(reported.horizons), "constant": constant.tolist(), "splits": splits}


def of(
    part: Predictions, reported: Reported, constant: Array, patients: pl.DataFrame, sampling: Sampling
) -> dict[str, Any]:
    """``Survival`` of the samples whose outcome is known at every horizon."""
    known = part.defined.all(axis=1)
    table = results.aligned(part.patient_id, patients).filter(pl.Series(known))
    found = survival.evaluate(
        *ends(table),
        part.probability[known],
        np.array(reported.horizons),
        constant,
        persons(table["subject_id"].to_list()),
        sampling,
        int((~known).sum()),
    )
    return dataclasses.asdict(found)


def ends(patients: pl.DataFrame) -> tuple[Array, NDArray[np.bool_]]:
    """The hours after which the stays of these rows of patients.csv ended, and whether they ended with a death."""
    hours, died = (patients[column].cast(pl.Float64).to_numpy() for column in (HOURS_TO_END, DIED))
    return hours, died > 0


def rows(splits: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """The split, its patients and deaths, and the measures with their intervals, for printing."""
    measures = ("concordance", "integrated_brier", "reference", "difference")
    return [
        [split, str(found["patients"]), str(found["deaths"]), *(found[name] for name in measures)]
        for split, found in splits.items()
    ]
