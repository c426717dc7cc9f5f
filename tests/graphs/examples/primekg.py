"""The synthetic default's knowledge graph, in PrimeKG's files."""

from pathlib import Path

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph


def files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(load_graph(), folder)
