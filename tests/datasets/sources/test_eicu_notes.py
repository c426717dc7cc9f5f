"""Notes of source eicu: what each entry of a form or a list says, whose disease it is and when; on entries of the real half."""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.datasets import window
from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources.eicu import forms
from emerge_ehr.datasets.sources.eicu.notes import diagnosis_line
from emerge_ehr.fields import Component
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import Entity, rules
from emerge_ehr.rag.mentions.context import statuses
from tests.datasets.sources.examples.eicu import Rows, element, stay
from tests.datasets.sources.test_eicu import FORM, small, source
from tests.places import SHARED

HALF = SHARED / "eicu-crd-demo-2.0-half"
PAST = "notes/Progress Notes/Past History"
REVIEW = f"{FORM}/Review Of Systems/Systems"
FAMILY = f"{FORM}/Social History / Family History/Family History"
ORGANS = f"{PAST}/Organ Systems"


def cohort_of(raw: Path, until: int = 2880) -> pl.DataFrame:
    """All stays, with windows of that many minutes from unit admission."""
    stays: pl.DataFrame = source(raw).stays().table
    end = pl.col("intime") + pl.duration(minutes=until)
    return stays.select(
        pl.col("stay_id").alias("patient_id"),
        "subject_id",
        "hadm_id",
        "stay_id",
        "admittime",
        pl.col("intime").alias("window_start"),
        end.alias("window_end"),
    )


def notes_of(raw: Path) -> Notes:
    cohort = cohort_of(raw)
    return window.notes(source(raw).notes(cohort), cohort)


def history(number: int, offset: int, entered: int, path: str, text: str | None = None) -> dict[str, Any]:
    value = re.split(r"/(?!p )", path)[-1]
    return {
        "pasthistoryid": number,
        "patientunitstayid": 1,
        "pasthistoryoffset": offset,
        "pasthistoryenteredoffset": entered,
        "pasthistorynotetype": "Admission",
        "pasthistorypath": path,
        "pasthistoryvalue": value,
        "pasthistoryvaluetext": text or value,
    }


def admitted(number: int, path: str, text: str | None = None) -> dict[str, Any]:
    name = path.rsplit("|", maxsplit=1)[-1]
    return {
        "admissiondxid": number,
        "patientunitstayid": 1,
        "admitdxenteredoffset": 20,
        "admitdxpath": f"admission diagnosis|{path}",
        "admitdxname": name,
        "admitdxtext": text or name,
    }


def status(text: str, mention: str) -> str:
    start = text.index(mention)
    return statuses(text, [(start, start + len(mention))])[0]


