"""The template's summary as a reader meets it: what matters first, in the notes' own words, and mostly about the patient."""

import dataclasses
from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph, Triple
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import Entity, Status
from emerge_ehr.rag.names import name_index
from emerge_ehr.rag.patient_links import Chooser, Link, PatientLinks
from emerge_ehr.rag.ranking import connections, hierarchy, places
from emerge_ehr.rag.ranking.connections import Connected, Manifestation
from emerge_ehr.rag.ranking.places import NoteStart
from emerge_ehr.rag.retrieval import Query, Retrieved, degree
from emerge_ehr.rag.summaries import Evidence, Summary
from emerge_ehr.signals.abnormal import AbnormalSignal

HEADER = "node_index,mondo_id,mondo_name,group_name_bert,mondo_definition,umls_description,orphanet_definition,"
HEADER += "orphanet_clinical_description,mayo_symptoms,mayo_causes\n"
DISEASES = {
    1: ("sepsis", "OBSOLETE. A reaction to an infection. It spreads through the whole body and stops at nothing,"),
    2: ("gastroesophageal reflux disease", "Acid that flows back."),
    3: ("obesity disorder", "Acid that flows back."),
    4: ("diabetes mellitus", "High glucose."),
    5: ("type 2 diabetes mellitus", "High glucose of adults, which " + "very " * 80 + "often comes late."),
    6: ("anxiety", "Worry."),
    7: ("anxiety disorder", "Much worry."),
    8: ("stroke", "A lack of blood."),
    9: ("obsolete hyperuricemia", "Much uric acid."),
}
EDGES = [
    ("disease_phenotype_positive", "phenotype present", 1, 101, "effect/phenotype", "Tachycardia"),
    ("disease_phenotype_positive", "phenotype present", 1, 102, "effect/phenotype", "Sepsis"),
    ("disease_phenotype_positive", "phenotype present", 1, 103, "effect/phenotype", "Fever"),
    ("disease_protein", "associated with", 1, 104, "gene/protein", "IL6"),
    ("contraindication", "contraindication", 1, 105, "drug", "Ibuprofen"),
    ("contraindication", "contraindication", 1, 106, "drug", "Ketoprofen"),
    ("disease_disease", "parent-child", 4, 5, "disease", "type 2 diabetes mellitus"),
]


@pytest.fixture
def graph(tmp_path: Path) -> KnowledgeGraph:
    rows = [f'{node},{node},"{name}",,"{text}",,nan,,,\n' for node, (name, text) in DISEASES.items()]
    (tmp_path / "disease_features.csv").write_text(HEADER + "".join(rows))
    lines = ["relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"]
    for relation, shown, x, y, kind, name in EDGES:
        ends = f"{x},{x},disease,{DISEASES[x][0]},MONDO", f"{y},{y},{kind},{name},HPO"
        lines += [f"{relation},{shown},{a},{b}\n" for a, b in (ends, ends[::-1])]
    (tmp_path / "kg.csv").write_text("".join(lines))
    return primekg.build(primekg.Options(), folder=tmp_path)


def chosen(
    graph: KnowledgeGraph, notes: list[tuple[str, str]], most: int = 10
) -> tuple[PatientLinks, str, list[Entity]]:
    """The diseases of a patient with these notes (type and text)."""
    starts, text = [], ""
    for kind, note in notes:
        starts.append(NoteStart(len(text), kind))
        text += note + "\n\n"
    extractor = components.build("entities", Component("rules"), graph=graph)
    entities = list(extractor.extract([text])[0].entities)
    index = name_index(graph)
    linked = {name: (node, 1.0, name) for name, node in index.items()}
    return Chooser(hierarchy.build(graph), most).choose(entities, linked, text, starts), text, entities


def names(links: PatientLinks) -> list[str]:
    return [link.name for link in links.links]


