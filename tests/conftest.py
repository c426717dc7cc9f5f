"""Paths and configs that tests share."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config import Config, load

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def demo_raw() -> Path:
    folder = SHARED / "mimic-iv-demo-2.2"
    if not folder.is_dir():
        pytest.skip(f"the MIMIC-IV demo is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def demo_config(demo_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The demo's config with all it writes under a temporary folder."""
    out = tmp_path_factory.mktemp("demo")
    config = load(ROOT / "tests" / "configs" / "mimic4_demo_shared.toml")
    paths = dataclasses.replace(
        config.paths,
        raw_dir=demo_raw,
        kg_dir=SHARED / "primekg-open",
        table_dir=out / "tables",
        processed_dir=out / "processed",
        run_dir=out / "run",
    )
    yield dataclasses.replace(config, paths=paths)
