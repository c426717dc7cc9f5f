"""Stage download: the source's raw files and PrimeKG, fetched, resumed and verified; or, offline, checked for completeness."""

from collections.abc import Callable

from src import components
from src.config import Config, UserError
from src.datasets import dataverse
from src.datasets.sources import Source

SOCKETS = ("source", "knowledge_graph")


def run(config: Config) -> None:
    """Fills ``config.raw_dir`` and ``config.kg_dir``.

    Raises:
        UserError: a site cannot be reached or sends damaged files; offline: files are missing, all of them in one line.
    """
    source: Source = components.build(
        "source", config.source, raw_dir=config.raw_dir, kg_dir=config.kg_dir, seed=config.seed
    )
    steps: list[Callable[[], None]] = [lambda: source.download(config.download, config.offline)]
    if config.download.primekg != "none":
        steps.append(lambda: dataverse.download_primekg(config.kg_dir, config.download, config.offline))
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
