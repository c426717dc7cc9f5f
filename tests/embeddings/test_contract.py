"""What every encoder promises, whichever it is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr import components, embeddings
from emerge_ehr.embeddings import FittedEncoder
from tests.examples import chosen
from tests.places import ROOT

NAMES = components.names("embedding")
TEXTS = ["acute kidney failure and sepsis", "", "heart failure with pneumonia", " \n", "sepsis and heart failure"]


def fitted(name: str, models: Path, cache: Path) -> FittedEncoder:
    encoder = components.build("embedding", chosen("embedding", name, models), seed=3, cache_dir=cache)
    return encoder.fit([text for text in TEXTS if text.strip()])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_row_a_text_and_zeros_for_an_empty_one(name: str, tiny_models: Path, tmp_path: Path) -> None:
    encoder = fitted(name, tiny_models, tmp_path)
    for vectors in (encoder.encode(TEXTS), encoder.encode_queries(TEXTS)):
        assert vectors.shape == (5, encoder.description()["width"]) and vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).tolist() == [True, False, True, False, True]
    assert encoder.encode([]).shape == (0, encoder.description()["width"])
    json.dumps(encoder.description(), allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_hold_the_whole_text(name: str, tiny_models: Path, tmp_path: Path) -> None:
    encoder = fitted(name, tiny_models, tmp_path)
    text = "acute kidney failure and sepsis " * 60
    pieces = encoder.split(text)
    assert len(pieces) > 1 and "".join("".join(pieces).split()) == "".join(text.split())
    assert encoder.split("") == encoder.split("  ") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_gives_the_same_bytes_here_and_in_another_process(
    name: str, tiny_models: Path, tmp_path: Path
) -> None:
    encoder = fitted(name, tiny_models, tmp_path / "cache")
    expected = encoder.encode(TEXTS)
    encoder.save(tmp_path, "note_encoder")
    assert json.loads((tmp_path / "note_encoder.json").read_text())["encoder"] == name
    assert np.array_equal(embeddings.load(tmp_path, "note_encoder", tmp_path / "cache").encode(TEXTS), expected)
    program = (
        "import sys, numpy; from pathlib import Path; from emerge_ehr import embeddings;"
        "folder = Path(sys.argv[1]); encoder = embeddings.load(folder, 'note_encoder', folder / 'elsewhere');"
        f"numpy.save(folder / 'found.npy', encoder.encode({TEXTS!r}))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert np.array_equal(np.load(tmp_path / "found.npy"), expected)
