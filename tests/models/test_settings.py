from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr import cli, components
from emerge_ehr.config import Config, load
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models.emerge import check, texts_read
from emerge_ehr.models.text_fusion import BOTH

HEAD = """
dataset = "d"
run_name = "r"
source = "synthetic"
[paths]
raw_dir = "raw"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "c.toml"
    path.write_text(HEAD + text)
    return path


def model(fusion: str, text_fusion: str, modalities: tuple[str, ...]) -> str:
    return f"[model]\nfusion = '{fusion}'\ntext_fusion = '{text_fusion}'\nmodalities = {list(modalities)}\n"


def checked(path: Path) -> Config:
    config = load(path)
    check(config.model, config.token_level, str(path))
    return config


def test_every_combination_is_read_as_it_says_or_refused_before_any_work(tmp_path: Path) -> None:
    subsets = [subset for size in (1, 2, 3) for subset in combinations(("ehr", "note", "summary"), size)]
    pieces = "[token_level]\nnote_chunks = 4\nsummary_chunks = 4\n"
    for fusion in components.names("model.fusion"):
        for text_fusion in components.names("model.text_fusion"):
            reads = components.options("model.text_fusion", Component(text_fusion)).reads
            for subset in subsets:
                texts = set(subset) - {"ehr"}
                path = write(tmp_path, pieces + model(fusion, text_fusion, subset))
                if texts and not texts & set(reads):
                    with pytest.raises(UserError, match=f"'{text_fusion}' needs '{reads[0]}' in model.modalities"):
                        checked(path)
                else:
                    assert set(texts_read(checked(path).model)) == texts & set(reads)


def plugs(socket: str, **facts: Any) -> list[str]:
    """The names of the plugs whose ``Options`` say so."""
    return [
        name
        for name in components.names(socket)
        if all(getattr(components.options(socket, Component(name)), key) == value for key, value in facts.items())
    ]


@pytest.mark.parametrize("fusion", plugs("model.fusion", pieces=True))
@pytest.mark.parametrize(
    ("chunks", "reads", "modalities", "missing"),
    [
        ("", BOTH, ("ehr", "note", "summary"), "note_chunks"),
        ("note_chunks = 3", BOTH, ("ehr", "note", "summary"), "summary_chunks"),
        ("note_chunks = 3", ("summary",), ("note", "summary"), "summary_chunks"),
        ("note_chunks = 3", ("note",), ("note", "summary"), None),
        ("note_chunks = 3", BOTH, ("ehr", "note"), None),
        ("", BOTH, ("ehr",), None),
    ],
)
def test_a_fusion_of_pieces_needs_those_of_the_texts_it_reads(
    tmp_path: Path, fusion: str, chunks: str, reads: tuple[str, ...], modalities: tuple[str, ...], missing: str | None
) -> None:
    text_fusion = plugs("model.text_fusion", reads=reads)[0]
    path = write(tmp_path, f"[token_level]\n{chunks}\n" + model(fusion, text_fusion, modalities))
    if missing is None:
        checked(path)
    else:
        said = rf"c.toml: model.fusion = '{fusion}' needs {missing} above 0 in \[token_level\]"
        with pytest.raises(UserError, match=said):
            checked(path)


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_pieces_that_are_not_there_are_refused_before_any_work(
    tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fusion = plugs("model.fusion", pieces=True)[0]
    path = write(tmp_path, f"[model]\nfusion = '{fusion}'\n")
    assert cli.main(["--stage", stage, "--config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: model.fusion = '{fusion}' needs note_chunks")
