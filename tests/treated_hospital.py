"""A small hospital's own tables with treatments, and a run that was trained on them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emerge_ehr.config import load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.storage import schema
from emerge_ehr.training import train
from tests import dated_tables
from tests.prediction.test_own_tables import CONFIG

TREATED = CONFIG.replace('name = "tables"', 'name = "tables"\ntreatments = true')


def generate(folder: Path, graph: Path) -> None:
    """Raw tables with pneumonia and a heart block in the notes; a patient with the block is prescribed metoprolol."""
    dynamic, label = dated_tables.generate(folder / "raw")
    first = {one["patient_id"]: one["event_time"] for one in reversed(dynamic)}
    text = "Third-degree atrioventricular block. Known pneumonia."
    notes = [
        {"patient_id": one["patient_id"], "note_time": "", "note_type": "progress", "text": text} for one in label[::2]
    ]
    dated_tables.write(folder / "raw" / "notes.csv", notes)
    drugs = ("Metoprolol Tartrate 25 mg", "0.9% Sodium Chloride", "Senna")
    given = [
        {
            "patient_id": one["patient_id"],
            "start_time": first[one["patient_id"]],
            "end_time": "",
            "drug": drugs[n % 3],
            "route": "PO",
            "dose": "",
            "kind": "prescription",
        }
        for n, one in enumerate(label)
    ]
    dated_tables.write(folder / "raw" / schema.TREATMENTS.file, given)
    (folder / "on.toml").write_text(TREATED.format(graph=graph))
    (folder / "off.toml").write_text(CONFIG.format(graph=graph))


def made(graph: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with ``on.toml``, with treatments, of which a run was trained, and ``off.toml``, without; read it only."""

    def make(folder: Path) -> None:
        generate(folder, graph)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for stage in (convert, preprocess, train):
                stage.run(load(folder / "on.toml"))

    return once("treated_hospital", make)
