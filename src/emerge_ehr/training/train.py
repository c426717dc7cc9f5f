"""Stage train: model-ready artefacts -> a trained EMERGE or baseline, its predictions and its metrics, in the run folder.

The run folder holds checkpoints/ (best and last epoch: weights and training state), history.csv, predictions.csv, metrics.json,
subgroups.csv, config.json and manifest.json. Nothing in them depends on the time of day, so that the same run gives the same
bytes, also if it was killed and resumed. With ``seeds`` there is such a folder ``seed_<n>`` for each, and ``seeds.csv`` and
``seeds.json`` hold the mean and the standard deviation.
"""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import Tensor

from emerge_ehr import components, decides, torchrun
from emerge_ehr.config import Config
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.fields import to_dict
from emerge_ehr.models import emerge
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.dataset import Dataset, load_dataset, load_patients
from emerge_ehr.storage.schema import (
    MANIFEST,
    METADATA,
    NETWORK_PREDICTIONS,
    PLAIN_PREDICTIONS,
    PREDICTIONS,
)
from emerge_ehr.training import (
    calibrated,
    devices,
    folds,
    horizons,
    inputs,
    members,
    methods,
    parallel,
    plain,
    reported,
    results,
    run_folder,
    seeds,
    sets,
    tables,
)
from emerge_ehr.training.patients import Patients, joined
from emerge_ehr.training.reported import Reported
from emerge_ehr.training.results import Predictions
from emerge_ehr.training.run_folder import Contents

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SOCKETS = decides.keys(Config, "training", among=components.SOCKETS)

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Train, evaluate, write the run folder and print the metrics: once, or once per seed.

    Raises:
        UserError: artefacts are missing or were made for another task; a split is empty; a loss is not finite; or another
            process of the run was lost.
    """
    fabric = devices.fabric(config.training)
    with devices.noticing_loss():
        _run(config, fabric)


def _run(config: Config, fabric: "Fabric") -> None:
    with devices.together(fabric):
        if torchrun.is_first():
            artefacts.require_writable(config.run_dir)
        if torchrun.is_first_here():
            for folder in (config.table_dir, config.processed_dir):
                publishing.finish_interrupted(folder)
    with devices.together(fabric):
        dataset = load_dataset(config.processed_dir, inspect=torchrun.is_first_here())
        if torchrun.is_first_here():
            inputs.check(config, dataset)
            calibrated.check(config, reported.of(config, dataset.metadata["label_names"]))
            sets.check(config, dataset)
        code = [artefacts.versions(run_folder.LIBRARIES), components.record(config, methods.sockets(config))]
        same = [to_dict(config), artefacts.checksum(config.processed_dir / METADATA), *code]
    devices.refuse_different(fabric, json.dumps(same, sort_keys=True))
    warnings = [*(dataset.metadata.get("warnings") or []), *inputs.label_warnings(dataset, config.cohort)]
    if torchrun.is_first():
        for warning in warnings:
            logger.warning("%s", warning)
        if note := inputs.seed_note(config, dataset):
            logger.info("%s", note)
    parts = [_of_fold(of_fold, fabric) for of_fold in config.of_folds()]
    with devices.together(fabric):
        folds.refuse_strange(config, dataset, parts)
    evaluated = {one.seed: _validated(one, dataset, parts, warnings, fabric) for one in seeds.configs(config)}
    if torchrun.is_first():
        print(seeds.publish(config.run_dir, evaluated) if config.seeds else tables.table(evaluated[config.seed]))
        for warning in warnings:
            print(f"warning: {warning}")
        print(f"run folder: {config.run_dir}")


def _validated(
    config: Config, dataset: Dataset, parts: Sequence[Dataset], warnings: Sequence[str], fabric: "Fabric"
) -> dict[str, Any]:
    """Train one run, after one for the artefacts of each fold where it is cross-validated; return its metrics."""
    of_folds = config.of_folds()
    if (
        of_folds and not config.resume and torchrun.is_first()
    ):  # a run that is half trained anew must not pass for a finished one
        for one in [config, *of_folds]:
            (one.run_dir / MANIFEST).unlink(missing_ok=True)
    for number, (of_fold, part) in enumerate(zip(of_folds, parts, strict=True), 1):
        logger.info("fold %d of %d", number, len(of_folds))
        told = list(inputs.label_warnings(part, config.cohort))
        if torchrun.is_first():
            for warning in told:
                logger.warning("fold %d: %s", number, warning)
        _train(of_fold, part, told, fabric)
    if of_folds:
        logger.info("the run's own model, of the patients of all folds")
    evaluated = _train(config, dataset, warnings, fabric, of_folds)
    if torchrun.is_first():
        publishing.remove_others(config.run_dir, "fold_*", [of_fold.run_dir for of_fold in of_folds])
    return evaluated


def _of_fold(config: Config, fabric: "Fabric") -> Dataset:
    """The artefacts of a fold, checked."""
    with devices.together(fabric):
        dataset = load_dataset(config.processed_dir, inspect=torchrun.is_first_here())
        if torchrun.is_first_here():
            inputs.check(config, dataset)
            sets.check(config, dataset)
    return dataset


def _train(
    config: Config, dataset: Dataset, warnings: Sequence[str], fabric: "Fabric", of_folds: Sequence[Config] = ()
) -> dict[str, Any]:
    """Train and evaluate one run; return the metrics, which are empty in every process but the first.

    ``of_folds``: the finished runs that tested this run's patients, who all train its own model.
    """
    chosen = config.training
    with contextlib.ExitStack() as held:
        held.enter_context(
            devices.deterministic(config.seed, accelerator=chosen.accelerator, on_gpu=chosen.deterministic)
        )
        with devices.together(fabric):
            held.enter_context(methods.holding(config.run_dir))
            patients = load_patients(config.processed_dir, dataset.patient_id)
            untrained = methods.build(config, dataset)
            parts = inputs.parts(config, dataset)
            persons = inputs.persons_trained(config, dataset)
            told = reported.of(config, dataset.metadata["label_names"])
            team = members.divided(parts["train"], parts["val"], persons, chosen.members, config.seed)
        size = methods.parameters(untrained)
        logger.info("%s", _told(config, len(team[0].train), size))
        if min(chosen.processes, chosen.members) > parallel.processes(config):
            logger.warning("training.processes has no effect with a baseline, with loggers or under torchrun")
        manifest = devices.from_first(
            fabric, lambda: run_folder.manifest(config, dataset, size, fabric.device.type, of_folds)
        )
        if config.resume and (earlier := devices.from_first(fabric, lambda: methods.finished(config, manifest))):
            logger.info("%s: this run has ended already", config.run_dir)
            return earlier
        if parallel.processes(config) > 1:
            config = parallel.train(config, manifest)
        alone = each = [methods.fit(config, dataset, member, fabric, manifest) for member in team]
        if config.baseline is None and config.model.experts:
            each = methods.with_experts(config, dataset, joined(parts["train"], parts["val"]), team, alone, fabric)
        fitted = methods.together(each)
        outside, count = methods.held_out(each, team), len(parts["train"])
        judged = [
            _predictions(dataset, told, name, parts[name], logits[None])
            for name, logits in (("train", outside[:count]), ("val", outside[count:]))
        ]
        tested: dict[str, Predictions] = {}  # by file
        if not of_folds:
            of_members = torch.stack([one.logits(parts["test"]) for one in each])
            tested[PREDICTIONS.file] = _predictions(dataset, told, "test", parts["test"], of_members)
            if each is not alone:
                of_networks = torch.stack([one.logits(parts["test"]) for one in alone])
                tested[NETWORK_PREDICTIONS] = _predictions(dataset, told, "test", parts["test"], of_networks)
        evaluated: dict[str, Any] = {}
        with devices.together(fabric):
            if torchrun.is_first():
                if of_folds:
                    tested = folds.all_tested(of_folds, dataset, told.names)
                elif config.baseline is None:
                    reads, own = emerge.modalities_read(config.model), tested[PREDICTIONS.file]
                    steps = config.cohort.landmark_steps
                    tested[PLAIN_PREDICTIONS] = plain.predict(reads, team, parts["test"], own, chosen, told, steps)
                done = calibrated.fit(config, fitted, judged, tested.pop(PREDICTIONS.file), of_folds)
                fitted, files, of_sets = sets.added(config, done, of_folds, patients, _sampling(config))
                constant = horizons.shares(parts["train"], told)
                in_time = horizons.judged(done.predictions, told, constant, patients, _sampling(config))
                known = [*warnings, *done.warnings, *of_sets]
                evaluated = _report(config, fitted, done.predictions, patients, known, manifest, tested, files, in_time)
    for tracker in fitted.trackers:
        tracker.close(results.flat(evaluated))
    return evaluated


def _told(config: Config, patients: int, parameters: int | None) -> str:
    """What is trained, for the log."""
    title = "EMERGE" if config.baseline is None else f"baseline {config.baseline.name}"
    counted = "" if parameters is None else f", {parameters} parameters"
    count = config.training.members
    several = f"{count} members of " if count > 1 else ""
    return f"training {several}{title} on {patients} patients{counted}, seed {config.seed}"


def _report(
    config: Config,
    fitted: methods.FittedMethod,
    predictions: Sequence[Predictions],
    patients: pl.DataFrame | None,
    warnings: Sequence[str],
    manifest: dict[str, Any],
    others: Mapping[str, Predictions],
    files: sets.Files,
    in_time: Mapping[str, Any],
) -> dict[str, Any]:
    """Evaluate, write the run folder, and return the metrics.

    ``others``: predictions of the test split to compare the run's with, each by its file: the plain method's (none for a
    baseline) and, where there are experts, those of the network alone. ``files``: what else to write. ``in_time``: what was
    measured over all horizons; empty where the outcomes have no time.
    """
    sampling = _sampling(config)
    evaluated = results.evaluate(predictions, config.evaluation.sensitivities, sampling, patients)
    evaluated |= {results.IN_TIME: in_time} if in_time else {}
    if predictions[-1].thresholds is not None:
        evaluated["folds"] = config.split.folds
    for file, beside in others.items():
        found = {"splits": {predictions[-1].split: plain.differences(predictions[-1], beside, patients, sampling)}}
        if file == PLAIN_PREDICTIONS:
            evaluated["plain_method"] = {**plain.named(emerge.modalities_read(config.model)), **found}
        else:
            evaluated["network_alone"] = found
    groups = results.subgroups(predictions, evaluated["thresholds"], sampling, patients)
    marked = {**manifest, "fingerprint": methods.fingerprint(config, manifest, exactly=True)}
    reported = {**evaluated, **fitted.selection, "warnings": list(warnings)}
    run_folder.publish(config, Contents(fitted, predictions, others, groups, reported, marked, files))
    return evaluated


def _sampling(config: Config) -> Sampling:
    return Sampling(config.training.bootstrap_resamples, config.seed, config.evaluation.interval)


def _predictions(dataset: Dataset, told: Reported, name: str, part: Patients, logits: Tensor) -> Predictions:
    """``logits`` [M,N,K]: those of the members who predict the patients of ``part``."""
    label, defined = told.outcomes(part.label.numpy(), part.label_mask.numpy())
    return Predictions(
        split=name,
        patient_id=dataset.split[name],
        label_names=told.names,
        label=label,
        defined=defined,
        probability=told.together(logits),
    )
