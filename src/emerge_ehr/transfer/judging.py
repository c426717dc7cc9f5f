"""The predictions that are judged, and their recalibration on persons drawn from them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import recalibration
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.recalibration import Method, Recalibration
from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.training.results import Predictions


@dataclass(frozen=True)
class Judged:
    """The predictions of N samples of the tables. ``drawn [N]``: whose persons were drawn to recalibrate; ``maps [K]``: what was
    fitted on them, None where nothing could be; none without recalibration."""

    patients: pl.DataFrame
    here: Predictions
    drawn: NDArray[np.bool_]
    maps: tuple[Recalibration | None, ...]

    @property
    def recalibrated(self) -> Array:
        """The recalibrated risks [N,K]; NaN where there is no map."""
        found = np.full_like(self.here.probability, np.nan)
        for k, of_label in enumerate(self.maps):
            if of_label is not None:
                found[:, k] = of_label.apply(self.here.probability[:, k])
        return found


def drawn(patients: pl.DataFrame, count: int | None, seed: int) -> NDArray[np.bool_]:
    """The samples [N] of ``count`` persons, drawn with the run's seed; of nobody if it is None.

    Raises:
        UserError: there are not more persons than that.
    """
    if count is None:
        return np.zeros(patients.height, dtype=np.bool_)
    persons = sorted(set(patients["subject_id"].to_list()))
    if not 0 < count < len(persons):
        raise UserError(
            f"--recalibrate {count}: there are {plural(len(persons), 'person')} to evaluate on; recalibrate on 1 to "
            f"{len(persons) - 1} of "
            "them, so that others are left"
        )
    order = np.random.default_rng(seed).permutation(len(persons))[:count]
    return patients["subject_id"].is_in([persons[n] for n in order]).to_numpy()


def refuse_unfit(tables: CheckedTables, drawn: NDArray[np.bool_]) -> None:
    """Check, before the work, that the drawn persons have both outcomes of some label.

    Raises:
        UserError: they have not.
    """
    both = [
        len(np.unique(of[drawn & (mask > 0)])) > 1 for of, mask in zip(tables.label.T, tables.label_mask.T, strict=True)
    ]
    if drawn.any() and not any(both):
        count = tables.cohort.filter(pl.Series(drawn))["subject_id"].n_unique()
        raise UserError(
            f"--recalibrate {count}: the {plural(int(drawn.sum()), 'sample')} of the persons drawn are all alike in "
            f"{listed(tables.label_names)}, so that nothing can be fitted; take more persons"
        )


def fitted(
    here: Predictions, drawn: NDArray[np.bool_], method: Method
) -> tuple[tuple[Recalibration | None, ...], list[str]]:
    """What recalibrates each label [K], fitted on the ``drawn`` samples [N], and warnings of labels for which nothing can.

    Raises:
        UserError: no label can be recalibrated.
    """
    maps: list[Recalibration | None] = []
    told = []
    for k, name in enumerate(here.label_names):
        rows = drawn & here.defined[:, k]
        label = here.label[rows, k]
        maps.append(recalibration.fit(method, label, here.probability[rows, k]) if len(label) else None)
        if maps[-1] is None and here.defined[:, k].any():
            alike = len(np.unique(label)) < 2
            why = "all have the same outcome" if alike else "are separated by their risks, so that no slope fits best"
            told.append(
                f"{name} is not recalibrated: the {plural(len(label), 'sample')} drawn {why}; take more persons"
            )
    if not any(maps):
        raise UserError(f"--recalibrate: nothing can be fitted: {'; '.join(told)}")
    return tuple(maps), told


def others(judged: Judged) -> tuple[Predictions, Predictions]:
    """The predictions of the persons who were not drawn, for the labels that were recalibrated, before and after that."""
    here, rows = judged.here, ~judged.drawn
    columns = [k for k, of_label in enumerate(judged.maps) if of_label is not None]
    before = replace(
        here,
        patient_id=[patient for patient, inside in zip(here.patient_id, rows, strict=True) if inside],
        label_names=[here.label_names[k] for k in columns],
        label=here.label[rows][:, columns],
        defined=here.defined[rows][:, columns],
        probability=here.probability[rows][:, columns],
    )
    return before, replace(before, probability=judged.recalibrated[rows][:, columns])


def turned_around(judged: Judged) -> list[str]:
    """Warnings of slopes that turn the order of risks around."""
    slopes = [(of.described() if of else {}).get("slope", 1.0) for of in judged.maps]
    return [
        f"{name}: the slope fitted on the persons drawn is {slope:.2f}, which puts higher risks below "
        "lower ones; take more persons"
        for name, slope in zip(judged.here.label_names, slopes, strict=False)
        if slope <= 0
    ]


def evaluated(judged: Judged) -> Predictions:
    """The predictions of the persons who were not drawn, with the run's thresholds."""
    here, rows = judged.here, ~judged.drawn
    return replace(
        here,
        patient_id=[patient for patient, kept in zip(here.patient_id, rows, strict=True) if kept],
        label=here.label[rows],
        defined=here.defined[rows],
        probability=here.probability[rows],
    )


def rows(judged: Judged) -> list[tuple[Any, ...]]:
    """The rows of ``schema.EVALUATED``."""
    here, recalibrated = judged.here, judged.recalibrated
    persons = judged.patients["subject_id"].to_list()
    return [
        (
            patient,
            persons[n],
            "recalibration" if judged.drawn[n] else "evaluated",
            name,
            int(here.label[n, k]) if here.defined[n, k] else None,
            float(here.probability[n, k]),
            None if np.isnan(recalibrated[n, k]) else float(recalibrated[n, k]),
        )
        for n, patient in enumerate(here.patient_id)
        for k, name in enumerate(here.label_names)
    ]
