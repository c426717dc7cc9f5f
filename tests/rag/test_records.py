"""Entities, their context, linking and retrieval on a small graph written by the test."""

from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.config import Linking
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import Entity, EntityExtractor
from emerge_ehr.rag.patient_links import Chooser
from emerge_ehr.rag.ranking import hierarchy
from emerge_ehr.rag.ranking.places import NoteStart
from emerge_ehr.rag.retrieval import Query, Retrieved, sample

HEADER = "node_index,mondo_id,mondo_name,group_name_bert,mondo_definition,umls_description,orphanet_definition,"
HEADER += "orphanet_clinical_description,mayo_symptoms,mayo_causes\n"
DISEASES = {
    1: "pneumonia",
    2: "asthma",
    3: "myocardial infarction (disease)",
    4: "Crohn's disease",
    5: "kidney failure",
    6: "acute kidney failure",
    7: "atrial fibrillation (disease)",
}


@pytest.fixture
def graph_folder(tmp_path: Path) -> Path:
    rows = [f'{node},{node},"{name}",,A definition of {node}.,,nan,,,\n' for node, name in DISEASES.items()]
    (tmp_path / "disease_features.csv").write_text(HEADER + "".join(rows))
    edges = ["relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"]
    for node, name in DISEASES.items():
        for number in range(8):
            disease, phenotype = (
                f"{node},{node},disease,{name},MONDO",
                f"{100 + number},{node},effect/phenotype,P{number},HPO",
            )
            edges += [
                f"disease_phenotype_positive,phenotype present,{a},{b}\n"
                for a, b in ((disease, phenotype), (phenotype, disease))
            ]
    (tmp_path / "kg.csv").write_text("".join(edges))
    return tmp_path


@pytest.fixture
def graph(graph_folder: Path) -> KnowledgeGraph:
    return primekg.build(primekg.Options(), folder=graph_folder)


@pytest.fixture
def extractor(graph: KnowledgeGraph) -> EntityExtractor:
    built: EntityExtractor = components.build("entities", Component("rules"), graph=graph)
    return built


def test_only_present_diseases_are_linked_the_gravest_first_each_once(
    extractor: EntityExtractor, graph: KnowledgeGraph, tmp_path: Path
) -> None:
    text = "Asthma. Heart attack, then another heart attack: MI. No pneumonia. AKI."
    entities = extractor.extract([text])[0].entities
    linker = linking.build(graph, Linking(), 0, tmp_path)
    linked = linker.link(entity.name for entity in entities)
    chosen = Chooser(hierarchy.build(graph), 10).choose(entities, linked, text, [NoteStart(0, "Progress")])
    assert [(link.name, link.count) for link in chosen.links] == [
        ("myocardial infarction", 3),
        ("acute kidney failure", 1),
        ("asthma", 1),
    ]
    few = Chooser(hierarchy.build(graph), 1).choose(entities, linked, text, [NoteStart(0, "Progress")])
    assert [link.name for link in few.links] == ["myocardial infarction"]
    assert [(left.name, left.reason) for left in few.left_out] == [
        ("asthma", "beyond max_nodes"),
        ("acute kidney failure", "beyond max_nodes"),
    ]


def test_the_gravest_words_stand_for_a_disease_however_they_are_written_elsewhere(graph: KnowledgeGraph) -> None:
    text = "Severe acute kidney failure. Asthma. Shock from kidney failure. Gout."
    entities = [
        Entity(words, "acute kidney failure", text.index(words), text.index(words) + len(words), "present")
        for words in ("acute kidney failure", "Shock from kidney failure")
    ]
    linked = {"acute kidney failure": (6, 1.0, "acute kidney failure")}
    chosen = Chooser(hierarchy.build(graph), 10).choose(entities, linked, text, [NoteStart(0, "Progress")])
    assert [link.surface for link in chosen.links] == ["Shock from kidney failure"]


def test_a_near_name_links_above_the_threshold_and_a_strange_one_does_not(
    graph: KnowledgeGraph, tmp_path: Path
) -> None:
    linked = linking.build(graph, Linking(threshold=0.6), 0, tmp_path).link(["acute kidney failures", "broken toe"])
    assert linked["acute kidney failures"][0] == 6 and "broken toe" not in linked


def test_a_similar_name_adds_no_meaning_and_is_not_asked_of_exact_names(tmp_path: Path, graph: KnowledgeGraph) -> None:
    linker = linking.build(graph, Linking(threshold=0.3), 0, tmp_path)
    assert "kidney failures" in linker.link(["kidney failures"])
    assert linker.link(["kidney failures", "Asthma"], exact={"kidney failures", "asthma"}).keys() == {"asthma"}


@pytest.mark.parametrize(
    ("phrase", "name", "other"),
    [
        ("acute respiratory distress", "acute respiratory distress syndrome", True),
        ("neutrophilia", "hereditary neutrophilia", True),
        ("myoclonus", "myoclonus familial", True),
        ("diabetic retinopathy", "severe diabetic retinopathy", True),
        ("renal insufficiency", "chronic kidney insufficiency", True),
        ("polyp of colon", "malignant neoplasm of colon", True),
        ("myocardial necrosis", "myocardial disorder", True),
        ("renal cancer", "malignant neoplasm of kidney", False),
        ("inherited neutrophilia", "hereditary neutrophilia", False),
        ("familial colon cancer", "hereditary colon cancer syndrome", False),
        ("hypotension", "hypotensive disorder", False),
        ("renal dysfunction", "kidney disease", False),
        ("other forms of keratitis", "keratitis", False),
    ],
)
def test_a_similar_name_may_not_be_graver_or_narrower_than_the_phrase(phrase: str, name: str, other: bool) -> None:
    assert linking.says_other(phrase, name) is other


def test_sampled_triples_are_seeded_few_and_without_duplicates(graph: KnowledgeGraph) -> None:
    def sampled(seed: int) -> Retrieved:
        return sample.build(sample.Options(), graph=graph, seed=seed).retrieve([Query((3,), [])])[0][0]

    first, again = sampled(1), sampled(1)
    assert first == again and len(set(first.triples)) == 5
    assert all(triple.x_name == "myocardial infarction" for triple in first.triples)
    assert len(graph.triples(3)) == graph.degree(3) == 8
    assert any(sampled(seed) != first for seed in range(2, 6))


def test_tab_and_csv_files_give_the_same_graph(graph_folder: Path, graph: KnowledgeGraph) -> None:
    for name in ("kg", "disease_features"):
        path = graph_folder / f"{name}.csv"
        path.rename(path.with_suffix(".tab")).write_text((graph_folder / f"{name}.tab").read_text().replace(",", "\t"))
    again = primekg.build(primekg.Options(), folder=graph_folder)
    assert again.diseases() == graph.diseases() and again.triples(1) == graph.triples(1)
