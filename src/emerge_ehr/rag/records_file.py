"""``rag_records.csv``: what the RAG half of preprocessing found for each sample.

Only this module knows how a record is written: the columns of the file are the fields of ``Record``, and every column that is not
plain text holds JSON.
"""

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import TypeAdapter, ValidationError

from emerge_ehr.fields import UserError
from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.faithfulness import Faithfulness
from emerge_ehr.rag.patient_links import LeftOut, Link
from emerge_ehr.rag.summaries import Statement
from emerge_ehr.rag.treatments import Contraindication, Given
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.storage import artefacts, spreadsheet, table_files
from emerge_ehr.storage.schema import RAG_RECORDS


@dataclass(frozen=True)
class RecordedMention:
    """An entity in the notes. ``node_index``: the disease that it means, a node of the record or a more general one left out."""

    surface: str
    name: str
    start: int
    end: int
    status: Status
    node_index: int | None


@dataclass(frozen=True)
class RecordedDocument:
    """What the graph says about a disease; definition and description may be empty."""

    node_index: int
    name: str
    definition: str
    description: str


class RecordedTriple(NamedTuple):
    """A triple that was retrieved for the disease ``node_index``; in the file it is a list."""

    node_index: int
    x_name: str
    relation: str  # as it is displayed
    y_name: str


@dataclass(frozen=True)
class Record:
    """A row of the file. ``nodes`` are the linked diseases, the most important first, ``left_out`` those without a
    place among them, ``provenance`` the statements of the summary with their evidence.

    ``treatments`` and ``contraindications``: what was given, and what the graph holds against it in ``nodes`` and ``left_out``.
    The file has these columns only where somebody was given something.
    """

    patient_id: str
    abnormal_signals: tuple[AbnormalSignal, ...]
    entities: tuple[RecordedMention, ...]
    nodes: tuple[Link, ...]
    left_out: tuple[LeftOut, ...]
    documents: tuple[RecordedDocument, ...]
    triples: tuple[RecordedTriple, ...]
    summary: str
    provenance: tuple[Statement, ...]
    faithfulness: Faithfulness
    entity_backend: str
    summary_backend: str
    failures: tuple[str, ...]
    treatments: tuple[Given, ...] = ()
    contraindications: tuple[Contraindication, ...] = ()


OPTIONAL = ("treatments", "contraindications")
COLUMNS = tuple(column.name for column in dataclasses.fields(Record))
TEXTS = tuple(column.name for column in dataclasses.fields(Record) if column.type is str)


def plain(record: Record) -> dict[str, Any]:
    """The record by column, as values that JSON can hold; the evidence of a statement stands beside its text.

    ``OPTIONAL`` columns are left out where they are empty.
    """
    values = _adapter().dump_python(record)
    statements = [{"text": statement["text"], **statement["evidence"]} for statement in values["provenance"]]
    absent = [name for name in OPTIONAL if not values[name]]
    return {name: value for name, value in {**values, "provenance": statements}.items() if name not in absent}


def to_row(record: Record) -> tuple[str, ...]:
    """The record as a row of the file, in the order of ``COLUMNS``."""
    values = plain(record)
    return tuple(values[name] if name in TEXTS else _json(values.get(name, [])) for name in COLUMNS)


def from_row(row: Mapping[str, str | None]) -> Record:
    """The record in a row that ``to_row`` wrote.

    Raises:
        ValueError: a column holds something else than ``to_row`` writes.
    """
    values = {name: (row[name] or "") if name in TEXTS else _parsed(name, row[name] or "null") for name in COLUMNS}
    if isinstance(values["provenance"], list):
        values["provenance"] = [_nested(statement) for statement in values["provenance"]]
    try:
        return _adapter().validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        column, *inside = (str(part) for part in first["loc"])
        raise ValueError(f"column {column}: {'.'.join(inside) or 'all of it'}: {first['msg'].lower()}") from None


def table(rows: Collection[tuple[str, ...]]) -> pl.DataFrame:
    """The file's rows as a table."""
    return pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def write(records: pl.DataFrame, folder: Path) -> None:
    """Write the file: the rows of ``table``, in which a spreadsheet finds no formula, without empty ``OPTIONAL`` columns."""
    records = records.drop([name for name in OPTIONAL if (records[name] == "[]").all()])
    table_files.write_table(spreadsheet.safe_texts(records), folder / RAG_RECORDS)


def read(folder: Path, patients: Collection[str] | None = None) -> list[Record]:
    """The records in ``folder``, in the order of the arrays; only those of ``patients`` (``patient_id``), if they are named.

    Raises:
        UserError: the file is missing, damaged, or of an earlier version.
    """
    path = folder / RAG_RECORDS
    if not path.is_file():
        raise UserError(f"{path}: missing; run --stage preprocess first")
    try:
        written = pl.read_csv(path, infer_schema=False, glob=False)
        absent = [pl.lit("[]").alias(name) for name in OPTIONAL if name not in written.columns]
        written = written.with_columns(absent).select(COLUMNS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: damaged ({artefacts.first_line(error)}); run --stage preprocess again") from None
    rows = spreadsheet.plain_texts(written).with_row_index("line", 2)
    if patients is not None:
        rows = rows.filter(pl.col("patient_id").is_in(list(patients)))
    return [_record(row, path) for row in rows.iter_rows(named=True)]


def _record(row: Mapping[str, Any], path: Path) -> Record:
    """The record in a row of the file at ``path``, which the error message names with the row."""
    try:
        return from_row(row)
    except ValueError as error:
        raise UserError(
            f"{path} row {row['line']}: {artefacts.first_line(error)}; the file is damaged, or was made by an earlier version; "
            "run --stage preprocess and --stage train again"
        ) from None


def _parsed(column: str, text: str) -> Any:
    try:
        return artefacts.parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"column {column}: not JSON ({artefacts.first_line(error)})") from None


def _nested(statement: Any) -> Any:
    """A statement with its evidence under the key ``evidence``, as ``Statement`` has it: the inverse of ``plain``."""
    if not isinstance(statement, dict):
        return statement
    return {"text": statement.get("text"), "evidence": {k: v for k, v in statement.items() if k != "text"}}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
