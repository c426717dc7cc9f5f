"""The package as others install it: a wheel in an environment of its own, beside libraries whose names must stay theirs."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


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
