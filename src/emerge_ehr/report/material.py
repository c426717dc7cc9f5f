"""Loads what a report is made of: a finished run and the artefacts behind it; decides which text may be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import components, privacy
from emerge_ehr.config import Config, Report
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import carried, what_if
from emerge_ehr.preprocess.inputs import own_notes
from emerge_ehr.report.wording import Label, labels
from emerge_ehr.storage import artefacts, publishing, schema, spreadsheet
from emerge_ehr.training import sets
from emerge_ehr.training import trained as runs
from emerge_ehr.training.checkpoints import HISTORY
from emerge_ehr.training.results import Predictions
from emerge_ehr.training.trained import Trained


@dataclass(frozen=True)
class Material:
    """What a report is made of. ``settings`` come from the present config, everything else from the run. ``main``: the label by
    whose risk patients are ranked. ``possible``: the sets of outcomes [N,K,2] of test patients, where the run has any."""

    trained: Trained
    settings: Report
    metrics: dict[str, Any]
    history: pl.DataFrame
    test: Predictions
    labels: tuple[Label, ...]
    main: Label
    credentialed: bool
    possible: sets.Possible | None = None

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.trained.config

    @property
    def task(self) -> Task:
        """The run's task."""
        task: Task = components.build("task", self.config.task)
        return task

    @property
    def metadata(self) -> dict[str, Any]:
        """What preprocessing recorded."""
        return self.trained.dataset.metadata

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities that the method reads."""
        return self.trained.reads

    @property
    def reads_texts(self) -> bool:
        """Whether the method reads notes, or summaries made from them."""
        return what_if.reads_texts(self.trained)

    @property
    def reads_signals(self) -> bool:
        """Whether the method reads signals, or summaries that tell of them."""
        return what_if.reads_signals(self.trained)

    @property
    def has_patients(self) -> bool:
        """Whether the patients are at hand; those of a model that was exported are not."""
        return bool(self.test.patient_id)

    @property
    def shows_notes(self) -> bool:
        """Whether the report shows the text of notes, and texts that quote it."""
        return self.settings.notes == "include" or (self.settings.notes == "auto" and not self.credentialed)


def load(config: Config) -> Material:
    """Load and check the run of ``config``.

    Raises:
        UserError: the run is missing or damaged, or was trained on other artefacts than there are now.
    """
    folder = config.run_dir
    trained = runs.load(folder)
    publishing.finish_interrupted(trained.config.table_dir)
    task: Task = components.build("task", trained.config.task)
    outcomes = labels(task, trained.label_names)
    return Material(
        trained=trained,
        settings=config.report,
        metrics=artefacts.read_json(folder / "metrics.json", "train"),
        history=_table(config, "history.csv", HISTORY, pl.Float64),
        test=_predictions(config, trained),
        labels=outcomes,
        main=_main(outcomes, config.report.label),
        credentialed=any(
            privacy.credentialed(chosen, made_of=trained.dataset.metadata.get("inputs", {}))
            for chosen in (config, trained.config)
        ),
        possible=None
        if trained.sets is None
        else sets.read([folder], trained.dataset.split["test"], trained.label_names),
    )


def of_model(folder: Path) -> Material:
    """What the model in ``folder`` (``export``) carries: settings and metrics, and no patients.

    Raises:
        UserError: the folder is damaged.
    """
    trained = carried.load(folder)
    task: Task = components.build("task", trained.config.task)
    outcomes = labels(task, trained.label_names)
    nobody = np.zeros((0, len(trained.label_names)))
    return Material(
        trained=trained,
        settings=Report(notes="omit"),
        metrics=artefacts.read_json(folder / "metrics.json", "export"),
        history=pl.DataFrame(schema=dict.fromkeys(HISTORY, pl.Float64)),
        test=Predictions("test", [], trained.label_names, nobody, nobody > 0, nobody),
        labels=outcomes,
        main=outcomes[0],
        credentialed=False,
    )


def notes(material: Material, patients: Sequence[str]) -> dict[str, str] | None:
    """The patients' notes, joined to one text per patient, as they were read for mentions; None if the file no longer exists.

    Raises:
        UserError: the file is not the one that the run was made from.
    """
    path = own_notes.path(material.config)
    if not path.is_file():
        return None
    if artefacts.checksum(path) not in material.metadata.get("inputs", {}).values():
        raise UserError(f"{path}: not what the run was made of; run --stage all again, or bring back the notes it read")
    return dict(zip(patients, own_notes.joined(material.config, patients), strict=True))


def _main(labels: Sequence[Label], code: str) -> Label:
    """The label that the config asks for, or the first.

    Raises:
        UserError: the run has no such label.
    """
    matching = [label for label in labels if not code or label.code == code]
    if not matching:
        raise UserError(f"report.label = '{code}': the run has: {', '.join(label.code for label in labels)}")
    return matching[0]


def _table(config: Config, name: str, columns: Sequence[str], kind: type[pl.DataType]) -> pl.DataFrame:
    """The columns of a CSV in the run folder, cast to ``kind``.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = config.run_dir / name
    if not path.is_file():
        raise UserError(f"{path}: missing; run --stage train first")
    try:
        rows = spreadsheet.plain_texts(pl.read_csv(path, infer_schema=False, glob=False))
        return rows.select(pl.col(columns).cast(kind))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: damaged ({artefacts.first_line(error)}); run --stage train again") from None


def _predictions(config: Config, trained: Trained) -> Predictions:
    """The run's predictions for the test split, in the split's order.

    Raises:
        UserError: the file is missing, damaged, or holds other patients.
    """
    name = schema.PREDICTIONS.file
    rows = _table(config, name, schema.PREDICTIONS.names, pl.String).filter(pl.col("split") == "test")
    patients, names = trained.dataset.split["test"], trained.label_names
    expected = [(patient, name) for patient in patients for name in names]
    try:
        numbers = rows.select(pl.col("y_true", "y_prob").cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"{config.run_dir / name}: damaged ({artefacts.first_line(error)}); run --stage train again"
        ) from None
    if rows.select("patient_id", "label_code").rows() != expected or numbers["y_prob"].null_count():
        raise UserError(f"{config.run_dir / name}: not the run's test patients; run --stage train again")
    shape = (len(patients), len(names))
    true = numbers["y_true"].to_numpy().reshape(shape)
    risk = numbers["y_prob"].to_numpy().reshape(shape)
    return Predictions("test", list(patients), names, np.nan_to_num(true), ~np.isnan(true), risk)
