"""Makes what runs share: each set of tables is converted once, each set of artefacts preprocessed once, for all grids.

They lie in ``data/benchmark``, in folders named by a hash of all settings that matter. So nothing that other stages wrote is
replaced, and changed settings lead to another folder. A config's own ``paths.table_dir`` is read where it is and never changed.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerge_ehr import components, decides, privacy
from emerge_ehr.config import Config
from emerge_ehr.datasets import download, sources
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.storage import artefacts, publishing, schema

SHARED = Path("data/benchmark")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """A set of artefacts. ``config`` says how they are made; ``missing`` names the stages that have to run to make them."""

    config: Config
    missing: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder that the artefacts lie in."""
        return self.config.processed_dir


def placed(config: Config) -> Config:
    """The config with the shared folders."""
    table_settings, artefact_settings = _deciding(config, "tables"), _deciding(config, "artefacts")
    del table_settings["table_dir"]  # says where tables lie, not how they are made
    name = f"{config.dataset}_{config.task.name}"
    table_dir = config.paths.table_dir or SHARED / "tables" / f"{name}_{_hash(table_settings)}"
    artefact_settings["tables"] = str(table_dir)
    if not privacy.uses_model(config):
        del artefact_settings["llm"]
    paths = dataclasses.replace(
        config.paths,
        table_dir=table_dir,
        processed_dir=SHARED / "processed" / f"{name}_{_hash({**table_settings, **artefact_settings})}",
    )
    return dataclasses.replace(config, paths=paths)


def _deciding(config: Config, product: decides.Product) -> dict[str, Any]:
    """The settings whose first product is ``product``; folders stand beside the sections."""
    chosen = decides.settings(config, lambda said: said.first == product)
    folders = chosen.pop("paths")
    return {**chosen, **folders}


def needed(configs: Sequence[Config]) -> list[Preparation]:
    """The sets of artefacts that the (placed) configs read, each once, in order of first use."""
    return [
        Preparation(config, _missing(config))
        for config in {config.processed_dir: config for config in configs}.values()
    ]


def prepare(wanted: Sequence[Preparation]) -> dict[Path, str]:
    """Run the missing stages of each set in turn. Returns processed folder -> why its artefacts could not be made."""
    failed: dict[Path, str] = {}
    for number, preparation in enumerate(wanted, start=1):
        if not preparation.missing:
            continue
        log.info("preparing %d of %d: %s", number, len(wanted), preparation.folder)
        try:
            _make(preparation.config)
        except (UserError, OSError) as error:
            failed[preparation.folder] = artefacts.first_line(error)
            log.error("%s: %s", preparation.folder, failed[preparation.folder])
    return failed


def _make(config: Config) -> None:
    stages: dict[str, Callable[[Config], None]] = {"download": download.run}
    if not _converted(config):  # checked again, as a set before this one may have made the tables
        stages["convert"] = convert.run
    for name, stage in {**stages, "preprocess": preprocess.run}.items():
        with privacy.owner_only(config, name):
            stage(config)


def _missing(config: Config) -> tuple[str, ...]:
    if not _converted(config):
        return "convert", "preprocess"
    return () if _preprocessed(config) else ("preprocess",)


def _converted(config: Config) -> bool:
    """Whether the tables are there and were made from the present raw files, as far as these can be read."""
    if not (config.table_dir / schema.PROVENANCE).is_file():
        publishing.finish_interrupted(config.table_dir)
    if not (config.table_dir / schema.PROVENANCE).is_file():
        return (config.table_dir / schema.LABEL.file).is_file()  # a user's own tables have no provenance file
    recorded = artefacts.read_json(config.table_dir / schema.PROVENANCE, "convert")
    if components.changed(config, convert.SOCKETS, recorded):
        return False
    try:
        return bool(artefacts.hashes(sources.chosen(config).inputs()) == recorded["inputs"])
    except UserError:
        return True  # the raw files were deleted, or replaced by those of another generated hospital


def _preprocessed(config: Config) -> bool:
    """Whether the artefacts are there and were made from the present tables, graph and library versions."""
    publishing.finish_interrupted(config.processed_dir)
    if not (config.processed_dir / schema.METADATA).is_file():
        return False
    recorded = artefacts.read_json(config.processed_dir / schema.METADATA, "preprocess")
    try:
        graph: KnowledgeGraph = components.build(
            "knowledge_graph", config.knowledge_graph, folder=config.kg_dir, cache_dir=config.paths.cache_dir
        )
    except UserError:
        return False
    return all(recorded.get(name) == now for name, now in preprocess.made_of(config, graph).items())


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
