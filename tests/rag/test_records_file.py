"""A record comes back from its row as it was, and a row that is not one is refused with its column."""

import dataclasses
import json
from pathlib import Path

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.rag import records_file
from emerge_ehr.rag.faithfulness import Faithfulness, UnsupportedClaim
from emerge_ehr.rag.patient_links import LeftOut, Link
from emerge_ehr.rag.records_file import COLUMNS, Record, RecordedDocument, RecordedMention, RecordedTriple
from emerge_ehr.rag.summaries import (
    OfContraindications,
    OfDisease,
    OfManifestations,
    OfMention,
    OfModel,
    OfNotes,
    OfNothing,
    OfPerson,
    OfSignal,
    OfTreatments,
    OfTriples,
    Statement,
)
from emerge_ehr.rag.treatments import Contraindication, Given
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.storage import schema, table_files

SIGNAL = ("heart_rate", "heart rate", "high", 142.0, "beats/min", 7, 3.2, 5)
RECORD = Record(
    patient_id="7",
    abnormal_signals=(AbnormalSignal(*SIGNAL),),
    entities=(
        RecordedMention("PNA", "pneumonia", 0, 3, "present", 1),
        RecordedMention("gout", "gout", 5, 9, "negated", None),
    ),
    nodes=(Link(1, "pneumonia", "PNA", 1.0, 1, None, "historical", "PNA in 1995"),),
    left_out=(LeftOut(2, "lung disease", "lung disease", 1, "more general", 1),),
    documents=(RecordedDocument(1, "pneumonia", "An infection of the lung.", ""),),
    triples=(RecordedTriple(1, "pneumonia", "indication", "amoxicillin"),),
    summary='“A woman.” Naïve, with a "quote",\nand a line.',
    provenance=(
        Statement("A woman.", OfPerson(None, "F")),
        Statement("Fast.", OfSignal(*SIGNAL)),
        Statement("Pneumonia.", OfDisease(1, "PNA", 1.0, definition=True, quote="PNA in 1995")),
        Statement("Amoxicillin.", OfTriples(1, "indication", ("amoxicillin",))),
        Statement("Low pH is one.", OfManifestations(1, ("ph",), ("Acidosis",))),
        Statement("Denied: MI.", OfNotes("negated", ("MI",))),
        Statement("None.", OfNothing("no signal")),
        Statement("By a model.", OfModel((OfPerson(67.0, "F"), OfMention(1, "PNA")))),
    ),
    faithfulness=Faithfulness(0.5, 6, (UnsupportedClaim(2, "gout", "not in the notes"),)),
    entity_backend="rules",
    summary_backend="template",
    failures=("HTTP 500",),
)


@pytest.mark.parametrize("record", [RECORD, dataclasses.replace(RECORD, summary="", provenance=(), patient_id='"7"')])
def test_a_record_comes_back_from_its_row(record: Record) -> None:
    row = dict(zip(COLUMNS, records_file.to_row(record), strict=True))
    assert records_file.from_row(row) == record


def written(folder: Path, **columns: str) -> Path:
    rows = [records_file.to_row(RECORD), records_file.to_row(dataclasses.replace(RECORD, patient_id="8"))]
    rows[1] = tuple(columns.get(name, value) for name, value in zip(COLUMNS, rows[1], strict=True))
    table_files.write_table(records_file.table(rows), folder / schema.RAG_RECORDS)
    return folder


def test_a_record_comes_back_from_the_file_as_it_was(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert records_file.read(folder) == [RECORD, dataclasses.replace(RECORD, patient_id="8")]
    assert [record.patient_id for record in records_file.read(folder, ["8"])] == ["8"]


def test_a_statements_evidence_stands_beside_its_text() -> None:
    statements = records_file.plain(RECORD)["provenance"]
    assert statements[0] == {"text": "A woman.", "kind": "patient", "age": None, "sex": "F"}
    assert list(statements[2]) == ["text", "kind", "node_index", "surface", "score", "definition", "quote"]
    assert statements[7]["evidence"][1] == {"kind": "disease", "node_index": 1, "surface": "PNA"}


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("nodes", "[", "column nodes: not JSON"),
        ("nodes", "[1]", "column nodes: 0: "),
        ("nodes", "", "column nodes: all of it: "),
        ("abnormal_signals", '[{"code": NaN}]', "column abnormal_signals: not JSON .NaN"),
        ("entities", '[{"surface": "PNA"}]', "column entities: 0.name: "),
        ("triples", '[[1, "a", "b"]]', "column triples: "),
        ("triples", "{}", "column triples: all of it: "),
        ("faithfulness", "{}", "column faithfulness: "),
        ("provenance", '[{"text": "x", "kind": "rumour"}]', "column provenance: 0.evidence: "),
        ("provenance", '["x"]', "column provenance: 0: "),
        ("failures", json.dumps([{}]), "column failures: 0: "),
        ("documents", "[" * 100_000, "column documents: not JSON"),
    ],
)
def test_what_is_no_record_is_refused_with_file_row_and_column(
    column: str, text: str, words: str, tmp_path: Path
) -> None:
    folder = written(tmp_path, **{column: text})
    with pytest.raises(UserError, match=rf"rag_records.csv row 3: {words}.*damaged.*run --stage preprocess") as refused:
        records_file.read(folder)
    assert "\n" not in str(refused.value)
    assert [record.patient_id for record in records_file.read(folder, ["7"])] == ["7"]


def test_treatments_are_columns_only_where_somebody_was_given_something(tmp_path: Path) -> None:
    given = Given("heparin", 101, "infusion", 3, ("Heparin Sodium",))
    against = Contraindication("heparin", 101, "infusion", 1, "pneumonia")
    statements = (
        Statement("Infused: heparin.", OfTreatments("infusion", ("heparin",))),
        Statement("It is contraindicated.", OfContraindications(1, "infusion", ("heparin",), (101,))),
    )
    treated = dataclasses.replace(RECORD, treatments=(given,), contraindications=(against,), provenance=statements)
    for name, records in (("with", [RECORD, treated]), ("without", [RECORD])):
        folder = tmp_path / name
        folder.mkdir()
        records_file.write(records_file.table([records_file.to_row(record) for record in records]), folder)
        assert records_file.read(folder) == records
        header = (folder / schema.RAG_RECORDS).read_text().partition("\n")[0].split(",")
        assert (set(records_file.OPTIONAL) <= set(header)) == (name == "with")
        assert bool(set(records_file.OPTIONAL) & set(header)) == (name == "with")
    assert not set(records_file.OPTIONAL) & records_file.plain(RECORD).keys()
    assert records_file.plain(treated)["contraindications"][0]["disease"] == "pneumonia"
    assert [statement.nodes for statement in statements] == [(), (1,)]
