"""Reads PrimeKG's ``disease_features`` and ``kg`` as downloaded: the diseases, and every edge of a disease.

Nodes are identified by ``node_index`` alone, as ids and names repeat across types. ``kg`` holds each edge once per direction; a
file that holds it once gives the same graph, because a row becomes an edge of each disease at its ends.
"""

import logging
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.fields import UserError
from emerge_ehr.graphs.primekg.members import fits
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.csv_rows import refuse_ragged

log = logging.getLogger(__name__)
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
QUALIFIER = r"\s+\(disease\)$"  # PrimeKG appends it to diseases' names that are also phenotypes' names
LONGEST_HEADER = 1 << 17  # bytes
AGAIN = "get the file again, or mend that row"


@dataclass(frozen=True)
class GraphTables:
    """The part of the graph that retrieval needs."""

    # node_index (ascending), names, definition, description, group: see ``_diseases``, degree: its number of edges
    diseases: pl.DataFrame
    nodes: pl.DataFrame  # node_index (ascending), node_type, name: every end of an edge
    relations: pl.DataFrame  # relation, display_relation
    edges: pl.DataFrame  # node, relation: rows of the two tables above; ordered by disease, relation and name


def find(folder: Path, name: str) -> Path:
    """The path of ``name.csv`` or ``name.tab`` in the folder.

    Raises:
        UserError: neither is there, or both are.
    """
    files = [path for suffix in (".csv", ".tab") if (path := folder / f"{name}{suffix}").is_file()]
    if len(files) > 1:
        raise UserError(
            f"{files[0]}: stands beside {files[1].name}, which is the same table in another form; remove one"
        )
    if files:
        return files[0]
    raise UserError(
        f"{folder / name}.csv: missing (nor is {name}.tab there); run --stage download, or set paths.kg_dir to PrimeKG's folder"
    )


def read(features_path: Path, edges_path: Path) -> GraphTables:
    """The graph in the two files.

    Raises:
        UserError: a file is damaged or has other columns, or the two are not of the same version.
    """
    rows = _edge_rows(edges_path)
    nodes = _nodes(rows, edges_path)
    features = _feature_rows(features_path)
    other_types = features.join(nodes.filter(pl.col("node_type") != "disease"), on="node_index")
    if other_types.height:
        index, kind = other_types.select("node_index", "node_type").row(0)
        raise UserError(
            f"{features_path}: node_index {index} is of type {kind} in {edges_path.name}; the two files must be of one version"
        )
    diseases = _diseases(features, nodes)
    relations = rows.select("relation", "display_relation").unique()
    relations = relations.sort(pl.col("relation", "display_relation").cast(pl.String))
    edges = _edges(rows, nodes, relations, diseases)
    degree = edges.group_by("disease").agg(pl.len().cast(pl.Int64).alias("degree"))
    diseases = diseases.join(degree, left_on="node_index", right_on="disease", how="left", maintain_order="left")
    diseases = diseases.with_columns(pl.col("degree").fill_null(0))
    return GraphTables(diseases, nodes, relations.cast(pl.String), edges.select("node", "relation"))


def _edge_rows(path: Path) -> pl.DataFrame:
    """The rows of ``kg`` with a disease at one end or both.

    Raises:
        UserError: no row has one, or a relation, type or index is missing.
    """
    touching = (pl.col("x_type") == "disease") | (pl.col("y_type") == "disease")
    with _scan(path, EDGES) as frame:  # not reading the other columns saves a quarter of the time
        rows = collect(frame.select("row", *EDGES).filter(touching.fill_null(value=True)), path)
    if rows["x_type"].null_count():
        rows = rows.filter(~pl.all_horizontal(pl.col(EDGES).is_null()))  # blank lines
    for name in ("relation", "display_relation", "x_type", "y_type"):
        _refuse_empty(rows, name, path)
    if rows.is_empty():
        raise UserError(f"{path}: no row has x_type or y_type 'disease'; is it PrimeKG's kg? get the file again")
    few = pl.col("relation", "display_relation").cast(pl.Categorical)  # faster to compare than text
    return rows.with_columns(few, *(_numbers(rows, name, path) for name in ("x_index", "y_index")))


def _feature_rows(path: Path) -> pl.DataFrame:
    """The rows of ``disease_features``, in which null stands for empty fields.

    Raises:
        UserError: a row has too few or too many fields, or its ``node_index`` is not a whole number.
    """
    with _scan(path, FEATURES) as frame:
        rows = collect(frame, path)  # all columns, so that rows with too many fields are noticed
    if rows.is_empty():
        log.warning("%s has a header and no rows: diseases have no definitions or descriptions", path)
    rows = rows.select("row", pl.col(FEATURES).replace(EMPTY, [None] * len(EMPTY)))
    rows = rows.filter(~pl.all_horizontal(pl.col(FEATURES).is_null()))
    return rows.with_columns(_numbers(rows, "node_index", path))


