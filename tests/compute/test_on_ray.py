"""Stage preprocess by several processes, and on a real Ray: the same bytes as by one process, whoever dies in mid-run."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from emerge_ehr.storage.artefacts import checksums
from tests import in_process
from tests.places import MAIN, ROOT
from tests.small_hospital import CONFIG

RAY = '\n[compute]\nbackend = "ray"\nworkers = 2\npartition_patients = 3\n'
PROCESSED = Path("data/processed/synthetic/mortality")
MARK = "EMERGE_TEST_OF_RAY"


class Run:
    """A stage in a process of its own, and Ray's workers for it."""

    def __init__(self, folder: Path, stage: str, config: str = "ray.toml", **more: str) -> None:
        self.name = uuid.uuid4().hex
        command = [sys.executable, str(MAIN), "--stage", stage, "--config", config]
        environment = {**os.environ, MARK: self.name, **more}
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
        )

    def ended(self, code: int = 0) -> str:
        """Wait for the end of the process: all that it wrote to stderr."""
        _, output = self.process.communicate(timeout=200)
        assert self.process.returncode == code, output
        return output

    def kill(self) -> None:
        """Kill the process without a warning; what Ray started for it ends by itself."""
        self.process.kill()
        self.process.communicate(timeout=60)

    def pids(self, name: bytes) -> list[int]:
        """Ray's processes of this name that belong to it."""
        return [pid for pid in _pids() if name in _read(pid, "cmdline") and self.name.encode() in _read(pid, "environ")]


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < end, (
            "it ended, or took too long, before it could be killed"
        )
        time.sleep(0.002)


def pieces_kept(folder: Path, work: str) -> int:
    return len(pieces(folder, work))


