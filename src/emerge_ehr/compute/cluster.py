"""The Ray that does the work: one of this machine's own for as long as it is needed, or a cluster that is joined.

Ray's own reports of its use to its makers are switched off, and so is its dashboard. A Ray of this machine's own demands the
token that Ray makes for this user, as this version does by default, so that nobody else here can run code in it.
"""

import importlib.util
import logging
import os
import re
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, NoReturn

from emerge_ehr import privacy
from emerge_ehr.config import Compute, Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

log = logging.getLogger(__name__)
PACKAGE = Path(__file__).parents[1]
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 5.0
PLACE = re.compile(r"[^/\s]+:([1-9]\d{0,4})")


def check(config: Config) -> None:
    """Refuse, before any work, a config whose records may not go where it sends them, or that needs what is not installed.

    Raises:
        UserError: credentialed records and a cluster without leave; Ray is not installed; Ray settings without Ray; an
            address or a share of a GPU that cannot be.
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
    place = PLACE.fullmatch(compute.address)
    if compute.address not in ("local", "auto") and not (place and int(place[1]) < 65536):
        raise UserError(
            f'compute.address = \'{compute.address}\': it is "local", "auto" or HOST:PORT of a cluster\'s head, as '
            "`ray start --head` tells it (the port of Ray's client, ray://, is another)"
        )
    if compute.gpus_per_worker > 1 and not compute.gpus_per_worker.is_integer():
        raise UserError(f"compute.gpus_per_worker = {compute.gpus_per_worker:g}: above 1 Ray gives whole GPUs only")
    if compute.address != "local" and privacy.credentialed(config) and not compute.allow_cluster:
        raise UserError(
            f"compute.address = '{compute.address}' may send records to other machines, and dataset '{config.dataset}' is "
            "credentialed (a demo counts as open where --stage download brought it and nothing was added). If your data use "
            "agreement covers all machines of that cluster, set compute.allow_cluster = true; or set credentialed = false if "
            "the data are open"
        )


@dataclass(frozen=True)
class Machine:
    """What Ray may use of it."""

    cpus: int
    gpus: float


@contextmanager
def joined(compute: Compute, packages: Iterable[Path], spill_to: Path | None = None) -> Iterator[None]:
    """Ray, for as long as the block runs; inside another such block, the same Ray.

    ``packages``: folders of other packages whose plugs do the work, which workers import from copies.

    A Ray of this machine's own puts what does not fit into its memory into ``spill_to``; without it, where everybody can read it.

    Raises:
        UserError: there is no Ray at ``compute.address``, or it cannot be started or joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Else what is under way at Ctrl-C starts a Ray of its own, or joins any.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what is meant so
    try:
        import ray
    except ImportError as error:
        raise UserError(f'compute.backend = "ray": Ray is installed, but cannot be imported: {error}') from None

    if ray.is_initialized():
        yield
        return
    _begin(compute, packages, spill_to)
    terminating = signal.signal(signal.SIGTERM, _terminate)  # Ray's own shows the stack of its C++ code
    left, head = Event(), ray.get_runtime_context().gcs_address
    Thread(target=_watch, args=(head, left), daemon=True).start()
    try:
        place = "started on this machine" if compute.address == "local" else f"joined at {head}"
        log.info("ray: %s, %s", place, _in_words(machines(gpus=0)))
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it where it uses a token
            log.warning("ray: it demands no token, so whoever reaches its port can read the records (docs/scale.md)")
        yield
    finally:
        left.set()
        ray.shutdown()
        signal.signal(signal.SIGTERM, terminating)


def _begin(compute: Compute, packages: Iterable[Path], spill_to: Path | None) -> None:
    import ray

    if compute.address == "local":  # Ray puts its token there, and would let every user of this machine read it
        (Path.home() / ".ray").mkdir(exist_ok=True)
        (Path.home() / ".ray").chmod(0o700)
    with _held_back() as told:
        try:
            _knock(compute.address)
            ray.init(**_arguments(compute, packages, spill_to))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UserError(_why(compute.address, first_line(error), told())) from None


def _watch(place: str, left: Event) -> None:
    """Say that Ray's head is gone: a minute later Ray ends this process, and says nothing."""
    while not left.wait(WATCH_SECONDS):
        try:
            _connect(place)
        except OSError as error:
            log.error(
                "ray: its head at %s is gone (%s); if it stays so Ray ends this run in a minute. Finished pieces are kept: start "
                'it again when there is a head, or with compute.address = "local"',
                place,
                error.strerror or error,
            )
            return


def _terminate(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _held_back() -> Iterator[Callable[[], str]]:
    """What Ray says when it starts, from Python and from C++, goes not to the console but to who asks for it."""
    with TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        console = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")
        finally:
            os.dup2(console, 2)
            os.close(console)


def _why(address: str, reason: str, told: str) -> str:
    """Why there is no Ray at ``address``, and what to do."""
    if address == "local":
        return f"compute.address = 'local': Ray cannot be started here: {reason}"
    if "InvalidAuthToken" in told:
        return (
            f"compute.address = '{address}': that Ray demands a token, and this is not it; set RAY_AUTH_MODE=token, and let "
            "~/.ray/auth_token be the same file as there (docs/scale.md)"
        )
    return (
        f"compute.address = '{address}': no Ray there that can be joined ({reason}); start it with `ray start --head`, "
        'or set compute.address = "local"'
    )


def machines(gpus: float) -> list[Machine]:
    """Those of the Ray that was joined; ``gpus``: what a worker needs of them.

    Raises:
        UserError: no machine could ever take such a worker.
    """
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    found = [Machine(int(one.get("CPU", 0)), one.get("GPU", 0.0)) for one in alive]
    most = max(one.gpus for one in found)
    if gpus > most:
        raise UserError(
            f"compute.gpus_per_worker = {gpus:g}, but no machine of this Ray has more than {most:g} GPUs; lower it, or join a "
            "cluster that has some"
        )
    return found


def _knock(address: str) -> None:
    """Whether anyone listens there: Ray itself would try for minutes. ``auto`` may lead to a Ray that was stopped."""
    from ray._private import services  # no public function tells what "auto" means

    place = services.canonicalize_bootstrap_address_or_die(address) if address == "auto" else address
    if place != "local":
        _connect(place)


def _connect(place: str) -> None:
    host, _, port = place.rpartition(":")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _arguments(compute: Compute, packages: Iterable[Path], spill_to: Path | None) -> dict[str, Any]:
    """Workers find the project's code, and that of plugs, as this process does, wherever they run."""
    code = [str(PACKAGE), *(str(package) for package in packages)]
    common: dict[str, Any] = {
        "address": compute.address,
        "runtime_env": {"py_modules": code, "excludes": ["**/__pycache__"]},
        "configure_logging": False,
        "log_to_driver": False,
    }
    if compute.address == "local":
        own = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        return {**common, **own, **({"object_spilling_directory": str(spill_to.resolve())} if spill_to else {})}
    return common


def _in_words(found: Sequence[Machine]) -> str:
    """What there is to work with, in words.

    >>> _in_words([Machine(2, 0.0), Machine(8, 4.0)])
    '10 CPUs, 4 GPUs'
    """
    return f"{sum(one.cpus for one in found)} CPUs, {sum(one.gpus for one in found):g} GPUs"
