"""Which phenotypes and signals a summary tells of a disease."""

from pathlib import Path

import pytest

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.ranking import connections
from emerge_ehr.rag.ranking.findings import alike
from emerge_ehr.signals.abnormal import AbnormalSignal

DISEASES = {1: "hypotensive disorder", 2: "sepsis", 3: "stroke", 4: "gout", 5: "lymphoma", 6: "hypertensive disorder"}
PHENOTYPES = {
    11: ("Hypertension", [1, 2, 3, 4, 6]),
    12: ("Hypotension", [1, 2, 6]),
    13: ("Lymphoma", [2, 3, 4]),
    14: ("Infertility", [2, 3, 4]),
    15: ("Fever", [2, 3, 4, 6]),
    16: ("Small for gestational age", [2, 3, 4]),
}
SHOWN = {
    ("mean_blood_pressure", "high"): ["Hypertension"],
    ("mean_blood_pressure", "low"): ["Hypotension"],
}


@pytest.fixture
def known(tmp_path: Path) -> connections.Connections:
    texts = "umls_description,orphanet_definition,orphanet_clinical_description,mayo_symptoms,mayo_causes"
    rows = "".join(f"{n},{name},,,,,,,\n" for n, name in DISEASES.items())
    (tmp_path / "disease_features.csv").write_text(
        f"node_index,mondo_name,group_name_bert,mondo_definition,{texts}\n{rows}"
    )
    lines = ["relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"]
    for y, (name, diseases) in PHENOTYPES.items():
        lines += [
            f"disease_phenotype_positive,phenotype present,{x},{x},disease,{DISEASES[x]},M,{y},{y},effect/phenotype,{name},H\n"
            for x in diseases
        ]
    (tmp_path / "kg.csv").write_text("".join(lines))
    graph: KnowledgeGraph = primekg.build(primekg.Options(), folder=tmp_path)
    return connections.build(graph, SHOWN)


def explained(known: connections.Connections, z: float, hours: int, status: str = "present") -> list[int]:
    links = [Link(n, name, name, 1.0, 1, None, status) for n, name in DISEASES.items()]  # type: ignore[arg-type]
    signal = AbnormalSignal("mean_blood_pressure", "mean blood pressure", "high", 190.0, "mmHg", 7, z, hours)
    return [node for node, told in known.of(links, [signal], "").items() if told.manifestations]


def test_a_signal_is_told_of_the_two_most_specific_diseases_and_a_brief_one_of_one(
    known: connections.Connections,
) -> None:
    assert explained(known, 5.0, 6) == [3, 4]
    assert explained(known, 2.1, 1) == [3]
    assert explained(known, 5.0, 6, "historical") == []


def test_no_signal_is_told_of_the_disease_that_it_is_or_is_the_opposite_of(known: connections.Connections) -> None:
    signal = AbnormalSignal("mean_blood_pressure", "mean blood pressure", "high", 190.0, "mmHg", 7, 5.0, 6)
    for node in (1, 6):
        told = known.of([Link(node, DISEASES[node], DISEASES[node], 1.0, 1)], [signal], "")[node]
        assert not told.manifestations and not {"Hypertension", "Hypotension"} & told.findings.keys()


def test_only_findings_of_adults_are_told_in_general(known: connections.Connections) -> None:
    notes = "Fevers, lymphoma, infertility; small for gestational age."
    told = known.of([Link(2, "sepsis", "sepsis", 1.0, 1)], [], notes)[2].findings
    assert told["Fever"] == "fever" and not {"Lymphoma", "Infertility", "Small for gestational age"} & told.keys()
    assert not known.of([Link(2, "sepsis", "sepsis", 1.0, 1)], [], "Well.")[2].findings


def test_a_word_with_another_ending_is_alike_and_an_opposite_is_not() -> None:
    assert alike("hypotensive disorder", "Hypotension") and not alike("hypotensive disorder", "Hypertension")
    assert not alike("sepsis", "Fever")
