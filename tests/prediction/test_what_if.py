import copy
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
from emerge_ehr.models.window_statistics import statistics
from emerge_ehr.prediction import ordinary, what_if
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
    assert what_if.modalities(dataclasses.replace(emerge, config=config)) == read


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


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
def test_several_modalities_at_once_and_known_logits_change_no_risk_by_a_bit(
    run_of: Callable[[str], Path], method: str
) -> None:
    trained = load(run_of(method))
    fitted, batch, told = asked(trained)
    others, names = what_if.donors(trained, 3), what_if.modalities(trained)
    together = what_if.without_modalities(trained, batch, names, others)
    assert list(together) == list(names)
    for name in names:
        assert together[name].tolist() == what_if.without_modality(trained, batch, name, others).tolist()
    courses, own = ordinary.of(trained), trained.of_members(batch)
    assert told_of(what_if.without_diseases(trained, fitted, batch, told, own)) == told_of(
        what_if.without_diseases(trained, fitted, batch, told)
    )
    assert told_of(what_if.without_signals(trained, fitted, batch, told, courses, own)) == told_of(
        what_if.without_signals(trained, fitted, batch, told, courses)
    )


def told_of(found: Sequence[Mapping[Any, Without]]) -> list[dict[Any, tuple[list[float], list[bool]]]]:
    return [{key: (one.risk.tolist(), one.agreed.tolist()) for key, one in each.items()} for each in found]


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
@pytest.mark.parametrize("name", ["ehr", "note", "summary"])
def test_the_risk_without_a_modality_is_the_mean_over_those_of_training_patients(
    run_of: Callable[[str], Path], method: str, name: str
) -> None:
    trained = load(run_of(method))
    batch, others = inputs.mapped(trained.dataset, "test").whole(), what_if.donors(trained, 3)
    found = what_if.without_modality(trained, batch, name, others)
    fields = {"ehr": ("ehr", "ehr_mask", "ehr_length"), "note": (), "summary": ()}[name] or (
        f"{name}_embedding",
        f"{name}_mask",
        f"{name}_tokens",
        f"{name}_tokens_mask",
    )
    for n in range(0, len(batch), 7):
        row = batch.select(torch.tensor([n]))
        risks = [
            trained.probability(
                dataclasses.replace(row, **{field: getattr(others, field)[d : d + 1] for field in fields})
            )[0]
            for d in range(3)
        ]
        np.testing.assert_allclose(found[n], np.mean(risks, axis=0), atol=1e-6)


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
def test_the_risk_without_a_signal_is_that_with_an_ordinary_course_and_without_its_statements(
    run_of: Callable[[str], Path], method: str
) -> None:
    trained = load(run_of(method))
    fitted, batch, told = asked(trained)
    courses = ordinary.of(trained)
    found = what_if.without_signals(trained, fitted, batch, told, courses)
    assert [list(one) for one in found] == [
        list(dict.fromkeys(signal.code for signal in one.record.abnormal_signals)) for one in told
    ]
    features = [feature["name"] for feature in trained.dataset.metadata["features"]]
    reads_text = trained.config.baseline is None
    for n in range(0, len(told), 5):
        length = int(batch.ehr_length[n])
        for code, without in found[n].items():
            row = {name: value[n : n + 1].clone() for name, value in vars(batch).items()}
            for name, course in zip(("ehr", "ehr_mask"), courses.courses(length), strict=True):
                row[name][0, :length, features.index(code)] = course[:, features.index(code)]
            if reads_text:
                kept = " ".join(
                    said.text
                    for said in told[n].record.provenance
                    if not (isinstance(said.evidence, OfSignal) and said.evidence.code == code)
                )
                assert len(kept) < len(told[n].record.summary)
                row["summary_embedding"] = torch.from_numpy(fitted.summary.encode([kept]))
                pieces = fitted.summary.split(kept)[:4]
                row["summary_tokens"][:] = 0
                row["summary_tokens"][0, : len(pieces)] = torch.from_numpy(fitted.summary.encode(pieces))
                row["summary_tokens_mask"][0] = torch.arange(row["summary_tokens"].shape[1]) < len(pieces)
            np.testing.assert_allclose(without.risk, trained.probability(Batch(**row))[0], atol=1e-6)
    base = trained.probability(batch)
    assert any(abs(base[n] - one.risk).max() > 1e-6 for n, each in enumerate(found) for one in each.values())


def test_of_a_method_without_texts_the_encoders_are_not_needed_and_one_that_reads_notes_alone_has_no_signals(
    run_of: Callable[[str], Path], emerge: Trained
) -> None:
    series = load(run_of("gru_d"))
    fitted, batch, told = asked(series)
    with_encoders, without = (
        what_if.without_signals(series, encoders, batch, told, ordinary.of(series)) for encoders in (fitted, None)
    )
    assert all(
        np.array_equal(one[code].risk, other[code].risk)
        for one, other in zip(with_encoders, without, strict=True)
        for code in one
    )
    of_notes = dataclasses.replace(emerge.config, baseline=Component("note_only"))
    reader = dataclasses.replace(emerge, config=of_notes)
    assert what_if.without_signals(reader, fitted, batch, told, ordinary.of(emerge)) == [{} for _ in told]


