"""Mentions found by the rules: forms of names, guards of abbreviations, statuses, exact places in any text."""

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerge_ehr.compute import local
from emerge_ehr.compute.local import Local
from emerge_ehr.fields import UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import Entity, rules
from emerge_ehr.rag.mentions.dictionary import NO_NODE, Target, terms
from emerge_ehr.rag.names import name_index, normal
from tests.named_diseases import NamedDiseases
from tests.places import ROOT, SHARED

NAMES = (
    "pneumonia|asthma|myocardial infarction|Crohn's disease|kidney failure|acute kidney failure|"
    "atrial fibrillation|gout|anemia|congestive heart failure|heart failure|type 2 diabetes mellitus|"
    "diabetes mellitus|chronic kidney disease|cardiomyopathy, dilated|breast cancer|ovarian cancer|"
    "multiple sclerosis|pulmonary embolism|rheumatoid arthritis|aortic valve stenosis|"
    "acute lymphoblastic leukemia|Sjögren syndrome|lung carcinoma|von Willebrand disease|AIDS|"
    "coronary artery disease|non-Hodgkin lymphoma|mucopolysaccharidosis type IV|esophageal varices|"
    "Guillain-Barre syndrome|myotonic dystrophy|stenosis|Clostridium difficile colitis|"
    "migraine without aura|esterase|bacterial peritonitis|nonspherocytic anemia|bile duct cysts|goiter|"
    "complement component 7 deficiency|iron deficiency|pituitary gland adenoma|hereditary spastic paraplegia|"
    "spastic paraplegia|autosomal recessive disease|soft tissue neoplasm|bone neoplasm|skin cancer"
)


def build(graph: KnowledgeGraph, workers: int = 1, **options: int) -> rules.Rules:
    return rules.build(rules.Options(**options), graph=graph, pool=Local(workers))


EXTRACTOR = build(NamedDiseases(NAMES.split("|")))


def mentions_in(text: str) -> list[Entity]:
    return list(EXTRACTOR.extract([text])[0].entities)


@pytest.fixture(scope="session")
def open_primekg() -> KnowledgeGraph:
    folder = SHARED / "primekg-open"
    if not folder.is_dir():
        pytest.skip(f"the open PrimeKG is not at {folder}")
    return primekg.build(primekg.Options(), folder=folder)


@pytest.fixture(scope="session")
def reader(open_primekg: KnowledgeGraph) -> Callable[[str], list[Entity]]:
    extractor = build(open_primekg)
    return lambda text: list(extractor.extract([text])[0].entities)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Admitted with pneumonia.", [("pneumonia", "present")]),
        ("PNEUMONIAS, recurrent", [("PNEUMONIAS", "present")]),
        ("No evidence of pneumonia.", [("pneumonia", "negated")]),
        ("No fever. Pneumonia on the right.", [("Pneumonia", "present")]),
        ("He denies asthma, but has pneumonia.", [("asthma", "negated"), ("pneumonia", "present")]),
        ("Mother had asthma.", [("asthma", "family")]),
        ("Family history of acute kidney failure.", [("acute kidney failure", "family")]),
        ("Asthma was ruled out.", [("Asthma", "negated")]),
        ("Return if pneumonia recurs.", [("pneumonia", "hypothetical")]),
        ("rule out MI", [("MI", "hypothetical")]),
        ("s/p hip surgery: pneumonia", [("pneumonia", "present")]),
        ("s/p craniotomy: for stroke", [("stroke", "present")]),
        ("status post colectomy: AF", [("AF", "present")]),
        ("s/p: MI", [("MI", "historical")]),
        ("s/p MI and in AF", [("MI", "historical"), ("AF", "present")]),
        ("Admitted to mi casa", []),
        ("acute kidney failure", [("acute kidney failure", "present")]),
        ("AKI on top", [("AKI", "present")]),
        ("bronchopneumonias", []),
        ("Crohn's disease", [("Crohn's disease", "present")]),
        ("Non-ST elevation myocardial infarction", [("Non-ST elevation myocardial infarction", "present")]),
        ("Heart attack scale reviewed.", []),
        ("Asthma. Action plan: treat pneumonia.", [("Asthma", "present"), ("pneumonia", "present")]),
        ("", []),
    ],
)
def test_mentions_and_their_context(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(entity.surface, entity.status) for entity in mentions_in(text)] == expected
    assert all(text[entity.start : entity.end] == entity.surface for entity in mentions_in(text))


