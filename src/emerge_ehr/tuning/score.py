"""How good a config is on training and validation patients: the test split is taken out of the artefacts at once.

Each member judges the fold of persons that it was not trained on (``training.members``). A single member judges the validation
split, by whose loss its best epoch is chosen too.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from torch import Tensor

from emerge_ehr.config import Config
from emerge_ehr.evaluation import metrics
from emerge_ehr.fields import UserError
from emerge_ehr.models import emerge
from emerge_ehr.storage.dataset import Dataset, load_dataset
from emerge_ehr.training import devices, inputs, members, methods, reported
from emerge_ehr.training.patients import Patients, joined
from emerge_ehr.training.reported import Reported

LEAST = 1e-7  # a risk of 0 or 1 that is wrong would cost infinitely much


def score(config: Config, metric: str, after_member: Callable[[int, float], None]) -> float:
    """Train the members of ``config`` and return the ``metric`` of those whom they were not trained on.

    ``after_member`` is called with the number of each member and the metric of its own fold, by the network alone; what it raises
    ends the training.

    Raises:
        UserError: artefacts are missing or were made with other settings, or a loss is not finite.
    """
    full = load_dataset(config.processed_dir)
    inputs.check(config, full)
    emerge.check(config.model, config.token_level, config.run_name)
    dataset = without_test(full)
    chosen = config.training
    fabric = devices.fabric(chosen)
    with (
        devices.deterministic(config.seed, accelerator=chosen.accelerator, on_gpu=chosen.deterministic),
        methods.holding(config.run_dir),
    ):
        parts = inputs.parts(config, dataset)
        told = reported.of(config, dataset.metadata["label_names"])
        persons = inputs.persons_trained(config, dataset)
        team = members.divided(parts["train"], parts["val"], persons, chosen.members, config.seed)
        fitted = []
        for member in team:
            fitted.append(methods.fit(config, dataset, member, fabric, {}))
            own = fitted[-1].logits(member.validation)
            after_member(member.number, judged(metric, told, member.validation, own))
        both = joined(parts["train"], parts["val"])
        if config.baseline is None and config.model.experts:
            fitted = methods.with_experts(config, dataset, both, team, fitted, fabric)
        outside, count = methods.held_out(fitted, team), len(parts["train"])
    if chosen.members == 1:
        return judged(metric, told, parts["val"], outside[count:])
    return judged(metric, told, both, outside)


def without_test(dataset: Dataset) -> Dataset:
    """The artefacts as if nobody were in the test split."""
    return dataclasses.replace(dataset, split={**dataset.split, "test": []})


def judged(metric: str, told: Reported, patients: Patients, logits: Tensor) -> float:
    """The metric of the patients' risks by these logits [N,K]: its mean over the labels for which it is defined.

    Raises:
        UserError: it is defined for none.
    """
    label, defined = told.outcomes(patients.label.numpy(), patients.label_mask.numpy())
    risk = told.risks(logits)
    values = []
    for column in range(label.shape[1]):
        known = defined[:, column] > 0
        true, probability = label[known, column].astype(np.float64), risk[known, column]
        if metric == "log_loss" and len(true):
            clipped = probability.clip(LEAST, 1 - LEAST)
            values.append(float(-(true * np.log(clipped) + (1 - true) * np.log(1 - clipped)).mean()))
        elif len(np.unique(true)) == 2:
            ranked = metrics.point({"auroc": metrics.auroc, "auprc": metrics.auprc}[metric], true, probability)
            values += [] if ranked is None else [ranked]
    if not values:
        raise UserError(f"{metric} is undefined: the patients that are judged have one outcome only")
    return float(np.mean(values))
