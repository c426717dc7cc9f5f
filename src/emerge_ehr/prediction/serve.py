"""Stage serve: the run's predictions over HTTP, on this machine unless told otherwise."""

import importlib.util
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predictor
from emerge_ehr.privacy import is_loopback

LIBRARIES = ("fastapi", "uvicorn")
AT_ONCE = 64  # connections; more are told to come again (503)

log = logging.getLogger(__name__)


def run(run: Path, host: str, port: int, offline: bool) -> None:
    """Serves until interrupted.

    Raises:
        UserError: the libraries are missing, the address cannot be had, or the run will not do.
    """
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--stage serve needs {name}: uv sync --extra serve, or pip install '.[serve]'")
    import uvicorn

    from emerge_ehr.prediction import service

    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        ready = predictor.load(run, offline=offline)
        if not is_loopback(host):
            log.warning(
                "serving at %s: whoever reaches this machine may ask, for there is no authentication, and patients' records "
                "travel unencrypted, for there is no TLS; put a proxy with both before it",
                host,
            )
        hosts = [host, "localhost"] if is_loopback(host) and ":" not in host else ["*"]
        settings = uvicorn.Config(
            service.build(ready, hosts),
            log_config=None,
            access_log=False,  # it holds whole URLs
            lifespan="off",
            limit_concurrency=AT_ONCE,
            server_header=False,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        shown = f"[{host}]" if ":" in host else host
        print(f"serving {run} at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        uvicorn.Server(settings).run(sockets=[listener])
    log.info("stopped")


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:
        raise UserError(f"--port {port}: must lie between 0 and 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror  # a name that is not found has numbers of its own
        raise UserError(f"--host {host} --port {port}: cannot listen there ({why}); choose others") from None
