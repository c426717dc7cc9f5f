"""PrimeKG (Chandak et al. 2023), from its files ``disease_features`` and ``kg`` as downloaded, ``.csv`` or ``.tab``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np

from emerge_ehr.graphs import Disease, Edges, KnowledgeGraph, Triple
from emerge_ehr.graphs.primekg import files as primekg_files
from emerge_ehr.graphs.primekg import index as graph_index
from emerge_ehr.graphs.primekg.files import GraphTables
from emerge_ehr.storage import artefacts


@dataclass(frozen=True)
class Options:
    """PrimeKG has no options."""


@dataclass(frozen=True)
class PrimeKG:
    """The part of PrimeKG that concerns diseases. Diseases and triples become objects when they are first needed."""

    hashes: Mapping[Path, str]
    tables: GraphTables
    made: dict[int, tuple[Triple, ...]] = field(default_factory=dict)  # triples that are objects already, by disease

    def __reduce__(self) -> tuple[type["PrimeKG"], tuple[Mapping[Path, str], GraphTables]]:
        """Pickle the tables only; another process makes its own objects of them."""
        return PrimeKG, (self.hashes, self.tables)

    def inputs(self) -> Mapping[Path, str]:
        """The two files, each with its SHA-256."""
        return self.hashes

    def diseases(self) -> Mapping[int, Disease]:
        """Every disease that has features or edges, by ``node_index``."""
        return self._diseases

    def triples(self, node_index: int) -> Sequence[Triple]:
        """The disease's triples, ordered by relation, then by the name of the other node."""
        if node_index not in self.made:
            span = range(*self._spans.get(node_index, (0, 0)))
            name = self._diseases[node_index].names[0] if span else ""
            self.made[node_index] = tuple(self._edges.triple(name, edge) for edge in span)
        return self.made[node_index]

    def degree(self, node_index: int) -> int:
        """The number of the disease's triples."""
        start, end = self._spans.get(node_index, (0, 0))
        return end - start

    def edges(self) -> Edges:
        """The triples of all diseases as arrays."""
        return self._edges

    @cached_property
    def _diseases(self) -> dict[int, Disease]:
        columns = self.tables.diseases.select("node_index", "names", "definition", "description", "group")
        return {
            node: Disease(node, tuple(names), definition, text, group)
            for node, names, definition, text, group in columns.iter_rows()
        }

    @cached_property
    def _spans(self) -> dict[int, tuple[int, int]]:
        """Disease -> the first of its rows of ``tables.edges``, and the row after the last."""
        indices, degrees = (self.tables.diseases[name].to_list() for name in ("node_index", "degree"))
        ends = list(accumulate(degrees, initial=0))
        return {node: (start, end) for node, start, end in zip(indices, ends, ends[1:], strict=False)}

    @cached_property
    def _edges(self) -> Edges:
        diseases, nodes, edges = self.tables.diseases, self.tables.nodes, self.tables.edges
        return Edges(
            diseases["node_index"].to_numpy(),
            np.concatenate(([0], np.cumsum(diseases["degree"].to_numpy()))),
            edges["node"].to_numpy().astype(np.int64),
            edges["relation"].to_numpy().astype(np.int64),
            [(relation, displayed) for relation, displayed in self.tables.relations.iter_rows()],
            nodes["node_index"].to_numpy(),
            nodes["node_type"].to_list(),
            nodes["name"].to_list(),
        )


def build(options: Options, *, folder: Path, cache_dir: Path | None = None) -> KnowledgeGraph:
    """The graph in ``folder``; its index is kept under ``cache_dir``, or not at all if that is None.

    Raises:
        UserError: a file or column is missing, or a file is damaged.
    """
    if (folder / graph_index.MANIFEST).is_file():  # a copy of the index, in a model folder
        tables, made_of = graph_index.open_copy(folder)
        return PrimeKG({folder / name: checksum for name, checksum in made_of.items()}, tables)
    paths = primekg_files.find(folder, "disease_features"), primekg_files.find(folder, "kg")
    if cache_dir is None:
        hashing = artefacts.hashing(paths)
        tables, hashes = primekg_files.read(*paths), list(hashing().values())
    else:
        tables, hashes = graph_index.open_or_make(*paths, cache_dir / "kg")
    return PrimeKG(dict(zip(paths, hashes, strict=True)), tables)


def write_copy(options: Options, *, graph: PrimeKG, folder: Path) -> None:
    """Write what predicting needs of the graph into ``folder``, from which ``build`` makes it again."""
    graph_index.write_copy(graph.tables, {path.name: checksum for path, checksum in graph.hashes.items()}, folder)
