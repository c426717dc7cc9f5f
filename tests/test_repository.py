"""What stands beside the code: the worked example of CONTRIBUTING.md, links, and the version, which has one home."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.places import ROOT
from website.pages import WRITTEN


@pytest.mark.slow
def test_the_worked_example_fulfils_the_contract_of_its_socket(tmp_path: Path) -> None:
    """Put where CONTRIBUTING.md says, in a copy of the checkout, and tested by the command that it gives."""
    for part in ("src", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (place,) = re.findall(r"Write `(src/\S+\.py)`", text)
    (tests,) = re.findall(rf"-m pytest (\S+ -k {Path(place).stem})", text)
    (tmp_path / place).write_text(block)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests.split()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "document",
    [path for place in ("*.md", "*/*.md", "*/*/*.md") for path in sorted(ROOT.glob(place))],
    ids=lambda path: path.name,
)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text("utf-8"))
    written = {(ROOT / "docs" / page).resolve() for page in WRITTEN}  # of the website, from the code
    targets = [(document.parent / link).resolve() for link in links]
    assert [path for path in targets if not path.exists() and path not in written] == []


def test_the_version_is_that_of_the_changelog_and_of_the_citation() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert released[0] == version == citation["version"]


def test_the_workflow_calls_the_script_that_a_contributor_runs() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"} and (ROOT / ".ci" / "run").is_file()
