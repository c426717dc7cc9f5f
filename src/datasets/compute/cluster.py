"""The Ray that does the work: one of this machine's own for as long as it is needed, or a cluster that is joined.

Ray's own reports of its use to its makers are switched off, and so is its dashboard. A Ray of this machine's own demands the
token that Ray makes for this user, as this version does by default, so that nobody else here can run code in it.
"""

import importlib.util
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.config import Compute, Config
from src.datasets.artefacts import first_line
from src.datasets.preprocess.llm import privacy
from src.fields import UserError

log = logging.getLogger(__name__)
SOURCE = Path(__file__).parents[2]
CONNECT_SECONDS = 10.0


def check(config: Config) -> None:
    """Refuse, before any work, a config whose records may not go where it sends them, or that needs what is not installed.

    Raises:
        UserError: credentialed records and a cluster without leave; Ray is not installed; Ray settings without Ray.
    """
    compute = config.compute
    if compute.backend == "local":
        if compute.address != "local" or compute.gpus_per_worker:
            raise UserError(
                'compute.address and compute.gpus_per_worker are for Ray; set compute.backend = "ray", or remove them'
            )
        return
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise UserError("compute.backend = \"ray\" needs the library Ray: uv sync --extra ray, or pip install '.[ray]'")
    if compute.address != "local" and privacy.credentialed(config) and not compute.allow_cluster:
        raise UserError(
            f"compute.address = '{compute.address}' may send records to other machines, and dataset '{config.dataset}' is "
            "credentialed: if your data use agreement covers all machines of that cluster, set compute.allow_cluster = true"
        )


@contextmanager
def joined(compute: Compute) -> Iterator[None]:
    """Ray, for as long as the block runs; inside another such block, the same Ray.

    Raises:
        UserError: there is no Ray at ``compute.address``, or it cannot be started or joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what is meant so
    import ray

    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own making, at its start
        try:
            _knock(compute.address)
            context = ray.init(**_arguments(compute))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"compute.address = '{compute.address}': no Ray there that can be joined ({first_line(error)}); start it "
                'with `ray start --head`, set RAY_AUTH_MODE=token here if it demands one, or set compute.address = "local"'
            ) from None
    try:
        log.info("ray: %s, %s", _place(compute, context), _in_words(resources(gpus=0)))
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it where it uses a token
            log.warning("ray: it demands no token, so whoever reaches its port can read the records (docs/scale.md)")
        yield
    finally:
        ray.shutdown()


def resources(gpus: float) -> dict[str, float]:
    """What the Ray that was joined has, by its names for it; ``gpus``: what a worker needs of them.

    Raises:
        UserError: no machine could ever take such a worker.
    """
    import ray

    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if gpus > found.get("GPU", 0):
        raise UserError(
            f"compute.gpus_per_worker = {gpus:g}, but this Ray has {found.get('GPU', 0):g} GPUs; set it to 0, or join a "
            "cluster that has some"
        )
    return found


def _knock(address: str) -> None:
    """Whether anyone listens there: Ray itself would try for minutes. ``auto`` may lead to a Ray that was stopped."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    place = canonicalize_bootstrap_address_or_die(address) if address == "auto" else address
    host, colon, port = place.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _arguments(compute: Compute) -> dict[str, Any]:
    """Workers find the project's code as this process does, wherever they run."""
    common: dict[str, Any] = {
        "address": compute.address,
        "runtime_env": {"py_modules": [str(SOURCE)], "excludes": ["**/__pycache__"]},
        "configure_logging": False,
        "log_to_driver": False,
    }
    if compute.address == "local":
        own = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        return {**common, **own, **({"num_cpus": compute.workers} if compute.workers else {})}
    return common


def _place(compute: Compute, context: Any) -> str:
    return "started on this machine" if compute.address == "local" else f"joined at {context.address_info['address']}"


def _in_words(found: dict[str, float]) -> str:
    """What there is to work with, in words.

    >>> _in_words({"CPU": 2.0, "memory": 1e9})
    '2 CPUs, 0 GPUs'
    """
    return f"{found.get('CPU', 0):g} CPUs, {found.get('GPU', 0):g} GPUs"
