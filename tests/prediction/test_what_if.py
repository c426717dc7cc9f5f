import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emerge_ehr.config import Model
from emerge_ehr.fields import Component
from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import what_if
from emerge_ehr.prediction.what_if import Told, Without
from emerge_ehr.preprocess import fitted as fitted_things
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.rag import records as rag
from emerge_ehr.rag import records_file as rag_records
from emerge_ehr.rag.faithfulness import Faithfulness
from emerge_ehr.rag.records_file import Record, RecordedMention
from emerge_ehr.rag.summaries import OfManifestations, OfMention, OfModel, OfPerson, OfSignal, OfTriples, Statement
from emerge_ehr.storage import schema, table_files
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Trained, load

EMPTY = Record("p", (), (), (), (), (), (), "", (), Faithfulness(None, 0, ()), "rules", "template", ())


def asked(trained: Trained) -> tuple[Fitted, Batch, list[Told]]:
    """The test patients, with what their texts were made from."""
    config = trained.config
    records = {record.patient_id: record for record in rag_records.read(config.processed_dir)}
    patients = trained.dataset.split["test"]
    notes = rag.joined_notes(table_files.read_table(config.table_dir, schema.NOTES), patients)
    told = [Told(text, records[patient]) for patient, text in zip(patients, notes, strict=True)]
    fitted = fitted_things.load(config.processed_dir / schema.FITTED, config.paths.cache_dir)
    return fitted, inputs.mapped(trained.dataset, "test").whole(), told


@pytest.mark.parametrize("method", ["emerge", "token_level"])
def test_the_risk_without_a_disease_is_that_of_texts_written_and_encoded_without_it(
    run_of: Callable[[str], Path], method: str
) -> None:
    trained = load(run_of(method))
    fitted, batch, told = asked(trained)
    found = what_if.without_diseases(trained, fitted, batch, told)
    assert [list(risks) for risks in found] == [[node.node_index for node in one.record.nodes] for one in told]
    arrays = {name: value.numpy() for name, value in vars(batch).items()}
    for n, one in enumerate(told):
        for node, without in found[n].items():
            row = {name: value[n : n + 1].copy() for name, value in arrays.items()}
            notes = one.notes or ""
            for entity in reversed(one.record.entities):
                if entity.node_index == node:
                    notes = notes[: entity.start] + notes[entity.end :]
            kept = [said.text for said in one.record.provenance if node not in said.nodes]
            assert notes != one.notes and len(kept) < len(one.record.provenance)
            for name, encoder, text in (("note", fitted.note, notes), ("summary", fitted.summary, " ".join(kept))):
                row[f"{name}_embedding"] = encoder.encode([text])
                pieces = encoder.split(text)[:4]
                row[f"{name}_tokens"][:] = 0
                row[f"{name}_tokens"][0, : len(pieces)] = encoder.encode(pieces)
                row[f"{name}_tokens_mask"][0] = np.arange(row[f"{name}_tokens"].shape[1]) < len(pieces)

            alone = Batch(**{name: torch.from_numpy(value) for name, value in row.items()})
            np.testing.assert_allclose(without.risk, trained.probability(alone)[0], atol=1e-6)
    base = trained.probability(batch)
    assert any(abs(base[n] - one.risk).max() > 1e-6 for n, each in enumerate(found) for one in each.values())


