"""The guards spare only what would change nothing: with every check asked, and every event read, the same is found."""

import csv
from random import Random

import numpy as np
import pytest

from emerge_ehr.compute.local import Local
from emerge_ehr.rag.entities import rules
from emerge_ehr.rag.mentions import guards, matching, reading
from tests.named_diseases import NamedDiseases
from tests.places import ROOT
from tests.rag.mentions import test_context, test_spellings_and_places

NAMES = [
    "pneumonia",
    "pulmonary embolism",
    "gout",
    "asthma",
    "type 2 diabetes mellitus",
    "cerebrovascular disorder",
    "influenza",
    "breast cancer",
    "ovarian cancer",
    "esophageal perforation",
    "hereditary spastic paraplegia",
    "valve disease",
    "mitral stenosis",
    "AIDS",
]
# What texts are joined with: cues, headers, signs of forms, qualifiers and the joints of names.
_JOINTS = (
    "no |denies |history of |\nFamily History:\n|PMH:\n|\nPast Medical History\n|Allergies: |but |due to |ruled out|less likely |"
    "possible |s/p |mother |\nDenies:\n|years ago|(-) |+ |[x] |- for |?|: no|: yes| and | or |, |; |. |.\n|\n|\n\n|: |/|acute |"
    "autosomal dominant | clinic|resolved|breast and |1) |2) |# |\ndiagnosis: |in 2010|AIDS|aids|perforation: esophageal|"
    "renal dysfunction|deficiency of |no longer |(|)|’s|\u00ad|é|\t"
)
JOINTS = _JOINTS.split("|")


def texts() -> list[str]:
    """The status cases, and the texts of the tests of context without the marks around their mentions."""
    with (ROOT / "benchmarks" / "status_cases.csv").open(encoding="utf-8", newline="") as file:
        found = [row["text"] for row in csv.DictReader(file)]
    for module in (test_context, test_spellings_and_places):
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", ()):
                found += [text.replace("<", "").replace(">", "") for text, _ in mark.args[1]]
    return found


def mixed(count: int) -> list[str]:
    """Texts that are drawn from the others, from names of diseases and from what stands between them; the first is empty."""
    random, own = Random(0), texts()
    return [""] + [
        "".join(
            random.choice((random.choice(JOINTS), random.choice(NAMES), random.choice(own)[:200], " "))
            for _ in range(random.randint(1, 25))
        )
        for _ in range(count)
    ]


def everything_is_decided_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask every check of every match, and let the reader of the context hear every event."""
    may_count, asked = guards.may_count, guards.asked

    def all_spelled(kinds: guards.Kinds, points: guards.Codes, *places: guards.Places) -> guards.Flags:
        return may_count(kinds, points, *places) | (kinds.written[places[0]] >= 0)

    def all_asked(kinds: guards.Kinds, text: str, points: guards.Codes, matches: guards.Matches) -> guards.Places:
        kind = asked(kinds, text, points, matches) & guards.KIND
        return np.where(kind == guards.TARGET, kind | guards.ASKED, kind)

    def none_settled(asked: guards.Places, *_: guards.Places) -> tuple[guards.Flags, guards.Flags]:
        return np.zeros(len(asked), bool), np.zeros(len(asked), bool)

    def all_in_form(_: guards.Codes, __: guards.Matches, asked: guards.Places) -> guards.Places:
        return guards.FORM * (asked & guards.KIND == guards.TARGET)

    def all_loud(
        kinds: guards.Kinds, _: guards.Codes, matches: guards.Matches, asked: guards.Places, __: int
    ) -> guards.Places:
        number = matches.numbers
        nothing = (asked & guards.KIND == guards.CUE) & ~(kinds.ahead | kinds.turn | kinds.back)[number]
        return (guards.ALONE | guards.QUIET) * nothing  # such a cue only keeps a shorter one from being read

    monkeypatch.setattr(guards, "may_count", all_spelled)
    monkeypatch.setattr(guards, "asked", all_asked)
    monkeypatch.setattr(guards, "in_form", all_in_form)
    monkeypatch.setattr(matching, "settled", none_settled)
    monkeypatch.setattr(matching, "quiet", all_loud)


def test_the_same_is_found_with_every_check_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = rules.build(rules.Options(), graph=NamedDiseases(NAMES), pool=Local(1))
    guarded = extractor.extract(texts())
    everything_is_decided_one_by_one(monkeypatch)
    assert len(guarded) > 500 and extractor.extract(texts()) == guarded


def test_the_same_is_found_in_mixed_texts_with_every_check_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = rules.build(rules.Options(), graph=NamedDiseases(NAMES), pool=Local(1))
    guarded = extractor.extract(mixed(1500))
    assert {entity.status for extraction in guarded for entity in extraction.entities} == set(reading.STATUSES)
    assert any(extraction.candidates for extraction in guarded)
    everything_is_decided_one_by_one(monkeypatch)
    assert extractor.extract(mixed(1500)) == guarded


def test_texts_that_are_read_together_are_read_as_each_by_itself() -> None:
    extractor = rules.build(rules.Options(), graph=NamedDiseases(NAMES), pool=Local(1))
    assert [extractor.extract([text])[0] for text in mixed(200)] == extractor.extract(mixed(200))
