"""Who does the work: as the config says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emerge_ehr import components
from emerge_ehr.compute import kept
from emerge_ehr.compute.cluster import joined
from emerge_ehr.compute.local import Local
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Config


@contextmanager
def opened(config: Config, made_of: Callable[[], Any]) -> Iterator[Pool]:
    """The pool, for as long as the block runs; when it ends well, what was kept for these artefacts goes. ``made_of``: as
    ``kept.of_run`` has it.

    Raises:
        UserError: there is no such Ray.
    """
    compute = config.compute
    if compute.backend == "local":
        yield Local(compute.workers)
    else:
        from emerge_ehr.compute.on_ray import OnRay

        pieces = kept.of_run(config, made_of())
        private = kept.folder(config)
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            TemporaryDirectory(prefix="spilled-", dir=private, ignore_cleanup_errors=True) as spilled,
            joined(compute, components.packages(config), Path(spilled)),
        ):
            yield OnRay(compute, pieces)
    kept.remove(config)