def test_a_trigger_governs_a_few_words_not_a_whole_page_without_a_full_stop() -> None:
    from emerge_ehr.rag.mentions.clauses import REACH
    from emerge_ehr.rag.mentions.context import status

    for gap, expected in ((20, "negated"), (REACH + 50, "present")):
        text = "denies " + "word " * (gap // 5) + "asthma"
        assert status(text, len(text) - 6, len(text), 0, len(text)) == expected


@pytest.mark.parametrize(
    ("text", "surface", "name"),
    [
        ("known Crohns disease", "Crohns disease", "crohn disease"),
        ("known Crohn’s disease", "Crohn’s disease", "crohn disease"),
        ("congestive heart\nfailure", "congestive heart\nfailure", "congestive heart failure"),
        ("congestive  heart \r\n failure", "congestive  heart \r\n failure", "congestive heart failure"),
        ("CONGESTIVE HEART-FAILURE", "CONGESTIVE HEART-FAILURE", "congestive heart failure"),
        ("kidney disease, chronic; stable", "kidney disease, chronic", "chronic kidney disease"),
        ("dilated cardiomyopathy", "dilated cardiomyopathy", "cardiomyopathy dilated"),
        ("Type II diabetes mellitus", "Type II diabetes mellitus", "type 2 diabetes mellitus"),
        ("diabetes mellitus type 2", "diabetes mellitus type 2", "type 2 diabetes mellitus"),
        ("mucopolysaccharidosis type 4", "mucopolysaccharidosis type 4", "mucopolysaccharidosis type iv"),
        ("anaemia", "anaemia", "anemia"),
        ("oesophageal varices", "oesophageal varices", "esophageal varices"),
        ("lung cancers", "lung cancers", "lung carcinoma"),
        ("carcinoma of the lung", "carcinoma of the lung", "lung carcinoma"),
        ("cardiac failure", "cardiac failure", "heart failure"),
        ("renal failure", "renal failure", "kidney failure"),
        ("nonHodgkin lymphoma", "nonHodgkin lymphoma", "non hodgkin lymphoma"),
        ("Guillain-Barré", "Guillain-Barré", "guillain barre syndrome"),
        ("Sjogren syndrome", "Sjogren syndrome", "sjögren syndrome"),
        ("Sjo\u0308gren syndrome", "Sjo\u0308gren syndrome", "sjögren syndrome"),
        ("h/o von Willebrand", "von Willebrand", "von willebrand disease"),
        ("stenoses", "stenoses", "stenosis"),
        ("a bile duct cyst", "bile duct cyst", "bile duct cysts"),
        ("non-spherocytic anemia", "non-spherocytic anemia", "nonspherocytic anemia"),
        ("multinodular goitre", "goitre", "goiter"),
        ("known C7 deficiency", "C7 deficiency", "complement component 7 deficiency"),
        ("deficiency of complement C7", "deficiency of complement C7", "complement component 7 deficiency"),
        ("C7-deficient", "C7-deficient", "complement component 7 deficiency"),
        ("iron deficient", "iron deficient", "iron deficiency"),
        ("pituitary adenoma", "pituitary adenoma", "pituitary gland adenoma"),
        ("X-linked spastic paraplegia", "X-linked spastic paraplegia", "hereditary spastic paraplegia"),
        (
            "X-linked recessive spastic paraplegia",
            "X-linked recessive spastic paraplegia",
            "hereditary spastic paraplegia",
        ),
        ("hereditary breast cancer", "hereditary breast cancer", "breast cancer"),
        ("C. diff colitis", "C. diff colitis", "clostridium difficile colitis"),
        ("copd, dm2", "dm2", "type 2 diabetes mellitus"),
        ("DM2, HTN", "DM2", "type 2 diabetes mellitus"),
        ("AKI on CKD", "AKI", "acute kidney failure"),
    ],
)
def test_a_name_is_found_in_the_forms_that_clinicians_write(text: str, surface: str, name: str) -> None:
    assert (surface, name) in [(entity.surface, entity.name) for entity in mentions_in(text)]


@pytest.mark.parametrize(
    "text",
    [
        "PE:\nHEENT: normal",
        "satting 98% on RA",
        "MS Contin 15 mg",
        "GIVE AS NEEDED FOR SEVERE DISCOMFORT AND CALL",
        "uses hearing aids",
        "urine leukocyte esterase positive",
        "ALL other systems reviewed",
        "SBP 120/80",
        "gave the heart. Failure of the pump was noted",
        "heart, failure",
        "kidney (failure",
        "bronchopneumonias",
        "on lovenox x 3 mo",
        "an autosomal recessive disorder",
    ],
)
def test_what_only_looks_like_a_disease_is_not_one(text: str) -> None:
    assert [entity.surface for entity in mentions_in(text)] == []


def test_an_abbreviation_with_two_meanings_counts_with_words_that_support_it() -> None:
    assert [entity.name for entity in mentions_in("ascites, treated for SBP")] == ["bacterial peritonitis"]
    assert [entity.name for entity in mentions_in("ALL in remission after chemotherapy")] == [
        "acute lymphoblastic leukemia"
    ]


def test_an_abbreviation_that_the_text_defines_means_that_everywhere_in_it() -> None:
    text = "Breast cancer (BRC). Later BRC progressed. Known myotonic dystrophy (DM); DM is stable."
    assert [(e.surface, e.name) for e in mentions_in(text)] == [
        ("Breast cancer", "breast cancer"),
        ("BRC", "breast cancer"),
        ("BRC", "breast cancer"),
        ("myotonic dystrophy", "myotonic dystrophy"),
        ("DM", "myotonic dystrophy"),
        ("DM", "myotonic dystrophy"),
    ]
    assert mentions_in("dilated right atrium (RA), RA pressure 12") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("risk factors: breast and ovarian cancer", ["breast: breast cancer", "ovarian cancer: ovarian cancer"]),
        (
            "skin, breast, and ovarian cancer",
            ["skin: skin cancer", "breast: breast cancer", "ovarian cancer: ovarian cancer"],
        ),
        ("bone and soft tissue tumors", ["bone: bone neoplasm", "soft tissue tumors: soft tissue neoplasm"]),
        ("history of skin, or breast cancer", ["skin: skin cancer", "breast cancer: breast cancer"]),
        (
            "asthma, breast and ovarian cancer",
            ["asthma: asthma", "breast: breast cancer", "ovarian cancer: ovarian cancer"],
        ),
        ("eyes, breast and ovarian cancer", ["breast: breast cancer", "ovarian cancer: ovarian cancer"]),
        ("history of\nbreast and ovarian cancer", ["breast: breast cancer", "ovarian cancer: ovarian cancer"]),
        ("gout and ovarian cancer", ["gout: gout", "ovarian cancer: ovarian cancer"]),
    ],
)
def test_diseases_that_share_their_last_words_are_all_found(text: str, expected: list[str]) -> None:
    assert [f"{entity.surface}: {entity.name}" for entity in mentions_in(text)] == expected
    denied = mentions_in(f"He denies {text.removeprefix('risk factors: ')}.")
    assert {entity.status for entity in denied} == {"negated"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("denies asthma, gout, or anemia", ["negated"] * 3),
        ("no asthma, but gout", ["negated", "present"]),
        ("not only asthma", ["present"]),
        ("asthma was not ruled out", ["hypothetical"]),
        ("asthma and gout were ruled out", ["negated", "negated"]),
        ("?pneumonia", ["hypothetical"]),
        ("seen by Dr. Smith. no asthma per Dr. Smith", ["negated"]),
        ("migraine without aura", ["present"]),
        ("No C. diff. Gout.", ["negated", "present"]),
        ("Family History:\nasthma, gout\n\nGout flared.", ["family", "family", "present"]),
        ("FAMILY HISTORY: asthma. Gout too.\nASSESSMENT: anemia", ["family", "family", "present"]),
        ("Family history: mother with asthma. Known gout.", ["family", "present"]),
        ("Past Medical History:\n- gout\n- denies asthma\n\nHPI:\nanemia", ["historical", "negated", "present"]),
        ("Allergies: aspirin (asthma)", ["hypothetical"]),
        ("history of present illness: gout", ["present"]),
        ("no asthma, h/o gout", ["negated", "historical"]),
        ("lives with his son, has gout", ["present"]),
        ("gout (father)", ["family"]),
    ],
)
def test_a_mention_is_read_in_its_sentence_and_section(text: str, expected: list[str]) -> None:
    assert [entity.status for entity in mentions_in(text)] == expected


