"""The command line in the process of the test: a process of its own takes seconds to import what it needs."""

import contextlib
import io
import logging
import subprocess
from pathlib import Path

import pytest

from emerge_ehr.cli import main


def run(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the program prints, logs and ends with in this folder, with these variables of the environment."""
    printed, told = io.StringIO(), io.StringIO()
    root, handler = logging.getLogger(), logging.StreamHandler(told)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(root, "level", logging.DEBUG if "--verbose" in argv else logging.INFO)
        root.addHandler(handler)
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
                code = main(list(argv))
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        finally:
            root.removeHandler(handler)
    return subprocess.CompletedProcess(list(argv), code, printed.getvalue(), told.getvalue())
