"""The mini knowledge graph: reads ``diseases.toml`` and writes PrimeKG's two files."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

# A patient's risk grows with each asserted disease that the graph joins to this phenotype.
RISK_PHENOTYPE = "Shock"

EDGE_COLUMNS = [
    *("relation", "display_relation"),
    *("x_index", "x_id", "x_type", "x_name", "x_source"),
    *("y_index", "y_id", "y_type", "y_name", "y_source"),
]
FEATURE_COLUMNS = [
    *("node_index", "mondo_id", "mondo_name", "group_id_bert", "group_name_bert", "mondo_definition"),
    *("umls_description", "orphanet_definition", "orphanet_prevalence", "orphanet_epidemiology"),
    *("orphanet_clinical_description", "orphanet_management_and_treatment", "mayo_symptoms", "mayo_causes"),
    *("mayo_risk_factors", "mayo_complications", "mayo_prevention", "mayo_see_doc"),
]

# key of a disease in the file -> relation, display_relation, type of the other node
RELATIONS = {
    "phenotypes": ("disease_phenotype_positive", "phenotype present", "effect/phenotype"),
    "indications": ("indication", "indication", "drug"),
    "contraindications": ("contraindication", "contraindication", "drug"),
    "genes": ("disease_protein", "associated with", "gene/protein"),
    "parents": ("disease_disease", "parent-child", "disease"),
}
# type of a node -> the table of its ids in the file, the source that PrimeKG gives for it
IDENTIFIERS = {
    "effect/phenotype": ("phenotype_ids", "HPO"),
    "drug": ("drug_ids", "DrugBank"),
    "gene/protein": ("gene_ids", "NCBI"),
    "disease": ("parent_ids", "MONDO"),
}


@dataclass(frozen=True)
class GeneratedDisease:
    """A disease that notes may mention."""

    name: str
    mondo_id: str
    definition: str
    edges: tuple[tuple[str, str], ...]  # (key of RELATIONS, name of the other node)

    @property
    def carries_risk(self) -> bool:
        """Whether the graph joins this disease to the risk phenotype."""
        return ("phenotypes", RISK_PHENOTYPE) in self.edges


@dataclass(frozen=True)
class GeneratedNode:
    """A node with what PrimeKG writes of it at the ends of edges."""

    node_index: int
    node_id: str
    node_type: str
    name: str
    source: str


@dataclass(frozen=True)
class GeneratedGraph:
    """The diseases that notes may mention, and every node of the graph by type and name."""

    diseases: tuple[GeneratedDisease, ...]
    nodes: Mapping[tuple[str, str], GeneratedNode]


def load_graph() -> GeneratedGraph:
    """The graph in ``diseases.toml``; node indices count up in file order, diseases first."""
    raw = tomllib.loads(Path(__file__).with_name("diseases.toml").read_text(encoding="utf-8"))
    diseases = tuple(_disease(entry) for entry in raw["disease"])
    ends: list[tuple[str, str, str, str]] = [(d.mondo_id, "disease", d.name, "MONDO") for d in diseases]
    for node_type, (table, source) in IDENTIFIERS.items():
        ends += [(node_id, node_type, name, source) for name, node_id in raw[table].items()]
    nodes = (GeneratedNode(index, *end) for index, end in enumerate(ends))
    return GeneratedGraph(diseases, {(node.node_type, node.name): node for node in nodes})


def write_graph(graph: GeneratedGraph, kg_dir: Path) -> None:
    """Write ``kg.csv`` (each edge twice, once per direction) and ``disease_features.csv``."""
    kg_dir.mkdir(parents=True, exist_ok=True)
    edges = list(itertools.chain.from_iterable(_edge_rows(graph, disease) for disease in graph.diseases))
    _table(edges, EDGE_COLUMNS).write_csv(kg_dir / "kg.csv")
    defined = {disease.name: disease.definition for disease in graph.diseases}
    features = [
        (str(node.node_index), node.node_id, node.name, None, None, defined.get(node.name), *([None] * 12))
        for node in graph.nodes.values()
        if node.node_type == "disease"
    ]
    _table(features, FEATURE_COLUMNS).write_csv(kg_dir / "disease_features.csv")


def _disease(entry: Mapping[str, Any]) -> GeneratedDisease:
    edges = tuple((key, name) for key in RELATIONS for name in entry.get(key, ()))
    return GeneratedDisease(entry["name"], entry["mondo_id"], entry["definition"], edges)


def _edge_rows(graph: GeneratedGraph, disease: GeneratedDisease) -> Iterator[tuple[str | None, ...]]:
    for key, name in disease.edges:
        relation, display, node_type = RELATIONS[key]
        ends = graph.nodes["disease", disease.name], graph.nodes[node_type, name]
        for x, y in (ends, ends[::-1]):
            yield relation, display, *_end(x), *_end(y)


def _end(node: GeneratedNode) -> tuple[str, str, str, str, str]:
    return str(node.node_index), node.node_id, node.node_type, node.name, node.source


def _table(rows: Sequence[tuple[str | None, ...]], columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
