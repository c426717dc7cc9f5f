"""Intervals against scipy's bootstrap and plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.evaluate import evaluate
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.resampling import Sampling
from tests.evaluation.cases import random_case


@pytest.mark.parametrize("seed", range(6))
def test_bca_intervals_are_scipys_given_the_same_resamples(seed: int) -> None:
    generator = np.random.default_rng(seed)
    label = (generator.random(40) < 0.4).astype(np.float64)
    score = np.clip(0.3 * label + generator.random(40) * 0.7, 0, 1).round((1, 2, 9)[seed % 3])
    sampling = Sampling(400, seed, "bca")
    drawn = resampling.sample(measure(label, score, ("auroc", "brier")), resampling.each_alone(40), sampling)
    for name in ("auroc", "brier"):
        expected = stats.bootstrap(
            (label, score),
            lambda y, s, name=name: measure(y, s, [name])(np.ones((1, len(y))))[name][0],
            paired=True,
            vectorized=False,
            n_resamples=0,
            method="BCa",
            bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn[name].drawn),
        ).confidence_interval
        found = drawn[name].interval("")
        assert (found.low, found.high) == (
            pytest.approx(expected.low, abs=1e-12),
            pytest.approx(expected.high, abs=1e-12),
        )


def test_bca_differs_from_percentile_where_the_resamples_are_biased() -> None:
    label, score, threshold = random_case(4)
    plain, corrected = (
        evaluate(label, score, threshold, Sampling(300, 1, kind)).metrics for kind in ("percentile", "bca")
    )
    assert plain["auprc"].value == corrected["auprc"].value
    assert (plain["auprc"].low, plain["auprc"].high) != (corrected["auprc"].low, corrected["auprc"].high)


def test_a_person_is_drawn_and_left_out_with_all_stays() -> None:
    generator = np.random.default_rng(1)
    persons = resampling.persons(generator.choice(list("abcdefghijkl"), 30).tolist())
    units = int(persons.max()) + 1
    label = (generator.random(30) < 0.5).astype(np.float64)
    score = generator.random(30).round(1)
    found = resampling.sample(measure(label, score, ("auroc", "brier")), persons, Sampling(40, 7, "bca"))
    for row, numbers in enumerate(np.random.default_rng(7).integers(0, units, (40, units))):
        index = np.concatenate([np.flatnonzero(persons == number) for number in numbers])
        assert found["auroc"].drawn[row] == pytest.approx(roc_auc_score(label[index], score[index]), abs=1e-12)
        assert found["brier"].drawn[row] == pytest.approx(brier_score_loss(label[index], score[index]), abs=1e-12)
    without = [roc_auc_score(label[persons != number], score[persons != number]) for number in range(units)]
    assert found["auroc"].left_out == pytest.approx(without, abs=1e-12)


def test_two_stays_of_each_person_that_agree_widen_the_interval() -> None:
    generator = np.random.default_rng(3)
    label = np.repeat((generator.random(150) < 0.3).astype(np.float64), 2)
    score = np.repeat(generator.random(150), 2)
    twins = np.repeat(np.arange(150), 2)
    width = []
    for persons in (None, twins):
        one = evaluate(label, score, 0.5, Sampling(500, 0), persons).metrics["brier"]
        assert one.low is not None and one.high is not None
        width.append(one.high - one.low)
    assert width[1] == pytest.approx(width[0] * 2**0.5, rel=0.15)


def test_each_of_many_persons_is_left_out_once_with_the_group() -> None:
    rows = np.concatenate(list(resampling.leaving_out(2500, seed=0, block=10_000)))
    assert rows.shape == (1000, 2500)
    assert ((1 - rows).sum(axis=0) == 1).all()
    assert set((1 - rows).sum(axis=1)) == {2, 3}


def test_an_interval_that_rests_on_part_of_the_resamples_says_so_and_on_few_there_is_none() -> None:
    label = np.array([0.0, 1.0, 1.0] + [0.0] * 9)
    found = evaluate(label, np.linspace(1, 0, 12), 0.5, Sampling(200, 0)).metrics
    assert found["auroc"].low is not None
    assert "rests on 1" in str(found["auroc"].reason) and "of 200 resamples" in str(found["auroc"].reason)
    assert found["brier"].reason is None
    values = np.where(np.arange(100) < 60, np.nan, 1.0)
    assert (
        resampling.Resampled(1.0, values, None).interval("").reason == "no interval: undefined in 60 of 100 resamples"
    )


def test_an_estimate_outside_all_resamples_has_no_bca_interval() -> None:
    found = resampling.Resampled(2.0, np.zeros(50), np.zeros(5)).interval("")
    assert (found.value, found.low) == (2.0, None)
    assert "outside all resamples" in str(found.reason)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    label, score, threshold = random_case(8)
    first, again, other = (evaluate(label, score, threshold, Sampling(50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.metrics["brier"].low != other.metrics["brier"].low


def widths(found: object) -> dict[str, float | None]:
    metrics = {**found.metrics, **{f"at {k}": m for k, m in found.operating_points["0.8"].metrics.items()}}  # type: ignore[attr-defined]
    return {key: None if one.low is None else one.high - one.low for key, one in metrics.items()}


@pytest.mark.parametrize("kind", ["percentile", "bca"])
@pytest.mark.parametrize("persons", [1, 2, 3, 4])
@pytest.mark.parametrize("stays", [1, 6])
def test_of_a_few_persons_there_is_no_interval_however_many_their_stays(kind: str, persons: int, stays: int) -> None:
    generator = np.random.default_rng(persons)
    whose = np.repeat(np.arange(persons), stays)
    label = np.arange(persons * stays) % 2.0
    found = evaluate(label, generator.random(len(label)), 0.5, Sampling(100, 0, kind), whose, {"0.8": 0.4})  # type: ignore[arg-type]
    assert set(widths(found).values()) == {None}
    for one in found.metrics.values():
        expected = f"there {'is 1 person' if persons == 1 else f'are {persons} persons'}, and it takes 5"
        assert one.value is None or expected in str(one.reason)


@pytest.mark.parametrize("positives", [0, 1, 2, 10, 11, 12])
def test_what_needs_both_classes_has_an_interval_only_of_two_persons_of_each(positives: int) -> None:
    label = np.array([1.0] * positives + [0.0] * (12 - positives))
    score = np.random.default_rng(2).random(12)
    found = evaluate(label, score, 0.5, Sampling(300, 0), points={"0.8": 0.4})
    assert found.metrics["brier"].low is not None and found.metrics["accuracy"].low is not None
    assert (found.metrics["auroc"].low is not None) == (2 <= positives <= 10)
    if positives in (1, 11):
        assert "2 persons with the outcome and 2 without" in str(found.metrics["auroc"].reason)
    stays = evaluate(np.append(label, label), np.append(score, score), 0.5, Sampling(300, 0), np.tile(np.arange(12), 2))
    assert (stays.metrics["auroc"].low is not None) == (2 <= positives <= 10)


def test_no_interval_has_a_width_of_zero_unless_nobody_could_give_another_value() -> None:
    label = np.array([1.0] * 3 + [0.0] * 9)
    found = evaluate(label, np.linspace(1, 0, 12), 0.8, Sampling(300, 0), points={"0.8": 0.8})
    assert found.metrics["auroc"].value == 1 and "the same value" in str(found.metrics["auroc"].reason)
    assert 0 not in widths(found).values()
    alike = evaluate(label, np.full(12, 0.4), 0.3, Sampling(300, 0), points={"0.8": 0.3})
    assert (alike.metrics["auroc"].low, alike.metrics["auroc"].high) == (0.5, 0.5)