def _nodes(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The nodes at both ends of all rows, by index, each once; of several names the most frequent one."""
    ends = pl.concat(
        rows.select(node_index=f"{side}_index", node_type=f"{side}_type", name=f"{side}_name") for side in "xy"
    )
    named = ends.group_by("node_index", "node_type", "name").agg(pl.len().alias("rows"))
    named = named.with_columns(_tidy("name"))
    named = named.sort("node_index", pl.col("name").is_null(), -pl.col("rows").cast(pl.Int64), "node_type", "name")
    kinds = named.select("node_index", "node_type").unique()
    twofold = kinds.filter(pl.col("node_index").is_duplicated()).sort("node_index", "node_type")
    if twofold.height:
        index = twofold["node_index"][0]
        both = " and ".join(twofold.filter(node_index=index)["node_type"])
        raise UserError(
            f"{path}: node_index {index} is of the types {both}, but an index must be of one node; get the file again"
        )
    nodes = named.unique("node_index", keep="first", maintain_order=True)
    return nodes.select("node_index", "node_type", "name")


def _diseases(features: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """A row per disease. A group's own name is its first, followed by the names of its members.

    A member that is no kind of what its node's name says becomes a disease without edges, with its own name and texts, numbered
    after the last node; ``group`` is the node that it was in, and null for all others.
    """
    own = nodes.filter(pl.col("node_type") == "disease").select("node_index", "name", row=pl.lit(0, pl.UInt32))
    features = _apart(features, own, nodes)
    columns = (features.select("node_index", "row", name=column) for column in ("group_name_bert", "mondo_name"))
    names = [part.select("node_index", "name", "row").with_columns(source=n) for n, part in enumerate((own, *columns))]
    named = pl.concat(names).with_columns(_tidy("name")).drop_nulls("name").sort("node_index", "source", "row")
    named = named.unique(("node_index", pl.col("name").str.to_lowercase()), keep="first", maintain_order=True)
    named = named.group_by("node_index", maintain_order=True).agg(pl.col("name").alias("names"))
    nameless = features.join(named, on="node_index", how="anti")["node_index"].n_unique()
    if nameless:
        log.warning("knowledge graph: %d disease nodes have no name and are left out", nameless)

    text = pl.concat_str(DESCRIPTIONS, separator=" ", ignore_nulls=True)
    leading = pl.col("mondo_name").eq_missing(pl.col("group_name_bert"))  # the group's own row, before its members'
    documents = (
        features.with_columns(text.alias("text"))
        .sort("node_index", ~leading, "row")
        .group_by("node_index")
        .agg(
            pl.col("mondo_definition").drop_nulls().first().alias("definition"),
            pl.col("text").filter(pl.col("text") != "").first().alias("description"),
            pl.col("group").first(),
        )
    )
    joined = named.join(documents, on="node_index", how="left")
    return joined.with_columns(pl.col("definition", "description").fill_null("")).sort("node_index")


def _apart(features: pl.DataFrame, own: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """The features with a column ``group``, and with the members that do not fit their group under numbers of their own."""
    members = features.select("node_index", "mondo_name", "group_name_bert", "row").with_columns(
        _tidy("mondo_name"), _tidy("group_name_bert")
    )
    members = members.join(own.select("node_index", "name").with_columns(_tidy("name")), on="node_index", how="left")
    members = members.with_columns(node_name=pl.coalesce("name", "group_name_bert")).drop_nulls(
        ("mondo_name", "node_name")
    )
    grouped = pl.col("mondo_name").n_unique().over("node_index") > 1
    distinct = members.filter(grouped).unique(("node_index", "mondo_name"), keep="first", maintain_order=True)
    distinct = distinct.sort("node_index", "row")
    pairs = distinct.select("node_name", "mondo_name").rows()
    strangers = distinct.filter(pl.Series([not fits(name, member) for name, member in pairs], dtype=pl.Boolean))
    first = max(nodes["node_index"].max(), features["node_index"].max() or 0) + 1  # type: ignore[type-var, operator]
    numbers = strangers.with_row_index("own", offset=0).select(
        "node_index", "mondo_name", own=pl.col("own").cast(pl.Int64) + first
    )
    if numbers.height:
        log.info(
            "knowledge graph: %d of %d members of grouped nodes are no kind of what their node's name says; they keep their own "
            "names and texts and have no triples",
            numbers.height,
            distinct.height,
        )
    keyed = features.with_columns(tidy=pl.col("mondo_name")).with_columns(_tidy("tidy"))
    keyed = keyed.join(
        numbers.rename({"mondo_name": "tidy"}), on=("node_index", "tidy"), how="left", maintain_order="left"
    )
    apart = pl.col("own").is_not_null()
    return keyed.with_columns(
        group=pl.when(apart).then("node_index"),
        group_name_bert=pl.when(~apart).then("group_name_bert"),
        node_index=pl.coalesce("own", "node_index"),
    ).drop("own", "tidy")


def _edges(rows: pl.DataFrame, nodes: pl.DataFrame, relations: pl.DataFrame, diseases: pl.DataFrame) -> pl.DataFrame:
    """The edges: columns ``disease`` (its node_index), ``node`` and ``relation`` (rows of the tables of nodes and relations).

    A row of ``kg`` between two diseases is an edge of each.
    """
    shown = relations.with_row_index("code")
    rows = rows.join(shown, on=("relation", "display_relation"))
    directed = [
        rows.filter(pl.col(f"{x}_type") == "disease").select("code", disease=f"{x}_index", other=f"{y}_index")
        for x, y in ("xy", "yx")
    ]
    edges = pl.concat(directed).filter(pl.col("disease") != pl.col("other")).unique()
    edges = edges.join(diseases, left_on="disease", right_on="node_index", how="semi")
    named = nodes.with_row_index("node").sort("name", "node_index").with_row_index("place").drop_nulls("name")
    complete = edges.join(named.select("node", "place", other="node_index"), on="other")
    if complete.height < edges.height:
        log.warning(
            "knowledge graph: %d edges end at a node without a name and are left out", edges.height - complete.height
        )
    return complete.sort("disease", "code", "place").select("disease", "node", relation="code")


def _tidy(name: str) -> pl.Expr:
    """The column's text on one line, without PrimeKG's qualifier; null if nothing remains."""
    tidy = pl.col(name).str.replace_all(r"\s+", " ").str.strip_chars().str.replace(QUALIFIER, "")
    return pl.when(~tidy.is_in(EMPTY)).then(tidy).alias(name)


def _numbers(rows: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """The column as integers.

    Raises:
        UserError: a field is empty or not a whole number.
    """
    _refuse_empty(rows, name, path)
    numbers = rows[name].str.strip_chars().cast(pl.Int64, strict=False)
    wrong = numbers.is_null() | (numbers < 0)
    if wrong.any():
        at = wrong.arg_true()[0]
        raise UserError(f"{path} row {rows['row'][at] + 2}: {name} {rows[name][at]!r} is not a whole number; {AGAIN}")
    return numbers


def _refuse_empty(rows: pl.DataFrame, name: str, path: Path) -> None:
    empty = rows[name].is_null() | (rows[name] == "")
    if empty.any():
        raise UserError(f"{path} row {rows['row'][empty.arg_true()[0]] + 2}: {name} is empty; {AGAIN}")


@contextmanager
def _scan(path: Path, columns: tuple[str, ...]) -> Iterator[pl.LazyFrame]:
    """A block with the file's rows: its fields as text, and ``row``, counted from 0. Tab or comma is read off the header line.

    Raises:
        UserError: the file is not text or cut off, a row has too few or too many fields, or one of ``columns`` is missing.
    """
    header = _header(path)
    separator = "\t" if "\t" in header else ","
    names = [name.strip().strip('"') for name in header.split(separator)]
    missing = [name for name in columns if name not in names]
    if not header.strip():
        raise UserError(f"{path}: empty, or its first line is; {AGAIN}")
    repeated = [name for name in names if names.count(name) > 1]
    if not missing and repeated:
        raise UserError(f"{path}: two columns are named '{repeated[0]}'; {AGAIN}")
    if missing:
        raise UserError(
            f"{path}: no column '{missing[0]}'; it has: {', '.join(names)[:200]}; is it PrimeKG's? get the file again"
        )
    with _standard_quotes(path, separator) as standard:
        refuse_ragged(standard, separator, path, AGAIN)
        yield pl.scan_csv(standard, separator=separator, infer_schema=False, row_index_name="row", glob=False)


def _header(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.readline(LONGEST_HEADER).decode("utf-8-sig").strip("\r\n")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable text file: {first_line(error)}; {AGAIN}") from None


@contextmanager
def _standard_quotes(path: Path, separator: str) -> Iterator[Path]:
    r"""A block with a file that has ``""`` for a quote inside a text, as CSV readers expect; Dataverse's export has ``\"``."""
    if separator == "," or not _contains(path, rb"\""):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        rewritten = Path(folder) / path.name
        with path.open("rb") as source, rewritten.open("wb") as target:
            target.writelines(line.replace(rb"\"", b'""') for line in source)
        yield rewritten


def _contains(path: Path, content: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(content) >= 0
