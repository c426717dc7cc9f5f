"""What every knowledge graph promises; of its diseases where it has example files (``tests/examples.py``)."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr import components
from emerge_ehr.fields import UserError
from emerge_ehr.graphs import KnowledgeGraph
from tests.examples import chosen, example, with_example
from tests.places import ROOT


def built(plug: str, folder: Path) -> KnowledgeGraph:
    graph: KnowledgeGraph = components.build(
        "knowledge_graph", chosen("knowledge_graph", plug), folder=folder, cache_dir=folder.parent / "cache"
    )
    return graph


@pytest.fixture(scope="module", params=with_example("knowledge_graph", "files"))
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KnowledgeGraph:
    folder = tmp_path_factory.mktemp(request.param) / "files"
    example("knowledge_graph", request.param).files(folder)  # type: ignore[union-attr]
    return built(request.param, folder)


@pytest.mark.parametrize("plug", components.names("knowledge_graph"))
def test_a_graph_without_files_says_in_one_line_what_is_missing(plug: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        built(plug, tmp_path / "nothing").diseases()
    assert "\n" not in str(error.value) and "nothing" in str(error.value)


def test_the_inputs_are_files_with_their_hashes(graph: KnowledgeGraph) -> None:
    inputs = graph.inputs()
    assert inputs
    for path, digest in inputs.items():
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_disease_has_a_name_and_its_own_number(graph: KnowledgeGraph) -> None:
    diseases = graph.diseases()
    assert diseases
    assert all(node == disease.node_index and disease.names and disease.names[0] for node, disease in diseases.items())


def test_triples_are_of_their_disease_each_once_and_in_the_same_order_again(graph: KnowledgeGraph) -> None:
    for node, disease in graph.diseases().items():
        triples = list(graph.triples(node))
        assert triples == list(graph.triples(node)) and len(set(triples)) == len(triples) == graph.degree(node)
        assert all(triple.x_name in disease.names for triple in triples)


def test_the_arrays_hold_the_same_triples(graph: KnowledgeGraph) -> None:
    edges = graph.edges()
    assert edges.disease.tolist() == sorted(graph.diseases())
    assert (np.diff(edges.node_index) > 0).all() and len(edges.start) == len(edges.disease) + 1
    for row, node in enumerate(edges.disease.tolist()):
        triples = list(graph.triples(node))
        x_name = triples[0].x_name if triples else ""
        assert [edges.triple(x_name, edge) for edge in range(edges.start[row], edges.start[row + 1])] == triples


@pytest.mark.parametrize("plug", with_example("knowledge_graph", "files"))
def test_another_process_reads_the_same_graph(plug: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    example("knowledge_graph", plug).files(folder)  # type: ignore[union-attr]
    here, options = built(plug, folder), dict(chosen("knowledge_graph", plug).options)
    program = (
        "import sys; from pathlib import Path; from emerge_ehr import components; from emerge_ehr.fields import Component;"
        f"graph = components.build('knowledge_graph', Component({plug!r}, {options!r}), folder=Path(sys.argv[1]));"
        "print(repr([(n, d.names, list(graph.triples(n))) for n, d in sorted(graph.diseases().items())]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = [(n, d.names, list(here.triples(n))) for n, d in sorted(here.diseases().items())]
    assert done.stdout.strip() == repr(expected)
