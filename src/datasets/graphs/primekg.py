"""PrimeKG (Chandak et al. 2023): ``disease_features`` and ``kg`` as downloaded, ``.csv`` or ``.tab``.

Both Dataverse's ``.tab`` export (tabs) and the original CSV are read; the delimiter is taken from the header line.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from src.config import UserError
from src.datasets.artefacts import first_line
from src.datasets.graphs import Disease, Triple
from src.datasets.raw_csv import collect

EDGES = ("relation", "display_relation", "x_index", "x_type", "x_name", "y_index", "y_type", "y_name")
DESCRIPTIONS = (
    "umls_description",
    "orphanet_definition",
    "orphanet_clinical_description",
    "mayo_symptoms",
    "mayo_causes",
)
FEATURES = ("node_index", "mondo_name", "group_name_bert", "mondo_definition", *DESCRIPTIONS)
EMPTY = ("", "nan", "NaN")
QUALIFIER = r"\s+\(disease\)$"  # PrimeKG appends it to names that are also phenotypes


@dataclass(frozen=True)
class Options:
    """PrimeKG needs none."""


@dataclass(frozen=True)
class PrimeKG:
    """The disease part of the graph, in memory: nodes, and edges sorted by disease with each disease's row range."""

    paths: tuple[Path, ...]
    nodes: dict[int, Disease]
    edges: pl.DataFrame
    ranges: dict[int, tuple[int, int]]

    def inputs(self) -> list[Path]:
        """The two files."""
        return list(self.paths)

    def diseases(self) -> dict[int, Disease]:
        """Every disease with features or edges."""
        return self.nodes

    def triples(self, node_index: int) -> list[Triple]:
        """Rows with the disease as x; the graph holds every edge in both directions, so this is all of them, once."""
        start, count = self.ranges.get(node_index, (0, 0))
        columns = ("x_name", "relation", "display_relation", "y_name")
        return [Triple(*row) for row in self.edges.slice(start, count).select(columns).iter_rows()]

    def degree(self, node_index: int) -> int:
        """How many triples."""
        return self.ranges.get(node_index, (0, 0))[1]


def find(folder: Path, name: str) -> Path:
    """``name.csv`` or ``name.tab`` in the folder.

    Raises:
        UserError: neither is there.
    """
    for suffix in (".csv", ".tab"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise UserError(
        f"{folder / name}.csv: missing (nor is {name}.tab there); run --stage download, or set paths.kg_dir to PrimeKG's folder"
    )


def build(options: Options, *, folder: Path) -> PrimeKG:
    """Reads ``disease_features`` and the disease edges of ``kg``.

    Raises:
        UserError: a file or column is missing, or a file is damaged.
    """
    features_path, edges_path = find(folder, "disease_features"), find(folder, "kg")
    edges = _edges(edges_path)
    spans = edges.with_row_index("row").group_by("x_index").agg(pl.col("row").min(), pl.len()).sort("x_index")
    ranges = {index: (start, count) for index, start, count in spans.rows()}
    nodes = _nodes(_scan(features_path, FEATURES), features_path, edges)
    return PrimeKG((features_path, edges_path), nodes, edges, ranges)


def _scan(path: Path, columns: tuple[str, ...]) -> pl.LazyFrame:
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable text file: {first_line(error)}") from None
    separator = "\t" if "\t" in first else ","
    frame = pl.scan_csv(path, separator=separator, infer_schema=False, null_values=list(EMPTY))
    names = [name.strip('"') for name in first.strip().split(separator)]
    missing = [name for name in columns if name not in names]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(names)[:300]}; is it PrimeKG's?")
    return frame.select(columns)


def _edges(path: Path) -> pl.DataFrame:
    index = [pl.col(name).cast(pl.Int64) for name in ("x_index", "y_index")]
    lazy = _scan(path, EDGES).filter(pl.col("x_type") == "disease").with_columns(index)
    edges = collect(lazy.drop_nulls(("x_name", "y_name")).drop("x_type"), path)
    names = [pl.col(name).str.replace(QUALIFIER, "") for name in ("x_name", "y_name")]
    edges = edges.with_columns(names)
    # A duplicated row says nothing new; the sort makes the order independent of the file's.
    return edges.unique().sort("x_index", "relation", "display_relation", "y_name", "y_index")


def _nodes(features: pl.LazyFrame, path: Path, edges: pl.DataFrame) -> dict[int, Disease]:
    rows = collect(features.with_columns(pl.col("node_index").cast(pl.Int64)), path)
    described = pl.concat_str([pl.col(name) for name in DESCRIPTIONS], separator=" ", ignore_nulls=True)
    bare = [pl.col(name).str.replace(QUALIFIER, "") for name in ("mondo_name", "group_name_bert")]
    rows = rows.with_columns(described.alias("description"), *bare)
    grouped = rows.group_by("node_index", maintain_order=True).agg(
        pl.col("group_name_bert").drop_nulls().unique(maintain_order=True),
        pl.col("mondo_name").drop_nulls().unique(maintain_order=True),
        pl.col("mondo_definition").drop_nulls().first().alias("definition"),
        pl.col("description").filter(pl.col("description") != "").first(),
    )
    names = edges.select("x_index", "x_name").unique().sort("x_index", "x_name")
    edge_names: dict[int, list[str]] = {}
    for node, name in names.rows():
        edge_names.setdefault(node, []).append(name)
    nodes = {
        node: Disease(
            node, tuple(dict.fromkeys([*edge_names.pop(node, []), *group, *mondo])), definition or "", text or ""
        )
        for node, group, mondo, definition, text in grouped.rows()
    }
    nodes |= {node: Disease(node, tuple(found), "", "") for node, found in edge_names.items()}
    return dict(sorted(nodes.items()))
