"""The audit reads the notes too: what they say is supported in other words as well, and what nothing says is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.rag.faithfulness import Faithfulness, faithfulness
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.rag.summaries import Evidence, OfNothing, Statement, Summary
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import SIGNALS
from tests.rag.faithfulness.test_faithfulness import DEFINITIONS, SHOWN, SmallGraph

NOTES = (
    "Admitted with severe pneumonia of the right lower lobe; respiratory failure secondary to pneumonia. "
    "Atrial fibrillation in 2005. Takes metformin. Lasix held. Systolic heart failure, EF 20%. Pulmonary embolism was ruled out. "
    "Mother had asthma. Started on ceftriaxone three days ago. Bronchoscopy planned. No hydronephrosis on ultrasound. "
    "Lactate 4.1. Ex-smoker. Sister is a nurse."
)
SUGAR = AbnormalSignal("glucose", "glucose", "high", 388.0, "mg/dL", 30, 4.0, 5)
HEAT = AbnormalSignal("temperature", "temperature", "high", 39.4, "degrees Celsius", 12, 2.9, 6)
PRESSURE = AbnormalSignal("systolic_blood_pressure", "systolic blood pressure", "low", 84.0, "mmHg", 20, -2.3, 3)


@dataclass(frozen=True)
class Ward:
    auditor: faithfulness.Auditor
    notes: str = NOTES
    sex: str = "F"

    def audit(self, *texts: str) -> Faithfulness:
        """The audit of these statements; the patient has pneumonia, and atrial fibrillation in the past."""
        (extraction,) = self.auditor.reader.extractor.extract([self.notes])
        graph = SmallGraph()
        own = ((1, "pneumonia"), (4, "Atrial fibrillation"))
        links = [Link(node, DEFINITIONS[node][0], name, 1.0, 1) for node, name in own if name in self.notes]
        diseases = {
            link.node_index: Retrieved(
                link.node_index, *DEFINITIONS[link.node_index], "", tuple(graph.triples(link.node_index))
            )
            for link in links
        }
        evidence = Evidence(67.0, self.sex, [SUGAR, HEAT, PRESSURE], links, diseases)
        summary = Summary(tuple(Statement(text, OfNothing("no signal")) for text in texts), "test")
        values = [signal.value for signal in evidence.signals]
        (result,) = self.auditor.audit([summary], [evidence], [extraction.entities], [(self.notes, values)])
        return result


def auditor(
    question: str = "death in this hospital admission", shown: Mapping[tuple[str, str], Sequence[str]] = SHOWN
) -> faithfulness.Auditor:
    dictionary = components.build("entities", Component("rules"), graph=SmallGraph())
    return faithfulness.build(SmallGraph(), dictionary, SIGNALS, shown, question, "first 48 h of the stay")


def test_what_a_signal_shows_is_what_the_table_given_says() -> None:
    told = "High temperature is a known manifestation of pneumonia."
    assert Ward(auditor()).audit(told).supported == 1.0
    assert Ward(auditor(shown={("temperature", "high"): ["Rash"]})).audit(told).supported == 0.0


@pytest.fixture(scope="module")
def ward() -> Ward:
    return Ward(auditor())


TRUE = (
    # in the words of the notes, and in others
    "Respiratory failure was secondary to pneumonia.",
    "She takes metformin.",
    "Atrial fibrillation in 2005.",
    "Pulmonary embolism was ruled out.",
    "Furosemide was withheld.",
    "The ejection fraction was 20%.",
    "She has been on an antibiotic for 3 days; ceftriaxone was initiated three days ago.",
    "A bronchoscopy is planned.",
    "Ultrasound showed no hydronephrosis.",
    "Her lactate was 4.1.",
    "She is a former smoker.",
    # a disease's name that holds a word of a signal
    "Systolic heart failure, with a systolic blood pressure of 84 mmHg at hour 20.",
    # numbers in words, other units, approximations, durations
    "Glucose was high at three hundred and eighty-eight mg/dL.",
    "Glucose was 21.5 mmol/L at hour 30.",
    "The temperature rose to 102.9 °F.",
    "Fever above 39 degrees Celsius lasted six hours.",
    "The systolic pressure briefly fell to about 85 mmHg.",
    "A systolic pressure as low as 84 mm Hg was measured on the first day.",
    "Three abnormal signals were found.",
    # the sentences of the template
    "Present: pneumonia, “severe pneumonia of the right lower lobe”.",
    "History: atrial fibrillation, “Atrial fibrillation in 2005”.",
    "Denied: Pulmonary embolism.",
    "Family history: asthma.",
    "High temperature (Fever) is a known manifestation of pneumonia.",
    "Amoxicillin is indicated in pneumonia.",
    "Pneumonia can come with Cough, Fever.",
)
FALSE = {
    # units, durations, numbers in words
    "Glucose was 388 mmol/L.": "the unit is mg/dL",
    "The temperature was 39.4 degrees Fahrenheit.": "the unit is degrees Celsius",
    "Glucose was high for twelve hours.": "not among the patient's values",
    "Fever lasted six days.": "not among the patient's values",
    "Glucose was high at four hundred mg/dL.": "not among the patient's values",
    "The systolic pressure was below 70 mmHg.": "not among the patient's values",
    "The temperature was high throughout.": "not what the signal's hours and z-score say",
    "Five abnormal signals were found.": "there are 3",
    # what the graph says in general, told of the patient
    "She is receiving amoxicillin.": "not among the patient's diseases",
    "She is receiving amoxicillin for pneumonia.": "the notes do not say it of the patient",
    "She has pneumonia with pleural effusion.": "the notes do not say it of the patient",
    "Pneumonia was treated with amoxicillin.": "the notes do not say it of the patient",
    # the course of a disease
    "Her pneumonia has resolved.": "the evidence says nothing of it",
    "The pneumonia is improving.": "the evidence says nothing of it",
    "She never had pneumonia.": "the notes have it as present",
    "Atrial fibrillation occurred during this admission.": "the notes have it as historical only",
    "New atrial fibrillation is noted.": "the notes have it as historical only",
    "Pneumonia of the left lower lobe was seen.": "the evidence says nothing of it",
    "The pneumonia is mild.": "the evidence says nothing of it",
    # the notes say otherwise
    "Lasix was given.": "the notes say otherwise of it",
    "A bronchoscopy was performed.": "the notes say otherwise of it",
    "Ultrasound showed hydronephrosis.": "the notes say otherwise of it",
    "She is a smoker.": "the notes say otherwise of it",
    "Her lactate was 1.4.": "no signal is named",
    "Atrial fibrillation in 2015.": "no signal is named",
    "Respiratory failure was secondary to asthma.": "a cause that neither",
    "Present: pneumonia, “mild pneumonia”.": "the notes do not hold these words",
    # nothing in the evidence speaks of it
    "She died.": "the evidence says nothing of it",
    "She is intubated.": "the evidence says nothing of it",
    "He takes metformin.": "not the patient's sex",
    "An octogenarian with pneumonia.": "not the patient's age",
    "The patient was seen.": "it says nothing that the evidence could support",
}


@pytest.mark.parametrize("text", TRUE)
def test_what_notes_signals_and_graph_hold_is_supported(ward: Ward, text: str) -> None:
    result = ward.audit(text)
    assert result.unsupported == () and result.supported == 1.0, result


@pytest.mark.parametrize(("text", "why"), FALSE.items())
def test_what_they_do_not_hold_is_named(ward: Ward, text: str, why: str) -> None:
    result = ward.audit(text)
    assert result.supported == 0.0 and any(why in claim.why for claim in result.unsupported), result


def test_a_verdict_is_not_carried_over_to_another_patient(ward: Ward) -> None:
    texts = ("She takes metformin.", "Pneumonia is mentioned.", "Glucose was high.", "A woman with severe pneumonia.")
    other = replace(ward, notes="Atrial fibrillation. No pneumonia. Never took metformin.", sex="M")
    assert ward.audit(*texts).supported == 1.0
    assert [claim.statement for claim in other.audit(*texts).unsupported if claim.statement != 2] != []
    assert {claim.statement for claim in other.audit(*texts).unsupported} == {0, 1, 3}
    assert ward.audit(*texts).supported == 1.0


def test_a_question_that_names_a_disease_is_no_claim_about_the_patient() -> None:
    asks = Ward(auditor("lung disease"))
    assert asks.audit("A 67-year-old woman, first 48 h of the stay; the question is lung disease.").supported == 1.0
    assert asks.audit("She has lung disease.").supported == 0.0
    assert Ward(auditor("pneumonia")).audit("The notes mention pneumonia.").supported == 1.0