def test_a_patient_with_an_ordinary_course_and_no_statement_loses_nothing(emerge: Trained) -> None:
    fitted, batch, told = asked(emerge)
    courses = ordinary.of(emerge)
    some = next(n for n, one in enumerate(told) if one.record.abnormal_signals)
    code = told[some].record.abnormal_signals[0].code
    row = what_if.with_ordinary(emerge, batch.select(torch.tensor([some])), [code], courses)
    bare = dataclasses.replace(told[some].record, provenance=told[some].record.provenance[:1])
    row = dataclasses.replace(row, summary_embedding=torch.from_numpy(fitted.summary.encode([bare.provenance[0].text])))
    (found,) = what_if.without_signals(emerge, fitted, row, [Told(None, bare)], courses)
    np.testing.assert_allclose(found[code].risk, emerge.probability(row)[0], atol=1e-6)


def test_members_agree_only_if_none_changes_the_other_way(emerge: Trained) -> None:
    fitted, batch, told = asked(emerge)
    contrary = copy.deepcopy(emerge.members[0])
    assert isinstance(contrary, torch.nn.Module)
    contrary.register_forward_hook(lambda network, given, logits: -logits)
    for other, agree in ((emerge.members[0], 1.0), (contrary, 0.0)):
        pair = dataclasses.replace(emerge, members=(emerge.members[0], other), experts=())
        moved = [one.agreed for each in what_if.without_diseases(pair, fitted, batch, told) for one in each.values()]
        assert np.mean(moved) == pytest.approx(agree, abs=0.05), "a few change nothing"


def test_the_ordinary_course_is_that_of_the_training_patient_nearest_to_the_medians(emerge: Trained) -> None:
    train = inputs.mapped(emerge.dataset, "train").whole()
    length = train.ehr.shape[1]
    value, mask = ordinary.of(emerge).courses(length)
    found = statistics(train.ehr, train.ehr_mask > 0).reshape(len(train), 8, -1).numpy()
    for f in range(value.shape[1]):
        measured = train.ehr_mask[:, :, f].any(dim=1).numpy()
        own = found[measured, :, f].astype(np.float64)
        known = [column[~np.isnan(column)] for column in own.T]
        away = [
            (own[:, k] - np.quantile(column, 0.5, method="lower")) if len(column) else np.zeros(len(own))
            for k, column in enumerate(known)
        ]
        spread = [
            max(np.sqrt(np.nanmean(one**2)), 1e-6) if len(column) else 1
            for one, column in zip(away, known, strict=True)
        ]
        distance = np.nansum([(one / by) ** 2 for one, by in zip(away, spread, strict=True)], axis=0)
        lender = train.select(torch.from_numpy(np.flatnonzero(measured)[[distance.argmin()]]))
        assert torch.equal(value[:, f], lender.ehr[0, :, f]) and torch.equal(mask[:, f], lender.ehr_mask[0, :, f])


def test_a_course_is_cut_to_the_window_or_carried_forward_and_one_never_measured_stays_so(emerge: Trained) -> None:
    train = inputs.mapped(emerge.dataset, "train").whole()
    hours = train.ehr.shape[1]
    lengths = torch.where(torch.arange(len(train)) % 2 > 0, 6, 12)
    inside = (torch.arange(hours) < lengths[:, None])[..., None]
    never = torch.arange(train.ehr.shape[2]) > 0
    some = dataclasses.replace(
        train, ehr=train.ehr * inside * never, ehr_mask=train.ehr_mask * inside * never, ehr_length=lengths
    )
    courses = ordinary.Ordinary(some)
    value, mask = courses.courses(9)
    assert value.shape == mask.shape == (9, train.ehr.shape[2])
    lenders = some.select(torch.nonzero(lengths == 12)[:, 0])
    for f in range(1, value.shape[1]):
        assert (lenders.ehr[:, :9, f] == value[:, f]).all(dim=1).any(), "of one who was observed for as long"
    assert not mask[:, 0].any() and not value[:, 0].any()
    value, mask = courses.courses(hours)
    assert (value[12:] == value[11]).all() and not mask[12:].any() and mask[:12].any()


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


def test_donors_are_training_patients_and_the_same_each_time(emerge: Trained) -> None:
    train = inputs.mapped(emerge.dataset, "train").whole()
    first, again = what_if.donors(emerge), what_if.donors(emerge)
    assert torch.equal(first.ehr, again.ehr) and len(first) == what_if.DONORS
    assert all((train.ehr == one).all(dim=(1, 2)).any() for one in first.ehr)
