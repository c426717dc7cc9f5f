"""The audit of summaries: what is true passes, and planted hallucinations of every kind are caught, each for its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.graphs import Disease, Edges, Triple
from emerge_ehr.rag.entities import Entity, Status
from emerge_ehr.rag.faithfulness import Faithfulness, faithfulness
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.ranking import signal_phenotypes
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.rag.summaries import Evidence, OfNothing, Statement, Summary
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import SIGNALS

DEFINITIONS = {
    1: (
        "pneumonia",
        "An acute infection of the lung parenchyma that causes cough and, in 20 percent, pleural effusion.",
    ),
    2: ("asthma", "A chronic disease of the airways."),
    3: ("type 2 diabetes mellitus", "Diabetes with insulin resistance."),
    4: ("atrial fibrillation", "An arrhythmia with a rapid irregular atrial rate."),
    5: ("pulmonary embolism", "A clot in a pulmonary artery."),
    6: ("lung disease", ""),
}
TRIPLES = {
    1: (
        ("indication", "amoxicillin"),
        ("contraindication", "propofol"),
        ("off-label use", "zinc sulfate"),
        ("phenotype present", "Cough"),
        ("phenotype present", "Fever"),
        ("phenotype absent", "Clubbing"),
        ("associated with", "MUC5B"),
        ("parent-child", "lung disease"),
    ),
    2: (("indication", "salbutamol"), ("phenotype present", "Wheezing"), ("associated with", "ADAM33")),
    3: (("indication", "metformin"), ("contraindication", "Prednisone")),
    5: (("indication", "heparin"),),
}


@dataclass(frozen=True)
class SmallGraph:
    def inputs(self) -> dict[Path, str]:
        return {}

    def diseases(self) -> dict[int, Disease]:
        return {node: Disease(node, (name,), definition, "") for node, (name, definition) in DEFINITIONS.items()}

    def triples(self, node_index: int) -> list[Triple]:
        name = DEFINITIONS[node_index][0]
        return [Triple(name, relation, relation, other) for relation, other in TRIPLES.get(node_index, ())]

    def edges(self) -> Edges:
        triples = [triple for node in DEFINITIONS for triple in self.triples(node)]
        rows = np.arange(len(triples))
        names = [triple.y_name for triple in triples]
        counts = [self.degree(node) for node in DEFINITIONS]
        relations = [(triple.relation, triple.display_relation) for triple in triples]
        start = np.cumsum([0, *counts])
        return Edges(np.array(list(DEFINITIONS)), start, rows, rows, relations, rows, ["node"] * len(rows), names)

    def degree(self, node_index: int) -> int:
        return len(self.triples(node_index))


SHOWN = signal_phenotypes.read(signal_phenotypes.BUILT_IN)
QUESTION, WINDOW = "death in this hospital admission", "first 48 h of the stay"
NOTES = "Pneumonia. Atrial fibrillation. Type 2 diabetes mellitus. No pulmonary embolism. Mother had asthma."
HEART = AbnormalSignal("heart_rate", "heart rate", "high", 142.0, "beats/min", 7, 3.21, 5)
SUGAR_LOW = AbnormalSignal("glucose", "glucose", "low", 41.0, "mg/dL", 3, -2.4, 1)
SUGAR_HIGH = AbnormalSignal("glucose", "glucose", "high", 388.0, "mg/dL", 30, 4.0, 9)
ACID = AbnormalSignal("ph", "pH", "low", 7.12, "pH", 2, -3.5, 4)
CAPILLARY = AbnormalSignal("capillary_refill_rate", "capillary refill", "high", 1.0, "0 normal, 1 delayed", 4, 2.5, 1)
KNOWN = (HEART, SUGAR_LOW, SUGAR_HIGH, ACID, CAPILLARY)
LINKED = ((1, "Pneumonia", 3), (4, "Atrial fibrillation", 1), (3, "Type 2 diabetes mellitus", 1))


@pytest.fixture(scope="module")
def auditor() -> faithfulness.Auditor:
    graph = SmallGraph()
    dictionary = components.build("entities", Component("rules"), graph=graph)
    return faithfulness.build(graph, dictionary, SIGNALS, SHOWN, QUESTION, WINDOW)


def evidence() -> Evidence:
    graph = SmallGraph()
    links = [Link(node, DEFINITIONS[node][0], surface, 1.0, count) for node, surface, count in LINKED]
    retrieved = {node: Retrieved(node, *DEFINITIONS[node], "", tuple(graph.triples(node)[:3])) for node, _, _ in LINKED}
    return Evidence(67.4, "F", KNOWN, links, retrieved)


def entities() -> tuple[Entity, ...]:
    def entity(surface: str, status: Status) -> Entity:
        start = NOTES.index(surface)
        return Entity(surface, surface.lower(), start, start + len(surface), status)

    present = [entity(surface, "present") for _, surface, _ in LINKED]
    return (*present, entity("pulmonary embolism", "negated"), entity("asthma", "family"))


def audit(auditor: faithfulness.Auditor, *texts: str, changed: Evidence | None = None) -> Faithfulness:
    summary = Summary(tuple(Statement(text, OfNothing("no signal")) for text in texts), "test")
    own = changed or evidence()
    charted = {(signal.code, signal.hour): signal.value for signal in KNOWN}
    values = [charted.get((signal.code, signal.hour), float("nan")) for signal in own.signals]
    (result,) = auditor.audit([summary], [own], [entities()], [(NOTES, values)])
    return result


TRUE = (
    "A 67-year-old woman, first 48 h of the stay; the question is death in this hospital admission.",
    "Abnormally high heart rate: 142 beats/min at hour 7 (z +3.2, 5 h beyond the threshold).",
    "Abnormally high capillary refill: 1 0 normal, 1 delayed at hour 4 (z +2.5, 1 h beyond the threshold).",
    "The heart rate was elevated to 142 beats/min, and the pH fell to 7.12 at hour 2.",
    "She was tachycardic (142 beats/min).",
    "Glucose was low at 41 mg/dL at hour 3 and later high at 388 mg/dL.",
    "Glucose ranged from 41 to 388 mg/dL.",
    "There was acidosis, with a pH of 7.1.",
    "The notes mention pneumonia (3 times).",
    "The notes mention pneumonia: An acute infection of the lung parenchyma that causes cough and, in 20 percent, pleural eff.",
    "pneumonia - indication: amoxicillin.",
    "pneumonia - phenotype present: Cough, Fever.",
    "pneumonia - parent-child: lung disease.",
    "Amoxicillin is indicated for pneumonia, but propofol is contraindicated in pneumonia.",
    "Pneumonia is treated with amoxicillin.",
    "Type 2 diabetes mellitus and atrial fibrillation are mentioned.",
    "Pneumonia, a form of lung disease, is associated with MUC5B.",
    "No pulmonary embolism was found.",
    "Family history of asthma.",
    "A 67-year-old female with pneumonia and a heart rate of 142 beats/min.",
)
FALSE = {
    # an invented disease, in and outside the dictionary
    "The patient has lung disease.": "not among the patient's diseases",
    "The patient has zorblatt syndrome.": "the evidence says nothing of it",
    "Atrial fibrillation is complicated by zorbocarditis.": "the evidence says nothing of it",
    # another patient's disease; a negated one, a relative's; a present one denied
    "The notes mention pulmonary embolism.": "the notes have it as negated only",
    "She suffers from asthma.": "the notes have it as family only",
    "There is no evidence of pneumonia.": "the notes have it as present",
    # values, hours, z, units
    "Heart rate was high at 172 beats/min.": "not among the patient's values of heart rate",
    "Heart rate was high at 142 beats/min at hour 9.": "not among the patient's values of heart rate",
    "Abnormally high heart rate (z +6.2).": "not among the patient's values of heart rate",
    "Heart rate was high for 11 h.": "not among the patient's values of heart rate",
    "Glucose was high at 388 mmHg.": "the unit is mg/dL",
    "Respiratory rate was 142 breaths/min.": "not among the patient's values of respiratory rate",
    "The temperature was high at hour 7.": "no abnormal value of it was found",
    "Lactate was 9.5.": "no signal is named",
    # a value of another signal
    "Glucose was 142 mg/dL.": "not among the patient's values of glucose",
    "Heart rate was 142 beats/min and glucose was 142 mg/dL.": "not among the patient's values of glucose",
    # directions
    "Heart rate was low at 142 beats/min.": "it was high",
    "Glucose was low at 388 mg/dL.": "not among the patient's values of glucose",
    "Bradycardia was noted.": "it was high",
    "The pH was elevated.": "it was low",
    "Heart rate was normal.": "it was high",
    "She was hypotensive.": "no abnormal value of it was found",
    # relations
    "Propofol is indicated for pneumonia.": "no triple connects it as indication",
    "Amoxicillin is contraindicated in pneumonia.": "no triple connects it as contraindication",
    "Metformin is indicated for pneumonia.": "no triple connects it as indication",
    "Zorbimab is indicated for pneumonia.": "no triple of the graph",
    "Pneumonia is treated with propofol.": "no triple connects it as indication",
    "pneumonia - phenotype present: Clubbing.": "no triple connects it as phenotype present",
    "pneumonia - indication: amoxicillin, heparin.": "no triple connects it as indication",
    "Pneumonia is associated with ADAM33.": "not connected with what the statement names",
    "Atrial fibrillation is indicated for pneumonia.": "no triple of the graph",
    "The high heart rate of 142 beats/min is due to pneumonia.": "a cause that neither documents nor notes state",
    # the person and the outcome
    "A 76-year-old woman.": "not the patient's age",
    "A 67-year-old man.": "not the patient's sex",
    "The notes mention pneumonia (5 times).": "not how often",
    "No abnormal signal was found.": "there is some",
    "No disease was found in the notes.": "there is some",
    "With pneumonia she is likely to die.": "it speaks of the outcome",
}


@pytest.mark.parametrize("text", TRUE)
def test_what_the_evidence_holds_is_supported(auditor: faithfulness.Auditor, text: str) -> None:
    result = audit(auditor, text)
    assert result.unsupported == () and result.supported == 1.0, result


@pytest.mark.parametrize(("text", "why"), FALSE.items())
def test_a_planted_hallucination_is_caught_and_named(auditor: faithfulness.Auditor, text: str, why: str) -> None:
    result = audit(auditor, text)
    assert result.supported == 0.0 and any(why in claim.why for claim in result.unsupported), result


def test_the_share_counts_statements_and_each_claim_says_where_it_stands(auditor: faithfulness.Auditor) -> None:
    result = audit(auditor, TRUE[1], "Heart rate was low.", TRUE[8], "The course was remarkable.")
    assert result.supported == 0.5 and result.statements == 4
    assert [claim.statement for claim in result.unsupported] == [1, 3]


def test_a_pronoun_speaks_of_the_disease_of_the_statement_before(auditor: faithfulness.Auditor) -> None:
    assert audit(auditor, "The notes mention pneumonia.", "It is treated with amoxicillin.").unsupported == ()
    assert audit(auditor, "The notes mention atrial fibrillation.", "It is treated with amoxicillin.").unsupported


def test_evidence_that_the_data_do_not_hold_supports_nothing(auditor: faithfulness.Auditor) -> None:
    claimed = evidence()
    wrong = replace(HEART, value=150.0)
    invented = Link(5, "pulmonary embolism", "PULMONARY EMBOLISM", 1.0, 1)
    documents = {**claimed.diseases, 5: Retrieved(5, *DEFINITIONS[5], "", ())}
    claimed = Evidence(claimed.age, claimed.sex, [wrong], [*claimed.links, invented], documents)
    texts = ("Heart rate was high at 150 beats/min.", "The notes mention pulmonary embolism.")
    assert audit(auditor, *texts, changed=claimed).supported == 0.0


def test_another_patients_summary_is_not_supported_by_this_ones_evidence(auditor: faithfulness.Auditor) -> None:
    nobody = Evidence(40.0, "M", [], [], {})
    assert audit(auditor, *TRUE[:17], changed=nobody).supported <= 0.06  # only what speaks of nobody's evidence


def test_no_summary_has_no_share(auditor: faithfulness.Auditor) -> None:
    empty = audit(auditor)
    assert empty.supported is None
    totals = faithfulness.totals([empty, audit(auditor, TRUE[1], "Heart rate was low.")])
    assert totals["share_of_statements_supported"] == 0.5 and totals["unsupported_claims"] == 1


def swapped(texts: Sequence[str], old: str, new: str) -> list[str]:
    return [text.replace(old, new) for text in texts]


@pytest.mark.parametrize(
    ("old", "new"), [("142", "143"), ("high", "low"), ("pneumonia", "asthma"), ("amoxicillin", "salbutamol")]
)
def test_one_changed_word_is_noticed(auditor: faithfulness.Auditor, old: str, new: str) -> None:
    for text in (TRUE[1], TRUE[8], TRUE[10]):
        if old in text:
            assert audit(auditor, *swapped([text], old, new)).supported == 0.0
