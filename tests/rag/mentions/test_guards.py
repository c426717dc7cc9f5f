"""The guards spare only checks that would find nothing: with every check asked, the same is found."""

import csv

import numpy as np
import pytest
from numpy.typing import NDArray

from emerge_ehr.compute.local import Local
from emerge_ehr.rag.entities import rules
from emerge_ehr.rag.mentions import guards
from tests.named_diseases import NamedDiseases
from tests.places import ROOT
from tests.rag.mentions import test_context, test_spellings_and_places

Asked = tuple[NDArray[np.int64], guards.Flags]


def texts() -> list[str]:
    """The status cases, and the texts of the tests of context without the marks around their mentions."""
    with (ROOT / "benchmarks" / "status_cases.csv").open(encoding="utf-8", newline="") as file:
        found = [row["text"] for row in csv.DictReader(file)]
    for module in (test_context, test_spellings_and_places):
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", ()):
                found += [text.replace("<", "").replace(">", "") for text, _ in mark.args[1]]
    return found


def test_the_same_is_found_with_every_check_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "pneumonia",
        "pulmonary embolism",
        "gout",
        "asthma",
        "type 2 diabetes mellitus",
        "cerebrovascular disorder",
        "influenza",
    ]
    extractor = rules.build(rules.Options(), graph=NamedDiseases(names), pool=Local(1))
    guarded = extractor.extract(texts())
    flags = guards.flags

    def everything(kinds: guards.Kinds, points: guards.Codes, matches: guards.Matches, sentences: int) -> Asked:
        _, kept = flags(kinds, points, matches, sentences)
        kind = kinds.kind[matches.numbers].astype(np.int64)
        return np.where(kind == guards.TARGET, kind | guards.ASKED | guards.FORM, kind), kept

    monkeypatch.setattr(guards, "flags", everything)
    assert len(guarded) > 500 and extractor.extract(texts()) == guarded