def summary(graph: KnowledgeGraph, notes: list[tuple[str, str]], drop: str = "") -> Summary:
    links, text, entities = chosen(graph, notes)
    signal = AbnormalSignal("heart_rate", "heart rate", "high", 142.0, "beats/min", 7, 3.2, 5)
    joined = connections.build(graph, {("heart_rate", "high"): ["Tachycardia"]})
    connected = joined.of(links.links, [signal], text)
    query = Query(tuple(link.node_index for link in links.links), [signal])
    retrieved: tuple[Retrieved, ...] = degree.build(degree.Options(), graph=graph, seed=0).retrieve([query])[0]
    asides = {"negated": tuple(entity.surface for entity in entities if entity.status == "negated")}
    known = {disease.node_index: disease for disease in retrieved}
    evidence = Evidence(67.0, "F", [signal], links.links, known, connected, asides)  # type: ignore[arg-type]
    template = components.build("summary", Component("template"), question="death", window="first 48 h", llm=None)
    written: Summary = template.summarise([evidence])[0]
    return written


def test_the_disease_of_a_notes_title_comes_before_a_long_past_history(graph: KnowledgeGraph) -> None:
    history = "Past Medical History:\n- GERD\n- GERD\n- obesity\n- obesity\n"
    links, _, _ = chosen(
        graph, [("past history", history), ("Consult", "Consult - Sepsis\nSeen today.\n" + history)], most=1
    )
    assert names(links) == ["sepsis"]
    assert {left.reason for left in links.left_out} == {"beyond max_nodes"}


def test_a_present_disease_comes_before_a_past_one_and_a_severe_one_before_a_mild_one(graph: KnowledgeGraph) -> None:
    links, _, _ = chosen(graph, [("Progress", "History of stroke. Mild anxiety. Severe obesity.")])
    assert names(links) == ["obesity disorder", "anxiety", "stroke"]


def test_what_later_notes_still_mention_comes_before_what_only_an_early_one_does(graph: KnowledgeGraph) -> None:
    links, _, _ = chosen(graph, [("Progress", "Obesity."), ("Progress", "Seen."), ("Progress", "GERD.")])
    assert names(links) == ["gastroesophageal reflux disease", "obesity disorder"]


def test_a_disease_and_its_ancestor_take_one_place_and_so_do_two_names_of_one_disease(graph: KnowledgeGraph) -> None:
    links, _, _ = chosen(
        graph, [("Progress", "Diabetes mellitus, type 2 diabetes mellitus. Anxiety, anxiety disorder.")]
    )
    assert sorted(names(links)) == ["anxiety", "type 2 diabetes mellitus"]
    assert [(left.name, left.reason, left.kept) for left in links.left_out] == [
        ("diabetes mellitus", "more general", 5),
        ("anxiety disorder", "same disease", 6),
    ]
    assert next(link.count for link in links.links if link.node_index == 5) == 2


def evidence_of(age: float, signals: list[AbnormalSignal], link: Link, phenotypes: dict[str, str]) -> Evidence:
    triples = tuple(Triple(link.name, "disease_phenotype_positive", "phenotype present", name) for name in phenotypes)
    shown = tuple(Manifestation(1, signal, "Hypertension") for signal in signals)
    connected = Connected(shown, (), (), (), phenotypes)
    retrieved = Retrieved(1, link.name, "An acute state. (CDISC)", "", triples)
    asides: dict[Status, tuple[str, ...]] = {"present": ("GI bleeding", "upper GI bleeding", "hypovolemia")}
    return Evidence(age, "F", signals, [link], {1: retrieved}, {1: connected}, asides)


