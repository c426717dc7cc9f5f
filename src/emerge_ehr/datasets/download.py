"""Stage download: fetches and verifies the source's raw files, PrimeKG and the language models that the config names.

In place of PrimeKG, it can write the small example graph that comes with the program.

A download that was interrupted is resumed. Offline, the stage only checks that everything is there.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.fetch import dataverse
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.publishing import publish

log = logging.getLogger(__name__)
SOCKETS = ("source", "knowledge_graph", "linking.similarity", "embedding")


def run(config: Config) -> None:
    """Fill ``config.raw_dir``, ``config.kg_dir`` and the hub library's cache of models.

    Raises:
        UserError: a site cannot be reached or sends damaged files; offline, one line names all files that are missing.
    """
    source = sources.chosen(config)
    steps: list[Callable[[], None]] = [lambda: source.download(config.download, config.offline)]
    if config.download.primekg == "example":
        steps.append(lambda: write_example(config.kg_dir))
    elif config.download.primekg != "none":
        steps.append(lambda: dataverse.download_primekg(config.kg_dir, config.download, config.offline))
    for socket in ("linking.similarity", "embedding"):
        plug = components.chosen(config, socket)
        steps.append(partial(components.call, "download", socket, plug, offline=config.offline))
    missing = []
    for step in steps:
        try:
            step()
        except UserError as error:
            if not config.offline:
                raise
            missing.append(str(error))
    if missing:
        raise UserError("; ".join(missing))


def write_example(kg_dir: Path) -> None:
    """Write the example graph into ``kg_dir``, unless it is there already.

    Raises:
        UserError: ``kg_dir`` holds another graph.
    """
    graph = load_graph()
    with TemporaryDirectory(prefix="emerge-") as aside:
        write_graph(graph, Path(aside))
        made = {path.name: artefacts.checksum(path) for path in sorted(Path(aside).iterdir())}
    present = sorted(path for path in kg_dir.iterdir() if path.is_file()) if kg_dir.is_dir() else []
    for path in present:
        if made.get(path.name) != artefacts.checksum(path):
            raise UserError(
                f"{path}: not of the example graph (download.primekg = 'example'), which would be mixed with it; set another "
                "paths.kg_dir, or download.primekg = 'none' to use the graph that is there"
            )
    if len(present) < len(made):
        with publish(kg_dir) as folder:
            write_graph(graph, folder)
    log.warning(
        "knowledge graph: the example of %d diseases in %s, to try things out; for results use PrimeKG",
        len(graph.diseases),
        kg_dir,
    )