def pieces(folder: Path, work: str) -> list[Path]:
    """The pieces that are kept whole."""
    return [path for path in folder.glob(f"data/cache/pieces/*/*/{work}/*") if path.suffix != ".part"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables, and in ``expected`` what preprocess makes of them without Ray."""
    folder = tmp_path_factory.mktemp("hospital")
    (folder / "local.toml").write_text(CONFIG)
    (folder / "ray.toml").write_text(CONFIG + RAY)
    for stage in ("download", "convert", "preprocess"):
        assert in_process.run(folder, "--config", "local.toml", "--stage", stage).returncode == 0
    (folder / PROCESSED).rename(folder / "expected")
    return folder


@pytest.fixture
def hospital(made: Path, tmp_path: Path) -> Path:
    """The same for one test."""
    shutil.copytree(made, tmp_path / "hospital")
    return tmp_path / "hospital"


@pytest.mark.slow
def test_two_processes_of_this_machine_give_the_same_bytes(hospital: Path) -> None:
    (hospital / "two.toml").write_text(CONFIG + "\n[compute]\nworkers = 2\n")
    Run(hospital, "preprocess", "two.toml").ended()
    assert checksums(hospital / PROCESSED) == checksums(hospital / "expected")


@pytest.mark.slow
def test_a_worker_killed_in_mid_run_costs_its_piece_and_changes_no_byte(hospital: Path) -> None:
    run = Run(hospital, "preprocess")
    for work in ("entities", "records"):
        until(lambda work=work: pieces_kept(hospital, work) > 3, run.process)  # type: ignore[misc]
        pids = run.pids(b"MapWorker")
        assert pids and pieces_kept(hospital, work) < 70
        os.kill(pids[0], signal.SIGKILL)
    run.ended()
    assert checksums(hospital / PROCESSED) == checksums(hospital / "expected")
    assert not (hospital / "data/cache/pieces").exists()


@pytest.mark.slow
def test_a_driver_killed_in_mid_run_goes_on_where_it_was_but_for_a_damaged_piece(hospital: Path) -> None:
    run = Run(hospital, "preprocess")
    until(lambda: pieces_kept(hospital, "records") > 3, run.process)
    run.kill()
    before = {work: pieces_kept(hospital, work) for work in ("entities", "records")}
    assert not (hospital / PROCESSED / "metadata.json").exists() and before["records"] < 70
    damaged = pieces(hospital, "records")[0]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in hospital.glob("data/cache/pieces/*"))
    output = Run(hospital, "preprocess").ended()
    assert f"entities: {before['entities']} of {before['entities']} pieces are kept from" in output
    assert f"records: {before['records']} of {before['entities']} pieces are kept from" in output
    assert checksums(hospital / PROCESSED) == checksums(hospital / "expected")


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray puts its files; it makes sockets in it, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def cluster(ray_folder: Path, tmp_path: Path) -> Iterator[tuple[dict[str, str], "subprocess.Popen[bytes]"]]:
    """A Ray of two machines, one CPU each, that demand a token as docs/cluster.md has it: what the environment of who joins it
    holds; and the second of them."""
    secured = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_TMPDIR": str(ray_folder)}
    home = {**os.environ, **secured, "RAY_USAGE_STATS_ENABLED": "0"}
    ray = [str(Path(sys.executable).with_name("ray"))]
    subprocess.run([*ray, "get-auth-token", "--generate"], env=home, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = ["--block", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
    head = ["--head", "--port", address.split(":")[1], "--include-dashboard", "false", "--num-gpus", "1"]
    machines = []
    for own in (head, ["--address", address]):
        command, log = [*ray, "start", *common, *own], tmp_path / f"machine{len(machines)}.log"
        with log.open("wb") as output:
            machines.append(subprocess.Popen(command, env=home, stdout=output, stderr=output, start_new_session=True))
        until(lambda log=log: b"Ray runtime started" in log.read_bytes(), machines[-1])  # type: ignore[misc]
    yield secured, machines[1]
    for machine in machines:
        with suppress(ProcessLookupError):
            os.killpg(machine.pid, signal.SIGKILL)
        machine.wait()
    for pid in [pid for pid in _pids() if str(ray_folder).encode() in _read(pid, "environ")]:
        with suppress(ProcessLookupError):  # a worker that was ending when its machine went
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_in_mid_run_gives_the_same_bytes(
    cluster: tuple[dict[str, str], "subprocess.Popen[bytes]"], hospital: Path
) -> None:
    secured, second = cluster
    (hospital / "ray.toml").write_text(CONFIG + RAY + 'address = "auto"\n')
    run = Run(hospital, "preprocess", **secured)
    until(lambda: pieces_kept(hospital, "records") > 3, run.process)
    os.killpg(second.pid, signal.SIGKILL)
    output = run.ended()
    assert re.search(r"ray: joined at [\d.]+:\d+, 2 CPUs", output) and "demands no token" not in output
    assert checksums(hospital / PROCESSED) == checksums(hospital / "expected")


@pytest.mark.slow
def test_embeddings_of_a_language_model_are_the_same_also_by_machines_of_fewer_cpus(
    cluster: tuple[dict[str, str], "subprocess.Popen[bytes]"], tiny_models: Path, hospital: Path
) -> None:
    secured, _ = cluster
    encoder = f'\n[embedding]\nname = "huggingface"\nmodel = "{tiny_models / "modernbert"}"\nbatch_tokens = 4096\n'
    whole = f"{CONFIG}{encoder}\n[token_level]\nnote_chunks = 2\n"
    (hospital / "local.toml").write_text(whole)
    (hospital / "ray.toml").write_text(f'{whole}{RAY}address = "auto"\n')
    (hospital / "gpu.toml").write_text(f'{whole}{RAY}address = "auto"\ngpus_per_worker = 0.5\n')
    Run(hospital, "preprocess", "local.toml", OMP_NUM_THREADS="2").ended()
    expected = checksums(hospital / PROCESSED)
    for path in hospital.glob("data/cache/embeddings/*"):
        path.unlink()
    Run(hospital, "preprocess", OMP_NUM_THREADS="2", **secured).ended()
    assert checksums(hospital / PROCESSED) == expected
    output = Run(hospital, "preprocess", "gpu.toml", **secured).ended(code=2)
    assert "compute.gpus_per_worker = 0.5, but PyTorch finds no GPU in a worker" in output and "Traceback" not in output


FATAL = """
import os, sys
from pathlib import Path
from emerge_ehr.config import Compute
from emerge_ehr.compute.cluster import joined
from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.kept import Kept
from emerge_ehr.compute.local import Local
from emerge_ehr.compute.on_ray import OnRay
from emerge_ehr.compute.work import Work
from emerge_ehr.fields import UserError
from tests.compute.deadly import answer

if __name__ == "__main__":
    work = Work("numbers", None, answer, Json[int](int), Json[int](int), piece=2)
    compute = Compute(backend="ray")
    with joined(compute, []):
        for pool in (Local(2), OnRay(compute, Kept(Path("kept")))):
            try:
                print(list(pool.map(work, range(20), much=True)))
            except UserError as error:
                print(error)
"""


@pytest.mark.slow
def test_a_piece_that_kills_every_worker_ends_the_run_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "fatal.py").write_text(FATAL.format(root=str(ROOT)))
    command, environment = [sys.executable, "fatal.py"], {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=200
    )
    assert ended.stdout.count("numbers: a worker process died; out of memory?") == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_process_of_this_machine_that_is_killed_is_not_waited_for(hospital: Path) -> None:
    (hospital / "two.toml").write_text(CONFIG + "\n[compute]\nworkers = 2\n")
    run = Run(hospital, "preprocess", "two.toml")
    until(lambda: bool(run.pids(b"spawn_main")), run.process)
    os.kill(run.pids(b"spawn_main")[0], signal.SIGKILL)
    output = run.ended(code=2)
    assert re.search(r"error: (entities|records): a worker process died", output) and "Traceback" not in output


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (
            'backend = "ray"\naddress = "127.0.0.1:1"',
            "compute.address = '127.0.0.1:1': no Ray there that can be joined",
        ),
        ('backend = "ray"\naddress = "auto"', "compute.address = 'auto': no Ray there that can be joined"),
        ('address = "auto"', "compute.address and compute.gpus_per_worker are for Ray"),
        ('backend = "ray"\naddress = "ray://127.0.0.1:10001"', "compute.address = 'ray://127.0.0.1:10001': set"),
        ('backend = "ray"\naddress = "head:99999"', "compute.address = 'head:99999': set"),
        ('backend = "ray"\naddress = "head"', 'compute.address = \'head\': set "local", "auto", or HOST:PORT'),
        ('backend = "ray"\ngpus_per_worker = 1.5', "compute.gpus_per_worker = 1.5: above 1 Ray gives whole GPUs only"),
    ],
)
def test_what_the_user_got_wrong_ends_it_in_one_line(
    hospital: Path, ray_folder: Path, compute: str, message: str
) -> None:
    (hospital / "ray.toml").write_text(f"{CONFIG}\n[compute]\n{compute}\n")
    output = Run(hospital, "preprocess", RAY_TMPDIR=str(ray_folder)).ended(code=2)
    assert message in output and "Traceback" not in output and not (hospital / PROCESSED).exists()


@pytest.mark.slow
def test_a_ray_that_was_stopped_is_not_waited_for(hospital: Path, ray_folder: Path) -> None:
    (hospital / "ray.toml").write_text(f'{CONFIG}\n[compute]\nbackend = "ray"\naddress = "auto"\n')
    (ray_folder / "ray").mkdir()
    (ray_folder / "ray/ray_current_cluster").write_text("127.0.0.1:1")
    output = Run(hospital, "preprocess", RAY_TMPDIR=str(ray_folder)).ended(code=2)
    assert "compute.address = 'auto': no Ray there that can be joined ([Errno 111] Connection refused)" in output


def test_credentialed_records_go_to_no_cluster_without_leave(hospital: Path) -> None:
    section = '\n[compute]\nbackend = "ray"\naddress = "10.0.0.1:6379"\n'
    (hospital / "ray.toml").write_text("credentialed = true\n" + CONFIG + section)
    output = Run(hospital, "preprocess").ended(code=2)
    assert "set compute.allow_cluster = true" in output and "Traceback" not in output


WITHOUT = """
import runpy, sys
sys.modules["ray"] = None  # as if it were not installed
sys.argv = ["main.py", "--stage", "preprocess", "--config", sys.argv[1]]
runpy.run_path("{main}", run_name="__main__")
"""


@pytest.mark.slow
def test_without_ray_installed_nothing_is_missed(hospital: Path) -> None:
    program = WITHOUT.format(main=MAIN)
    done = [
        subprocess.run(
            [sys.executable, "-c", program, config], cwd=hospital, capture_output=True, text=True, check=False
        )
        for config in ("local.toml", "ray.toml")
    ]
    assert [run.returncode for run in done] == [0, 2], done
    assert checksums(hospital / PROCESSED) == checksums(hospital / "expected")
    assert "pip install '.[ray]'" in done[1].stderr and "Traceback" not in done[1].stderr
