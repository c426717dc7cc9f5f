"""SIGKILL at random moments: what was there stays whole, and running the stage again ends in the bytes of a run never killed."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import OUTPUTS, TALLY, Hospital, command, contents, made, run

MOMENTS = [pytest.param(n, marks=pytest.mark.full if n else []) for n in range(25)]
# settings that make a stage's artefacts others
OTHERWISE = {
    "convert": ("[cohort]", "min_age = 50"),
    "convert to another format": ("[tables]", 'format = "parquet"'),
    "preprocess": ("[abnormal]", "threshold = 3.0"),
    "train": ("[training]", "learning_rate = 0.01"),
}
STARTING = 0.4  # seconds in which nothing is done but imports


def killed(stage: str, work: Path, seconds: float) -> bool:
    """Start ``stage`` and kill it after so many seconds; whether it was still running."""
    with subprocess.Popen(command(stage), cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return running


@pytest.fixture(scope="session")
def seconds(hospital: Hospital, once: Callable[[str, Callable[[Path], None]], Path]) -> dict[str, float]:
    """How long each stage takes."""

    def measure(folder: Path) -> None:
        taken = {}
        for stage in OUTPUTS:
            work = hospital.before(stage, folder / stage)
            started = time.monotonic()
            subprocess.run(command(stage), cwd=work, capture_output=True, timeout=300, check=True)
            taken[stage] = time.monotonic() - started
        (folder / "seconds.json").write_text(json.dumps(taken))

    taken: dict[str, float] = json.loads((once("seconds", measure) / "seconds.json").read_text())
    return taken


@pytest.mark.slow
@pytest.mark.parametrize("stage", OUTPUTS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_stage_is_run_again_to_the_same_bytes(
    hospital: Hospital, seconds: dict[str, float], stage: str, moment: int, tmp_path: Path
) -> None:
    draw = random.Random(f"{stage} {moment}")
    work = hospital.before(stage, tmp_path)
    inputs = contents(work)
    for _ in range(draw.choice([1, 1, 3])):  # a restarted run may be killed too
        TALLY["kills survived"] += killed(stage, work, draw.uniform(STARTING, seconds[stage]))
        assert {name: content for name, content in contents(work).items() if name in inputs} == inputs
    done = run(stage, work)
    assert done.returncode == 0, done.stderr
    assert made(work, stage) == hospital.after(stage)
    assert contents(work) == inputs | hospital.after(stage)


@pytest.mark.slow
@pytest.mark.parametrize("what", OTHERWISE)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stage_killed_while_it_makes_artefacts_anew_leaves_whole_old_or_whole_new_ones(
    hospital: Hospital, seconds: dict[str, float], what: str, moment: int, tmp_path: Path
) -> None:
    stage = what.split(maxsplit=1)[0]
    draw = random.Random(f"anew {what} {moment}")
    work = hospital.before(stage, tmp_path)
    config = (work / "small.toml").read_text()
    section, other = OTHERWISE[what]
    (work / "small.toml").write_text(
        config.replace(section, f"{section}\n{other}") if section in config else f"{config}{section}\n{other}\n"
    )
    assert run(stage, work).returncode == 0
    (work / "small.toml").write_text(config)
    old = made(work, stage)
    assert old != hospital.after(stage)
    TALLY["kills survived"] += killed(stage, work, draw.uniform(STARTING, seconds[stage]))
    if not any((work / name / ".publishing").is_dir() for name in OUTPUTS[stage]):
        final = {
            name: content for name, content in made(work, stage).items() if "/." not in name and "cache" not in name
        }
        assert final in (
            {name: content for name, content in whole.items() if "cache" not in name}
            for whole in (old, hospital.after(stage))
        )
    assert run(stage, work).returncode == 0
    assert {**made(work, stage), **hospital.after(stage)} == made(work, stage)
    if stage == "convert":  # nothing of the other format is left, nor is there a cache
        assert made(work, stage) == hospital.after(stage)
    assert not [name for name in made(work, stage) if "/." in name or name.endswith(".part")]
