"""Who does the work: as the config says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from src.config import Config
from src.datasets.compute import kept
from src.datasets.compute.cluster import joined
from src.datasets.compute.local import Local
from src.datasets.compute.work import Pool


@contextmanager
def opened(config: Config, graph: Mapping[Path, str]) -> Iterator[Pool]:
    """The pool, for as long as the block runs; pieces that were kept go when it ends well. ``graph``: its files' SHA-256.

    Raises:
        UserError: there is no such Ray.
    """
    compute = config.compute
    if compute.backend == "local":
        yield Local(compute.workers)
        return
    from src.datasets.compute.on_ray import OnRay

    pieces = kept.of_run(config, graph)
    with joined(compute):
        yield OnRay(compute, pieces)
    pieces.remove()
