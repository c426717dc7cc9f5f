"""What every summarizer promises, whichever it is; one that asks a model also where the model answers nonsense."""

import dataclasses
import json
from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.graphs import Triple
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.rag.summaries import Evidence, Summarizer
from emerge_ehr.signals.abnormal import AbnormalSignal
from tests.examples import chosen
from tests.rag import llm_plugs
from tests.rag.llm_plugs import Serve

PLUGS = components.names("summary")


def evidence(disease: str, value: float) -> Evidence:
    signal = AbnormalSignal("heart_rate", "heart rate", "high", value, "beats/min", 7, 3.2, 5)
    triples = (Triple(disease, "indication", "indication", "amoxicillin"),)
    retrieved = Retrieved(1, disease, "A definition.", "", triples)
    return Evidence(67.0, "F", [signal], [Link(1, disease, disease, 1.0, 2)], {1: retrieved})


SAMPLES = [
    evidence("pneumonia", 142.0),
    Evidence(None, None, [], [], {}),
    evidence("asthma", 131.0),
    Evidence(18.0, "M", [], [], {}),
]


def summarizer(plug: str, folder: Path, serve: Serve, nonsense: bool = False) -> Summarizer:
    answer = (lambda body: llm_plugs.NONSENSE) if nonsense else None
    built: Summarizer = components.build(
        "summary",
        chosen("summary", plug),
        question="death in this hospital admission",
        window="first 48 h of the stay",
        llm=llm_plugs.chat("summary", plug, folder, serve, answer),
    )
    return built


@pytest.mark.parametrize("nonsense", [False, True])
@pytest.mark.parametrize("plug", PLUGS)
def test_every_sample_has_one_summary_of_statements_with_evidence(
    plug: str, nonsense: bool, tmp_path: Path, serve: Serve
) -> None:
    built = summarizer(plug, tmp_path, serve, nonsense)
    found = built.summarise(SAMPLES)
    assert len(found) == len(SAMPLES) and built.summarise([]) == []
    assert isinstance(built.asks, bool)
    for summary in found:
        assert summary.backend in PLUGS
        assert all(statement.text.strip() for statement in summary.statements)
        json.dumps([dataclasses.asdict(statement.evidence) for statement in summary.statements], allow_nan=False)
    assert found[0].statements or found[0].failure


@pytest.mark.parametrize("plug", PLUGS)
def test_a_sample_is_summed_up_alike_alone_and_among_others(plug: str, tmp_path: Path, serve: Serve) -> None:
    together = summarizer(plug, tmp_path, serve).summarise(SAMPLES)
    assert summarizer(plug, tmp_path, serve).summarise(SAMPLES[::-1]) == together[::-1]
    alone = summarizer(plug, tmp_path / "fresh", serve)
    assert [alone.summarise([sample])[0] for sample in SAMPLES] == together


@pytest.mark.parametrize("plug", PLUGS)
def test_a_summary_names_no_disease_of_another_sample(plug: str, tmp_path: Path, serve: Serve) -> None:
    found = summarizer(plug, tmp_path, serve).summarise(SAMPLES)
    assert "asthma" not in found[0].text and "pneumonia" not in found[2].text
