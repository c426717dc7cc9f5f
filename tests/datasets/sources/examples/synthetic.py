"""The generator's own files."""

from pathlib import Path

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources.synthetic import Options, build
from tests.datasets.sources.examples.mimic4 import change_after_window

__all__ = ["OPTIONS", "change_after_window", "raw_files"]
OPTIONS = {"stays": 60}


def raw_files(raw_dir: Path) -> None:
    source = build(Options(**OPTIONS), raw_dir=raw_dir, kg_dir=raw_dir.parent / "kg", seed=0)
    source.download(Download(), offline=True)
