"""Writes PrimeKG's two files from short rows, in any dialect."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import EDGE_COLUMNS, FEATURE_COLUMNS

Node = tuple[int, str, str, str]  # node_index, id, type, name
Edge = tuple[str, str, Node, Node]
Write = Callable[..., Path]


def edge_rows(edges: Sequence[Edge], twice: bool) -> list[list[str]]:
    rows = []
    for relation, shown, x, y in edges:
        for a, b in ((x, y), (y, x))[: 2 if twice else 1]:
            rows.append([relation, shown, *map(str, a), "source", *map(str, b), "source"])
    return rows


def feature_rows(features: Sequence[dict[str, str]]) -> list[list[str]]:
    return [[row.get(column, "") for column in FEATURE_COLUMNS] for row in features]


def text(header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str, end: str, quoting: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([header, *rows])
    return out.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Edges and features -> the folder they were written to."""

    def finish(
        edges: Sequence[Edge],
        features: Sequence[dict[str, str]] = (),
        *,
        suffix: str = ".csv",
        twice: bool = True,
        end: str = "\n",
        encoding: str = "utf-8",
        quoting: int = csv.QUOTE_MINIMAL,
    ) -> Path:
        delimiter = "\t" if suffix == ".tab" else ","
        kg = text(EDGE_COLUMNS, edge_rows(edges, twice), delimiter, end, quoting)
        described = text(FEATURE_COLUMNS, feature_rows(features), delimiter, end, quoting)
        (tmp_path / f"kg{suffix}").write_bytes(kg.encode(encoding))
        (tmp_path / f"disease_features{suffix}").write_bytes(described.encode(encoding))
        return tmp_path

    return finish