def test_a_method_that_reads_no_text_is_not_asked_about_diseases(
    run_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(run_of("gru_d"))
    fitted, batch, told = asked(trained)
    monkeypatch.setattr(Trained, "probability", None)
    assert any(one.record.nodes for one in told)
    assert what_if.without_diseases(trained, fitted, batch, told) == [{} for _ in told]


@pytest.mark.parametrize(
    ("changed", "read"),
    [
        ({"baseline": Component("gru_d")}, ("ehr",)),
        ({"baseline": Component("note_only")}, ("note",)),
        ({"baseline": Component("m3care", {"texts": ["summary"]})}, ("ehr", "summary")),
        ({}, ("ehr", "note", "summary")),
        ({"model": Model(modalities=("summary", "ehr"))}, ("ehr", "summary")),
        ({"model": Model(modalities=("ehr",))}, ("ehr",)),
        ({"model": Model(text_fusion=Component("note_only"))}, ("ehr", "note")),
    ],
)
def test_only_what_a_method_reads_can_be_taken_from_it(
    emerge: Trained, changed: dict[str, Any], read: tuple[str, ...]
) -> None:
    config = dataclasses.replace(emerge.config, **changed)
    assert dataclasses.replace(emerge, config=config).reads == read


def test_without_the_notes_at_hand_only_the_summary_changes(emerge: Trained) -> None:
    fitted, batch, told = asked(emerge)
    without = what_if.without_diseases(emerge, fitted, batch, [dataclasses.replace(one, notes=None) for one in told])
    some = next(n for n, one in enumerate(told) if one.record.nodes)
    node = told[some].record.nodes[0].node_index
    summary = fitted.summary.encode([what_if.summary_without(told[some].record, node)])

    row = batch.select(torch.tensor([some]))
    expected = emerge.probability(dataclasses.replace(row, summary_embedding=torch.from_numpy(summary)))[0]
    np.testing.assert_allclose(without[some][node].risk, expected, atol=1e-6)


def test_statements_of_a_language_model_go_by_what_they_cite() -> None:
    fast = OfSignal("heart_rate", "heart rate", "high", 142.0, "beats/min", 7, 3.2, 5)
    cited = (
        Statement("Old.", OfModel((OfPerson(90.0, None),))),
        Statement("Sepsis and a fast heart.", OfModel((fast, OfMention(3, "sepsis")))),
        Statement("Sepsis has fever.", OfModel((OfTriples(3, "phenotype present", ("Fever",)),))),
        Statement("Gout.", OfModel((OfMention(4, "gout"),))),
    )
    record = dataclasses.replace(EMPTY, provenance=cited)
    assert what_if.summary_without(record, 3) == "Old. Gout."


def test_every_mention_of_a_disease_goes_by_whatever_name_and_denied_ones_stay() -> None:
    notes = "PNA again. Father had pneumonia. Pneumonia, gout."
    spans = [(0, 3, 7), (22, 31, None), (33, 42, 7), (44, 48, 9)]
    mentions = tuple(RecordedMention(notes[start:end], "", start, end, "present", node) for start, end, node in spans)
    record = dataclasses.replace(EMPTY, entities=mentions)
    assert what_if.notes_without(notes, record, 7) == " again. Father had pneumonia. , gout."
    assert what_if.notes_without(notes, record, 8) == notes


def test_records_tell_which_disease_a_mention_counts_for(emerge: Trained) -> None:
    for record in rag_records.read(emerge.config.processed_dir):
        counted = [entity for entity in record.entities if entity.node_index is not None]
        assert {entity.node_index for entity in counted} == {node.node_index for node in record.nodes}
        assert all(entity.status in ("present", "historical") for entity in counted)
        for node in record.nodes:
            surfaces = [entity.surface for entity in counted if entity.node_index == node.node_index]
            assert node.surface in surfaces and len(surfaces) >= node.count


def test_records_of_an_earlier_version_are_refused(emerge: Trained, tmp_path: Path) -> None:
    from emerge_ehr.fields import UserError

    old = (emerge.config.processed_dir / schema.RAG_RECORDS).read_text().replace('""node_index""', '""node""')
    (tmp_path / schema.RAG_RECORDS).write_text(old)
    with pytest.raises(UserError, match=r"row 2: column entities: .* earlier version; run --stage preprocess"):
        rag_records.read(tmp_path)


def test_what_was_fitted_is_in_the_checksums_and_gives_the_same_arrays(emerge: Trained) -> None:
    config, data = emerge.config, emerge.dataset
    fitted = fitted_things.load(config.processed_dir / schema.FITTED, config.paths.cache_dir)
    cohort = table_files.read_table(config.table_dir, schema.STATIC).sort("patient_id")
    assert np.array_equal(fitted.static(cohort), data.static)
    named = {path.name for path in (config.processed_dir / schema.FITTED).iterdir()}
    assert {f"fitted/{name}" for name in named} <= data.metadata["artefacts"].keys()


def told_of(found: Sequence[Mapping[Any, Without]]) -> list[dict[Any, tuple[list[float], list[bool]]]]:
    return [{key: (one.risk.tolist(), one.agreed.tolist()) for key, one in each.items()} for each in found]


def test_what_joins_a_signal_to_a_disease_goes_with_the_disease() -> None:
    slow = OfSignal("heart_rate", "heart rate", "low", 42.0, "beats/min", 7, -3.2, 5)
    said = (
        Statement("Old.", OfPerson(90.0, None)),
        Statement("Slow heart.", slow),
        Statement("Slow heart of myxoedema.", OfManifestations(3, ("heart_rate",), ("Bradycardia",))),
        Statement("Slow, old.", OfModel((slow, OfPerson(90.0, None)))),
        Statement("Slow by myxoedema.", OfModel((slow, OfMention(3, "myxoedema")))),
    )
    record = dataclasses.replace(EMPTY, provenance=said)
    assert what_if.summary_without_signal(record, "heart_rate") == "Old. Slow heart of myxoedema. Slow by myxoedema."
    assert what_if.summary_without_signal(record, "ph") == " ".join(one.text for one in said)
    assert what_if.summary_without(record, 3) == "Old. Slow heart. Slow, old."
