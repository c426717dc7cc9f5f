"""What a program calls: run stages, load a finished run or a model folder, predict for frames, read what stages wrote.

    import emerge_ehr as emerge

    emerge.run("configs/synthetic.toml")
    model = emerge.load("runs/synthetic_mortality")
    risks = model.predict("data/tables/synthetic/mortality")

Frames are of pandas or Polars. Mistakes are ``emerge_ehr.UserError``, in one line.
"""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from emerge_ehr import config, privacy
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import answers, predictor
from emerge_ehr.prediction.frames import Frame, is_pandas, write
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.stages import CHECKS, PIPELINE
from emerge_ehr.stages import run as run_stages
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import Dataset, load_dataset

log = logging.getLogger(__name__)


def run(
    settings: str | Path | Mapping[str, Any], stages: Sequence[str] = tuple(PIPELINE), *, seed: int | None = None
) -> Path:
    """Run ``stages`` in this order, and return the run folder. ``settings``: a TOML file, or its content as a dictionary.

    Raises:
        UserError: a setting, a file or a stage does not fit.
    """
    if unknown := [name for name in stages if name not in {**PIPELINE, **CHECKS}]:
        known = ", ".join({**PIPELINE, **CHECKS})
        raise UserError(f"stages: '{unknown[0]}' is none of {known}")
    if not isinstance(settings, str | Path | Mapping):
        raise UserError(
            f"settings: {type(settings).__name__} given; give the path of a TOML file, or its content as a dictionary"
        )
    if isinstance(settings, Mapping):
        where = "the settings"
        chosen = config.fill(settings if seed is None else {**settings, "seed": seed}, where)
    else:
        where = str(settings)
        chosen = config.load(Path(settings), seed=seed)
    run_stages(chosen, stages, where)
    return chosen.run_dir


def load(folder: str | Path, *, offline: bool = True) -> "Model":
    """The finished run, or the model that ``--stage export`` wrote, in ``folder``.

    ``offline``: models of texts are looked for on this machine alone.

    Raises:
        UserError: there is none, or something that it needs is missing or has changed.
    """
    return Model(predictor.load(Path(folder), offline=offline))


def records(folder: str | Path) -> pl.DataFrame:
    """What was found in notes and graph for each sample, from ``rag_records.csv`` in a folder of artefacts.

    Raises:
        UserError: there is no such file.
    """
    path = Path(folder) / schema.RAG_RECORDS
    if not path.is_file():
        raise UserError(f"{path}: missing; name the folder that --stage preprocess wrote (data/processed/...)")
    return pl.read_csv(path, infer_schema=False, glob=False)


def arrays(folder: str | Path) -> Dataset:
    """The arrays, split and metadata that ``--stage preprocess`` wrote into ``folder``.

    Raises:
        UserError: they are missing or damaged.
    """
    return load_dataset(Path(folder))


@dataclass(frozen=True)
class Model:
    """A finished run that can be asked."""

    ready: Predictor

    @property
    def outcomes(self) -> dict[str, str]:
        """Code of each outcome that is predicted -> its title, such as ``in-hospital death``."""
        titles = [outcome.title for outcome in self.ready.outcomes]
        return dict(zip(self.ready.trained.label_names, titles, strict=True))

    @property
    def signals(self) -> dict[str, str]:
        """Code of each signal -> the unit in which its values are to be."""
        return {signal.name: signal.unit for signal in self.ready.expected.signals}

    @property
    def hours(self) -> tuple[int, int]:
        """The shortest and the longest observation window, in hours."""
        return self.ready.expected.shortest, self.ready.expected.longest

    def predict(
        self,
        folder: str | Path | None = None,
        *,
        cohort: Frame = None,
        static: Frame = None,
        dynamic: Frame = None,
        notes: Frame = None,
        treatments: Frame = None,
        explain: bool = False,
    ) -> Frame:
        """A row per patient and outcome, with the columns of ``risks.csv`` (docs/prediction.md).

        The patients are those of the tables in ``folder``, or of the frames ``cohort``, ``static``, ``dynamic``, ``notes``
        and ``treatments`` (the last two may be missing) with the columns of these tables. ``explain``: also what each modality
        adds to a risk, in columns that are null otherwise. Of pandas frames the answer is one of pandas, else of Polars.

        Raises:
            UserError: tables are missing, or do not fit each other or the run.
        """
        modalities = self.ready.trained.reads
        header = answers.header(modalities, self.ready.trained.sets is not None)
        frames = {"cohort": cohort, "static": static, "dynamic": dynamic, "notes": notes, "treatments": treatments}
        found = self.ready.answers(self._tables(folder, frames), explain=explain, audit=False)
        rows = [
            dict(zip(header, row, strict=True)) for one in found for row in answers.rows(one, self.ready, modalities)
        ]
        added = [
            name for name in header if name.startswith("contribution_")
        ]  # null without ``explain``, but numbers still
        made = pl.DataFrame(rows, infer_schema_length=None, schema_overrides=dict.fromkeys(added, pl.Float64))
        if not any(is_pandas(frame) for frame in frames.values()):
            return made
        import pandas  # type: ignore[import-untyped]

        return pandas.DataFrame(made.to_dict(as_series=False))

    def explain(
        self,
        folder: str | Path | None = None,
        *,
        cohort: Frame = None,
        static: Frame = None,
        dynamic: Frame = None,
        notes: Frame = None,
        treatments: Frame = None,
    ) -> list[dict[str, Any]]:
        """What each patient's risks rest on, as a line of ``risks.evidence.jsonl``; the patients are given as to ``predict``.

        Raises:
            UserError: as ``predict``.
        """
        frames = {"cohort": cohort, "static": static, "dynamic": dynamic, "notes": notes, "treatments": treatments}
        return [answers.as_json(one, self.ready) for one in self.ready.answers(self._tables(folder, frames))]

    def _tables(self, folder: str | Path | None, frames: Mapping[str, Frame]) -> CheckedTables:
        """The patients' tables; frames go through files that only their owner can read, and that are gone at once."""
        given = [name for name, frame in frames.items() if frame is not None]
        if folder is not None:
            if not isinstance(cast("object", folder), str | Path):
                kind = type(folder).__name__
                raise UserError(
                    f"predict: {kind} given; give the path of a folder of tables, or the frames by their names"
                )
            if given:
                raise UserError(f"predict: a folder and the frame '{given[0]}' are given; give one or the other")
            return _told(self.ready.tables(Path(folder)))
        if not given:
            raise UserError("predict: give a folder of tables, or the frames cohort, static and dynamic")
        with privacy.owner_only(), tempfile.TemporaryDirectory(prefix="emerge-") as scratch:
            write({name: frames[name] for name in given}, Path(scratch))
            try:
                return _told(self.ready.tables(Path(scratch)))
            except UserError as error:  # a frame has a name, and no place
                raise UserError(str(error).replace(f"{scratch}{os.sep}", "").replace(f"{scratch}: ", "")) from None


def _told(tables: CheckedTables) -> CheckedTables:
    """The tables, whose warnings are logged: Python prints them, unless the program decides otherwise."""
    for warning in tables.warnings:
        log.warning("%s", warning)
    return tables
