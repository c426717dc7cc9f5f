"""Reads the OneEHR tables, those of ``convert`` or a user's own, and refuses tables that do not fit together or that leak."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, timing, window
from emerge_ehr.datasets.convert.cohort import known_in_window
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.fields import UserError, plural
from emerge_ehr.preprocess.inputs import checks, converted
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.signals import spelling
from emerge_ehr.signals.signals import SIGNALS, Signal, described, from_record
from emerge_ehr.storage import ids, schema, table_files

NOTES = pl.Schema(
    {"patient_id": pl.String(), "note_time": pl.Datetime("us"), "note_type": pl.String(), "text": pl.String()}
)
TREATMENTS = pl.Schema(
    {column.name: pl.Datetime("us") if column.kind == "time" else pl.String() for column in schema.TREATMENTS.columns}
)


@dataclass(frozen=True)
class CheckedTables:
    """The tables of stage convert, checked, for N patients in order of ``patient_id`` and K labels.

    ``cohort`` has age, sex and ``positive``, which is the first label, or with ``Task.timing`` whether the patient died: splits
    are stratified by it. With ``Task.timing`` it also has the columns of ``timing.with_ends``. ``label`` and ``label_mask`` are
    [N, K]. ``treatments``: what was begun in the windows; no rows where the config does not ask for it.
    """

    cohort: pl.DataFrame
    signals: tuple[Signal, ...]
    hourly: tensors.Hourly
    notes: pl.DataFrame
    label_names: tuple[str, ...]
    label: NDArray[np.float32]
    label_mask: NDArray[np.float32]
    provenance: Mapping[str, Any]
    warnings: list[str]
    treatments: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TREATMENTS))


def read(folder: Path, config: Config, task: Task) -> CheckedTables:
    """Read the tables in ``folder`` with the labels of ``task``, and check them against each other and the windows.

    Raises:
        UserError: a table is missing or does not fit its schema, the others, the config, or the observation windows; or only
            some times state a zone.
    """
    provenance = converted.checked(folder, config)
    joined = persons(folder)
    checks.refuse_windows(folder / schema.COHORT.file, joined, config.cohort)
    joined, names, label, mask = _labels(folder, joined, task)
    positive = joined["died"] if task.timing else pl.Series(label[:, 0].astype(np.int64))
    joined = joined.with_columns(positive.alias("positive"))
    notes, blank = _notes(folder, joined, provenance)
    asked = sources.asks_treatments(config)
    treatments = given(folder, joined) if asked else pl.DataFrame(schema=TREATMENTS)
    signals = _signals(folder, provenance)
    hours = config.cohort.window_hours if config.cohort.window != "whole" else None
    hourly = measured(folder, joined, signals, (hours, config.cohort.bin_hours))
    if not provenance:
        table_files.refuse_two_clocks(folder, schema.EVERY_TABLE if asked else schema.TABLES)
    known = list(provenance["warnings"]) if provenance else [*blank, *checks.note_warnings(notes, joined)]
    warnings = [
        *known,
        *_surplus(folder, joined),
        *ids.same_persons(ids.alike(table_files.read_table(folder, schema.COHORT)["subject_id"])),
        *checks.unknown(joined, hourly),
        *checks.one_class(names, label, mask),
        *([] if provenance else spelling.close([signal.name for signal in signals])),
        *([] if provenance else spelling.outcomes(names)),
        *([] if provenance else _respelt(folder)),
        *checks.implausible(signals, hourly),
        *checks.one_value(signals, hourly),
        *sources.ignored_treatments(config, folder),
    ]
    return CheckedTables(joined, signals, hourly, notes, names, label, mask, provenance, warnings, treatments)


def persons(folder: Path) -> pl.DataFrame:
    """``cohort.csv`` joined with all columns of ``static.csv``, in order of ``patient_id``.

    Persons whose ids differ by leading zeros or case alone are one (``ids.one_person``).

    Raises:
        UserError: a table is missing, or does not fit its schema or the other table.
    """
    cohort, _ = ids.one_person(table_files.read_table(folder, schema.COHORT))
    static = table_files.read_table(folder, schema.STATIC)
    if cohort.is_empty():
        raise UserError(f"{folder / schema.COHORT.file}: holds no patient; one row per patient is needed")
    joined = cohort.join(static, on="patient_id")
    if joined.height != cohort.height:
        lost = cohort.join(joined, on="patient_id", how="anti")["patient_id"][0]
        raise UserError(
            f"{folder / schema.STATIC.file}: patient_id '{lost}' of cohort.csv is not there"
            f"{checks.near(lost, static['patient_id'])}; give every patient a row"
        )
    return joined.sort("patient_id")


def _surplus(folder: Path, cohort: pl.DataFrame) -> Iterator[str]:
    """Warnings of patients that are in another table but not in ``cohort.csv``."""
    for table in (schema.STATIC, schema.LABEL):
        ids = table_files.scan_table(folder, table).select(pl.col("patient_id").unique())
        named = table_files.collect_table(ids, folder / table.file)
        if more := named.join(cohort, on="patient_id", how="anti").height:
            yield f"{table.file}: {plural(more, 'patient is', 'patients are')} not in cohort.csv, and are left out"


def _respelt(folder: Path) -> Iterator[str]:
    """Warnings of tables whose ids are written with blanks around them or as floats, as pandas writes them."""
    for table in (schema.COHORT, schema.STATIC, schema.LABEL, schema.DYNAMIC, schema.NOTES):
        if count := table_files.respelt(folder, table):
            yield (
                f"{table.file}: {plural(count, 'row has', 'rows have')} an id with blanks around it, or with .0 at its end; "
                "it is read without these"
            )


def measured(
    folder: Path, cohort: pl.DataFrame, signals: tuple[Signal, ...], span: tuple[int | None, int]
) -> tensors.Hourly:
    """The hourly values of the measurements; ``span`` as in ``checks.hourly``.

    Raises:
        UserError: as ``checks.hourly``.
    """
    where, dynamic = table_files.place(folder, schema.DYNAMIC), table_files.scan_table(folder, schema.DYNAMIC)
    found = checks.hourly(
        where, dynamic, cohort, signals, span, lambda: table_files.refuse_unreadable(folder, schema.DYNAMIC)
    )
    checks.refuse_no_rows(where, found)
    return found


def patients(cohort: pl.DataFrame) -> pl.DataFrame:
    """The rows of patients.csv for ``CheckedTables.cohort``; columns that ``static.csv`` does not have are empty.

    With landmarks, the column ``landmark`` tells the hour of each sample; with several hospitals, ``site`` tells the sample's;
    for outcomes in time, ``died`` and ``hours_to_end`` tell how and when its stay in hospital ended.
    """
    names = [column.name for column in schema.PATIENTS.columns]
    if "end" in cohort.columns:
        cohort = timing.followed(cohort)
        names += [schema.DIED, schema.HOURS_TO_END]
    names += [name for name in (schema.LANDMARK, schema.SITE) if name in cohort.columns]
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in cohort.columns]
    return cohort.with_columns(absent).select(names)


def _labels(
    folder: Path, cohort: pl.DataFrame, task: Task
) -> tuple[pl.DataFrame, tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]:
    """As ``labelled``, with the labels' names [K] after the cohort."""
    path = folder / schema.LABEL.file
    rows = table_files.read_table(folder, schema.LABEL)
    names = task.codes or tuple(sorted(rows["label_code"].unique().to_list()))
    checks.refuse_respelt(path, rows, cohort)
    cohort, label, mask = labelled(path, rows, cohort, task, names)
    lost = cohort.filter(~pl.Series(mask.any(axis=1)))["patient_id"]
    if len(lost) or not names:
        wanted = f"{timing.DEATH} that decides one of them" if task.timing else " or ".join(names)
        raise UserError(
            f"{path}: patient_id '{lost[0] if len(lost) else ''}' of cohort.csv has no label_code {wanted}; "
            "give it a row, or choose another task"
        )
    return cohort, names, label, mask


