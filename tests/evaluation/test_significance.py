"""DeLong's test against the sums it stands for, the paired bootstrap against a loop."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, f1_score, roc_auc_score

from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.significance import DeLong, Difference, delong, paired_bootstrap


def two_runs(seed: int, patients: int = 45) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = (generator.random(patients) < 0.4).astype(np.float64)
    label[:4] = 0, 1, 0, 1
    risk = generator.random((2, patients)) + 0.3 * label
    first, second = (risk / 1.3).round((6, 2, 1)[seed % 3])
    return label, first, second


def placements(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every positive against every negative."""
    wins = np.array(
        [[(p > n) + 0.5 * (p == n) for n in score[label == 0]] for p in score[label > 0]],
    )
    return wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("seed", range(9))
def test_delong_is_what_comparing_every_pair_gives(seed: int) -> None:
    label, first, second = two_runs(seed)
    found = delong(label, first, second)
    (v10, v01), (w10, w01) = placements(label, first), placements(label, second)
    cov = np.cov(v10, w10) / len(v10) + np.cov(v01, w01) / len(v01)
    error = np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    difference = roc_auc_score(label, first) - roc_auc_score(label, second)
    assert found.first == pytest.approx(roc_auc_score(label, first), abs=1e-12)
    assert found.second == pytest.approx(roc_auc_score(label, second), abs=1e-12)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.standard_error == pytest.approx(error, abs=1e-12)
    assert found.z == pytest.approx(difference / error, abs=1e-9)
    assert found.p == pytest.approx(2 * norm.sf(abs(difference / error)), abs=1e-9)
    assert (found.low, found.high) == (
        pytest.approx(difference + norm.ppf(0.025) * error, abs=1e-9),
        pytest.approx(difference + norm.ppf(0.975) * error, abs=1e-9),
    )
    swapped = delong(label, second, first)
    assert (swapped.difference, swapped.p) == (-found.difference, found.p)


def clustered_error(label: np.ndarray, first: np.ndarray, second: np.ndarray, persons: np.ndarray) -> float:
    """Obuchowski's sums, person by person."""
    (v10, v01), (w10, w01) = placements(label, first), placements(label, second)
    below, above = v10 - w10 - (v10 - w10).mean(), v01 - w01 - (v01 - w01).mean()
    of_positives, of_negatives = persons[label > 0], persons[label == 0]
    names, m, n = set(persons.tolist()), len(below), len(above)
    tens = {name: below[of_positives == name].sum() for name in names}
    ones = {name: above[of_negatives == name].sum() for name in names}
    i10, i01, both = len(set(of_positives.tolist())), len(set(of_negatives.tolist())), len(names)
    s10 = i10 / ((i10 - 1) * m) * sum(value**2 for value in tens.values())
    s01 = i01 / ((i01 - 1) * n) * sum(value**2 for value in ones.values())
    s11 = both / (both - 1) * sum(tens[name] * ones[name] for name in names)
    return float(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)))


@pytest.mark.parametrize("seed", range(6))
def test_samples_of_one_person_are_taken_together(seed: int) -> None:
    label, first, second = two_runs(seed)
    persons = np.random.default_rng(seed).integers(0, 20, len(label))
    found = delong(label, first, second, persons)
    assert found.difference == pytest.approx(roc_auc_score(label, first) - roc_auc_score(label, second), abs=1e-12)
    assert found.standard_error == pytest.approx(clustered_error(label, first, second, persons), abs=1e-12)


def test_every_sample_four_times_is_no_more_evidence_than_once() -> None:
    label, first, second = two_runs(1, patients=400)
    alone = delong(label, first, second)
    repeated = [np.repeat(column, 4) for column in (label, first, second)]
    together, fooled = delong(*repeated, np.repeat(np.arange(400), 4)), delong(*repeated)
    assert together.standard_error == pytest.approx(alone.standard_error, rel=0.01)
    assert fooled.standard_error == pytest.approx(float(alone.standard_error or 0) / 2, rel=0.01)


def test_runs_that_rank_alike_do_not_differ() -> None:
    label, first, _ = two_runs(1)
    found = delong(label, first, first**3)
    assert (found.difference, found.standard_error, found.p, found.low, found.high) == (0, 0, 1, 0, 0)


