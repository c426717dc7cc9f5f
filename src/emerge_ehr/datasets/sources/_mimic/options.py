"""What a config may say of a MIMIC source: what to download, where notes are and which to keep."""

from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.datasets.sources._raw.note_files import NoteFiles

# What says whose a note is, in either version or in notes that a user cut from it -> what the cohort calls it.
NOTE_IDS = {"stay_id": "stay_id", "icustay_id": "stay_id", "hadm_id": "hadm_id", "subject_id": "subject_id"}


@dataclass(frozen=True)
class Options:
    """``project``/``version``: the PhysioNet project to download, none for a credentialed copy put in place by hand.

    ``notes_file``: one or several CSVs of notes; by default those in ``raw_dir`` (MIMIC-IV-Note's ``note/``, MIMIC-III's
    ``NOTEEVENTS``); without either, surrogate notes are made from billing codes. Columns not named are found by name.
    """

    project: str = ""
    version: str = ""
    notes_file: tuple[Path, ...] = ()
    note_id_column: str = ""
    note_time_column: str = ""
    note_text_column: str = ""
    include_discharge_summaries: bool = False
    notes_after_window: bool = False

    def note_files(self, paths: tuple[Path, ...], error_column: str = "") -> NoteFiles:
        """How to read the notes in ``paths``."""
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