def test_the_patients_own_diseases_present_or_past_are_linked() -> None:
    linked = {
        entity.status: entity.linked
        for entity in mentions_in("Gout. H/o asthma. No anemia. Father had gout. If gout recurs")
    }
    assert linked == {"present": True, "historical": True, "negated": False, "family": False, "hypothetical": False}


SEPARATORS = [
    " ",
    "\n",
    "  ",
    "-",
    "\t",
    ", ",
    ". ",
    "\x00",
    "’s ",
    "'",
    "\u0301",
    "🙂",
    "(",
    ": ",
    "İ",
    "ß",
    "\u200b",
    "\r\n\r\n",
]
WORDS = [
    "asthma",
    "HEART",
    "failure",
    "Congestive",
    "kidney",
    "xyz",
    "gout",
    "of",
    "ünd",
    "diseases",
    "чехия",
    "stenosis",
]


def tokens(text: str) -> list[tuple[str, int, int]]:
    """Words, character by character: marks, apostrophes and a possessive s vanish; what is no letter or digit parts words."""
    import unicodedata

    result: list[tuple[str, int, int]] = []
    word, start, end, n = "", -1, -1, 0
    while n <= len(text):
        character = text[n] if n < len(text) else " "
        if character in "'’‘ʼ`´":
            after = text[n + 1 : n + 2]
            follows = text[n + 2 : n + 3]
            if (
                word
                and after in ("s", "S")
                and not (follows.isalnum() or follows in tuple("'’‘ʼ`´\u0301\u200b") or follows == "")
            ) or (word and after in ("s", "S") and follows == ""):
                n += 1
        elif unicodedata.category(character) in ("Mn", "Cf"):
            pass
        elif character.isalnum():
            plain = unicodedata.normalize("NFKD", character)[0].lower()
            word += plain if plain.isascii() and plain.isalnum() else "\x03"
            start, end = (n if start < 0 else start), n + 1
        elif word:
            result.append((word, start, end))
            word, start = "", -1
        n += 1
    return result


