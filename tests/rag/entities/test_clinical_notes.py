"""The rules on phrases of clinical notes, with the open PrimeKG: what is no disease, what is found, and what it is linked to."""

import csv

import pytest

from emerge_ehr.config import Linking
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import EntityExtractor, rules
from emerge_ehr.rag.linking import Linker, told_by_own_name
from emerge_ehr.rag.mentions.candidates import settle
from emerge_ehr.rag.mentions.name_forms import plurals
from emerge_ehr.rag.names import name_index, normal
from tests.places import SHARED

Read = tuple[EntityExtractor, KnowledgeGraph]


@pytest.fixture(scope="module")
def read() -> Read:
    folder = SHARED / "primekg-open"
    if not folder.is_dir():
        pytest.skip(f"the open PrimeKG is not at {folder}")
    graph = primekg.build(primekg.Options(), folder=folder)
    return rules.build(rules.Options(), graph=graph), graph


@pytest.fixture(scope="module")
def linker(read: Read, tmp_path_factory: pytest.TempPathFactory) -> Linker:
    return linking.build(read[1], Linking(), 0, tmp_path_factory.mktemp("similarity"))


def told(read: Read, text: str) -> list[tuple[str, str]]:
    """The surface of each mention that the graph has a disease for, and the name under which it is told."""
    extractor, graph = read
    index = name_index(graph)
    names = [(entity.surface, normal(entity.name)) for entity in extractor.extract([text])[0].entities]
    own = told_by_own_name({name: (index[name], 1.0, name) for _, name in names if name in index}, graph)
    return [(surface, graph.diseases()[own[name][0]].names[0]) for surface, name in names if name in own]


@pytest.mark.parametrize(
    "text",
    [
        "The bipolar cautery was used for hemostasis.",
        "SCDs were placed.",
        "Bakri balloon tamponade",
        "flutter valve q4h",
        "MS 2 mg IV given for pain",
        "Lotrimin AF to groin bid",
        "Sudafed PE prn",
        "Robitussin DM 10 mL prn",
        "Tylenol cold & flu",
        "Pacer set to DDD 60",
        "SVG to PDA, LIMA to LAD",
        "Feet: pes planus bilaterally",
        "No CVA tenderness.",
        "Abd: TTP in RUQ, no rebound",
        "Mother was GBS positive, treated with penicillin.",
        "Case discussed with infectious disease.",
        "seen in heart failure clinic",
        "The stroke team was called, NIH stroke scale 4.",
        "Parkinson's disease society",
        "ECG: ST depression in V4-V6",
        "2 mm horizontal depression in II, III",
        "respiratory depression from opioids",
        "subcutaneous emphysema over the chest wall",
        "Lupus anticoagulant negative",
        "geriatric depression scale 4/15",
        "hepatitis B surface antibody",
        "change in MS overnight",
        "q 12 hrs",
        "Dr. Nash will follow; MDs aware",
        "Patient can do 4 METs of exercise",
        "TB 1.2, AlkP 90",
        "SBP 90, on RA sat 97%",
    ],
)
def test_devices_drugs_services_anatomy_tests_and_doses_are_no_diseases(read: Read, text: str) -> None:
    assert told(read, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Known seizure disorder", [("seizure disorder", "epilepsy")]),
        ("in status epilepticus", [("status epilepticus", "status epilepticus")]),
        ("recurrent seizures", [("recurrent seizures", "epilepsy")]),
        ("Hodgkin's disease in 2001", [("Hodgkin's disease", "Hodgkins lymphoma")]),
        ("non-Hodgkin's lymphoma", [("non-Hodgkin's lymphoma", "non-Hodgkin lymphoma")]),
        ("malignant hyperthermia", [("malignant hyperthermia", "malignant hyperthermia of anesthesia")]),
        ("hypercoagulable state", [("hypercoagulable state", "thrombophilia")]),
        ("valvular insufficiency", [("valvular insufficiency", "heart valve disease")]),
        ("valve disease", [("valve disease", "heart valve disease")]),
        ("stress ulcer", [("stress ulcer", "peptic ulcer disease")]),
        ("acute hypoxemic respiratory failure", [("acute hypoxemic respiratory failure", "acute respiratory failure")]),
        ("Acute MI location: non-Q", [("Acute MI", "acute myocardial infarction")]),
        ("NSTEMI", [("NSTEMI", "acute myocardial infarction")]),
        ("hypotension requiring pressors", [("hypotension", "hypotensive disorder")]),
        ("severe acidosis", [("acidosis", "acidosis disorder")]),
        ("hypokalemia", [("hypokalemia", "potassium deficiency disease")]),
        ("bradycardia to the 40s", [("bradycardia", "cardiac rhythm disease")]),
        ("arrhythmias", [("arrhythmias", "cardiac rhythm disease")]),
        ("rashes on the trunk", [("rashes", "exanthem")]),
        ("constipation", [("constipation", "constipation disorder")]),
        ("torsade de pointes", [("torsade de pointes", "torsades de pointes")]),
        ("stenosis of the carotid", [("stenosis of the carotid", "carotid stenosis")]),
        ("asystole", [("asystole", "cardiac arrest")]),
        ("MS on Copaxone", [("MS", "multiple sclerosis")]),
        ("SCD with pain crisis", [("SCD", "sickle cell anemia")]),
        ("GBS treated with IVIG", [("GBS", "Guillain-Barre syndrome")]),
        ("TTP with schistocytes", [("TTP", "thrombotic thrombocytopenic purpura")]),
    ],
)
def test_what_intensive_care_writes_is_found(read: Read, text: str, expected: list[tuple[str, str]]) -> None:
    assert told(read, text) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ATN", "acute kidney tubular necrosis"),
        ("unstable angina", "intermediate coronary syndrome"),
        ("anemia of chronic disease", "anemia due to chronic disorder"),
        ("malignant neoplasm of lung", "lung cancer"),
        ("diabetes mellitus, type 1", "type 1 diabetes mellitus"),
        ("diabetes mellitus", "diabetes mellitus"),
        ("STEMI", "ST-elevation myocardial infarction"),
        ("acute myocardial infarction", "acute myocardial infarction"),
        ("depression", "depressive disorder"),
        ("CLL", "B-cell chronic lymphocytic leukemia"),
        ("takotsubo", "Tako-tsubo cardiomyopathy"),
    ],
)
def test_a_term_is_told_by_the_name_of_its_own_disease(read: Read, text: str, name: str) -> None:
    assert [disease for _, disease in told(read, text)] == [name]