def test_the_english_of_a_summary_has_no_capitals_units_or_sources_that_nobody_writes() -> None:
    template = components.build("summary", Component("template"), question="death", window="first 48 h", llm=None)
    blood = [
        AbnormalSignal(f"{kind}_blood_pressure", f"{kind} blood pressure", "high", 190.0, "mmHg", 7, 3.2, 5)
        for kind in ("mean", "systolic")
    ]
    oxygen = AbnormalSignal("fraction_inspired_oxygen", "inspired oxygen", "high", 0.8, "fraction", 7, 3.2, 5)
    link = Link(1, "bacterial infectious disease with sepsis", "septic shock", 1.0, 1, None, "present", "septic shock")
    evidence = evidence_of(82.0, blood, link, {"Hypertension": "hypertension", "Fever": "fever"})
    text = template.summarise([dataclasses.replace(evidence, signals=[*blood, oxygen])])[0].text
    assert text.startswith("An 82-year-old woman")
    assert "Present: “septic shock” (bacterial infectious disease with sepsis)." in text
    assert "High mean blood pressure and systolic blood pressure (hypertension) are known manifestations of" in text
    assert "can come with fever." in text  # the pressure's phenotype is told once
    assert "0.8 at hour" in text and "An acute state." in text and "CDISC" not in text
    assert "Also noted: upper GI bleeding, hypovolemia." in text


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("He had a severe stroke in 1995, and aspirin.", "severe stroke in 1995"),
        ("Acute on chronic stroke.", "Acute on chronic stroke"),
        ("Stroke, severe.", "Stroke, severe"),
        ("stroke two years ago", "stroke two years ago"),
        ("Stroke since March 2010. Then 2 mg.", "Stroke since March 2010"),
        ("stroke (2005)", "stroke (2005)"),
        ("- stroke: severe\n- sepsis", "stroke: severe"),
        ("- stroke - probable by scan", "stroke - probable by scan"),
        ("- stroke with rapid ventricular response", "stroke with rapid ventricular response"),
        ("- stroke (no residual weakness)\n", "stroke (no residual weakness)"),
        ("- stroke, sepsis, gout", "stroke"),
        ("He has stroke: probable. Then more", "stroke: probable"),
        ("Stroke - acute, on aspirin.", "Stroke - acute"),
        ("Plan - stroke", "stroke"),
        ("No stroke.\n1995 was a good year", "stroke"),
        ("stroke 40 mg in 2 doses", "stroke"),
    ],
)
def test_the_quotation_holds_severity_and_time_and_no_more(note: str, words: str) -> None:
    start = note.lower().index("stroke")
    assert places.quote(note, start, start + 6) == words


def test_the_summary_says_what_is_present_past_and_denied_in_the_words_of_the_notes(graph: KnowledgeGraph) -> None:
    text = summary(
        graph, [("Progress", "Severe sepsis. Had a stroke in 1995. No GERD. On ibuprofen. Fevers overnight.")]
    ).text
    assert "Present: “Severe sepsis”." in text and "“stroke in 1995”." in text and "Denied: GERD." in text
    assert (
        text.index("Present: “Severe sepsis”")
        < text.index("142 beats/min")
        < text.index("Denied")
        < text.index("can come with")
    )
    assert "High heart rate (tachycardia) is a known manifestation of sepsis." in text
    assert "Ibuprofen, named in the notes, is contraindicated in sepsis." in text


def test_the_summary_tells_no_gene_no_circle_and_no_drug_that_the_notes_do_not_name(graph: KnowledgeGraph) -> None:
    text = summary(graph, [("Progress", "Sepsis. Spikes fevers.")]).text
    assert "Sepsis can come with fever." in text
    for said in ("", "No fevers.", "Denies chills, fever."):  # the notes do not say that there is fever
        assert "can come with" not in summary(graph, [("Progress", f"Sepsis. {said}")]).text
    assert not any(word in text for word in ("IL6", "Ketoprofen", "Ibuprofen", "with Sepsis", ", Sepsis"))


def test_definitions_are_whole_told_once_and_never_called_obsolete(graph: KnowledgeGraph) -> None:
    long = "Sepsis with obesity, GERD, hyperuricemia, anxiety, and type 2 diabetes mellitus. " * 3
    text = summary(graph, [("Progress", long)]).text
    assert "A reaction to an infection." in text and "stops at" not in text
    assert text.count("Acid that flows back.") == 1 and "very very" not in text
    assert "obsolete" not in text.lower()


def test_at_least_half_of_the_summary_is_about_the_patient(graph: KnowledgeGraph) -> None:
    for note in ("Sepsis.", "No sepsis.", "Sepsis, GERD, obesity, anxiety and stroke.", "Nothing."):
        statements = summary(graph, [("Progress", note)]).statements
        general = sum(len(statement.text) for statement in statements if statement.of_graph)
        assert 2 * general <= sum(len(statement.text) for statement in statements) + len(statements)
