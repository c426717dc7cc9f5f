from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emerge_ehr.config import Config, Model, Paths, Training
from emerge_ehr.fields import Component
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import write_dataset
from emerge_ehr.storage.schema import ARTEFACTS_FORMAT

HOURS, FEATURES, WIDTH = 6, 4, 5
TOML = """
dataset = "toy"
run_name = "toy"
[paths]
raw_dir = "raw"
processed_dir = "processed"
[source]
name = "synthetic"
[model]
hidden_size = 16
heads = 2
experts = []
[training]
members = 1
batch_size = 32
max_epochs = 25
patience = 25
accelerator = "cpu"
bootstrap_resamples = 20
"""


def write(folder: Path, patients: int, seed: int, **replaced: Any) -> None:
    """Artefacts in which the risk shows in the first feature's trend and in the note; a tenth has no note."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=patients)
    length = generator.integers(3, HOURS + 1, patients)
    inside = np.arange(HOURS)[:, None] < length[:, None, None]
    ehr = generator.normal(size=(patients, HOURS, FEATURES))
    ehr[:, :, 0] += risk[:, None]
    note = generator.normal(size=(patients, WIDTH))
    note[:, 0] += 2 * risk
    arrays = {
        "ehr": (ehr * inside).astype(np.float32),
        "ehr_mask": ((ehr > 0) & inside).astype(np.float32),
        "ehr_length": length.astype(np.int64),
        "static": np.zeros((patients, 1), np.float32),
        "note_embedding": note.astype(np.float32),
        "note_mask": (generator.random(patients) > 0.1).astype(np.float32),
        "summary_embedding": generator.normal(size=(patients, WIDTH)).astype(np.float32),
        "summary_mask": np.ones(patients, np.float32),
        "note_tokens": np.zeros((patients, 0, WIDTH), np.float32),
        "note_tokens_mask": np.zeros((patients, 0), np.float32),
        "summary_tokens": np.zeros((patients, 0, WIDTH), np.float32),
        "summary_tokens_mask": np.zeros((patients, 0), np.float32),
        "label": (risk > 0.5).astype(np.float32)[:, None],
        "label_mask": np.ones((patients, 1), np.float32),
        "patient_id": np.array([f"p{row}" for row in range(patients)]),
    } | replaced
    names = arrays["patient_id"].tolist()
    train, val = int(0.6 * patients), int(0.8 * patients)
    folder.mkdir(parents=True)
    write_dataset(folder / "emerge_dataset.npz", arrays)
    artefacts.write_json(folder / "split.json", {"train": names[:train], "val": names[train:val], "test": names[val:]})
    metadata: dict[str, Any] = {"format": ARTEFACTS_FORMAT}
    metadata |= {"task": "mortality", "label_names": ["mortality"], "warnings": ["the notes are surrogates"]}
    artefacts.write_json(folder / "metadata.json", metadata)


def small_config(patients: int = 40, seed: int = 0, max_epochs: int = 3, **replaced: Any) -> Config:
    """Writes artefacts into the current folder, and gives a config of a small model for them."""
    write(Path("processed"), patients, seed, **replaced)
    return Config(
        dataset="toy",
        run_name="toy",
        paths=Paths(raw_dir=Path("raw"), processed_dir=Path("processed")),
        source=Component("synthetic"),
        model=Model(hidden_size=16, heads=2, experts=()),
        training=Training(
            members=1,
            batch_size=32,
            max_epochs=max_epochs,
            learning_rate=5e-3,
            accelerator="cpu",
            bootstrap_resamples=50,
        ),
    )


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """``small_config`` in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    return small_config


@pytest.fixture
def toy_toml() -> str:
    """A config for the artefacts of ``prepared``, for the command line."""
    return TOML
