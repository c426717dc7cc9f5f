"""The package as others install it: a wheel in an environment of its own, beside libraries whose names must stay theirs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.places import MAIN, ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }  # which could lead to the checkout
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    done = run(sys.executable, *build, cwd=folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_brings_one_package_with_its_data_files_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"emerge_ehr"}
    package = ROOT / "src" / "emerge_ehr"
    files = {f"emerge_ehr/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= set(names)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and, from the package index, Hugging Face's ``datasets``. What both need is seen through a
    path file in the environment of the tests, where it is installed already."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    (Path(site) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = run(python, "-m", "pip", "install", "--quiet", "datasets", cwd=folder)
    if done.returncode:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    done = run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_installed_it_leaves_the_datasets_library_alone_and_runs_from_any_folder(
    environment: Path, tmp_path: Path
) -> None:
    python = environment / "bin" / "python"
    probe = "import datasets, emerge_ehr; datasets.load_dataset; print(datasets.__file__, emerge_ehr.__file__)"
    done = run(python, "-c", probe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(str(environment) in place for place in done.stdout.split()), done.stdout
    (tmp_path / "small.toml").write_text(
        'dataset = "small"\nrun_name = "small"\n[paths]\nraw_dir = "raw"\nkg_dir = "kg"\n'
        '[source]\nname = "synthetic"\nstays = 60\n[download]\nprimekg = "none"\n'
    )
    for stage in ("download", "convert"):
        done = run(environment / "bin" / "emerge-ehr", "--stage", stage, "--config", "small.toml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "tables" / "small" / "mortality" / "cohort.csv").is_file()


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel alone. The libraries that it needs are seen through a path file where the tests have them:
    installing PyTorch once more would need a network and gigabytes."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    (Path(site) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = (
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--force-reinstall",
        wheel,
    )
    done = run(sys.executable, *install, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("explained", [False, True], ids=["risks alone", "explained, with training patients"])
def test_an_exported_folder_predicts_to_the_same_bytes_where_there_is_no_checkout_and_no_run(
    bare: Path, small_pipeline: Path, tmp_path: Path, explained: bool
) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    shutil.copytree(small_pipeline, home)
    options, kept = ([], ["--with-patients"]) if explained else (["--no-explain"], [])
    asked = ("--tables", "tables", "--output", "risks.csv", "--offline", *options)
    shutil.copytree(home / "data" / "tables" / "synthetic" / "mortality", home / "tables")
    for command in (("export", "--output", "model", *kept), ("predict", *asked)):
        done = run(sys.executable, MAIN, "--run", "runs/small", "--stage", *command, cwd=home)
        assert done.returncode == 0, done.stderr
    away.mkdir()
    for name in ("model", "tables"):
        shutil.move(home / name, away / name)
    home.rename(tmp_path / "gone")  # nothing of the run is found where it was
    probe = run(bare / "bin" / "python", "-c", "import emerge_ehr; print(emerge_ehr.__file__)", cwd=away)
    assert probe.stdout.startswith(str(bare)), probe.stderr
    done = run(bare / "bin" / "emerge-ehr", "--run", "model", "--stage", "predict", *asked, cwd=away)
    assert done.returncode == 0, done.stderr
    for name in ("risks.csv", "risks.evidence.jsonl"):
        assert (away / name).read_bytes() == (tmp_path / "gone" / name).read_bytes()
