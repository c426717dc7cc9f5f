"""What every entity extractor promises, whichever it is; one that asks a model also where the model answers nonsense."""

from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import EntityExtractor, Extraction
from tests.examples import chosen
from tests.rag import llm_plugs
from tests.rag.llm_plugs import Serve

PLUGS = components.names("entities")
TEXTS = [
    "Admitted with pneumonia. No sepsis.\nHeart failure, then PNEUMONIA again; heart failure.",
    "",
    " \n",
    "Nothing of note.",
    "Ünïcode – “sepsis”, été: pneumonia…",
]
STATUSES = {"present", "negated", "family", "hypothetical", "historical"}


@pytest.fixture(scope="module")
def graph(mini_graph: Path) -> KnowledgeGraph:
    return primekg.build(primekg.Options(), folder=mini_graph)


def extractor(plug: str, graph: KnowledgeGraph, folder: Path, serve: Serve, nonsense: bool = False) -> EntityExtractor:
    answer = (lambda body: llm_plugs.NONSENSE) if nonsense else None
    built: EntityExtractor = components.build(
        "entities",
        chosen("entities", plug),
        graph=graph,
        llm=llm_plugs.chat("entities", plug, folder, serve, answer),
    )
    return built


def require_literal(text: str, extraction: Extraction) -> None:
    """Mentions stand in the text where they say, in order, and none in another."""
    end = 0
    for entity in extraction.entities:
        assert end <= entity.start < entity.end, f"{entity} overlaps the one before, or is not in order"
        assert text[entity.start : entity.end] == entity.surface, f"{entity} does not stand in the text there"
        assert entity.name.strip() and entity.status in STATUSES
        end = entity.end


@pytest.mark.parametrize("nonsense", [False, True])
@pytest.mark.parametrize("plug", PLUGS)
def test_mentions_occur_literally_in_order_and_without_overlap(
    plug: str, nonsense: bool, graph: KnowledgeGraph, tmp_path: Path, serve: Serve
) -> None:
    found = extractor(plug, graph, tmp_path, serve, nonsense).extract(TEXTS)
    assert len(found) == len(TEXTS)
    for text, extraction in zip(TEXTS, found, strict=True):
        require_literal(text, extraction)
        assert extraction.backend in PLUGS
    assert not any(found[place].entities for place in (1, 2))


@pytest.mark.parametrize("plug", PLUGS)
def test_a_text_gives_the_same_alone_as_among_others_and_again(
    plug: str, graph: KnowledgeGraph, tmp_path: Path, serve: Serve
) -> None:
    built = extractor(plug, graph, tmp_path, serve)
    together = built.extract(TEXTS)
    assert built.extract(TEXTS[::-1]) == together[::-1]
    fresh = extractor(plug, graph, tmp_path / "fresh", serve)
    assert [fresh.extract([text])[0] for text in TEXTS] == together
    assert built.extract([]) == []


def test_a_mention_that_is_not_in_the_text_is_named() -> None:
    from emerge_ehr.rag.entities import Entity

    with pytest.raises(AssertionError, match="does not stand in the text there"):
        require_literal("sepsis", Extraction((Entity("asthma", "asthma", 0, 6, "present"),), "x"))
