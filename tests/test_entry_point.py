"""``python src/main.py`` as a user starts it: --help, one-line errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import MAIN, ROOT


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAIN), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_stage_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for stage in ("download", "convert", "preprocess", "train"):
        assert stage in done.stdout
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", str(MAIN), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for heavy in ("torch", "polars", "numpy", "pydantic", "sklearn"):
        assert f" {heavy}\n" not in listing.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataset = 'd'\nrun_name = 'r'\nsede = 3\n", "unknown key 'sede'; did you mean 'seed'?"),
        ("dataset = 'd'\nrun_name = 'r'\nseed = 'x'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\n", "seed = 'x'"),
        ("dataset = 'd'\nrun_name = 'r'\n[paths]\nraw_dir='r'\n", "key 'source' is missing"),
        (
            "dataset = 'd'\nrun_name = 'r'\n[paths]\nraw_dir='r'\n[source]\nname='mimic5'\n",
            "mimic4, ",
        ),
        (
            "dataset = 'd'\nrun_name = 'r'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\nnote_file=['x']\n",
            "did you mean 'notes_file'?",
        ),
        (
            "dataset = 'd'\nrun_name = 'r'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\n[cohort]\nwindow_hours=-1\n",
            "window_hours",
        ),
        ("dataset = \n", "not a TOML file"),
        (
            "dataset = 'd'\nrun_name = 'r'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\n[training]\ngradient_clip=inf\n",
            "training.gradient_clip must be a finite number",
        ),
        ("dataset = ''\nrun_name = 'r'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\n", "dataset = ''"),
        (
            "dataset = 'd'\nrun_name = 'r'\ntask = 'motality'\n[paths]\nraw_dir='r'\n[source]\nname='mimic4'\n",
            "mortality, ",
        ),
    ],
)
def test_a_mistake_in_the_config_is_one_line_with_exit_code_2(tmp_path: Path, text: str, expected: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    done = run("--stage", "convert", "--config", str(config), cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_missing_config_lists_those_there_are() -> None:
    done = run("--config", "configs/nothing.toml")
    assert done.returncode == 2 and "configs/synthetic.toml" in done.stderr


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_out_of_range_is_one_line(seed: str, tmp_path: Path) -> None:
    done = run("--seed", seed, "--config", str(ROOT / "configs" / "synthetic.toml"), cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"error: --seed {seed}")


@pytest.mark.parametrize("module", ["emerge_ehr.fields", "emerge_ehr.config", "pydantic", "polars", "torch"])
def test_ctrl_c_while_modules_are_imported_ends_in_one_line(module: str, tmp_path: Path) -> None:
    probe = (
        "import runpy, sys\n"
        "class Finder:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder)\n"
        f"sys.argv = ['main.py', '--config', {str(ROOT / 'configs' / 'synthetic.toml')!r}]\n"
        f"runpy.run_path({str(MAIN)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130 and done.stderr == "interrupted\n"


def test_an_older_python_is_told_in_one_line() -> None:
    """Before anything is imported that it could not read."""
    probe = f"import runpy, sys; sys.version_info = (3, 10, 13); runpy.run_path({str(MAIN)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python 3.11 or later is needed") and done.stderr.count("\n") == 1