def labelled(
    path: Path, rows: pl.DataFrame, cohort: pl.DataFrame, task: Task, names: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.float32], NDArray[np.float32]]:
    """The cohort (with the columns of ``timing.with_ends`` where the task has a ``timing``), and the labels ``names`` [K] of its
    samples as ``outcomes`` gives them.

    Raises:
        UserError: as ``outcomes``.
    """
    if task.timing is None:
        return cohort, *outcomes(path, rows, cohort, names)
    outcomes(path, rows, cohort, (timing.DEATH,))  # refuses what no outcome can be
    cohort = timing.with_ends(cohort, rows)
    return cohort, *task.timing.labels(cohort)


def outcomes(
    path: Path, rows: pl.DataFrame, cohort: pl.DataFrame, names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The values [N, K] of the labels ``names`` [K], 0 where undefined, and a mask [N, K] that is 1 where they are defined.

    ``rows``: those of label.csv at ``path``.

    Raises:
        UserError: a value is neither 0 nor 1, or was known before the observation window ended.
    """
    rows = rows.filter(pl.col("label_code").is_in(list(names))).join(
        cohort.select("patient_id", pl.int_range(pl.len()).alias("n")), on="patient_id"
    )
    other = rows.filter(~pl.col("label_value").is_in([0.0, 1.0]))
    if other.height:
        patient, value = other.select("patient_id", "label_value").row(0)
        raise UserError(f"{path}: label_value {value} of patient_id '{patient}' is neither 0 nor 1; mend it")
    early = known_in_window(rows, cohort)
    if early.height:
        patient, time = early.select("patient_id", "label_time").row(0)
        raise UserError(
            f"{path}: label_time {time} of patient_id '{patient}' lies before the end of the observation window, "
            f"which would show the outcome; mend or remove {plural(early.height, 'such row')}"
        )
    label, mask = np.zeros((2, cohort.height, len(names)), dtype=np.float32)
    column = [names.index(code) for code in rows["label_code"]]
    label[rows["n"].to_numpy(), column] = rows["label_value"].to_numpy()
    mask[rows["n"].to_numpy(), column] = 1
    return label, mask


def _signals(folder: Path, provenance: Mapping[str, Any]) -> tuple[Signal, ...]:
    """The signals that ``convert`` recorded; for a user's own tables those of the benchmark, or one per code if others occur."""
    if "signals" in provenance:
        return tuple(from_record(entry) for entry in provenance["signals"])
    codes = table_files.scan_table(folder, schema.DYNAMIC).select(pl.col("code").drop_nulls().unique())
    names = sorted(table_files.collect_table(codes, table_files.place(folder, schema.DYNAMIC))["code"].to_list())
    return SIGNALS if set(names) <= {signal.name for signal in SIGNALS} else tuple(described(code) for code in names)


def _notes(folder: Path, cohort: pl.DataFrame, provenance: Mapping[str, Any]) -> tuple[pl.DataFrame, list[str]]:
    """Read the notes as ``written`` does, and refuse those written after the window unless the source keeps them.

    A user's own tables may lack the file.
    """
    notes, warnings = written(folder, cohort, required=bool(provenance))
    if not provenance.get("source", {}).get("options", {}).get("notes_after_window"):
        checks.refuse_late_notes(folder / schema.NOTES.file, notes, cohort)
    return notes, warnings


def given(folder: Path, cohort: pl.DataFrame) -> pl.DataFrame:
    """Read ``treatments.csv``.

    Raises:
        UserError: the file is missing or does not fit its schema, a row belongs to no patient of the cohort, or begins or ends
            outside the window.
    """
    path = folder / schema.TREATMENTS.file
    treatments = table_files.read_table(folder, schema.TREATMENTS)
    checks.refuse_strangers(path, treatments, cohort)
    checks.refuse_treatments_outside(path, treatments, cohort)
    return treatments.select(TREATMENTS.names())


def written(folder: Path, cohort: pl.DataFrame, *, required: bool) -> tuple[pl.DataFrame, list[str]]:
    """Read ``notes.csv``, and a warning of its rows without a text, which are left out.

    There are no notes if the file is missing and not ``required``.

    Raises:
        UserError: the file does not fit its schema, or a note belongs to no patient of the cohort.
    """
    path = folder / schema.NOTES.file
    if not required and not path.exists() and not path.is_symlink():
        return pl.DataFrame(schema=NOTES), []
    rows = table_files.read_table(folder, schema.NOTES)
    checks.refuse_strangers(path, rows, cohort)
    notes = rows.filter(window.has_text())
    blank = rows.height - notes.height
    told = [f"{schema.NOTES.file}: {blank} of {rows.height} notes have no text, and are left out"] if blank else []
    return notes, window.textless(f"{schema.NOTES.file}: text", blank, rows.height) or told
