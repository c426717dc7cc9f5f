"""A full disk, a folder that takes no files, a folder that another run writes to: one line, and what was there stays whole."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.conftest import OUTPUTS, TALLY, Hospital, command, contents, made, run

PRIVATE_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
STAGES = {
    stage: places for stage, places in OUTPUTS.items() if stage != "report"
}  # which writes into the folder of train
FULL_SIZES = [16, *(pytest.param(size, marks=pytest.mark.full) for size in (40, 300, 1000))]


@pytest.fixture(scope="session")
def mounting() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed: no small disk can be made")
    tried = subprocess.run(
        [*PRIVATE_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"this system lets no small disk be mounted: {tried.stderr.strip()}")


def mounted(script: str, stage: str, work: Path) -> subprocess.CompletedProcess[str]:
    """``stage`` in ``work``, run by a shell ``script`` as its "$@", whose mounts nobody else sees."""
    return subprocess.run(
        [*PRIVATE_MOUNTS, "sh", "-c", script, "sh", *command(stage)],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def on_small_disk(stage: str, work: Path, place: str, kilobytes: int) -> tuple[int, str, list[str]]:
    """``stage`` with its folder ``place`` on a disk of so many kB: exit code, stderr, and the files left there."""
    (work / place).mkdir(parents=True, exist_ok=True)
    shutil.copytree(work / place, work / "before", dirs_exist_ok=True)
    done = mounted(
        f'mount -t tmpfs -o size={kilobytes}k tmpfs "{place}" && cp -r before/. "{place}" && {{ "$@"; code=$?; '
        f'find "{place}" -type f > left.txt; exit $code; }}',
        stage,
        work,
    )
    left = [str(Path(line).relative_to(place)) for line in (work / "left.txt").read_text().splitlines()]
    return done.returncode, done.stderr, left


@pytest.mark.slow
@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize("kilobytes", FULL_SIZES)
@pytest.mark.parametrize(
    ("stage", "place"),
    [(stage, place) for stage, places in STAGES.items() for place in places if place != "data/cache"],
)
def test_a_full_disk_is_one_line_and_nothing_is_left(
    hospital: Hospital, stage: str, place: str, kilobytes: int, tmp_path: Path
) -> None:
    if kilobytes * 1024 > sum(map(len, contents(hospital.folder / place).values())):
        pytest.skip("everything fits")
    work = hospital.before(stage, tmp_path)
    code, errors, left = on_small_disk(stage, work, place, kilobytes)
    TALLY["disks filled"] += 1
    last = errors.rstrip().splitlines()[-1]
    assert code == 2 and "Traceback" not in errors, errors
    assert last.startswith("error: ") and "No space left on device" in last and place in last, last
    whole = {name.removeprefix(f"{place}/") for name in hospital.after(stage)}
    assert not [name for name in left if name not in whole and not name.startswith(".training/")]
    assert run(stage, work).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage", ["convert", "train", *(pytest.param(stage, marks=pytest.mark.full) for stage in ("preprocess", "report"))]
)
def test_two_runs_of_a_stage_at_once_are_told_apart(hospital: Hospital, stage: str, tmp_path: Path) -> None:
    work = hospital.before(stage, tmp_path)
    both = [
        subprocess.Popen(command(stage), cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes and set(codes) <= {0, 2}, told
    refused = [errors for code, errors in zip(codes, told, strict=True) if code == 2]
    for errors in refused:
        # which process it is cannot be told if that one has ended meanwhile
        others = ["", *(f" (process {process.pid})" for process in both)]
        assert any(f"another run is writing there{other};" in errors for other in others), errors
    TALLY["second runs refused"] += len(refused)
    assert made(work, stage) == hospital.after(stage)


@pytest.mark.slow
@pytest.mark.usefixtures("mounting")
@pytest.mark.parametrize("stage", STAGES)
def test_an_output_folder_that_takes_no_files_is_named_before_the_work(
    hospital: Hospital, stage: str, tmp_path: Path
) -> None:
    work = hospital.before(stage, tmp_path)
    place = OUTPUTS[stage][0]
    (work / place).mkdir(parents=True, exist_ok=True)
    done = mounted(f'mount -t tmpfs -o ro tmpfs "{place}" && exec "$@"', stage, work)
    TALLY["read-only folders refused"] += 1
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert place in done.stderr.rstrip().splitlines()[-1], done.stderr
    assert not contents(work / place)
