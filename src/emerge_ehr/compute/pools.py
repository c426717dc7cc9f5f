"""Opens the pool of workers that the config asks for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emerge_ehr import components
from emerge_ehr.compute import cluster, kept
from emerge_ehr.compute.cluster import joined
from emerge_ehr.compute.local import Local
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Config


@contextmanager
def opened(config: Config, made_of: Callable[[], Any]) -> Iterator[Pool]:
    """The pool for a block. If the block ends without an error, the pieces kept for the config's artefacts are removed.

    ``made_of``: gives what ``kept.of_run`` needs of inputs and libraries.

    Raises:
        UserError: Ray cannot be started or joined, or the records may not go to its machines.
    """
    compute = config.compute
    if compute.backend == "local":
        yield Local(compute.workers)
    else:
        from emerge_ehr.compute.on_ray import OnRay

        cluster.check(config)  # again, as the tables are there now
        pieces = kept.of_run(config, made_of())
        private = kept.folder(config)
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            TemporaryDirectory(prefix="spilled-", dir=private, ignore_cleanup_errors=True) as spilled,
            joined(compute, components.packages(config), Path(spilled)),
        ):
            yield OnRay(compute, pieces)
    kept.remove(config)
