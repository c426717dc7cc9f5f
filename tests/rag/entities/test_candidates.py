"""Phrases and titles that no dictionary holds: where they begin and end, their status, and when they count as mentions."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerge_ehr.compute.local import Local
from emerge_ehr.config import Linking
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import Entity, Extraction, rules
from emerge_ehr.rag.mentions.candidates import settle
from emerge_ehr.rag.names import normal
from tests.named_diseases import NamedDiseases

NAMES = (
    "pneumonia|laryngitis|laryngeal tuberculosis|kidney disease|hypotensive disorder|heart failure|neoplasm"
    "|antithrombin storage|malignant neoplasm of larynx|bladder cancer|tuberculosis|renal tubule disease"
)


GRAPH: KnowledgeGraph = NamedDiseases(NAMES.split("|"))
EXTRACTOR = rules.build(rules.Options(), graph=GRAPH, pool=Local(1))


def extract(text: str) -> Extraction:
    return EXTRACTOR.extract([text])[0]


def phrases(text: str) -> list[tuple[str, str]]:
    """The candidates of a text of several lines, in which nothing is a title, with their status."""
    return [(entity.surface, entity.status) for entity in extract(f"{text}\n\nSeen today by the team.").candidates]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He has bladder dysfunction and splenosis.", [("bladder dysfunction", "present"), ("splenosis", "present")]),
        ("Denies bladder dysfunction.", [("bladder dysfunction", "negated")]),
        ("Family History: mother with splenosis", [("splenosis", "family")]),
        ("She developed severe renal lesions", [("renal lesions", "present")]),
        ("Deficiency of antithrombin was found.", [("Deficiency of antithrombin", "present")]),
        ("A disease, a syndrome, a failure of nerve", []),  # no word says which
        ("Two doses at the bases", []),  # too short for a disease's ending
    ],
)
def test_a_phrase_has_the_words_that_tell_which_disease_it_is_and_the_status_of_its_sentence(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert phrases(text) == expected


def test_what_the_dictionary_holds_is_no_candidate() -> None:
    assert phrases("Pneumonia with heart failure") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tuberculous laryngitis, unspecified", ["Tuberculous laryngitis, unspecified"]),
        ("Admitted today.\nDiagnoses:\n1. Renal tubular dysfunction.\n- Tuberculous laryngitis\n\nHe was well", 2),
        ("Pneumonia, unspecified", []),  # the dictionary's mention says it all
        ("He was admitted with a mental condition", []),  # prose
    ],
)
def test_a_title_is_a_whole_short_text_or_a_line_after_a_heading(text: str, expected: list[str] | int) -> None:
    titles = [
        entity.surface for entity in extract(text).candidates if " " in entity.surface and entity.surface[0].isupper()
    ]
    assert titles == expected if isinstance(expected, list) else len(titles) == expected


def test_a_title_that_is_linked_to_another_disease_takes_the_place_of_the_mention_in_it(tmp_path: Path) -> None:
    extraction = extract("Tuberculosis of the larynx, unspecified")
    names = [entity.name for entity in (*extraction.entities, *extraction.candidates)]
    linked = linking.build(GRAPH, Linking(), 0, tmp_path).link(names)
    assert linked[normal(names[1])][2] == "laryngeal tuberculosis"
    assert [entity.surface for entity in settle(extraction, linked).entities] == [names[1]]
    same = linked | {normal(names[1]): linked["tuberculosis"]}
    assert [entity.surface for entity in settle(extraction, same).entities] == ["Tuberculosis"]


def test_a_title_is_linked_from_a_lower_score_on_than_a_phrase_unless_the_config_sets_one_for_both(
    tmp_path: Path,
) -> None:
    name = "renal tubular dysfunction"
    alone, within = (
        extract(name),
        extract(f"He was found to have {name}, which was treated.\n\nSeen today by the team."),
    )
    assert [entity.surface for entity in (*alone.candidates, *within.candidates)] == [name, name]
    assert (len(alone.titles), len(within.titles)) == (1, 0)
    linked: dict[str, tuple[int, float, str]] = {}
    titles_linked = {name: (0, 0.45, "kidney disease")}
    assert [entity.surface for entity in settle(alone, linked, titles_linked).entities] == [name]
    assert settle(within, linked, titles_linked).entities == ()
    by_default, chosen = (linking.build(GRAPH, Linking(threshold=value), 0, tmp_path) for value in (None, 0.6))
    assert (by_default.threshold, by_default.title_threshold) == (0.5, 0.4)
    assert (chosen.threshold, chosen.title_threshold) == (0.6, 0.6)


def test_a_title_is_no_disease_that_has_nothing_in_common_with_its_mention() -> None:
    extraction = extract("Laryngitis on methotrexate")
    linked = {"laryngitis": (1, 1.0, "laryngitis"), "laryngitis on methotrexate": (2, 0.9, "methotrexate toxicity")}
    assert settle(extraction, linked).entities == extraction.entities


def test_candidates_that_are_not_linked_leave_the_mentions_as_they_are() -> None:
    extraction = extract("Tuberculous laryngitis")
    settled = settle(extraction, {"laryngitis": (1, 1.0, "laryngitis")})
    assert settled.entities == extraction.entities and not settled.candidates


def test_without_the_option_there_are_no_candidates() -> None:
    plain = rules.build(rules.Options(candidates=False), graph=GRAPH, pool=Local(1))
    assert plain.extract(["Tuberculous laryngitis", "renal dysfunction"])[0].candidates == ()


SAID = (
    "renal",
    "dysfunction",
    "hypotension",
    "of the",
    "no",
    "pneumonia",
    "Diagnosis:",
    "laryngitis",
    "é",
    ",",
    ".",
    "(",
    ")",
)
WORDS = st.sampled_from([*SAID, "\n", "\n\n"])


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_offsets_are_exact_and_nothing_overlaps_in_any_text(text: str) -> None:
    extraction = extract(text)
    everything: tuple[Entity, ...] = (*extraction.entities, *extraction.candidates)
    assert all(text[entity.start : entity.end] == entity.surface for entity in everything)
    linked = {entity.name.lower(): (n, 0.9, entity.name) for n, entity in enumerate(extraction.candidates)}
    settled = settle(extraction, linked).entities
    assert all(first.end <= second.start for first, second in pairwise(settled))


def test_what_a_title_excludes_does_not_deny_its_disease() -> None:
    status = {entity.surface: entity.status for entity in extract("Jaundice, unspecified, not of newborn").candidates}
    assert status["Jaundice, unspecified, not of newborn"] == "present"
    assert {entity.status for entity in extract("No renal dysfunction").candidates} == {"negated"}
