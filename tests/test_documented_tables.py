"""What the documents print for one's own tables runs as it is printed, offline: the config, and prediction for new patients."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import dated_tables
from tests.dated_tables import read
from tests.places import MAIN, ROOT

NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def printed() -> str:
    text = (ROOT / "docs" / "own_tables.md").read_text("utf-8")
    (config,) = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if 'name = "tables"' in block]
    return str(config)


def command(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(MAIN), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **NO_NETWORK},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_printed_config_runs_from_the_tables_to_the_report_and_to_new_patients(tmp_path: Path) -> None:
    config, wanted = printed(), tomllib.loads(printed())
    dated_tables.generate(tmp_path / wanted["paths"]["raw_dir"], patients=60, gender="numbers")
    (tmp_path / "my_hospital.toml").write_text(config)
    told = command(tmp_path, "--stage", "all", "--config", "my_hospital.toml", "--offline")
    assert "60 records (20 outcome)" in told and "the example of 82 diseases" in told
    assert (tmp_path / "runs" / "my_hospital" / "report.html").is_file()
    text = (ROOT / "docs" / "prediction_tables.md").read_text("utf-8")
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("python src/main.py --stage predict --run runs/my_hospital")
    )
    options = line.split()[2:]
    new = tmp_path / options[options.index("--tables") + 1]
    dated_tables.generate(new, patients=12, seed=8)
    (new / "label.csv").unlink()
    command(tmp_path, *options, "--offline")
    assert len(read(tmp_path / "predictions" / "risks.csv")) == 12
    command(tmp_path, "--stage", "audit", "--config", "my_hospital.toml")
