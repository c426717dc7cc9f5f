"""What stands beside the code: the worked example of CONTRIBUTING.md, links, and the version, which has one home."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.fields import Component
from tests.places import ROOT

VALUES = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1))
LENGTH = torch.tensor([5, 2, 0])


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plug of CONTRIBUTING.md, in a package of somebody's own."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    package = tmp_path / "worked_example"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "running_mean.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = Component("worked_example.running_mean", {"bias": False})
    return components.build("model.series", chosen, input_size=3, hidden_size=4, heads=2, dropout=0.0)


def test_the_worked_example_is_an_encoder(encoder: Any) -> None:
    states, last = encoder(VALUES, LENGTH)
    weight = encoder.projection.weight
    by_hand = [VALUES[0, : hour + 1].mean(0) @ weight.T for hour in range(5)]
    torch.testing.assert_close(states[0], torch.stack(by_hand))
    torch.testing.assert_close(last, torch.stack([states[0, 4], states[1, 1], torch.zeros(4)]))


def test_the_worked_example_reads_no_hour_after_the_length(encoder: Any) -> None:
    def changed(after: Tensor) -> Tensor:
        return torch.where(torch.arange(5)[None, :, None] < LENGTH[:, None, None], VALUES, after)

    for left, right in zip(encoder(changed(VALUES), LENGTH), encoder(changed(VALUES + 9), LENGTH), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize(
    "document", [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/*.md"))], ids=lambda path: path.name
)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_version_is_that_of_the_changelog_and_of_the_citation() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    released = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert released[0] == version == citation["version"]


def test_the_workflow_calls_the_script_that_a_contributor_runs() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"} and (ROOT / ".ci" / "run").is_file()