@pytest.mark.parametrize(
    ("text", "name", "status"),
    [
        ("cardiogenic shock", "cardiogenic shock", "present"),
        ("diastolic dysfunction", "diastolic dysfunction", "present"),
        ("admitted with a GI bleed", "gastrointestinal hemorrhage", "present"),
        ("- lower GI bleeding", "lower gastrointestinal hemorrhage", "present"),
        ("SIRS: due to infectious process", "systemic inflammatory response syndrome", "present"),
        ("acute respiratory distress", "acute respiratory distress", "present"),
        ("neutrophilia", "neutrophilia", "present"),
        ("He had a seizure.", "seizure", "present"),
        ("- seizures: suspected", "seizure", "hypothetical"),
        ("no seizures overnight", "seizure", "negated"),
        ("hyponatremic", "hyponatremia", "present"),
        ("hyperkalemia", "hyperkalemia", "present"),
        ("history of hypernatremia", "hypernatremia", "historical"),
        ("severe dehydration", "dehydration", "present"),
        ("Denies syncope.", "syncope", "negated"),
        ("comatose", "coma", "present"),
        ("hypovolemic", "hypovolemia", "present"),
        ("hypoxemia", "hypoxemia", "present"),
        ("small right pleural effusion", "pleural effusion", "present"),
        ("pulmonary aspiration", "pulmonary aspiration", "present"),
        ("viscus perforation: esophageal: due to surgery", "esophageal perforation", "present"),
    ],
)
def test_a_term_without_a_disease_of_its_own_is_found_and_not_linked_even_to_a_similar_name(
    read: Read, linker: Linker, text: str, name: str, status: str
) -> None:
    extraction = read[0].extract([text])[0]
    exact = {normal(entity.name) for entity in extraction.entities}
    linked = linker.link([entity.name for entity in (*extraction.entities, *extraction.candidates)], exact)
    found = settle(extraction, linked).entities
    assert [(normal(entity.name), entity.status) for entity in found] == [(name, status)] and not linked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- Cancer: lung", [("Cancer: lung", "lung cancer")]),
        ("- pneumonia: aspiration", [("pneumonia: aspiration", "aspiration pneumonia")]),
        ("- renal failure: acute", [("renal failure: acute", "acute kidney failure")]),
        ("- valvular insufficiency: mitral", [("valvular insufficiency: mitral", "mitral valve disease")]),
        ("- hypertension: controlled", [("hypertension", "hypertensive disorder")]),
        ("- cancer: lung surgery last year", [("cancer", "cancer")]),
    ],
)
def test_the_value_of_a_form_tells_which_disease_it_is(read: Read, text: str, expected: list[tuple[str, str]]) -> None:
    assert told(read, text) == expected


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("chest pain / ASHD: hyperlipidemia", ["hyperlipidemia"]),
        ("GI bleeding / PUD: lower GI bleeding", []),
        ("asthma / bronchospasm: status asthmaticus", ["status asthmaticus"]),
        ("- Strokes: stroke - date unknown", ["stroke"]),
        ("- Congestive Heart Failure: CHF - class II", ["CHF"]),
        ("seizures: from Etoh withdrawal", ["Etoh withdrawal"]),
        ("CAD / HTN: continue home medication", ["CAD", "HTN"]),
        ("COPD: on home O2, asthma", ["COPD", "asthma"]),
        ("Heart valve disease: mitral stenosis", ["mitral stenosis"]),
        ("Arrhythmias: atrial fibrillation", ["atrial fibrillation"]),
        ("dementia: Alzheimer's disease", ["Alzheimer's disease"]),
        ("Kidney disease: no nephrolithiasis", ["Kidney disease", "nephrolithiasis"]),
        ("diabetes: asthma", ["diabetes", "asthma"]),
    ],
)
def test_the_heading_of_a_finding_is_none(read: Read, text: str, surfaces: list[str]) -> None:
    assert [surface for surface, _ in told(read, text)] == surfaces


def test_every_term_is_found_in_its_plural_too(read: Read) -> None:
    extractor, _ = read
    with rules.TERMS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["near"] and not row["unless"]]
    words = [row["term"] for row in rows if row["term"].islower() and row["term"].replace(" ", "").isalpha()]
    many = [plural for word in words for plural in plurals(word)]
    lost = [
        plural
        for plural, extraction in zip(many, extractor.extract(many), strict=True)
        if [entity.surface for entity in extraction.entities] != [plural]
    ]
    assert len(many) > 500 and lost == []
