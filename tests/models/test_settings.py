from itertools import combinations
from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.config import load
from emerge_ehr.fields import UserError
from emerge_ehr.models.emerge import texts_read

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


def test_every_combination_is_read_as_it_says_or_refused_on_loading(tmp_path: Path) -> None:
    subsets = [subset for size in (1, 2, 3) for subset in combinations(("ehr", "note", "summary"), size)]
    pieces = "[token_level]\nnote_chunks = 4\nsummary_chunks = 4\n"
    for fusion in components.names("model.fusion"):
        for text_fusion in components.names("model.text_fusion"):
            for subset in subsets:
                only, texts = text_fusion.removesuffix("_only"), set(subset) - {"ehr"}
                path = write(tmp_path, pieces + model(fusion, text_fusion, subset))
                if only != text_fusion and texts and only not in texts:
                    with pytest.raises(UserError, match=f"'{text_fusion}' needs '{only}' in model.modalities"):
                        load(path)
                else:
                    expected = texts if only == text_fusion else texts & {only}
                    assert set(texts_read(load(path).model)) == expected


@pytest.mark.parametrize(
    ("chunks", "chosen", "missing"),
    [
        ("", ("adaptive", ("ehr", "note", "summary")), "note_chunks"),
        ("note_chunks = 3", ("adaptive", ("ehr", "note", "summary")), "summary_chunks"),
        ("note_chunks = 3", ("summary_only", ("note", "summary")), "summary_chunks"),
        ("note_chunks = 3", ("note_only", ("note", "summary")), None),
        ("note_chunks = 3", ("adaptive", ("ehr", "note")), None),
        ("", ("adaptive", ("ehr",)), None),
    ],
)
def test_token_level_fusion_needs_pieces_of_the_texts_it_reads(
    tmp_path: Path, chunks: str, chosen: tuple[str, tuple[str, ...]], missing: str | None
) -> None:
    path = write(tmp_path, f"[token_level]\n{chunks}\n" + model("token_level", *chosen))
    if missing is None:
        load(path)
    else:
        with pytest.raises(UserError, match=rf"c.toml: .* needs {missing} above 0 in \[token_level\]"):
            load(path)
