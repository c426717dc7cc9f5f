"""The audit takes what was given as evidence, and only that: no drug that was not, no relation that the graph does not hold."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from emerge_ehr.rag.faithfulness import faithfulness
from emerge_ehr.rag.summaries import Evidence
from emerge_ehr.rag.summaries.template import Options, Template
from emerge_ehr.rag.treatments import Contraindication, Given
from tests.rag.faithfulness.test_faithfulness import KNOWN, NOTES, QUESTION, WINDOW, audit, auditor, entities, evidence

__all__ = ["auditor"]
GIVEN = (
    Given("propofol", 10, "infusion", 2, ("Propofol",)),
    Given("norepinephrine", None, "infusion", 3, ("Levophed",)),
    Given("prednisone", 11, "prescription", 5, ("PredniSONE",)),
    Given("salbutamol", 12, "prescription", 6, ("Albuterol",)),
    Given("senna", None, "prescription", 7, ("Senna",)),
)
AGAINST = (
    Contraindication("propofol", 10, "infusion", 1, "pneumonia"),
    Contraindication("prednisone", 11, "prescription", 3, "type 2 diabetes mellitus"),
)


def treated() -> Evidence:
    return replace(evidence(), treatments=GIVEN, contraindications=AGAINST)


def test_what_the_template_tells_of_treatments_is_supported_and_told_once(auditor: faithfulness.Auditor) -> None:
    (summary,) = Template(Options(), QUESTION, WINDOW).summarise([treated()])
    told = [one.text for one in summary.statements if one.evidence.kind in ("treatments", "contraindications")]
    assert told == [
        "Propofol, infused, is contraindicated in pneumonia by the knowledge graph.",
        "Prednisone, prescribed, is contraindicated in type 2 diabetes mellitus by the knowledge graph.",
        "Infused: propofol, norepinephrine.",
        "Prescribed: prednisone, salbutamol, senna.",
    ]
    values = [signal.value for signal in KNOWN]
    (result,) = auditor.audit([summary], [treated()], [entities()], [(NOTES, values)])
    assert result.unsupported == () and result.supported == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "The patient receives prednisone and salbutamol.",
        "Norepinephrine was infused.",
        "The patient is on propofol and prednisone.",
        "Prednisone is contraindicated in the patient's type 2 diabetes mellitus.",
    ],
)
def test_what_a_model_says_of_treatments_in_its_own_words_is_supported(
    auditor: faithfulness.Auditor, text: str
) -> None:
    assert audit(auditor, text, changed=treated()).unsupported == ()
    assert audit(auditor, text).unsupported or "contraindicated in the patient" in text  # the graph's word alone


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("Infused: heparin.", "heparin"),
        ("Infused: propofol, vasopressin.", "vasopressin"),
        ("Prednisone was infused.", "infused"),  # it was prescribed
        ("Propofol was stopped.", "Propofol"),
        ("The patient was not given propofol.", "propofol"),
        ("Prednisone, prescribed, is contraindicated in pneumonia by the knowledge graph.", "Prednisone"),
        ("Salbutamol, prescribed, is contraindicated in pneumonia by the knowledge graph.", "Salbutamol"),
        ("Propofol, infused, is indicated in pneumonia by the knowledge graph.", "Propofol"),
        ("Norepinephrine, infused, is contraindicated in pneumonia by the knowledge graph.", "Norepinephrine"),
    ],
)
def test_what_was_not_given_or_is_no_edge_is_not_supported(
    auditor: faithfulness.Auditor, text: str, claim: str
) -> None:
    assert claim in {wrong.claim for wrong in audit(auditor, text, changed=treated()).unsupported}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_verdict_on_one_patients_treatment_is_not_anothers(
    auditor: faithfulness.Auditor, order: Sequence[int]
) -> None:
    text, patients = "Norepinephrine was infused.", (treated(), evidence())
    for n in order:
        assert bool(audit(auditor, text, changed=patients[n]).unsupported) == (n == 1)
