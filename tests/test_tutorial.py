"""The tutorial notebook runs from its first cell to its last, and shows what it says."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from tests.places import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return found


def test_it_is_a_notebook_of_format_4_without_outputs_whose_links_lead_to_files() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", "".join(cell["source"]))
            assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.slow
def test_its_cells_run_one_after_the_other_and_show_what_the_text_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawn: list[str] = []

    def show() -> None:
        figure = plt.gcf()
        figure.savefig(tmp_path / f"{len(drawn)}.png")
        drawn.append(figure.axes[-1].get_xlabel())
        plt.close("all")

    monkeypatch.setattr(plt, "show", show)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    for cell in cells():
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), known)
    said = capsys.readouterr().out
    assert drawn == ["true risk", "added to the risk of death", "hours since admission to the ICU"]
    (correlation,) = re.findall(r"rank correlation with the true risk: (0\.\d+)", said)
    assert float(correlation) > 0.7
    (risk, low, high) = map(float, re.findall(r"risk (0\.\d+) \((0\.\d+) to (0\.\d+) by the members", said)[0])
    assert low <= risk <= high and risk > 0.8
    assert "the question is death in this hospital admission" in said and "rests on {'kind': " in said
    added = known["added"]
    assert {"input: ehr", "input: note", "input: summary"} <= set(added) and len(added) > 5
    assert re.search(r"with notes 0\.\d+, without 0\.\d+; lacking: \['note'\]", said)
    assert "a mistake is told in a line: static.csv: missing" in said
