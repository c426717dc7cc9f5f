"""Several seeds: each its own run, and their mean and deviation."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr.config import Config
from emerge_ehr.training import train

Prepare = Callable[..., Config]


def test_each_seed_equals_a_run_of_its_own_and_the_table_is_their_mean(
    prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepared(patients=100)
    train.run(dataclasses.replace(config, seeds=(3, 1, 4)))
    printed = capsys.readouterr().out
    values = []
    for seed in (3, 1, 4):
        paths = dataclasses.replace(config.paths, run_dir=Path(f"alone/{seed}"))
        train.run(dataclasses.replace(config, seed=seed, paths=paths))
        for name in ("predictions.csv", "metrics.json", "checkpoints/best.safetensors"):
            assert (Path(f"alone/{seed}") / name).read_bytes() == (config.run_dir / f"seed_{seed}" / name).read_bytes()
        metrics = json.loads(Path(f"alone/{seed}/metrics.json").read_text())["splits"]["test"]["mortality"]["metrics"]
        values.append(metrics["auroc"]["value"])
    with (config.run_dir / "seeds.csv").open(encoding="utf-8") as file:
        row = next(r for r in csv.DictReader(file) if (r["split"], r["metric"]) == ("test", "auroc"))
    assert float(row["mean"]) == pytest.approx(np.mean(values)) and float(row["std"]) == pytest.approx(
        np.std(values, ddof=1)
    )
    assert row["seeds"] == "3"
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in printed
    assert len({round(value, 6) for value in values}) > 1


def test_a_run_folder_holds_a_single_run_or_those_of_seeds(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(config)
    single = {path.name for path in config.run_dir.iterdir()}
    train.run(dataclasses.replace(config, seeds=(3, 1)))
    assert {path.name for path in config.run_dir.iterdir()} == {"seed_3", "seed_1", "seeds.csv", "seeds.json"}
    train.run(config)
    assert {path.name for path in config.run_dir.iterdir()} == single | {"seed_3", "seed_1"}
