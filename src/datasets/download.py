"""Stage download: the source's raw files and PrimeKG, verified; nothing is fetched twice."""

from src import components
from src.config import Config
from src.datasets import dataverse
from src.datasets.sources import Source

SOCKETS = ("source",)


def run(config: Config) -> None:
    """Brings everything ``convert`` and ``preprocess`` read onto the disk.

    Raises:
        UserError: something is missing and cannot be fetched.
    """
    source: Source = components.build(
        "source", config.source, raw_dir=config.raw_dir, kg_dir=config.kg_dir, seed=config.seed
    )
    source.download(config.download, config.offline)
    if config.download.primekg != "none":
        dataverse.download_primekg(config.kg_dir, config.download, config.offline)
