"""Requests per second of --stage serve under load, beside a bare FastAPI application that sends back the same bodies.

    make demo
    python -m benchmarks.serve --run runs/synthetic_mortality

Clients that each send requests of one patient, one after the other, on a connection of their own; all of them together for
``--seconds``. Prints requests per second with the median and the 99th percentile of the time to an answer: of the echo, of
predictions, and of predictions with explanations. Client and server share the machine's cores.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

from benchmarks.predict import body
from emerge_ehr.prediction import predictor
from emerge_ehr.preprocess.inputs import new_patients

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
ECHO = """
import socket
import fastapi, uvicorn
app = fastapi.FastAPI()
@app.post("/predict")
async def echo(request: fastapi.Request) -> fastapi.Response:
    return fastapi.Response(await request.body(), media_type="application/json")
listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", http="h11")).run(sockets=[listener])
"""


def main() -> None:
    """Print a row per server and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--patients", type=int, default=200, help="different patients to ask for")
    options = parser.parse_args()
    ready = predictor.load(options.run, offline=True)
    tables = new_patients.read(ready.trained.config.table_dir, ready.expected)
    bodies = [body(tables, [n]) for n in range(min(options.patients, tables.cohort.height))]
    del ready, tables
    print(f"bodies of one patient: median {np.median([len(one) for one in bodies]) / 1024:.0f} KiB")
    print("server                      clients   requests/s   median ms   99 % ms   failed")
    serving = [sys.executable, str(ROOT / "src/main.py"), "--stage", "serve", "--run", str(options.run), "--port", "0"]
    for name, command, query in (
        ("echo", [sys.executable, "-c", ECHO], ""),
        ("predictions", serving, ""),
        ("with explanations", serving, "?explain=true"),
    ):
        with listening(command) as url:
            asyncio.run(load(f"{url}/predict{query}", bodies, 1, 2.0))
            for clients in options.clients:
                taken, failed = asyncio.run(load(f"{url}/predict{query}", bodies, clients, options.seconds))
                middle, high = np.percentile(taken, [50, 99]) * 1000
                rate = len(taken) / options.seconds
                print(f"{name:<28}{clients:>7}{rate:>13.1f}{middle:>12.0f}{high:>10.0f}{failed:>9}", flush=True)


@contextmanager
def listening(command: Sequence[str]) -> "Iterator[str]":
    """The URL of a server, which is ended afterwards."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield re.findall(r"http://[\d.:]+", process.stdout.readline())[0]
        finally:
            process.terminate()


async def load(url: str, bodies: Sequence[bytes], clients: int, seconds: float) -> tuple[list[float], int]:
    """The seconds that each answered request took, and how many were not answered with 200."""
    end, taken, failed = time.perf_counter() + seconds, list[float](), 0

    async def ask(first: int) -> None:
        nonlocal failed
        async with httpx.AsyncClient(timeout=60) as client:
            number = first
            while time.perf_counter() < end:
                began = time.perf_counter()
                content = bodies[number % len(bodies)]
                answer = await client.post(url, content=content, headers={"content-type": "application/json"})
                failed += answer.status_code != 200
                taken.append(time.perf_counter() - began)
                number += clients

    await asyncio.gather(*(ask(n) for n in range(clients)))
    return taken, failed


if __name__ == "__main__":
    main()
