"""The MIMIC-IV demo with what its patients were given: its tables and records, made once a session."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from emerge_ehr.config import Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.preprocess import run as preprocess


def config(demo: Config, folder: Path) -> Config:
    """The demo's config with treatments, which writes into ``folder``."""
    paths = replace(demo.paths, table_dir=folder / "tables", processed_dir=folder / "processed")
    source = replace(demo.source, options={**demo.source.options, "treatments": True})
    return replace(demo, paths=paths, source=source)


def made(demo: Config, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folder with ``tables/`` and ``processed/``; read it only."""

    def make(folder: Path) -> None:
        for stage in (convert, preprocess):
            stage.run(config(demo, folder))

    return once("treated_demo", make)
