"""Stage download: fetches and verifies the source's raw files, PrimeKG and the language models that the config names.

A download that was interrupted is resumed. Offline, the stage only checks that everything is there.
"""

from collections.abc import Callable
from functools import partial

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.fetch import dataverse
from emerge_ehr.fields import UserError

SOCKETS = ("source", "knowledge_graph", "linking.similarity", "embedding")


def run(config: Config) -> None:
    """Fill ``config.raw_dir``, ``config.kg_dir`` and the hub library's cache of models.

    Raises:
        UserError: a site cannot be reached or sends damaged files; offline, one line names all files that are missing.
    """
    source = sources.chosen(config)
    steps: list[Callable[[], None]] = [lambda: source.download(config.download, config.offline)]
    if config.download.primekg != "none":
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
