"""Every code block of the documents is run by a test, or what it says is checked here, or a reason stands why it is not.

Tutorials are done as they are written (``test_tutorials.py``). In the other pages, each command of ours must have options that
the program takes and name configs that there are; each piece of a config must be one that loads, with its plugs and options.
"""

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr import command_line, components, config
from emerge_ehr.prediction.requests import Asked
from tests.documents import Block, blocks
from tests.places import ROOT

PAGES = [path for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))]
PAGES += sorted(
    path for path in (ROOT / "docs").rglob("*.md") if path.parent not in (ROOT / "docs", ROOT / "docs" / "tutorials")
)
COMMAND = re.compile(r"^(?:python|torchrun .*?) ?src/main\.py (.*)$")
# The page's Python is run by this test
RUN_BY = {
    "python.md": "tests/prediction/test_interface.py",
    "CONTRIBUTING.md": "tests/test_repository.py",
}
# What is neither a command of ours nor a piece of a config -> why it is not run
NOT_RUN = {
    ("CONTRIBUTING.md", "git clone"): "it needs the repository's address",
    ("CONTRIBUTING.md", ".venv/bin/python -m pytest"): "tests/test_repository.py runs it",
    ("README.md", "make demo"): "CI runs it",
    ("README.md", "@inproceedings"): "a reference to cite",
    ("evidence_diseases.md", "python -m benchmarks"): "a measurement of hours",
    ("linking_by_meaning.md", "for n in"): "it downloads a model",
    (
        "entities_results.md",
        "python -m benchmarks",
    ): "a measurement of minutes, with libraries that are not installed here",
    ("llm_servers.md", ".venv/llama"): "it compiles for ten minutes; tests/test_llama_server.py starts the same server",
    ("llm_servers.md", "at most 1"): "what was printed when it was measured",
    ("llm_endpoints.md", "vllm serve"): "it needs GPUs",
    ("meds.md", "meds-evaluation-cli"): "tests/test_prediction_times.py calls what it calls",
    ("models_equations.md", "(x_j"): "a formula",
    ("paper.md", "data/raw"): "a list of folders",
    ("plugs.md", "[model]"): "the package is the reader's; tests/test_plugs_from_elsewhere.py has one for every socket",
    ("service.md", "curl"): "what it sends is checked here",
    ("fhir.md", '{"resourceType"'): "tests/prediction/test_fhir.py sends it",
    ("fhir.md", '{"fhir"'): "tests/prediction/test_fhir.py gets it",
    ("cluster.md", "export RAY"): "it needs several machines",
    ("synthetic.md", "make demo"): "CI runs it",
    ("synthetic.md", "true_risk"): "a formula",
    ("synthetic_inputs.md", "python benchmarks"): "a measurement of hours",
    ("synthetic_results.md", "python benchmarks"): "a measurement of hours",
}


def found() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


def without_reason(block: Block) -> bool:
    return not block.reason and not any(
        page == block.page.name and block.text.strip().startswith(start) for page, start in NOT_RUN
    )


def is_python(block: Block) -> bool:
    return block.language == "python" and block.page.name in RUN_BY


def our_commands(block: Block) -> list[str]:
    return [match[1] for line in block.commands if (match := COMMAND.match(line.split(";")[-1].strip()))]


@pytest.mark.parametrize("block", [one for one in found() if our_commands(one)], ids=lambda block: block.where)
def test_the_program_takes_every_command_of_the_documents(block: Block) -> None:
    for command in our_commands(block):
        words = [re.sub(r"\$\{?\w+\}?", "eicu", word) for word in shlex.split(command)]
        told = io.StringIO()
        try:
            with contextlib.redirect_stderr(told):
                options = command_line.arguments(words)
        except SystemExit:
            pytest.fail(f"{command}: {told.getvalue()}")
        if options.config and str(options.config).startswith("configs/"):
            assert (ROOT / options.config).is_file(), command


def pieces(block: Block) -> list[dict[str, Any]]:
    """The pieces of a config in a block, which may show one section twice; an example of commands before them is passed over."""
    text = "".join(f"{line}\n" for line in block.text.splitlines() if not line.startswith(("uv ", ".venv")))
    parts = (
        re.split(r"^(?=\[\w+\])", text, flags=re.MULTILINE)
        if len(re.findall(r"^\[task\]", text, re.MULTILINE)) > 1
        else [text]
    )
    return [tomllib.loads(part) for part in parts if part.strip()]


def is_config(block: Block) -> bool:
    return bool(re.search(r"^\[[\w.]+\]$|^base = ", block.text, re.MULTILINE)) and without_reason(block)


@pytest.mark.parametrize("block", [one for one in found() if is_config(one)], ids=lambda block: block.where)
def test_every_piece_of_a_config_in_the_documents_loads(block: Block) -> None:
    for piece in pieces(block):
        if "base" in piece:  # a grid or a search: its keys stand in a config of configs/benchmark or configs/tune
            known = [tomllib.loads(path.read_text("utf-8")) for path in ROOT.glob("configs/[bt]*/*.toml")]
            assert piece.keys() <= {key for one in known for key in one} | {"name"}, block.where
            continue
        start = {"dataset": "d", "run_name": "r", "paths": {"raw_dir": "x"}, "source": {"name": "mimic4"}}
        filled = config.fill(start | piece, block.where)
        components.check(filled, tuple(components.SOCKETS))
        components.build("task", filled.task)  # which may refuse options that it can read


def test_the_request_of_the_documents_is_one_that_the_service_takes() -> None:
    (block,) = [one for one in found() if one.text.startswith("curl")]
    (body,) = re.findall(r"-d '(.*)'", block.text, re.DOTALL)
    (patient,) = Asked.model_validate_json(body).patients
    assert patient.measurements[0].code == "heart_rate"


def test_every_block_of_the_documents_is_run_or_checked_or_says_why_not() -> None:
    left = [
        one for one in found() if without_reason(one) and not (our_commands(one) or is_config(one) or is_python(one))
    ]
    assert [(block.where, block.text.splitlines()[0]) for block in left] == []
    assert len(found()) > 60


def test_every_reason_is_that_of_a_block_and_every_test_named_is_there() -> None:
    starts = {
        (block.page.name, start) for block in found() for page, start in NOT_RUN if block.text.strip().startswith(start)
    }
    assert NOT_RUN.keys() <= starts
    named = re.findall(r"tests/[\w/.]+", " ".join([*NOT_RUN.values(), *RUN_BY.values()]))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_block_is_found_with_its_place_its_title_and_the_reason_why_it_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        'Words.\n\n```toml title="a.toml"\nx = 1\n```\n\n<!-- not run: no net -->\n```bash\ncurl\n```\n'
        "\n    ls \\\n        -l # all\n\nEnd.\n"
    )
    first, second, third = blocks(page)
    assert (first.line, first.language, first.title, first.text, first.reason) == (3, "toml", "a.toml", "x = 1\n", "")
    assert (second.language, second.reason) == ("bash", "no net") and third.commands == ["ls -l"]
