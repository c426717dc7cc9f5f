"""Which of a patient's diseases take one place: a general name yields only to a disease that it truly names."""

import pytest

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import Entity, Status
from emerge_ehr.rag.names import name_index
from emerge_ehr.rag.patient_links import Chooser, PatientLinks
from emerge_ehr.rag.ranking import hierarchy

# (general, more specific) as the graph's parent-child edges have them, with more edges for the general one.
EDGES = [
    ("kidney failure", "acute kidney failure"),
    ("acute respiratory failure", "pulmonary edema"),
    ("cardiac rhythm disease", "atrial fibrillation"),
    ("cardiac rhythm disease", "ventricular tachycardia"),
    ("cancer", "lung cancer"),
    ("chronic obstructive pulmonary disease", "pulmonary emphysema"),
    ("type 2 diabetes mellitus", "diabetic ketoacidosis"),
    ("hypertensive disorder", "pulmonary hypertension"),
    ("hypertensive disorder", "malignant hypertension"),
    ("congestive heart failure", "cor pulmonale"),
    ("liver disease", "liver cancer"),
    ("liver disease", "liver failure"),
    ("leukocyte disease", "thrombocytosis disease"),
    ("nutritional deficiency disease", "obesity disorder"),
    ("diabetes mellitus", "type 2 diabetes mellitus"),
    ("anxiety disorder", "phobia"),
    ("anxiety", "phobia"),
    ("pneumonia", "aspiration pneumonia"),
    ("heart failure", "congestive heart failure"),
]
NAMES = sorted({name for edge in EDGES for name in edge} | {"acute myocardial infarction", "myocardial infarction"})


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeGraph:
    folder = tmp_path_factory.mktemp("graph")
    texts = "umls_description,orphanet_definition,orphanet_clinical_description,mayo_symptoms,mayo_causes"
    rows = "".join(f"{n},{name},,Definition.,,,,,\n" for n, name in enumerate(NAMES))
    lines = ["relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source\n"]
    depth = {"heart failure": 9, "diabetes mellitus": 9}  # the more edges, the more general
    for n, general in enumerate(dict.fromkeys(general for general, _ in EDGES)):
        x = NAMES.index(general)
        for y in range(100 + 20 * n, 100 + 20 * n + depth.get(general, 5)):
            rows += f"{y},other {y},,,,,,,\n"
            lines.append(f"disease_disease,parent-child,{x},{x},disease,{general},M,{y},{y},disease,other {y},M\n")
    (folder / "disease_features.csv").write_text(
        f"node_index,mondo_name,group_name_bert,mondo_definition,{texts}\n{rows}"
    )
    for general, specific in EDGES:
        x, y = NAMES.index(general), NAMES.index(specific)
        lines.append(f"disease_disease,parent-child,{x},{x},disease,{general},M,{y},{y},disease,{specific},M\n")
    (folder / "kg.csv").write_text("".join(lines))
    return primekg.build(primekg.Options(), folder=folder)


def chosen(graph: KnowledgeGraph, *mentions: tuple[str, str, Status, str]) -> PatientLinks:
    """The diseases of mentions: surface, the graph's name, status, and what follows on the line."""
    text, entities = "", []
    for surface, name, status, rest in mentions:
        text += "- "
        entities.append(Entity(surface, name, len(text), len(text) + len(surface), status))
        text += f"{surface}{rest}\n"
    linked = {name: (node, 1.0, name) for name, node in name_index(graph).items()}
    return Chooser(hierarchy.build(graph), 10).choose(entities, linked, text, [])


def told(links: PatientLinks) -> set[tuple[str, str]]:
    return {(link.name, link.status) for link in links.links}


@pytest.mark.parametrize(
    ("general", "specific"),
    [
        (("renal insufficiency", "kidney failure", "historical", " - creatinine 1-2"), "acute kidney failure"),
        (("acute respiratory failure", "acute respiratory failure", "present", ""), "pulmonary edema"),
        (("bradycardia", "cardiac rhythm disease", "present", ""), "atrial fibrillation"),
        (("SVT", "cardiac rhythm disease", "present", ""), "ventricular tachycardia"),
        (("cancer", "cancer", "historical", ", primary site other"), "lung cancer"),
        (("COPD", "chronic obstructive pulmonary disease", "present", " exacerbation"), "pulmonary emphysema"),
        (("type 2 diabetes", "type 2 diabetes mellitus", "present", ""), "diabetic ketoacidosis"),
        (("hypertension", "hypertensive disorder", "present", ""), "pulmonary hypertension"),
        (("CHF", "congestive heart failure", "present", ""), "cor pulmonale"),
        (("hepatic dysfunction", "liver disease", "present", ""), "liver cancer"),
        (("leukocytosis", "leukocyte disease", "present", ""), "thrombocytosis disease"),
        (("nutritional deficiency", "nutritional deficiency disease", "present", ""), "obesity disorder"),
    ],
)
def test_a_disease_that_is_not_named_by_the_more_specific_one_keeps_its_place(
    graph: KnowledgeGraph, general: tuple[str, str, Status, str], specific: str
) -> None:
    links = chosen(graph, general, (specific, specific, "present", ""))
    assert {(general[1], general[2]), (specific, "present")} == told(links)
    assert not links.left_out


@pytest.mark.parametrize(
    ("general", "specific"),
    [
        (("renal failure", "kidney failure", "present", ""), "acute kidney failure"),
        (("diabetes", "diabetes mellitus", "historical", ""), "type 2 diabetes mellitus"),
        (("hypertension", "hypertensive disorder", "historical", ""), "malignant hypertension"),
        (("liver disease", "liver disease", "present", ""), "liver failure"),
        (("pneumonia", "pneumonia", "present", ""), "aspiration pneumonia"),
        (("heart failure", "heart failure", "historical", ""), "congestive heart failure"),
        (("MI", "myocardial infarction", "present", ""), "acute myocardial infarction"),
    ],
)
def test_a_general_name_yields_to_the_disease_that_holds_all_its_words(
    graph: KnowledgeGraph, general: tuple[str, str, Status, str], specific: str
) -> None:
    links = chosen(graph, general, (specific, specific, "present", ""))
    assert told(links) == {(specific, "present")} and links.links[0].count == 2
    assert [(left.name, left.reason) for left in links.left_out] == [(general[1], "more general")]


def test_a_present_disease_takes_the_type_that_only_the_history_names_but_not_a_past_event(
    graph: KnowledgeGraph,
) -> None:
    typed = chosen(
        graph,
        ("diabetes", "diabetes mellitus", "present", ""),
        ("type 2 DM", "type 2 diabetes mellitus", "historical", ""),
    )
    assert told(typed) == {("type 2 diabetes mellitus", "present")}
    past = chosen(
        graph,
        ("pneumonia", "pneumonia", "present", ""),
        ("aspiration pneumonia", "aspiration pneumonia", "historical", ""),
    )
    assert told(past) == {("pneumonia", "present"), ("aspiration pneumonia", "historical")}
    acute = chosen(
        graph,
        ("MI", "myocardial infarction", "historical", ""),
        ("acute MI", "acute myocardial infarction", "present", ""),
    )
    assert told(acute) == {("myocardial infarction", "historical"), ("acute myocardial infarction", "present")}


def test_two_names_of_one_disease_take_one_place_also_where_one_is_past(graph: KnowledgeGraph) -> None:
    links = chosen(graph, ("anxiety", "anxiety", "historical", ""), ("anxiety", "anxiety disorder", "present", ""))
    assert told(links) == {("anxiety disorder", "present")} and links.links[0].count == 2
