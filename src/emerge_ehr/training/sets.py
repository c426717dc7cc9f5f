"""The conformal sets of a run (``calibration.coverage``): fitted on the patients on whom risks are calibrated, judged on test.

With a single member these patients are the validation split, and what ``conformal`` promises holds. With several, each of them
was judged by one member, and a new patient is by all, whose mean spreads less: sets may then be larger than they need be
(docs/calibration_results.md has what was measured).
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.config import Calibration, Config
from emerge_ehr.evaluation import conformal, set_coverage
from emerge_ehr.evaluation import subgroups as of_subgroups
from emerge_ehr.evaluation.conformal import Groups, Limit, Sets
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.set_coverage import Coverage
from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.storage import artefacts, spreadsheet
from emerge_ehr.storage.dataset import Dataset, load_patients
from emerge_ehr.storage.schema import COVERAGE, LANDMARK, SETS
from emerge_ehr.training import inputs, results
from emerge_ehr.training.calibrated import Calibrated
from emerge_ehr.training.methods import FittedMethod
from emerge_ehr.training.results import Predictions

FILE = "sets.json"  # in the folder of the checkpoints
Possible = NDArray[np.bool_]  # [N,K,2]
Files = dict[str, tuple[Sequence[str], list[tuple[Any, ...]]]]  # name -> columns and rows
GUARANTEE = (
    "of the patients with an outcome{in_group}, at least {coverage:g} of 100 have it in their set, if new patients are "
    "exchangeable with those on whom the limits were fitted{approximate}"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfRun:
    """The sets of a run for K labels, by whatever ``groups`` (attributes of subgroups) it tells apart."""

    groups: tuple[str, ...]
    labels: Mapping[str, Sets]

    def of(self, risk: Array, patients: pl.DataFrame | None) -> Possible:
        """The outcomes that are possible [N,K,2] at risks [N,K] of ``patients``, whose columns are those of patients.csv."""
        groups = _groups(self.groups, patients, len(risk))
        of_labels = [of.of(risk[:, k], groups) for k, of in enumerate(self.labels.values())]
        return np.stack(of_labels, axis=1)


def check(config: Config, dataset: Dataset) -> None:
    """Check before training that sets of this coverage can be made by these groups.

    Raises:
        UserError: a group's attribute is not known, or there are too few patients to leave any outcome out.
    """
    chosen = config.calibration
    if not chosen.coverage:
        return
    table = load_patients(config.processed_dir, dataset.patient_id)
    known = {} if table is None else of_subgroups.groups(table)
    for name in chosen.groups:
        if name == LANDMARK:
            raise UserError(
                f"calibration.groups: '{LANDMARK}' cannot be told of new patients, who are judged at any hour; leave it out"
            )
        if name not in known:
            there = listed([attribute for attribute in known if attribute != LANDMARK]) if known else "nothing"
            raise UserError(f"calibration.groups: '{name}' is not known of these patients; what is known: {there}")
    least, most = conformal.needed(chosen.coverage), 0
    for label in _labels(config, dataset):
        most = max(most, min(int((label > 0).sum()), int((label <= 0).sum())))
    if most < least:
        names = listed(dataset.metadata["label_names"])
        highest = f"at most {int(100 * most / (most + 1)) / 100:g}" if most else "0, for none"
        raise UserError(
            f"calibration.coverage = {chosen.coverage:g}: it takes {plural(least, 'patient')} with and without {names} to "
            "fit sets on, and "
            f"there are {most}; set {highest}, or take more patients"
        )


def _labels(config: Config, dataset: Dataset) -> Iterator[Array]:
    """The known outcomes of each label, of the patients on whom sets are fitted."""
    splits = ("train", "val") if config.training.members > 1 else ("val",)
    rows = np.concatenate([inputs.rows_of(dataset, name) for name in splits])
    for label, defined in zip(dataset.label[rows].T, dataset.label_mask[rows].T, strict=True):
        yield label[defined > 0].astype(np.float64)


def fit(chosen: Calibration, judged: Predictions, patients: pl.DataFrame | None) -> tuple[OfRun, list[str]]:
    """The sets that ``judged`` patients give, and warnings of groups in which an outcome can never be left out."""
    table = None if patients is None else results.aligned(judged.patient_id, patients)
    groups = _groups(chosen.groups, table, len(judged.label))
    labels, told = {}, []
    least = conformal.needed(chosen.coverage)
    for k, name in enumerate(judged.label_names):
        label, probability = judged.known(k)
        labels[name] = conformal.fit(label, probability, groups[judged.defined[:, k]], chosen.coverage)
        few = [group for group, of in labels[name].limits.items() if min(limit.patients for limit in of) < least]
        if few:
            told.append(
                f"{name}: fewer than {plural(least, 'patient')} with it, or without, to fit sets on in group "
                f"{listed(few)}: of these the "
                "model always says that it does not know"
            )
    for warning in told:
        logger.warning("%s", warning)
    return OfRun(chosen.groups, labels), told


def added(
    config: Config,
    done: Calibrated,
    of_folds: Sequence[Config],
    patients: pl.DataFrame | None,
    sampling: Sampling,
) -> tuple[FittedMethod, Files, list[str]]:
    """The method with the sets that the config asks for, the files of the run that tell of them, and warnings.

    With ``of_folds`` the sets of test patients are those of the fold that tested them.
    """
    if not config.calibration.coverage:
        return done.fitted, {}, []
    sets, told = fit(config.calibration, done.judged, patients)
    test = done.predictions[-1]
    if of_folds:
        possible = read([of_fold.run_dir for of_fold in of_folds], test.patient_id, test.label_names)
    else:
        table = None if patients is None else results.aligned(test.patient_id, patients)
        possible = sets.of(test.probability, table)
    about, files = judge(config, sets, test, possible, patients, sampling)
    return _joined(done.fitted, sets, about), files, told


def _joined(fitted: FittedMethod, sets: OfRun, about: Mapping[str, Any]) -> FittedMethod:
    """The fitted method, with ``about`` in metrics.json and the sets' limits beside its checkpoints."""

    def save(folder: Path) -> None:
        fitted.save(folder)
        artefacts.write_json(folder / FILE, recorded(sets))

    return dataclasses.replace(fitted, save=save, selection={**fitted.selection, "sets": about})


