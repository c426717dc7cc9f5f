"""What ``convert`` recorded of the tables, and whether they, the config and the raw files are still those of the record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emerge_ehr import components, decides
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.convert import told
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts, schema, staleness, table_files


def checked(folder: Path, config: Config) -> Mapping[str, Any]:
    """The record of ``convert``, checked against this config and these files; empty for a user's own tables."""
    provenance = recorded(folder)
    if not provenance:
        return {}
    if provenance.get("dataset") != config.dataset:
        raise UserError(f"{folder}: made of dataset '{provenance.get('dataset')}', the config says '{config.dataset}'")
    refuse_other_settings(folder, provenance, config)
    told.refuse_other_landmarks(folder, provenance, config.cohort.landmarks)
    if plug := components.changed(config, convert.SOCKETS, provenance):
        raise UserError(f"{folder}: converted with another version of the plug '{plug}'; run --stage convert again")
    artefacts.refuse_changed(folder, provenance["tables"], "convert")
    refuse_other_parts(folder, provenance)
    _refuse_changed_raw(config, provenance["inputs"])
    return provenance


def refuse_other_settings(folder: Path, provenance: Mapping[str, Any], config: Config) -> None:
    """Compare the settings in ``provenance`` of the tables in ``folder`` with the config's, as far as they decide the tables.

    Raises:
        UserError: a setting differs.
    """
    now = decides.compared(config, "tables")
    if other := staleness.other_settings({key: provenance.get(key) for key in now}, now):
        raise UserError(
            f"{folder}: converted with other [{other[0]}] settings than this config's; run --stage convert again"
        )


def refuse_other_parts(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Check that ``dynamic`` in ``folder`` consists of the files that ``convert`` wrote.

    Raises:
        UserError: a part was added or removed, or the table is there both as a CSV and in parts.
    """
    files = table_files.files(folder, schema.DYNAMIC)
    staleness.refuse_other_parts(files, schema.DYNAMIC.parts, provenance["tables"], "convert")


def _refuse_changed_raw(config: Config, recorded: Mapping[str, str]) -> None:
    """Refuse raw files that were changed or added since ``convert`` read them, if all of them are on this machine.

    The tables may have been made on another machine.
    """
    try:
        paths = sources.chosen(config).inputs()
    except UserError:
        return
    staleness.refuse_added_inputs(paths, recorded, "convert")
    staleness.refuse_changed_inputs(paths, recorded, config.paths.cache_dir, "convert")


def recorded(folder: Path) -> Mapping[str, Any]:
    """Read ``provenance.json``; empty if the file is missing.

    Raises:
        UserError: the file is not one that ``convert`` wrote.
    """
    path = folder / schema.PROVENANCE
    if not path.is_file():
        return {}
    provenance = artefacts.read_json(path, "convert")
    needed = {"cohort", "task", "source", "tables", "warnings", "inputs"}
    if not isinstance(provenance, dict) or not needed <= provenance.keys():
        raise UserError(
            f"{path}: not a record of --stage convert; run it again, or delete the file to use your own tables"
        )
    staleness.refuse_other_format(path, provenance, schema.TABLES_FORMAT, "convert")
    return provenance