@pytest.mark.parametrize(
    ("path", "value", "text", "heading", "line"),
    [
        (f"{FAMILY}/Family History/CAD/CAD", "CAD", "CAD", "Family History", "CAD"),
        (f"{FAMILY}/Family History/Cancer/Cancer", "Cancer", "Cancer", "Family History", "Cancer"),
        (f"{REVIEW}/Neurologic/Print \"Negative\"/negative", "negative", "", "Review Of Systems", "Neurologic: negative"),
        (f"{REVIEW}/Hematology/Oncology/Print \"Negative\"/negative", "negative", "", "Review Of Systems",
         "Hematology/Oncology: negative"),
        (f"{REVIEW}/Neurologic/Seizures/denies seizures", "denies seizures", "denies seizures", "Review Of Systems",
         "denies seizures"),
        (f"{REVIEW}/Pulmonary/Asthma / Wheezing/denies asthma/wheezing", "denies asthma/wheezing", "", "Review Of Systems",
         "denies asthma/wheezing"),
        (f"{REVIEW}/Hematology/Oncology/Easy Bruising/easy bruising", "easy bruising", "", "Review Of Systems",
         "easy bruising"),
        (f"{FORM}/Admission Page One/Reason for Readmission:/recurrence/worsening of old clinical problem",
         "recurrence/worsening of old clinical problem", "", "Admission Page One",
         "Reason for Readmission: recurrence/worsening of old clinical problem"),
        (f"{FORM}/Social History / Family History/Social History/Social History/Ethanol Use/none", "none", "none",
         "Social History", "no Ethanol Use"),
        (f"{FORM}/Allergies / Preadmission Medications/Allergies/Yes", "Yes", "Yes",
         "Allergies / Preadmission Medications", "Allergies"),
        (f"{FORM}/Interventions/Intermediate/Best-practice therapies (e.g. DVT, beta blocker, etc.)",
         "Best-practice therapies (e.g. DVT, beta blocker, etc.)", "", "Interventions", "Intermediate: Best-practice therapies"),
        (f"{ORGANS}/Renal  (R)/s/p Renal Transplant/s/p renal transplant", "s/p renal transplant", "", "Past Medical History",
         "s/p renal transplant"),
        (f"{ORGANS}/Pulmonary/Pulmonary Function Tests/FEV1/FVC Ratio/FEV1/FVC ratio 41-50", "FEV1/FVC ratio 41-50", "",
         "Past Medical History", "FEV1/FVC ratio 41-50"),
        (f"{ORGANS}/Endocrine (R)/Non-Insulin Dependent Diabetes/medication dependent", "medication dependent", "",
         "Past Medical History", "Non-Insulin Dependent Diabetes: medication dependent"),
        (f"{ORGANS}/Hematology/Oncology (R)/Cancer/Cancer-Primary Site/lung", "lung", "lung", "Past Medical History",
         "lung cancer"),
        (f"{ORGANS}/Hematology/Oncology (R)/Cancer/Cancer-Primary Site/pancreas - adenocarcinoma",
         "pancreas - adenocarcinoma", "", "Past Medical History", "pancreatic cancer, adenocarcinoma"),
        (f"{ORGANS}/Hematology/Oncology (R)/Cancer/Cancer-Primary Site/melanoma", "melanoma", "", "Past Medical History",
         "melanoma"),
        (f"{ORGANS}/Hematology/Oncology (R)/Cancer/Cancer-Primary Site/unknown", "unknown", "", "Past Medical History",
         "cancer, primary site unknown"),
        (f"{ORGANS}/Hematology/Oncology (R)/Cancer/Metastases/lung", "lung", "", "Past Medical History", "Metastases: lung"),
        (f"{ORGANS}/Cardiovascular (R)/Valve disease/MS", "MS", "MS", "Past Medical History", "valve disease: mitral stenosis"),
        (f"{ORGANS}/Cardiovascular (R)/Strokes/multiple/multiple", "multiple", "", "Past Medical History", "Strokes: multiple"),
        (f"{PAST}/Past History Obtain Options/No Health Problems", "No Health Problems", "NoHealthProblems",
         "Past Medical History", "No Health Problems"),
        ("notes/Vital Signs/Resp Rate/Resp Current", "Resp Current", "24", "Vital Signs", "Resp Rate: Resp Current: 24"),
    ],
)  # fmt: skip
def test_an_element_says_whose_finding_it_is_and_what_it_is(
    path: str, value: str, text: str, heading: str, line: str
) -> None:
    row = pl.DataFrame([(path, value, text)], schema=["path", "value", "text"], orient="row")
    assert forms.with_lines(row, "path", "value", "text").select("heading", "line").row(0) == (heading, line)