def judge(
    chosen: Config,
    sets: OfRun,
    test: Predictions,
    possible: Possible,
    patients: pl.DataFrame | None,
    sampling: Sampling,
) -> tuple[dict[str, Any], Files]:
    """What metrics.json has of the sets, and the rows of the run's files, each with their columns."""
    config, labels = chosen.calibration, {}
    attributes = {} if patients is None else of_subgroups.groups(results.aligned(test.patient_id, patients))
    rows: list[Coverage] = []
    for k, name in enumerate(test.label_names):
        here, (label, probability) = test.defined[:, k], test.known(k)
        persons = results.persons_of(test, k, patients)
        known = {attribute: column[here] for attribute, column in attributes.items()}
        rows += set_coverage.coverage((test.split, name), label, possible[here, k], known, persons, sampling)
        told = set_coverage.told(label, probability, possible[here, k], persons, sampling)
        labels[name] = {"limits": _told_limits(sets.labels[name]), "test": told}
    guarantee = GUARANTEE.format(
        in_group=" in each group" if config.groups else "",
        coverage=100 * config.coverage,
        approximate="; about so many, as each of those was judged by one of the members only"
        if chosen.training.members > 1
        else "",
    )
    for name, of_label in labels.items():
        shown = [row for row in rows if row.label_code == name and row.group == conformal.ALL]
        of_label["covered"] = {row.outcome: {"patients": row.patients, "value": row.covered} for row in shown}
    about = {"coverage": config.coverage, "groups": list(config.groups), "guarantee": guarantee, "labels": labels}
    columns = [field.name for field in dataclasses.fields(Coverage)]
    return about, {
        SETS.file: (SETS.names, list(_rows(test, possible))),
        COVERAGE: (columns, [dataclasses.astuple(row) for row in rows]),
    }


def _told_limits(sets: Sets) -> dict[str, Any]:
    """The limits as risks: from which on the outcome 0 is left out, and below which 1 is; None for never."""
    return {
        group: {
            "0": {"patients": zero.patients, "left_out_above": None if zero.score >= 1 else zero.score},
            "1": {"patients": one.patients, "left_out_below": None if one.score >= 1 else 1 - one.score},
        }
        for group, (zero, one) in sets.limits.items()
    }


def _rows(test: Predictions, possible: Possible) -> Iterator[tuple[Any, ...]]:
    for n, patient in enumerate(test.patient_id):
        for name, text in zip(test.label_names, conformal.written(possible[n]), strict=True):
            yield patient, test.split, name, text


def read(run_dirs: Sequence[Path], patient_id: Sequence[str], names: Sequence[str]) -> Possible:
    """The sets of the test patients ``patient_id`` [N,K,2] in the files of one run or of several folds.

    Raises:
        UserError: a file is missing or damaged, or the patients are others.
    """
    wanted = pl.DataFrame({"patient_id": patient_id}).join(pl.DataFrame({"label_code": names}), how="cross")
    parts = []
    for run_dir in run_dirs:
        path = run_dir / SETS.file
        if not path.is_file():
            raise UserError(f"{path}: missing; run --stage train again")
        parts.append(spreadsheet.plain_texts(pl.read_csv(path, infer_schema=False, glob=False)))
    rows = wanted.join(pl.concat(parts), on=["patient_id", "label_code"], how="left", maintain_order="left")
    try:
        return conformal.read(rows["set"].fill_null("").to_list()).reshape(len(patient_id), len(names), 2)
    except ValueError as error:
        raise UserError(
            f"{run_dirs[0] / SETS.file}: not the sets of the run's test patients ({error}); train again"
        ) from None


def recorded(sets: OfRun) -> dict[str, Any]:
    """What ``load`` reads, as values for JSON."""
    return {
        "groups": list(sets.groups),
        "labels": {
            name: {
                "coverage": of.coverage,
                "limits": {
                    group: [[limit.patients, limit.score] for limit in both] for group, both in of.limits.items()
                },
            }
            for name, of in sets.labels.items()
        },
    }


def load(config: Config, names: Sequence[str], folder: Path) -> OfRun | None:
    """Read the sets in the ``folder`` of the checkpoints; None where the config asks for none.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not config.calibration.coverage:
        return None
    path = folder / FILE
    record = artefacts.read_json(path, "train")
    try:
        if [*record["labels"]] != sorted(names) or tuple(record["groups"]) != config.calibration.groups:
            raise ValueError("other labels or groups than the run's")
        return OfRun(config.calibration.groups, {name: _sets(record["labels"][name]) for name in names})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged ({artefacts.first_line(error)}); run --stage train again") from None


def _sets(record: Mapping[str, Any]) -> Sets:
    limits = {}
    for group, both in record["limits"].items():
        zero, one = (Limit(int(patients), float(score)) for patients, score in both)
        limits[group] = zero, one
    return Sets(float(record["coverage"]), limits)


def _groups(wanted: Sequence[str], patients: pl.DataFrame | None, count: int) -> Groups:
    attributes = of_subgroups.groups(patients) if wanted and patients is not None else {}
    return conformal.crossed(attributes, wanted, count)
