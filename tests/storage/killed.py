"""A writer that is killed."""

import os
import signal
import subprocess
import sys

from tests.places import ROOT


def killed_while_it_writes(writer: str, path: str) -> None:
    """Another process, dead after half of ``path`` within ``with writer as new``."""
    script = (
        "import time; from pathlib import Path; from emerge_ehr.storage import artefacts, publishing\n"
        f"with {writer} as new:\n"
        f"    {path}.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