@pytest.mark.parametrize("patients", [4, 13, 49])
def test_a_difference_without_variance_has_no_p(patients: int) -> None:
    label = np.array([0.0] * (2 + patients // 3) + [1.0] * patients)
    found = delong(label, label, np.full(len(label), 0.3))
    assert (found.difference, found.standard_error, found.p) == (0.5, 0, None)
    assert "variance is 0" in str(found.reason)


@pytest.mark.parametrize("label", [[1.0, 1, 1], [0.0, 0, 0], [0.0, 0, 1], []])
def test_one_class_one_patient_of_a_class_or_nobody_is_undefined_with_the_reason(label: list[float]) -> None:
    score = np.linspace(0, 1, len(label))
    found = delong(np.array(label), score, score)
    assert found.p is None and found.reason
    if len(label) == 0 or len(set(label)) == 1:
        paired = paired_bootstrap(np.array(label), score, score, ["auroc"], Sampling(10, 0))["auroc"]
        assert (paired.difference, paired.p) == (None, None) and paired.reason


def test_the_type_one_error_of_delong_is_about_5_percent() -> None:
    generator = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        label = (generator.random(120) < 0.3).astype(np.float64)
        shared = label + generator.normal(size=120)
        p = delong(label, shared + generator.normal(size=120), shared + generator.normal(size=120)).p
        rejected += p is not None and p < 0.05
    assert 0.02 < rejected / 400 < 0.085


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, float], float]] = {
    "auroc": lambda y, s, _: roc_auc_score(y, s),
    "auprc": lambda y, s, _: average_precision_score(y, s),
    "brier": lambda y, s, _: brier_score_loss(y, s),
    "f1": lambda y, s, cut: f1_score(y, s >= cut),
    "accuracy": lambda y, s, cut: accuracy_score(y, s >= cut),
}


@pytest.mark.parametrize("seed", range(3))
def test_the_paired_bootstrap_measures_both_runs_on_the_same_resamples_of_persons(seed: int) -> None:
    label, first, second = two_runs(seed)
    persons = np.random.default_rng(seed).integers(0, 30, 45)
    persons = np.unique(persons, return_inverse=True)[1]
    units = int(persons.max()) + 1
    found = paired_bootstrap(label, first, second, list(METRICS), Sampling(60, seed), persons, (0.4, 0.6))
    drawn = np.random.default_rng(seed).integers(0, units, (60, units))
    index = [np.concatenate([np.flatnonzero(persons == number) for number in row]) for row in drawn]
    for name, metric in METRICS.items():
        gaps = np.array([metric(label[i], first[i], 0.4) - metric(label[i], second[i], 0.6) for i in index])
        one = found[name]
        assert one.first == pytest.approx(metric(label, first, 0.4), abs=1e-12)
        assert one.second == pytest.approx(metric(label, second, 0.6), abs=1e-12)
        assert one.difference == pytest.approx(one.first - one.second, abs=1e-12)
        assert (one.low, one.high) == (
            pytest.approx(np.percentile(gaps, 2.5), abs=1e-12),
            pytest.approx(np.percentile(gaps, 97.5), abs=1e-12),
        )
        tails = ((gaps <= 1e-15).sum(), (gaps >= -1e-15).sum())
        assert one.p == pytest.approx(min(1, 2 * (1 + min(tails)) / 61))


def test_the_same_predictions_have_no_difference_and_p_1() -> None:
    label, first, _ = two_runs(2)
    for one in paired_bootstrap(label, first, first, ["auroc", "brier"], Sampling(50, 0)).values():
        assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_an_unknown_metric_and_a_missing_threshold_are_the_callers_mistakes() -> None:
    label, first, second = two_runs(0)
    with pytest.raises(ValueError, match="no such metric: auc"):
        paired_bootstrap(label, first, second, ["auc"], Sampling(5, 0))
    with pytest.raises(ValueError, match="f1 needs a threshold"):
        paired_bootstrap(label, first, second, ["f1"], Sampling(5, 0))


@pytest.mark.parametrize("persons", [1, 2, 4])
def test_of_a_few_persons_two_runs_have_neither_interval_nor_p(persons: int) -> None:
    generator = np.random.default_rng(0)
    label, whose = (np.arange(24) % 2).astype(np.float64), np.repeat(np.arange(persons), 24 // persons)
    first, second = generator.random((2, 24))
    found = paired_bootstrap(label, first, second, ("auroc", "brier"), Sampling(200, 0), whose)
    several: list[DeLong | Difference] = [*found.values(), delong(label, first, second, whose)]
    for one in several:
        assert (one.low, one.high, one.p) == (None, None, None)
        assert f"{persons} person" in str(one.reason) or "two persons of each class" in str(one.reason)
    same = paired_bootstrap(label, first, first, ("auroc",), Sampling(200, 0), whose)["auroc"]
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_a_difference_that_is_the_same_in_all_resamples_has_no_interval_and_no_p() -> None:
    label = np.array([1.0] * 3 + [0.0] * 9)
    right = np.linspace(1, 0, 12)
    found = paired_bootstrap(label, right, 1 - right, ("auroc",), Sampling(200, 0))["auroc"]
    assert (found.difference, found.low, found.p) == (1, None, None) and "the same value" in str(found.reason)
