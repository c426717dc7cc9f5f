"""Stage serve: answers requests for the run's predictions over HTTP, on this machine only unless ``--host`` says otherwise."""

import importlib.util
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

from emerge_ehr import privacy
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import access, limits, predictor
from emerge_ehr.privacy import is_loopback

LIBRARIES = ("fastapi", "uvicorn", "prometheus_client")
AT_ONCE = 512  # open connections; further ones are answered with status 503

log = logging.getLogger(__name__)


@privacy.owner_only()
def run(run: Path, host: str, port: int, offline: bool) -> None:
    """Serve until interrupted.

    Raises:
        UserError: a library is missing, the address cannot be listened on, or the run does not fit.
    """
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--stage serve needs {name}: uv sync --extra serve, or pip install '.[serve]'")
    import uvicorn

    from emerge_ehr.prediction import connections, service

    key = access.key(host)
    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        ready = predictor.load(run, offline=offline)
        if not is_loopback(host):
            log.warning(
                "serving at %s without TLS: patients' records and the key travel unencrypted; put a proxy that has it in front",
                host,
            )
        hosts = [host, "localhost"] if is_loopback(host) and ":" not in host else ["*"]
        settings = uvicorn.Config(
            service.build(ready, hosts, key),
            http=connections.Connection,
            timeout_keep_alive=connections.KEEP_ALIVE_SECONDS,
            log_config=None,
            access_log=False,  # an access log holds whole URLs
            lifespan="off",
            limit_concurrency=AT_ONCE,
            server_header=False,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        for name in ("uvicorn.error", service.__name__):
            logging.getLogger(name).addFilter(limits.FewLines())
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
        # a failed name lookup has a negative number, which strerror does not know
        why = os.strerror(number) if number > 0 else error.strerror
        raise UserError(f"--host {host} --port {port}: cannot listen there ({why}); choose others") from None
