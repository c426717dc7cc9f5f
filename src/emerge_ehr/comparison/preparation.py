"""What runs share: every set of tables is converted once, every set of artefacts preprocessed once, whatever grid asks for it.

They lie in ``data/benchmark``, in folders named by a hash of all settings that matter, so nothing that other stages wrote is
replaced, and a change of settings is another folder. Only a config's own ``paths.table_dir`` is used where it is, and as it is.
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
    """A set of artefacts; ``config`` says how they are made, and ``missing`` which stages have to run for them."""

    config: Config
    missing: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the artefacts lie."""
        return self.config.processed_dir


def placed(config: Config) -> Config:
    """The config with the shared folders. Whether its records are credentialed is settled before, by its own folders."""
    tables, own = _deciding(config, "tables"), _deciding(config, "artefacts")
    del tables["table_dir"]  # used as it is
    name = f"{config.dataset}_{config.task.name}"
    table_dir = config.paths.table_dir or SHARED / "tables" / f"{name}_{_hash(tables)}"
    own["tables"] = str(table_dir)
    if not privacy.uses_model(config):
        del own["llm"]
    paths = dataclasses.replace(
        config.paths,
        table_dir=table_dir,
        processed_dir=SHARED / "processed" / f"{name}_{_hash({**tables, **own})}",
    )
    return dataclasses.replace(config, paths=paths, credentialed=privacy.credentialed(config))


def _deciding(config: Config, product: decides.Product) -> dict[str, Any]:
    """The settings that decide the product first; folders beside the sections."""
    chosen = decides.settings(config, lambda said: said.first == product)
    folders = chosen.pop("paths")
    return {**chosen, **folders}


def needed(configs: Sequence[Config]) -> list[Preparation]:
    """What the (placed) configs read, each set of artefacts once, in order of first use."""
    return [Preparation(config, _missing(config)) for config in {one.processed_dir: one for one in configs}.values()]


def prepare(wanted: Sequence[Preparation]) -> dict[Path, str]:
    """Run the stages that are missing, a set after the other. Returns processed folder -> why it could not be made."""
    failed: dict[Path, str] = {}
    for number, one in enumerate(wanted, start=1):
        if not one.missing:
            continue
        log.info("preparing %d of %d: %s", number, len(wanted), one.folder)
        try:
            _make(one.config)
        except (UserError, OSError) as error:
            failed[one.folder] = artefacts.first_line(error)
            log.error("%s: %s", one.folder, failed[one.folder])
    return failed


def _make(config: Config) -> None:
    stages: list[Callable[[Config], None]] = [download.run]
    if not _converted(config):  # asked again: a set before this one may have made them
        stages.append(convert.run)
    for stage in (*stages, preprocess.run):
        stage(config)


def _missing(config: Config) -> tuple[str, ...]:
    if not _converted(config):
        return "convert", "preprocess"
    return () if _preprocessed(config) else ("preprocess",)


def _converted(config: Config) -> bool:
    """Whether the tables are there, and of these raw files, as far as these can be looked at."""
    if not (config.table_dir / schema.PROVENANCE).is_file():
        publishing.finish_interrupted(config.table_dir)
    if not (config.table_dir / schema.PROVENANCE).is_file():
        return (config.table_dir / schema.LABEL.file).is_file()  # a user's own
    recorded = artefacts.read_json(config.table_dir / schema.PROVENANCE, "convert")
    if components.changed(config, convert.SOCKETS, recorded):
        return False
    try:
        return bool(artefacts.hashes(sources.chosen(config).inputs()) == recorded["inputs"])
    except UserError:
        return True  # the raw files are gone, or of another hospital generated since


def _preprocessed(config: Config) -> bool:
    """Whether the artefacts are there, and of these tables, this graph and these library versions."""
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
