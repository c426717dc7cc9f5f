"""The options of a MIMIC source: what to download, where the notes are, and which of them to keep."""

from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.datasets.sources._raw.note_layout import NoteFiles
from emerge_ehr.fields import UserError
from emerge_ehr.signals.table import BENCHMARK

# Id column of a file of notes, in either version or as users name it -> the cohort's column with the same ids.
NOTE_IDS = {
    **dict.fromkeys(("stay_id", "icustay_id"), "stay_id"),
    **dict.fromkeys(("hadm_id", "admission_id"), "hadm_id"),
    "patient_id": "patient_id",
    "subject_id": "subject_id",
}


@dataclass(frozen=True)
class Options:
    """``project``/``version``: the PhysioNet project to download; empty for a credentialed copy that was put in place by hand.
    ``mimic3-carevue`` is such a copy too: the subset of MIMIC-III whose persons are not in MIMIC-IV.

    ``notes_file``: one or several CSVs of notes; by default those in ``raw_dir`` (MIMIC-IV-Note's ``note/``, MIMIC-III's
    ``NOTEEVENTS``). Without any, surrogate notes are made from billing codes. Columns that are not named here are looked for
    under their usual names. ``treatments``: prescriptions and infusions are read too (docs/treatments.md).

    ``signals``: the list of signals that are read: "benchmark", "wide", or the path of a CSV of your own (docs/signals.md).
    """

    project: str = ""
    version: str = ""
    notes_file: tuple[Path, ...] = ()
    note_id_column: str = ""
    note_time_column: str = ""
    note_text_column: str = ""
    include_discharge_summaries: bool = False
    notes_after_window: bool = False
    signals: str = BENCHMARK
    treatments: bool = False

    def note_files(self, paths: tuple[Path, ...], error_column: str = "") -> NoteFiles:
        """The options for reading the notes in ``paths``.

        Raises:
            UserError: a path is empty.
        """
        if Path() in paths:
            raise UserError("[source] notes_file is empty; name a CSV of notes, or leave the key out for other notes")
        return NoteFiles(
            paths,
            NOTE_IDS,
            self.note_id_column,
            self.note_time_column,
            self.note_text_column,
            self.include_discharge_summaries,
            self.notes_after_window,
            error_column,
        )