@pytest.mark.parametrize(
    ("string", "line"),
    [
        ("cardiovascular|chest pain / ASHD|coronary artery disease|known", "coronary artery disease: known"),
        ("cardiovascular|shock / hypotension|sepsis|severe", "sepsis: severe"),
        ("gastrointestinal|GI bleeding / PUD|upper GI bleeding", "upper GI bleeding"),
        ("gastrointestinal|intestinal disease|GI obstruction / ileus|small bowel obstruction", "small bowel obstruction"),
        ("gastrointestinal|intestinal disease|GI obstruction / ileus", "GI obstruction / ileus"),
        ("renal|disorder of urinary tract / renal system infection|nephrolithiasis", "nephrolithiasis"),
        ("pulmonary|disorders of the airways|asthma / bronchospasm|status asthmaticus",
         "asthma / bronchospasm: status asthmaticus"),
        ("cardiovascular|chest pain / ASHD|chest pain|r/o myocardial ischemia", "chest pain: r/o myocardial ischemia"),
        ("cardiovascular|cardiac arrest|cardiac arrest", "cardiac arrest"),
        ("cardiovascular|chest pain / ASHD|hyperlipidemia", "hyperlipidemia"),
        ("neurologic|seizures|seizures|from Etoh withdrawal", "alcohol withdrawal seizures"),
        ("neurologic|seizures|seizures|new onset", "seizures: new onset"),
        ("neurologic|disorders of vasculature|stroke|ischemic stroke|left sided", "ischemic stroke: left sided"),
        ("neurologic|disorders of vasculature|stroke|hemorrhagic stroke|subarachnoid hemorrhage|with hydrocephalus",
         "subarachnoid hemorrhage: with hydrocephalus"),
        ("pulmonary|pulmonary infections|pneumonia|hospital acquired (not ventilator-associated)", "hospital-acquired pneumonia"),
        ("pulmonary|pulmonary infections|pneumonia|hospital acquired (not ventilator-associated)|gram negative",
         "hospital-acquired pneumonia: gram negative"),
        ("pulmonary|pulmonary infections|pneumonia|community-acquired|bacterial", "community-acquired bacterial pneumonia"),
        ("cardiovascular|chest pain / ASHD|acute coronary syndrome|anterior wall", "acute coronary syndrome: anterior wall"),
        ("cardiovascular|chest pain / ASHD|acute coronary syndrome|unstable angina|due to progression of CAD with stent in place",
         "unstable angina: due to progression of CAD with stent in place"),
        ("gastrointestinal|GI bleeding / PUD|upper GI bleeding|with hypotension", "upper GI bleeding: with hypotension"),
        ("gastrointestinal|GI bleeding / PUD|upper GI bleeding|varices", "upper GI bleeding: varices"),
        ("renal|disorder of kidney|acute renal failure|due to sepsis", "acute renal failure: due to sepsis"),
        ("renal|disorder of kidney|acute renal failure|acute tubular necrosis", "acute tubular necrosis"),
        ("infectious diseases|systemic/other infections|signs and symptoms of sepsis (SIRS)", "SIRS"),
        ("endocrine|DKA", "DKA"),
        ("sepsis", "sepsis"),
        (" | ", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_diagnosis_is_what_it_says_and_not_the_categories_it_was_found_under(string: str, line: str | None) -> None:
    row = pl.DataFrame({"diagnosisstring": [string]})
    assert (row.select(diagnosis_line()).item() or None) == line


def test_past_history_is_past_and_known_from_the_later_of_its_times(tmp_path: Path) -> None:
    entries: Rows = [
        history(1, 10, 40, f"{ORGANS}/Pulmonary/COPD/COPD  - no limitations"),
        history(2, 10, 40, f"{ORGANS}/Cardiovascular (R)/Congestive Heart Failure/CHF - class II"),
        history(3, 10, 40, f"{PAST}/Past History Obtain Options/Performed"),
        history(4, 10, 2881, f"{ORGANS}/Pulmonary/Asthma/asthma"),
    ]
    notes = notes_of(small(tmp_path, [stay(1, 11, "a")], pastHistory=entries))
    [(kind, time, text)] = notes.table.select("note_type", "note_time", "text").rows()
    assert (kind, str(time)) == ("past history", "2100-01-01 02:40:00")
    assert text == "Past Medical History:\n- COPD - no limitations\n- Congestive Heart Failure: CHF - class II"
    assert {status(text, word) for word in ("COPD", "Congestive Heart Failure", "CHF")} == {"historical"}
    assert notes.counts["past history elements about the form left out"] == 1
    assert notes.counts["notes after the window excluded"] == 1
    assert "asthma" not in text


@pytest.mark.parametrize(
    "part",
    [f"{PAST}/Family History", f"{ORGANS}/Family History (R)", f"{PAST}/Social History / Family History/Family Hx"],
)
def test_the_familys_history_within_the_past_history_is_not_the_patients(tmp_path: Path, part: str) -> None:
    entries: Rows = [
        history(1, 10, 40, f"{part}/Cancer/Cancer"),
        history(2, 10, 40, f"{ORGANS}/Pulmonary/COPD/COPD  - no limitations"),
        history(3, 10, 40, f"{part}/CAD/CAD"),
    ]
    [text] = notes_of(small(tmp_path, [stay(1, 11, "a")], pastHistory=entries)).table["text"]
    assert text == "Family History:\n- Cancer\n- CAD\n\nPast Medical History:\n- COPD - no limitations"
    found = {word: status(text, word) for word in ("Cancer", "CAD", "COPD")}
    assert found == {"Cancer": "family", "CAD": "family", "COPD": "historical"}


def test_a_history_without_health_problems_names_none(tmp_path: Path) -> None:
    entries: Rows = [history(1, 1, 2, f"{PAST}/Past History Obtain Options/No Health Problems", "NoHealthProblems")]
    [text] = notes_of(small(tmp_path, [stay(1, 11, "a")], pastHistory=entries)).table["text"]
    assert text == "Past Medical History:\n- No Health Problems"


def test_the_family_s_disease_is_not_the_patient_s(tmp_path: Path) -> None:
    path = f"{FAMILY}/Family History"
    note: Rows = [
        element(1, 1, 10, 20, f"{path}/CAD/CAD", "CAD", "CAD"),
        element(2, 1, 10, 20, f"{path}/Cancer/Cancer", "Cancer", "Cancer"),
        element(3, 1, 10, 20, f"{REVIEW}/Psychiatric/Depression/depression", "depression", "depression"),
        element(4, 1, 10, 20, f"{REVIEW}/Psychiatric/Anxiety/denies anxiety", "denies anxiety", "denies anxiety"),
        element(5, 1, 10, 20, f"{REVIEW}/Pulmonary/Cough/cough", "cough", "cough"),
    ]
    [text] = notes_of(small(tmp_path, [stay(1, 11, "a")], note=note)).table["text"]
    found = {word: status(text, word) for word in ("CAD", "Cancer", "depression", "anxiety", "cough")}
    assert found == {
        "CAD": "family",
        "Cancer": "family",
        "depression": "present",
        "anxiety": "negated",
        "cough": "present",
    }


def test_admission_diagnoses_are_notes_and_what_was_denied_is_denied(tmp_path: Path) -> None:
    apache = "Additional APACHE  Information"
    entries: Rows = [
        admitted(1, "Non-operative Organ Systems|Organ System|Cardiovascular"),
        admitted(2, "All Diagnosis|Non-operative|Diagnosis|Cardiovascular|Sepsis, pulmonary"),
        admitted(3, "All Diagnosis|Operative|Diagnosis|Respiratory|Thoracotomy for lung cancer"),
        admitted(4, "All Diagnosis|Non-operative|Diagnosis|Cardiovascular|Hypovolemia (including dehydration, Do not "
                    "include shock states)"),
        admitted(5, f"{apache}|Pre-op MI during current hospitalization|No"),
        admitted(6, f"{apache}|Pre-op ejection fraction (%)|specified", "55"),
        admitted(7, "Elective|Yes"),
        admitted(9, "All Diagnosis|Non-operative|Diagnosis|Genitourinary|Renal failure, acute"),
        admitted(10, "All Diagnosis|Operative|Diagnosis|Gastrointestinal|Bleeding-upper GI, surgery for"),
        admitted(11, "All Diagnosis|Non-operative|Diagnosis|Cardiovascular|Thrombosis, vascular (deep vein)"),
        admitted(8, "Was the patient admitted from the O.R. or went to the O.R. within 4 hours of admission?|No"),
    ]  # fmt: skip
    notes = notes_of(small(tmp_path, [stay(1, 11, "a")], admissionDx=entries))
    [(kind, text)] = notes.table.select("note_type", "text").rows()
    assert kind == "admission diagnosis"
    assert text.split("\n") == [
        "Admission Diagnosis:",
        "- Sepsis, pulmonary",
        "- Thoracotomy for lung cancer (operative)",
        "- Hypovolemia",
        "- no Pre-op MI during current hospitalization",
        "- Pre-op ejection fraction (%): 55",
        "- elective surgery",
        "- no admission from the operating room, or going there within 4 hours",
        "- acute renal failure",
        "- upper GI bleeding, surgery for (operative)",
        "- deep vein thrombosis",
    ]
    assert (status(text, "MI "), status(text, "Sepsis")) == ("negated", "present")
    assert notes.counts["admission diagnoses that name only an organ system left out"] == 1


def test_labels_of_interventions_are_no_findings(tmp_path: Path) -> None:
    note: Rows = [
        element(n, 1, 10, 20, f"{FORM}/Interventions/Major/{label}", label, "")
        for n, label in enumerate(
            ("Sepsis - evaluation and management", "Hyperglycemia - active titration of insulin therapy")
        )
    ]
    notes = notes_of(small(tmp_path, [stay(1, 11, "a")], note=note))
    assert list(notes.table["text"]) == ["Interventions:\n- Major: Hyperglycemia - active titration of insulin therapy"]
    assert notes.counts["note elements about the form left out"] == 1


def test_a_list_that_a_past_disease_was_chosen_from_is_not_told_as_a_second_disease(tmp_path: Path) -> None:
    entries: Rows = [
        history(1, 10, 40, f"{ORGANS}/Hematology/Oncology (R)/Cancer/Hematologic Malignancy/CLL"),
        history(2, 10, 40, f"{ORGANS}/Cardiovascular (R)/Arrhythmias/atrial fibrillation - chronic"),
    ]
    [text] = notes_of(small(tmp_path, [stay(1, 11, "a")], pastHistory=entries)).table["text"]
    assert text == "Past Medical History:\n- CLL\n- atrial fibrillation - chronic"


def test_notes_of_unknown_stays_and_of_long_before_the_admission_are_counted(tmp_path: Path) -> None:
    note: Rows = [
        element(1, 1, 10, 20, f"{FORM}/Now", "Now", ""),
        element(2, 1, -400_000, -400_000, f"{FORM}/A year ago", "A year ago", ""),
        element(3, 999, 10, 20, f"{FORM}/Nobody's", "Nobody's", ""),
    ]
    notes = notes_of(small(tmp_path, [stay(1, 11, "a")], note=note))
    assert list(notes.table["text"]) == ["Note:\n- Now"]
    assert notes.counts["notes before the admission excluded"] == 1
    assert notes.counts["lines of notes of a unit stay that is not in patient"] == 1


@pytest.fixture(scope="module")
def half() -> Path:
    if not HALF.is_dir():
        pytest.skip(f"the half of the eICU demo is not at {HALF}")
    return HALF


@pytest.fixture(scope="module")
def mentions(half: Path) -> list[tuple[str, str, Entity]]:
    """The kind of note, its text and each mention in it, of all notes of the half whenever they were written."""
    graph = SHARED / "primekg-open"
    if not graph.is_dir():
        pytest.skip(f"the open PrimeKG is not at {graph}")
    extractor = rules.build(rules.Options(), graph=primekg.build(primekg.Options(), folder=graph))
    whole = components.build(
        "source", Component("eicu", {"notes_after_window": True}), raw_dir=half, kg_dir=half, seed=0
    )
    table = whole.notes(cohort_of(half)).table
    read = extractor.extract(table["text"].to_list())
    return [
        (kind, text, entity)
        for (kind, text), extraction in zip(table.select("note_type", "text").rows(), read, strict=True)
        for entity in extraction.entities
    ]


OWN_KINDS = ("past history", "admission diagnosis", "diagnosis")


@pytest.mark.slow
def test_in_the_real_half_every_cad_and_cancer_of_note_forms_is_the_family_s(
    mentions: Sequence[tuple[str, str, Entity]],
) -> None:
    found = Counter(
        (entity.surface, entity.status)
        for kind, _, entity in mentions
        if kind not in OWN_KINDS and entity.surface in ("CAD", "Cancer")
    )
    assert set(found) == {("CAD", "family"), ("Cancer", "family")}
    assert sum(found.values()) >= 64


@pytest.mark.slow
def test_in_the_real_half_past_history_is_past_and_denied_findings_are_denied(
    mentions: Sequence[tuple[str, str, Entity]],
) -> None:
    kinds = Counter(entity.status for kind, _, entity in mentions if kind == "past history")
    assert kinds["historical"] > 3000 and kinds.keys() == {"historical"}
    for kind, text, entity in mentions:
        line = text[text.rfind("\n", 0, entity.start) + 1 : entity.start]
        if line.startswith(("- denies ", "- no ")):
            assert entity.status == "negated", (kind, line, entity)


@pytest.mark.slow
def test_in_the_real_half_no_category_of_a_diagnosis_is_asserted(mentions: Sequence[tuple[str, str, Entity]]) -> None:
    texts = {text for kind, text, _ in mentions if kind == "diagnosis"}
    for category in ("ASHD", "PUD", "shock / hypotension", "disorder of acid base", "vascular disorders"):
        assert not any(category in text for text in texts)
    sepsis = [e for kind, _, e in mentions if kind == "admission diagnosis" and e.surface == "Sepsis"]
    assert len(sepsis) > 100 and {entity.status for entity in sepsis} == {"present"}


def test_in_the_real_half_every_entry_of_past_history_and_diagnosis_is_in_a_note(half: Path) -> None:
    whole = components.build(
        "source", Component("eicu", {"notes_after_window": True}), raw_dir=half, kg_dir=half, seed=0
    )
    table = whole.notes(cohort_of(half)).table
    lines = Counter(table["note_type"].repeat_by(table["text"].str.count_matches(r"\n- ")).explode().to_list())

    def entries(name: str, *columns: str) -> set[tuple[Any, ...]]:
        with gzip.open(half / f"{name}.csv.gz", "rt", newline="") as file:
            return {tuple(row[column] for column in columns) for row in csv.DictReader(file)}

    hadm: dict[str, str] = dict(entries("patient", "patientunitstayid", "patienthealthsystemstayid"))
    units = Counter(hadm.values())
    # an entry is in the notes of every unit stay of its hospital stay; entries that say the same at one time are one line
    diagnoses = entries("diagnosis", "patientunitstayid", "diagnosisoffset", "diagnosisstring")
    said = {(unit, offset, tuple(dict.fromkeys(text.split("|")[2:]))) for unit, offset, text in diagnoses}
    assert lines["diagnosis"] == pytest.approx(sum([units[hadm[unit]] for unit, *_ in said]), rel=0.005)
    path = "pasthistorypath"
    history_rows = entries("pastHistory", "patientunitstayid", "pasthistoryoffset", "pasthistoryenteredoffset", path)
    told = [row for row in history_rows if "Obtain Options" not in row[-1] or "No Health" in row[-1]]
    assert lines["past history"] == pytest.approx(sum([units[hadm[unit]] for unit, *_ in told]), rel=0.02)
