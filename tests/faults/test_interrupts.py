"""Ctrl-C: one line, exit code 130, nothing half-written."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.conftest import OUTPUTS, TALLY, Hospital, command, contents, made, run


@pytest.mark.slow
@pytest.mark.parametrize("stage", OUTPUTS)
@pytest.mark.parametrize("moment", [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(1, 10))])
def test_ctrl_c_ends_a_stage_in_one_line_and_leaves_nothing_behind(
    hospital: Hospital, stage: str, moment: int, tmp_path: Path
) -> None:
    work = hospital.before(stage, tmp_path)
    inputs = contents(work)
    with subprocess.Popen(
        command(stage), cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = process.stderr.readline()  # "stage ...": it works now
        time.sleep(random.Random(f"{stage} {moment}").uniform(0, 1.0))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    if process.returncode in (0, -signal.SIGINT) and made(work, stage) == hospital.after(stage):
        pytest.skip("the stage had done its work before the signal came")
    TALLY["interrupts survived"] += 1
    assert process.returncode == 130, seen + errors
    assert errors.rstrip().splitlines()[-1] == "interrupted" and "Traceback" not in errors
    left = contents(work).keys() - inputs.keys()
    complete = hospital.after(stage).keys()
    assert not [name for name in left - complete if not name.endswith(".part") and "/.training/" not in name]
    assert run(stage, work).returncode == 0
    assert made(work, stage) == hospital.after(stage)
