"""The configs with language models, tiny models in the big ones' place; one through all stages by the command line, offline."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emerge_ehr import embeddings
from emerge_ehr.rag import records as rag
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.storage.schema import NOTES
from emerge_ehr.storage.table_files import read_table
from tests import in_process
from tests.places import ROOT

STAND_INS = {
    "BAAI/bge-m3": "sentence",
    "yikuan8/Clinical-Longformer": "longformer",
    "Qwen/Qwen3-Embedding-0.6B": "qwen3",
    "answerdotai/ModernBERT-base": "modernbert",
}
HOSPITAL = """
dataset = "synthetic"
run_name = "small"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
processed_dir = "processed"
[source]
name = "synthetic"
stays = 60
[download]
primekg = "none"
[model]
hidden_size = 16
experts = []
[training]
members = 1
max_epochs = 1
bootstrap_resamples = 20
accelerator = "cpu"
"""


def toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(own)}" for key, own in value.items()) + " }"
    return json.dumps(value)


def stood_in(value: Any, models: Path) -> Any:
    """Hub models become the tiny ones' folders, which have no revision; and no model reads more than 64 tokens."""
    if not isinstance(value, dict):
        return value
    own = {key: stood_in(item, models) for key, item in value.items()}
    if "model" in own:
        own["model"] = str(models / STAND_INS[own["model"]])
        del own["revision"]
        own["max_tokens"] = 64
    if "chunk_tokens" in own:
        own["chunk_tokens"] = 48
    return own


def run(folder: Path, *arguments: str) -> str:
    done = in_process.run(folder, "--config", "small.toml", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def parts(name: str, models: Path) -> dict[str, Any]:
    config = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text())
    return {key: stood_in(config[key], models) for key in ("linking", "embedding", "token_level") if key in config}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mimic4_demo_lm", "mimic4_demo_modernbert", "mimic4_demo_2026"])
def test_the_config_runs_from_raw_files_to_metrics_offline(name: str, tiny_models: Path, tmp_path: Path) -> None:
    chosen = parts(name, tiny_models)
    lines = "\n".join(f"{key} = {toml(value)}" for key, value in chosen.items())
    fusion = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text()).get("model", {}).get("fusion")
    hospital = HOSPITAL.replace(
        "hidden_size = 16", f"hidden_size = 16\nfusion = {toml(fusion)}" if fusion else "heads = 2"
    )
    (tmp_path / "small.toml").write_text(lines + "\n" + hospital)
    run(tmp_path, "--stage", "all", "--offline")
    assert (tmp_path / "runs" / "small" / "metrics.json").is_file()
    data = load_dataset(tmp_path / "processed")
    assert data.note_embedding.shape[0] == len(data.patient_id) and np.isfinite(data.note_embedding).all()
    assert data.metadata["encoders"]["note"]["name"] == "huggingface"
    loaded = embeddings.load(tmp_path / "processed" / "fitted", "note_encoder", tmp_path / "data" / "cache")
    assert loaded.description() == data.metadata["encoders"]["note"]
    notes = rag.joined_notes(read_table(tmp_path / "data/tables/synthetic/mortality", NOTES), data.patient_id.tolist())
    assert np.array_equal(loaded.encode(notes), data.note_embedding)
    masks = {"note": data.note_tokens_mask, "summary": data.summary_tokens_mask}
    for text, tokens in (("note", data.note_tokens), ("summary", data.summary_tokens)):
        limit = chosen.get("token_level", {}).get(f"{text}_chunks", 0)
        assert bool(limit) == bool(tokens.shape[1]) and tokens.shape[1] <= limit
        assert tokens.shape[:2] == masks[text].shape and np.array_equal(tokens.any(axis=2), masks[text] > 0)
    if data.note_tokens.shape[1]:
        first = loaded.encode(loaded.split(notes[0])[:32])
        assert np.array_equal(data.note_tokens[0, : len(first)], first)


def test_a_model_that_is_not_here_stops_every_stage_before_any_work(tmp_path: Path) -> None:
    encoder = {"name": "huggingface", "model": "nobody/nothing", "revision": "0" * 40}
    (tmp_path / "small.toml").write_text(f"embedding = {toml(encoder)}\n" + HOSPITAL)
    for stage in ("download", "preprocess"):
        done = in_process.run(tmp_path, "--config", "small.toml", "--stage", stage, "--offline")
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert f"'nobody/nothing' at {'0' * 40} is not on this disk" in done.stderr