LISTED = {
    tuple(key.split())
    for key, entry in EXTRACTOR.prepared.patterns.items()
    if isinstance(entry, Target) and not entry.turned
}


def brute_force(text: str) -> list[tuple[int, int]]:
    """Leftmost, then longest sequence of words that is a pattern, one start after the other."""
    words = tokens(text)
    spans: list[tuple[int, int]] = []
    n = 0
    while n < len(words):
        for many in range(min(6, len(words) - n), 0, -1):
            chosen = words[n : n + many]
            surface = text[chosen[0][1] : chosen[-1][2]]
            gaps = [text[a[2] : b[1]] for a, b in pairwise(chosen)]
            parted = any(set(gap) & set(",():") or ". " in gap or "\n\r\n" in gap for gap in gaps)
            if tuple(word for word, _, _ in chosen) in LISTED and not parted and surface:
                spans.append((chosen[0][1], chosen[-1][2]))
                n += many
                break
        else:
            n += 1
    return spans


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SEPARATORS)), max_size=12))
def test_places_are_those_of_a_slow_search_word_by_word(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + separator for word, separator in parts)
    assert [(entity.start, entity.end) for entity in mentions_in(text)] == brute_force(text)


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=80),
    st.sampled_from(["asthma", "AKI", "Crohn's disease", "breast and ovarian cancer (BOC)"]),
    st.text(max_size=80),
)
def test_in_any_text_the_surface_is_what_stands_there_and_mentions_do_not_overlap(
    before: str, name: str, after: str
) -> None:
    text = f"{before} {name} {after}"
    entities = mentions_in(text)
    assert entities == list(EXTRACTOR.extract([after, text, before])[1].entities)
    assert all(text[entity.start : entity.end] == entity.surface for entity in entities)
    assert all(left.end <= right.start for left, right in pairwise(entities))


def test_one_note_of_ten_megabytes_is_read_to_its_end() -> None:
    text = "Ordinary wording é without a finding, line after line.\n" * 190_000 + "Known gout."
    (entity,) = mentions_in(text)
    assert len(text) > 10_000_000 and (entity.start, entity.surface) == (len(text) - 5, "gout")


def test_any_number_of_processes_gives_the_same_mentions_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PIECE", 5)
    texts = [f"Patient {n} has {name}. Denies gout." for n, name in enumerate(NAMES.split("|"))] + [""]
    assert build(NamedDiseases(NAMES.split("|")), workers=2).extract(texts) == EXTRACTOR.extract(texts)


def test_a_term_stands_for_the_first_of_its_names_in_the_graph(tmp_path: Path) -> None:
    table = tmp_path / "terms.csv"
    table.write_text("term,names\nwasting,cachexia|gout|asthma\n")
    extractor = rules.build(rules.Options(terms_file=table), graph=NamedDiseases(["asthma", "gout"]))
    assert [entity.name for entity in extractor.extract(["Wasting"])[0].entities] == ["gout"]


