"""The index on disk: made once, found again, made again when it does not fit, and safe under several processes."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component, UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import files as primekg_files
from emerge_ehr.graphs.primekg import index as graph_index
from emerge_ehr.graphs.primekg.files import GraphTables
from emerge_ehr.storage import artefacts
from tests.places import ROOT


def opened(folder: Path, cache: Path) -> KnowledgeGraph:
    graph: KnowledgeGraph = components.build("knowledge_graph", Component("primekg"), folder=folder, cache_dir=cache)
    return graph


def everything(graph: KnowledgeGraph) -> object:
    return {node: (disease, graph.triples(node)) for node, disease in graph.diseases().items()}


@pytest.fixture
def folder(mini_graph: Path, tmp_path: Path) -> Path:
    """A graph that the test may change."""
    return Path(shutil.copytree(mini_graph, tmp_path / "kg"))


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The ``kg`` files that were read from here on."""
    read_graph, made = primekg_files.read, []

    def counted(features: Path, edges: Path) -> GraphTables:
        made.append(edges)
        return read_graph(features, edges)

    monkeypatch.setattr(primekg_files, "read", counted)
    return made


def parts(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "kg").rglob("*.*") if path.is_file() and path.name != "hashes.json")


def test_the_second_opening_reads_the_index_and_finds_the_same_graph(
    folder: Path, tmp_path: Path, readings: list[Path]
) -> None:
    graphs = [opened(folder, tmp_path / "cache") for _ in range(2)]
    assert everything(graphs[0]) == everything(graphs[1]) and len(readings) == 1
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.csv")}
    assert graphs[0].inputs() == graphs[1].inputs() == expected


def test_nothing_is_written_beside_the_graph(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    folder.chmod(0o555)
    opened(folder, tmp_path / "cache")
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_known_hashes_are_not_computed_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(folder, tmp_path / "cache")
    hashed: list[Path] = []
    checksum = artefacts.checksum
    monkeypatch.setattr(artefacts, "checksum", lambda path: hashed.append(path) or checksum(path))
    graph = opened(folder, tmp_path / "cache")
    recorded = artefacts.hashes(list(graph.inputs()), graph.inputs())
    assert sorted(recorded) == ["kg/disease_features.csv", "kg/kg.csv"]
    assert not {path for path in hashed if path.parent == folder}


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_changed_file_is_read_again_even_if_its_size_and_time_are_kept(
    folder: Path, tmp_path: Path, keep_time: bool
) -> None:
    before = opened(folder, tmp_path / "cache")
    status = (folder / "kg.csv").stat()
    content = (folder / "kg.csv").read_text()
    (folder / "kg.csv").write_text(content.replace(",Shock,", ",Chock,"))
    if keep_time:
        os.utime(folder / "kg.csv", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = opened(folder, tmp_path / "cache")
    names = [{t.y_name for node in graph.diseases() for t in graph.triples(node)} for graph in (before, after)]
    assert "Shock" in names[0] and names[1] == names[0] - {"Shock"} | {"Chock"}
    assert before.inputs() != after.inputs()


def test_the_same_content_elsewhere_has_the_same_index(folder: Path, tmp_path: Path) -> None:
    opened(folder, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in parts(tmp_path / "cache")}
    opened(Path(shutil.copytree(folder, tmp_path / "copy")), tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in parts(tmp_path / "cache")} == before


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_index_is_made_again(
    folder: Path, tmp_path: Path, readings: list[Path], caplog: pytest.LogCaptureFixture, number: int, damage: str
) -> None:
    expected = everything(opened(folder, tmp_path / "cache"))
    whole = {path: path.read_bytes() for path in parts(tmp_path / "cache")}
    part = list(whole)[number]
    if damage == "missing":
        part.unlink()
    else:
        content = bytearray(whole[part])
        content[len(content) // 2] ^= 0xFF
        part.write_bytes(content if damage == "changed" else content[: len(content) // 2])
    assert everything(opened(folder, tmp_path / "cache")) == expected
    assert len(readings) == 2 and "is damaged and is made again" in caplog.text
    assert {path: path.read_bytes() for path in parts(tmp_path / "cache")} == whole


def test_a_damaged_memory_of_hashes_is_only_a_memory_lost(folder: Path, tmp_path: Path, readings: list[Path]) -> None:
    expected = everything(opened(folder, tmp_path / "cache"))
    for content in ("{", "[]", '{"a": 1}', "\xff"):
        (tmp_path / "cache" / "kg" / "hashes.json").write_text(content, "latin-1")
        assert everything(opened(folder, tmp_path / "cache")) == expected


def test_a_full_disk_costs_the_index_but_not_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = everything(opened(folder, tmp_path / "cache"))
    shutil.rmtree(tmp_path / "cache")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(graph_index, "_write", full)
        patch.setattr(artefacts, "write_json", full)
        assert everything(opened(folder, tmp_path / "cache")) == expected
    assert "the index cannot be written" in caplog.text and "hashes again" in caplog.text
    assert everything(opened(folder, tmp_path / "cache")) == expected and len(parts(tmp_path / "cache")) == 5


def test_a_file_that_changes_while_it_is_read_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_graph = primekg_files.read

    def slow(features: Path, edges: Path) -> GraphTables:
        tables = read_graph(features, edges)
        with edges.open("a") as file:
            file.write("\n")
        return tables

    monkeypatch.setattr(primekg_files, "read", slow)
    with pytest.raises(UserError, match=r"kg.csv: changed while it was read"):
        opened(folder, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


def test_processes_that_start_at_once_share_one_index(folder: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from emerge_ehr.graphs import primekg
graph = primekg.build(primekg.Options(), folder=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))
print(len(graph.diseases()), sum(len(graph.triples(node)) for node in graph.diseases()))
"""
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    ended = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    assert len({out for out, _ in ended}) == 1
    assert len(list((tmp_path / "cache" / "kg").glob("*/index.json"))) == 1
