"""The image and its compose file, as far as they can be tested without a container engine: what they copy, forbid and demand, and
the very commands that they run, on an exported model in a folder of its own. The image itself is not built here."""

import fnmatch
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from tests.places import ROOT

KEY = "a-key-of-many-characters"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """What the Dockerfile says, an instruction per entry."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in whole.splitlines() if line.strip()]


def last(name: str) -> str:
    return [text for found, text in instructions() if found == name][-1]


def sent() -> set[str]:
    """What of the checkout's first level ``.dockerignore`` lets through; later lines win."""
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    names = {path.name for path in ROOT.iterdir()} | {"data", "runs", "model", ".env", "sbom.json"}
    kept = set()
    for name in names:
        rules = [line for line in lines if fnmatch.fnmatch(name, line.lstrip("!"))]
        if not rules or rules[-1].startswith("!"):
            kept.add(name)
    return kept


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["emerge"]
    return found


def test_every_stage_has_a_python_that_the_package_takes() -> None:
    bases = [text.split()[0] for name, text in instructions() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        (version,) = re.findall(r"^python:(\d+\.\d+)-slim", base)
        assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"{version}.0")


def test_only_what_the_package_is_built_from_is_sent_and_copied() -> None:
    copied = [
        source.rstrip("/").removeprefix("./")
        for name, text in instructions()
        if name == "COPY" and not text.startswith("--from=")
        for source in text.split()[:-1]
    ]
    assert set(copied) == sent() == {"pyproject.toml", "README.md", "LICENSE", "src"}
    assert all((ROOT / source).exists() for source in copied)
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(copied)


def test_the_extras_that_it_installs_exist_and_torch_is_the_pinned_one() -> None:
    installing = " ".join(text for name, text in instructions() if name == "RUN")
    (extras,) = re.findall(r"'\.\[(.*?)\]'", installing)
    assert set(extras.split(",")) == {"serve", "fhir"} <= set(PROJECT["project"]["optional-dependencies"])
    (code,) = re.findall(r'RUN python -c "(.*)"', "\n".join(f"{name} {text}" for name, text in instructions()))
    assert "torch==" in code and [one for one in PROJECT["project"]["dependencies"] if one.startswith("torch==")]


def test_the_lists_for_pip_are_those_of_the_project(tmp_path: Path) -> None:
    (code,) = re.findall(r'RUN python -c "(.*)"', "\n".join(f"{name} {text}" for name, text in instructions()))
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    pins = PROJECT["tool"]["uv"]["constraint-dependencies"]
    assert (tmp_path / "constraints.txt").read_text().split("\n")[:-1] == pins
    assert re.fullmatch(r"torch==[\d.]+\n", (tmp_path / "torch.txt").read_text())


def test_it_runs_as_nobody_special_and_may_write_nothing() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last("USER"))
    said = service()
    assert (
        said["read_only"] is True and said["cap_drop"] == ["ALL"] and "no-new-privileges:true" in said["security_opt"]
    )
    (mount,) = said["volumes"]
    assert mount["read_only"] is True and mount["target"] == f"{last('WORKDIR')}/model"
    assert all(entry.startswith("/tmp:") for entry in said["tmpfs"])
    assert set(said["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


def test_it_is_reached_from_this_machine_alone_and_not_without_a_key() -> None:
    said = service()
    command = json.loads(last("CMD"))
    port = command[command.index("--port") + 1]
    assert said["ports"] == [f"127.0.0.1:{port}:{port}"] and last("EXPOSE") == port
    assert said["environment"]["EMERGE_API_KEY"].startswith("${EMERGE_API_KEY:?")
    assert f":{port}/ready" in last("HEALTHCHECK")
    (wanted,) = (text.partition("=")[2] for name, text in instructions() if name == "ARG")
    assert said["build"]["args"]["TORCH_INDEX"] == f"${{TORCH_INDEX-{wanted}}}"


def command() -> list[str]:
    """The image's command, by the script that the package installs, at any free port."""
    script, *options = json.loads(last("CMD"))
    assert script in PROJECT["project"]["scripts"]
    options[options.index("--port") + 1] = "0"
    return [str(Path(sys.executable).parent / script), *options]


@contextmanager
def running(folder: Path, key: str) -> Iterator[int]:
    """The image's command in ``folder``: the port at which it listens."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "EMERGE_API_KEY": key, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"at http://\S+:(\d+)", line):
                break
        else:
            raise AssertionError("".join(lines))
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        try:
            yield int(found[1])
        finally:
            process.terminate()
            reader.join(timeout=30)


@pytest.fixture
def mounted(exported: Path, tmp_path: Path) -> Path:
    """A folder that holds nothing but the model, as the image's working folder does."""
    (tmp_path / "model").symlink_to(exported, target_is_directory=True)
    return tmp_path


def test_its_command_serves_a_mounted_model_writes_nothing_and_its_health_check_says_so(mounted: Path) -> None:
    before = contents(mounted)
    check = json.loads(last("HEALTHCHECK").split(" CMD ", 1)[1])
    with running(mounted, KEY) as port:
        url = f"http://127.0.0.1:{port}"
        at = [sys.executable, *(part.replace(":8000/", f":{port}/") for part in check[1:])]
        assert check[0] == "python" and subprocess.run(at, check=False).returncode == 0
        assert httpx.post(f"{url}/predict", json={}).status_code == 401
        assert httpx.post(f"{url}/predict", json={}, headers={"X-API-Key": KEY}).status_code == 422
    stopped = subprocess.run(at, check=False, capture_output=True, text=True)
    assert stopped.returncode != 0 and "Connection refused" in stopped.stderr
    assert contents(mounted) == before


def contents(folder: Path) -> dict[str, int]:
    """Every file of the folder and of the model in it, with the time of its last change."""
    found = [*folder.iterdir(), *(folder / "model").resolve().rglob("*")]
    return {str(path): path.lstat().st_mtime_ns for path in found}


def test_without_a_key_its_command_ends_with_a_line_that_asks_for_one(mounted: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "EMERGE_API_KEY": ""}
    done = subprocess.run(
        command(), cwd=mounted, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and "set the environment variable EMERGE_API_KEY" in done.stderr
