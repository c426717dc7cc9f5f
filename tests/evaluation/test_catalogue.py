"""What every metric of the catalogue promises: a new one has these tests at once, and needs one of its definition."""

import dataclasses
import re
from typing import get_args

import numpy as np
import pytest

from emerge_ehr.evaluation.catalogue import METRICS, ONE_CLASS, Metric, Place, at_chosen_threshold
from emerge_ehr.evaluation.measure import NOBODY, measure, why_undefined
from tests.evaluation.cases import random_case
from tests.places import ROOT

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)


def values(metric: Metric, label: np.ndarray, score: np.ndarray, threshold: float, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(measure(label, score, [metric.key], threshold)(counts)[metric.key])


def value(metric: Metric, label: np.ndarray, score: np.ndarray, threshold: float = 0.5) -> float:
    return float(values(metric, label, score, threshold, np.ones((1, len(label))))[0])


def resamples(patients: int, seed: int) -> np.ndarray:
    chance = np.full(patients, 1 / patients)
    return np.random.default_rng(seed).multinomial(patients, chance, 20).astype(np.float64)


def test_no_two_metrics_have_a_key_or_a_name_in_common() -> None:
    for names in ("key", "label", "printed", "reported"):
        found = [getattr(metric, names) for metric in METRICS]
        assert len(set(found)) == len(found)


def test_the_table_of_the_documentation_defines_every_metric_once_and_no_other() -> None:
    section = (ROOT / "docs" / "metrics.md").read_text("utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    names = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(names) == sorted(metric.key for metric in METRICS)


@each_metric
def test_its_entry_is_whole(metric: Metric) -> None:
    assert sum(function is not None for function in (metric.ranked, metric.called, metric.calibrated)) == 1
    assert metric.shown and set(metric.shown) <= set(get_args(Place))
    assert metric.bounds[0] < metric.bounds[1]
    assert metric.ideal is None or metric.bounds[0] <= metric.ideal <= metric.bounds[1]
    if "grids" in metric.shown:
        assert "splits" in metric.shown, "grids print what stands in metrics.json"
    if "report_subgroups" in metric.shown:
        assert "subgroups" in metric.shown, "the report shows what stands in subgroups.csv"
    assert metric.called or "operating_points" not in metric.shown, "it is the same at every threshold"


@each_metric
@pytest.mark.parametrize("seed", range(24))
def test_its_values_keep_within_their_bounds_in_every_resample(metric: Metric, seed: int) -> None:
    label, score, threshold = random_case(seed)
    found = values(metric, label, score, threshold, resamples(len(label), seed))
    defined = found[~np.isnan(found)]
    low, high = metric.bounds
    assert ((defined >= low - 1e-12) & (defined <= high + 1e-12)).all()
    assert np.isfinite(defined).all()


@each_metric
@pytest.mark.parametrize("seed", range(6))
def test_a_resample_has_the_value_of_its_patients_as_data_of_their_own(metric: Metric, seed: int) -> None:
    """Four scores, each of many patients: in any resample the bins of ECE hold the same patients."""
    generator = np.random.default_rng(seed)
    score = generator.permutation(np.repeat([0.1, 0.35, 0.6, 0.8], 25))
    label = (generator.random(100) < 0.2 + 0.5 * score).astype(np.float64)
    counts = resamples(100, seed)
    drawn = [np.repeat(np.arange(100), row.astype(int)) for row in counts]
    alone = [value(metric, label[rows], score[rows]) for rows in drawn]
    assert values(metric, label, score, 0.5, counts) == pytest.approx(alone, abs=1e-8, nan_ok=True)


@each_metric
def test_where_it_has_no_value_a_reason_is_given_that_is_true(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    both = np.array([0.0, 1.0] * 10)
    cases = [
        (label, score, threshold)
        for label in (both, np.zeros(20), np.ones(20))
        for score in (generator.random(20), np.full(20, 0.5), 0.1 + 0.8 * both)
        for threshold in (0.0, 0.5, 2.0)
    ]
    undefined = [label for label, *rest in cases if np.isnan(value(metric, label, *rest))]
    for label in undefined:
        reason = why_undefined(metric.key, label)
        assert reason.startswith("undefined: ")
        assert len(set(label)) == 1 or reason != ONE_CLASS
        assert not metric.one_class or reason != ONE_CLASS
    assert why_undefined(metric.key, np.empty(0)) == NOBODY


@each_metric
@pytest.mark.parametrize("seed", range(8))
def test_a_perfect_model_has_its_ideal_value_and_a_wrong_one_is_not_better(metric: Metric, seed: int) -> None:
    label, score, _ = random_case(seed)
    perfect, other = value(metric, label, label), value(metric, label, score)
    if metric.better:
        assert perfect == pytest.approx(metric.ideal, abs=1e-12)
        assert np.isnan(other) or metric.better * (perfect - other) >= -1e-12


@pytest.mark.parametrize(
    "metric", [one for one in METRICS if one.ideal is not None and not one.better], ids=lambda one: one.key
)
def test_where_neither_end_is_better_risks_that_come_true_have_the_ideal_value(metric: Metric) -> None:
    score = np.repeat([0.25, 0.5, 0.75], 4)
    label = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0], dtype=np.float64)
    assert value(metric, label, score) == pytest.approx(metric.ideal, abs=1e-8)


def test_what_depends_on_the_threshold_of_validation_is_named_as_in_a_sentence() -> None:
    assert at_chosen_threshold().startswith("F1") and " and " in at_chosen_threshold()


def test_a_metric_that_calls_patients_is_refused_without_a_threshold() -> None:
    with pytest.raises(ValueError, match="f1 needs a threshold"):
        measure(np.array([0.0, 1.0]), np.array([0.1, 0.2]), ["auroc", "f1"])
    with pytest.raises(ValueError, match="no such metric: auc"):
        measure(np.array([0.0, 1.0]), np.array([0.1, 0.2]), ["auc"])


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS[0].label = "ROC"  # type: ignore[misc]
