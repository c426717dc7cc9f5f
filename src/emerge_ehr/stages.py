"""The stages, the module that runs each, and what each takes of the command line.

Only the standard library is imported here, so that ``--help`` answers at once; a stage's module is imported when it runs.
"""

import importlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emerge_ehr.config import Config

# ``--stage all`` runs these, in this order; each module has ``run(config)``.
PIPELINE = {
    "download": "emerge_ehr.datasets.download",
    "convert": "emerge_ehr.datasets.convert.run",
    "preprocess": "emerge_ehr.preprocess.run",
    "train": "emerge_ehr.training.train",
    "report": "emerge_ehr.report.report",
}
AFTER_TRAINING = (
    "emerge_ehr.export.after_training"  # follows ``train``: the run's model folder, where the config asks for it
)
# Not part of ``--stage all``; each module has ``run(config)``.
CHECKS = {"audit": "emerge_ehr.audit.audit"}
# Stages that work with finished runs. The module's ``run`` takes the options listed here; each must be given or have a
# default, except those that end in "?", which may be left out.
WITH_RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "predict": (
        "emerge_ehr.prediction.predict",
        ("run", "tables", "output", "explain", "risks_only", "workers", "offline"),
    ),
    "evaluate": (
        "emerge_ehr.transfer.evaluate",
        ("run", "tables", "output", "recalibrate?", "recalibrate_by", "offline"),
    ),
    "serve": ("emerge_ehr.prediction.serve", ("run", "host", "port", "offline")),
    "export": ("emerge_ehr.export.export", ("run", "output", "with_patients")),
    "benchmark": ("emerge_ehr.comparison.benchmark", ("config", "dry_run", "offline")),
    "tune": ("emerge_ehr.tuning.tune", ("config", "offline")),
    "compare": ("emerge_ehr.comparison.compare", ("runs", "output?")),
}
# Stages of the pipeline that also work with a finished run, or a model, in place of a config; the module's function and the
# options it takes.
OF_A_RUN = {"report": ("emerge_ehr.report.report", "run_of", ("run",))}
# The options that the other stages take.
OF_PIPELINE = (
    "config",
    "seed",
    "seeds",
    "resume",
    "offline",
    "primekg_full",
    "primekg_lightweight",
    "dry_run",
    "deep",
    "check",
)


def run(config: "Config", names: Sequence[str], where: str, function: str = "run") -> None:
    """Run these stages of ``PIPELINE`` or ``CHECKS`` with the config, after checking it for all of them.

    ``where``: what messages call the config; ``function``: which function of each stage's module is called.

    Raises:
        UserError: the config, the environment or the command line does not fit a stage. It is raised before any stage begins.
    """
    from emerge_ehr import components, privacy, torchrun
    from emerge_ehr.compute import cluster
    from emerge_ehr.fields import UserError

    modules = [importlib.import_module((PIPELINE | CHECKS)[name]) for name in names]
    privacy.check(config, names)
    if "preprocess" in names:
        cluster.check(config, names)
    for module in modules:
        components.check(config, module.SOCKETS)
    if {"preprocess", "train"} & {*names}:
        from emerge_ehr.models import emerge

        emerge.check(config.model, config.token_level, where)
    if [*names] != ["train"] and torchrun.processes() > 1:
        raise UserError("several processes (torchrun) can share --stage train only; run the other stages first")
    for name, module in zip(names, modules, strict=True):
        logging.getLogger(__name__).info("stage %s", name)
        with privacy.owner_only(config, name):
            getattr(module, function)(config)
            if name == "train" and torchrun.is_first():
                importlib.import_module(AFTER_TRAINING).run(config)
