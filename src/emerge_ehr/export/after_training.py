"""What follows the stage train: with ``training.export``, the model folder of each finished run, in the run folder itself.

A folder of an earlier training is removed, so that none is taken for the run's own.
"""

import logging
import shutil
from pathlib import Path

from emerge_ehr.config import Config
from emerge_ehr.export import export
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts, publishing, schema
from emerge_ehr.training import seeds

log = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Write ``model/`` into the run folder, or into that of each seed, where the config asks for it.

    A run that may not be exported, as one whose method keeps patients' vectors, is finished all the same: a warning says why.
    """
    for one in seeds.configs(config):
        place = one.run_dir / schema.EXPORTED
        _remove_outdated(one.run_dir, place)
        if not one.training.export:
            continue
        try:
            artefacts.require_output_folder(place, [], schema.MODEL)
            export.write(one.run_dir, place, with_patients=False)
        except UserError as error:
            log.warning("training.export: %s holds no model: %s", one.run_dir, error)


def _remove_outdated(run_dir: Path, place: Path) -> None:
    """Remove a model that is not of the run as it is now."""
    if not place.is_dir():
        return
    publishing.finish_interrupted(place)
    if not (place / schema.MODEL).is_file():  # not ours
        return
    try:
        known = artefacts.read_json(place / schema.MODEL, "export").get("manifest")
    except UserError:  # damaged
        known = None
    if known != artefacts.checksum(run_dir / schema.MANIFEST):
        shutil.rmtree(place)
