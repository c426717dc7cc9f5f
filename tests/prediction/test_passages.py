import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import passages
from emerge_ehr.prediction.passages import Passage
from emerge_ehr.rag.records_file import RecordedMention
from emerge_ehr.rag.summaries import OfNotes, OfPerson, OfTriples, Statement
from emerge_ehr.training.trained import Trained, load
from tests.prediction.test_what_if import EMPTY, asked


@pytest.mark.parametrize("method", ["emerge", "token_level"])
def test_the_risk_without_a_passage_is_that_of_texts_written_and_encoded_without_it(
    run_of: Callable[[str], Path], method: str
) -> None:
    trained = load(run_of(method))
    fitted, batch, told = asked(trained)
    found = passages.without_passages(trained, fitted, batch, told)
    base = trained.probability(batch)
    changed, shorter = 0, 0
    for n in range(0, len(told), 5):
        record, notes = told[n].record, told[n].notes or ""
        assert " ".join(notes[passage.start : passage.end] for passage, _ in found[n]).split() == notes.split()
        for passage, without in found[n]:
            row = {name: value[n : n + 1].numpy().copy() for name, value in vars(batch).items()}
            elsewhere = [m for m in record.entities if m.end <= passage.start or m.start >= passage.end]
            kept = [
                said.text
                for said in record.provenance
                if all(any(m.node_index == node for m in elsewhere) for node in said.nodes)
                and not any(
                    {*item.surfaces} <= {m.surface for m in record.entities} - {m.surface for m in elsewhere}
                    for item in said.items
                    if isinstance(item, OfNotes)
                )
            ]
            shorter += len(kept) < len(record.provenance)
            cut = notes[: passage.start] + notes[passage.end :]
            for name, encoder, text in (("note", fitted.note, cut), ("summary", fitted.summary, " ".join(kept))):
                row[f"{name}_embedding"] = encoder.encode([text])
                row[f"{name}_mask"][0] = bool(text)
                pieces = encoder.split(text)[:4] if text else []
                row[f"{name}_tokens"][:] = 0
                if pieces:
                    row[f"{name}_tokens"][0, : len(pieces)] = encoder.encode(pieces)
                row[f"{name}_tokens_mask"][0] = np.arange(row[f"{name}_tokens"].shape[1]) < len(pieces)
            alone = Batch(**{name: torch.from_numpy(value) for name, value in row.items()})
            np.testing.assert_allclose(without.risk, trained.probability(alone)[0], atol=1e-6)
            changed += bool(abs(without.risk - base[n]).max() > 1e-6)
    assert changed > 5 and shorter > 5


def test_long_notes_are_cut_into_a_bounded_number_of_whole_sentences_of_about_equal_length() -> None:
    notes = " ".join(f"Finding number {n} is unchanged." for n in range(200))
    found = passages.passages(notes)
    assert len(found) == passages.PASSAGES
    assert all(notes[passage.start : passage.end].strip().startswith("Finding") for passage in found)
    assert all(notes[passage.start : passage.end].endswith(".") for passage in found)
    lengths = [passage.end - passage.start for passage in found]
    assert max(lengths) < 1.5 * min(lengths)
    assert passages.passages("") == passages.passages(" \n") == []


def test_what_other_passages_say_too_stays_in_the_summary() -> None:
    notes = "Asthma. Sepsis. Asthma again. No gout."
    mentions = (
        RecordedMention("Asthma", "asthma", 0, 6, "present", 1),
        RecordedMention("Sepsis", "sepsis", 8, 14, "present", 2),
        RecordedMention("Asthma", "asthma", 16, 22, "present", 1),
        RecordedMention("gout", "gout", 33, 37, "negated", None),
    )
    said = (
        Statement("Aged 60.", OfPerson(60.0, "F")),
        Statement("Of asthma.", OfTriples(1, "phenotype present", ("cough",))),
        Statement("Of sepsis.", OfTriples(2, "phenotype present", ("fever",))),
        Statement("Denied: gout.", OfNotes("negated", ("gout",))),
    )
    record = dataclasses.replace(EMPTY, entities=mentions, provenance=said)
    without = [passages.summary_without(record, passage) for passage in passages.passages(notes)]
    assert without == [
        "Aged 60. Of asthma. Of sepsis. Denied: gout.",
        "Aged 60. Of asthma. Denied: gout.",
        "Aged 60. Of asthma. Of sepsis. Denied: gout.",
        "Aged 60. Of asthma. Of sepsis.",
    ]
    assert passages.known_alone(record, Passage(0, len(notes))) == {1, 2}


def test_a_method_without_texts_and_patients_without_notes_have_no_passages(
    run_of: Callable[[str], Path], emerge: Trained
) -> None:
    series_only = load(run_of("gru_d"))
    fitted, batch, told = asked(series_only)
    assert passages.without_passages(series_only, fitted, batch, told) == [[] for _ in told]
    fitted, batch, told = asked(emerge)
    unknown = [dataclasses.replace(one, notes=None) for one in told]
    assert passages.without_passages(emerge, fitted, batch, unknown) == [[] for _ in told]
