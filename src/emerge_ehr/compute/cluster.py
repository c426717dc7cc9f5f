"""Starts a Ray on this machine for as long as it is needed, or joins a cluster.

Ray's usage reports to its makers are switched off, and so is its dashboard. A Ray that is started here demands the token that
Ray makes for this user (the default of this version of Ray), so that nobody else on the machine can run code in it.
"""

import importlib.util
import logging
import os
import re
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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


def check(config: Config, stages: Collection[str] = ()) -> None:
    """Check ``[compute]``: that records may go where it sends them, and that what it needs is installed.

    ``stages`` are those about to run, for a refusal before any work; without them, the tables are looked at as they are now.

    Raises:
        UserError: credentialed records would go to a cluster without ``allow_cluster``; Ray is not installed; there are settings
            for Ray without Ray; or an address or a share of a GPU is impossible.
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
    host_and_port = PLACE.fullmatch(compute.address)
    if compute.address not in ("local", "auto") and not (host_and_port and int(host_and_port[1]) < 65536):
        raise UserError(
            f'compute.address = \'{compute.address}\': set "local", "auto", or HOST:PORT of a cluster\'s head as '
            "`ray start --head` prints it (not the port of Ray's client, ray://)"
        )
    if compute.gpus_per_worker > 1 and not compute.gpus_per_worker.is_integer():
        raise UserError(
            f"compute.gpus_per_worker = {compute.gpus_per_worker:g}: above 1 Ray gives whole GPUs only; set a whole number"
        )
    leaves = compute.address != "local" and not compute.allow_cluster
    if leaves and (why := privacy.why_kept_here(config, stages)):
        raise UserError(
            f"compute.address = '{compute.address}' may send records to other machines, and dataset '{config.dataset}' is "
            f"credentialed ({why}). If your data use agreement covers all machines of that cluster, set "
            "compute.allow_cluster = true; or set credentialed = false if the data are open"
        )


@dataclass(frozen=True)
class Machine:
    """The CPUs and GPUs of a machine that Ray may use."""

    cpus: int
    gpus: float


@contextmanager
def joined(compute: Compute, packages: Iterable[Path], spill_to: Path | None = None) -> Iterator[None]:
    """A block with Ray started or joined; inside another such block, the same Ray.

    ``packages``: folders of other packages whose plugs do the work, which workers import from copies.

    A Ray that is started here writes what does not fit into its memory to ``spill_to``; without it, to a folder that every user
    of the machine can read.

    Raises:
        UserError: there is no Ray at ``compute.address``, or it cannot be started or joined.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Otherwise calls that Ctrl-C interrupts would start another Ray, or join any.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are about settings that we intend
    try:
        import ray
    except ImportError as error:
        raise UserError(f'compute.backend = "ray": Ray is installed, but cannot be imported: {error}') from None

    if ray.is_initialized():
        yield
        return
    _begin(compute, packages, spill_to)
    terminating = signal.signal(signal.SIGTERM, _terminate)  # Ray's handler prints the stack of its C++ code
    ended, head = Event(), ray.get_runtime_context().gcs_address
    Thread(target=_watch, args=(head, ended), daemon=True).start()
    try:
        place = "started on this machine" if compute.address == "local" else f"joined at {head}"
        log.info("ray: %s, %s", place, _in_words(machines(gpus=0)))
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":  # Ray sets it where it uses a token
            log.warning(
                "ray: it demands no token, so anybody who can reach its port can read the records (docs/cluster.md)"
            )
        yield
    finally:
        ended.set()
        ray.shutdown()
        signal.signal(signal.SIGTERM, terminating)


def _begin(compute: Compute, packages: Iterable[Path], spill_to: Path | None) -> None:
    """Start or join Ray.

    Raises:
        UserError: it cannot be started or joined.
    """
    import ray

    if compute.address == "local":  # Ray keeps its token there, by default readable for every user
        (Path.home() / ".ray").mkdir(exist_ok=True)
        (Path.home() / ".ray").chmod(0o700)
    with _stderr_captured() as output:
        try:
            _require_listener(compute.address)
            ray.init(**_arguments(compute, packages, spill_to))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UserError(_why(compute.address, first_line(error), output())) from None


def _watch(head: str, ended: Event) -> None:
    """Log an error when Ray's head is gone, until ``ended`` is set: a minute later Ray ends this process without a message."""
    while not ended.wait(WATCH_SECONDS):
        try:
            _connect(head)
        except OSError as error:
            log.error(
                "ray: its head at %s is gone (%s); unless it comes back, Ray ends this run in a minute. Finished pieces are "
                'kept: run the stage again when there is a head, or with compute.address = "local"',
                head,
                error.strerror or error,
            )
            return


def _terminate(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _stderr_captured() -> Iterator[Callable[[], str]]:
    """A block whose stderr, from Python and from C++, does not go to the console; gives a function that returns it so far."""
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


def _why(address: str, reason: str, output: str) -> str:
    """Why no Ray could be started or joined at ``address``, and what to do; ``output``: Ray's messages."""
    if address == "local":
        return f"compute.address = 'local': Ray cannot be started here: {reason}"
    if "InvalidAuthToken" in output:
        return (
            f"compute.address = '{address}': that Ray demands another token; set RAY_AUTH_MODE=token, and copy its "
            "~/.ray/auth_token here (docs/cluster.md)"
        )
    return (
        f"compute.address = '{address}': no Ray there that can be joined ({reason}); start it with `ray start --head`, "
        'or set compute.address = "local"'
    )


def machines(gpus: float) -> list[Machine]:
    """The machines of the Ray that was started or joined; ``gpus``: the number that a worker needs.

    Raises:
        UserError: no machine has so many GPUs.
    """
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    usable = [Machine(int(resources.get("CPU", 0)), resources.get("GPU", 0.0)) for resources in alive]
    most = max(machine.gpus for machine in usable)
    if gpus > most:
        raise UserError(
            f"compute.gpus_per_worker = {gpus:g}, but no machine of this Ray has more than {most:g} GPUs; lower it, or join a "
            "cluster that has some"
        )
    return usable


def _require_listener(address: str) -> None:
    """Check that something listens at the address, as Ray itself would try for minutes; "auto" may name a Ray that has stopped.

    Raises:
        OSError: nothing listens there.
    """
    from ray._private import services  # no public function tells what "auto" means

    place = services.canonicalize_bootstrap_address_or_die(address) if address == "auto" else address
    if place != "local":
        _connect(place)


def _connect(place: str) -> None:
    """Open and close a connection to ``place``, a HOST:PORT."""
    host, _, port = place.rpartition(":")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _arguments(compute: Compute, packages: Iterable[Path], spill_to: Path | None) -> dict[str, Any]:
    """Arguments of ``ray.init``; among them our package and those of plugs, so that workers on any machine run the same code."""
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


def _in_words(usable: Sequence[Machine]) -> str:
    """The CPUs and GPUs of all machines together, in words.

    >>> _in_words([Machine(2, 0.0), Machine(8, 4.0)])
    '10 CPUs, 4 GPUs'
    """
    return f"{sum(machine.cpus for machine in usable)} CPUs, {sum(machine.gpus for machine in usable):g} GPUs"