def test_a_term_without_a_disease_in_the_graph_is_found_under_its_own_name(tmp_path: Path) -> None:
    table = tmp_path / "terms.csv"
    table.write_text("term,names\nwasting,-\nlow salt,hyponatremia|-\ngouty,gout|-\n")
    extraction = rules.build(rules.Options(terms_file=table), graph=NamedDiseases(["asthma", "gout"])).extract(
        ["Wasting, low salt, gouty"]
    )[0]
    assert [entity.name for entity in extraction.entities] == ["wasting", "hyponatremia", "gout"]
    assert extraction.exact


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("term\nx\n", "columns term,names"),
        ("term,names\nx,\n", "must not be empty"),
        ("term,names,so\nx,y,z\n", "columns"),
    ],
)
def test_a_terms_file_that_is_none_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    table = tmp_path / "terms.csv"
    if content is not None:
        table.write_text(content)
    with pytest.raises(UserError, match=message):
        rules.build(rules.Options(terms_file=table), graph=NamedDiseases(["gout"]))


def test_every_clinical_term_has_a_disease_in_the_open_primekg(open_primekg: KnowledgeGraph) -> None:
    index = name_index(open_primekg)
    missing = [
        row["term"]
        for row in terms(rules.TERMS)
        if not any(normal(name) in index or name == NO_NODE for name in (row["term"], *row["names"].split("|")))
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Acute kidney failure, unspecified", "acute kidney failure"),
        ("Type 2 diabetes mellitus without complications", "type 2 diabetes mellitus"),
        ("Essential (primary) hypertension", "essential hypertension"),
        ("Chronic obstructive pulmonary disease, unspecified", "chronic obstructive pulmonary disease"),
        ("Severe sepsis without septic shock", "bacterial infectious disease with sepsis"),
        ("Anemia, unspecified", "anemia"),
    ],
)
def test_titles_of_diagnosis_codes_are_read(reader: Callable[[str], list[Entity]], title: str, name: str) -> None:
    assert (name, "present") in [(entity.name, entity.status) for entity in reader(title)]


def test_most_diagnoses_of_the_real_demo_name_a_disease_of_the_graph(
    demo_raw: Path, reader: Callable[[str], list[Entity]]
) -> None:
    titles = pl.read_csv(demo_raw / "hosp" / "d_icd_diagnoses.csv.gz", infer_schema=False)
    given_codes = pl.read_csv(demo_raw / "hosp" / "diagnoses_icd.csv.gz", infer_schema=False)
    rows = given_codes.join(titles, on=["icd_code", "icd_version"])["long_title"].to_list()
    named = {title: any(entity.linked for entity in reader(title)) for title in set(rows)}
    assert len(rows) > 4_000 and sum(named[title] for title in rows) / len(rows) > 0.6


def test_the_status_cases_are_read_as_written(reader: Callable[[str], list[Entity]]) -> None:
    with (ROOT / "benchmarks" / "status_cases.csv").open(encoding="utf-8", newline="") as file:
        cases = list(csv.DictReader(file))
    right = 0
    for row in cases:
        start = row["text"].index(row["mention"])
        covering = [e for e in reader(row["text"]) if e.start < start + len(row["mention"]) and start < e.end]
        right += bool(covering) and covering[0].status == row["status"]
    assert len(cases) > 200 and right / len(cases) > 0.97


@pytest.mark.parametrize("between", [". ", "\n", ".\n"])
def test_a_phrase_that_names_no_disease_does_not_reach_into_the_next_sentence(
    reader: Callable[[str], list[Entity]], between: str
) -> None:
    statuses = [(entity.surface, entity.status) for entity in reader(f"GBS{between}Negative for gout.")]
    assert statuses == [("GBS", "present"), ("gout", "negated")]
    assert [entity.surface for entity in reader("Mother GBS negative, has gout.")] == ["gout"]


@pytest.mark.parametrize("site", ["a", "b"])
@pytest.mark.parametrize("kind", ["present", "negated", "family", "hypothetical"])
def test_every_sentence_of_the_synthetic_notes_is_read(mini_graph: Path, kind: str, site: str) -> None:
    from emerge_ehr.datasets.sources.synthetic.sites import SITES

    phrases = SITES[site].phrases
    templates = {
        "present": phrases.asserted,
        "negated": phrases.negated,
        "family": phrases.family,
        "hypothetical": phrases.hypothetical,
    }
    extractor = build(primekg.build(primekg.Options(), folder=mini_graph))
    texts = [
        (form, template.format(form), normal(name))
        for name, forms in phrases.forms.items()
        for form in forms
        for template in templates[kind]
    ]
    wrong = []
    for (form, text, _), extraction in zip(texts, extractor.extract([text for _, text, _ in texts]), strict=True):
        mentions = [(entity.surface, entity.status) for entity in extraction.entities]
        if mentions != [(form, kind)]:
            wrong.append((text, mentions))
    assert len(texts) > 400 and wrong == []
