"""Every plug has the form of its socket from the moment its file is there; one that has not is told what it lacks."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from emerge_ehr import components
from tests import contracts

PLUGS = [(socket, plug) for socket in contracts.SOCKETS for plug in components.names(socket)]
RETRIEVER = """
from dataclasses import dataclass
from emerge_ehr.rag.retrieval import Retriever
@dataclass(frozen=True)
class Options:
    pass
def build(options: Options, *, graph: object, seed: int) -> Retriever:
    raise NotImplementedError
"""


@pytest.mark.parametrize(("socket", "plug"), PLUGS)
def test_a_plug_has_the_form_of_its_socket(socket: str, plug: str) -> None:
    contracts.check_form(socket, contracts.module_of(socket, plug))


def dropped(name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file put into the socket retrieval."""
    (folder / f"{name}.py").write_text(text)
    package = importlib.import_module(components.SOCKETS["retrieval"])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    sys.modules.pop(f"{package.__name__}.{name}", None)  # of an earlier case
    return contracts.module_of("retrieval", name)


def test_a_new_file_is_a_plug_that_the_contract_tests_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = dropped("of_today", RETRIEVER, tmp_path, monkeypatch)
    assert "of_today" in components.names("retrieval")
    contracts.check_form("retrieval", module)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(frozen=True)", "", "retrieval 'broken': Options must be a frozen dataclass"),
        ("def build(", "def make(", "there is no function build"),
        ("options: Options", "settings: Options", r"first parameter of build must be options, not \['settings'\]"),
        ("seed: int", "sed: int", r"build asks for \['sed'\]; there is: \['graph', 'seed'\]"),
        (" -> Retriever", "", "build must be annotated with -> Retriever, not None"),
        (" -> Retriever", " -> Options", "build must be annotated with -> Retriever, not .*Options"),
    ],
)
def test_a_plug_of_another_form_is_told_what_it_lacks(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = dropped("broken", RETRIEVER.replace(old, new), tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match=message):
        contracts.check_form("retrieval", module)
