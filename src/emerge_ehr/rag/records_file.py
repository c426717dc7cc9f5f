"""Reads ``rag_records.csv``: what the RAG half of preprocessing found for each patient, its JSON columns parsed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.schema import RAG_COLUMNS, RAG_RECORDS

TEXTS = ("patient_id", "summary", "entity_backend", "summary_backend")
LISTS: dict[str, type] = {
    **dict.fromkeys(("abnormal_signals", "entities", "nodes", "documents", "provenance"), dict),
    "triples": list,
    "failures": object,
}


@dataclass(frozen=True)
class Record:
    """One patient's row; docs/file_formats.md has the keys of the dictionaries. A triple: node_index, x, relation, y."""

    patient_id: str
    abnormal_signals: list[dict[str, Any]]
    entities: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    documents: list[dict[str, Any]]
    triples: list[tuple[int, str, str, str]]
    summary: str
    provenance: list[dict[str, Any]]
    faithfulness: dict[str, Any]
    entity_backend: str
    summary_backend: str
    failures: list[Any]


def parse(row: Mapping[str, str | None]) -> Record:
    """A row of the table, as ``preprocess`` made it.

    Raises:
        ValueError: a column does not hold JSON, or other than it should.
    """
    values: dict[str, Any] = {
        name: (row[name] or "") if name in TEXTS else artefacts.parse_json(row[name] or "null") for name in RAG_COLUMNS
    }
    for name, of in LISTS.items():
        if not isinstance(values[name], list) or not all(isinstance(item, of) for item in values[name]):
            raise ValueError(f"{name} of patient_id {row['patient_id']!r} is not what preprocess writes there")
    if not isinstance(values["faithfulness"], dict) or any(len(triple) != 4 for triple in values["triples"]):
        raise ValueError(
            f"faithfulness or triples of patient_id {row['patient_id']!r} are not what preprocess writes there"
        )
    return Record(**{**values, "triples": [tuple(triple) for triple in values["triples"]]})


def read(folder: Path, patients: Collection[str] | None = None) -> list[Record]:
    """The records in ``folder``, in the order of the arrays; of ``patients`` only, if they are named.

    Raises:
        UserError: the file is missing, damaged, or of an earlier version.
    """
    artefacts.finish_interrupted(folder)
    path = folder / RAG_RECORDS
    if not path.is_file():
        raise UserError(f"{path}: missing; run --stage preprocess first")
    try:
        rows = pl.read_csv(path, infer_schema=False, glob=False).select(RAG_COLUMNS)
        if patients is not None:
            rows = rows.filter(pl.col("patient_id").is_in(list(patients)))
        records = [parse(row) for row in rows.iter_rows(named=True)]
    except (pl.exceptions.PolarsError, ValueError, TypeError, RecursionError, OSError) as error:
        raise UserError(f"{path}: damaged ({artefacts.first_line(error)}); run --stage preprocess again") from None
    if any("node_index" not in entity for record in records for entity in record.entities):
        raise UserError(f"{path}: made by an earlier version; run --stage preprocess and --stage train again")
    return records
