"""Concordance and integrated Brier score equal those of scikit-survival, on all samples and on resamples."""

import numpy as np
import pytest

from emerge_ehr.evaluation import survival
from emerge_ehr.evaluation.metrics import Array, auroc, point
from emerge_ehr.evaluation.resampling import Sampling, each_alone
from emerge_ehr.evaluation.survival import Concordance

sksurv = pytest.importorskip("sksurv")
HORIZONS = np.array([24.0, 48.0, 96.0, 168.0])


def stays(count: int = 150, seed: int = 0) -> tuple[Array, np.ndarray, Array]:
    """Hours to the end of each stay (some of them the same), whether it was a death, and risks by the horizons."""
    rng = np.random.default_rng(seed)
    hours, died = rng.exponential(100, count).round() + 1, rng.random(count) < 0.4
    risk = np.sort(rng.random((count, 4)).round(2), axis=1)
    return hours, died, risk


def theirs(hours: Array, died: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """As scikit-survival takes it: whoever did not die by the last horizon is alive for ever."""
    event = died & (hours <= HORIZONS[-1])
    columns = [("event", bool), ("time", float)]
    return np.array(list(zip(event[rows], np.where(event, hours, 1e6)[rows], strict=True)), dtype=columns)


def test_concordance_is_that_of_scikit_survival_with_ties_and_on_resamples() -> None:
    from sksurv.metrics import concordance_index_censored, concordance_index_ipcw

    hours, died, risk = stays()
    ours = Concordance(hours, died & (hours <= HORIZONS[-1]), risk[:, -1])
    rng = np.random.default_rng(1)
    samples = [np.arange(len(hours)), *(rng.integers(0, len(hours), len(hours)) for _ in range(5))]
    counts = np.stack([np.bincount(rows, minlength=len(hours)) for rows in samples]).astype(np.float64)
    found = ours.of(counts)
    for value, rows in zip(found, samples, strict=True):
        table = theirs(hours, died, rows)
        assert np.isclose(
            value, concordance_index_censored(table["event"], table["time"], risk[rows, -1])[0], atol=1e-12
        )
        weighted = concordance_index_ipcw(table, table, risk[rows, -1], tau=HORIZONS[-1] + 1)[0]
        assert np.isclose(value, weighted, atol=1e-12)  # nothing is censored, so Uno's weights are all 1
    assert len(set(found)) > 3


def test_blocks_of_pairs_do_not_change_the_concordance(monkeypatch: pytest.MonkeyPatch) -> None:
    hours, died, risk = stays()
    ones = np.ones((1, len(hours)))
    whole = Concordance(hours, died, risk[:, -1]).of(ones)
    monkeypatch.setattr(survival, "BLOCK", 1000)
    np.testing.assert_allclose(Concordance(hours, died, risk[:, -1]).of(ones), whole, atol=1e-12)


def test_the_integrated_brier_score_is_that_of_scikit_survival() -> None:
    from sksurv.metrics import integrated_brier_score

    hours, died, risk = stays()
    constant = np.array([0.1, 0.2, 0.3, 0.35])
    found = survival.evaluate(hours, died, risk, HORIZONS, constant, each_alone(len(hours)), Sampling(50))
    table = theirs(hours, died, np.arange(len(hours)))
    for value, given in ((found.integrated_brier, risk), (found.reference, np.tile(constant, (len(hours), 1)))):
        assert value.value is not None and value.low is not None and value.high is not None
        assert np.isclose(value.value, integrated_brier_score(table, table, 1 - given, HORIZONS), atol=1e-12)
        assert value.low < value.value < value.high
    assert found.difference.value is not None and found.reference.value is not None
    assert found.deaths == int((died & (hours <= 168)).sum()) and found.patients == 150


def test_the_area_under_the_curve_at_a_horizon_is_the_auroc_of_death_by_it() -> None:
    """Which every label has in metrics.json: cumulative cases against dynamic controls, those who left among them."""
    from sksurv.metrics import cumulative_dynamic_auc

    hours, died, risk = stays()
    table = theirs(hours, died, np.arange(len(hours)))
    areas, _ = cumulative_dynamic_auc(table, table, risk, HORIZONS)
    ours = [
        point(auroc, (died & (hours <= horizon)).astype(np.float64), risk[:, n]) for n, horizon in enumerate(HORIZONS)
    ]
    np.testing.assert_allclose(ours, areas, atol=1e-12)


def test_the_observed_share_of_deaths_is_the_incidence_by_aalen_and_johansen() -> None:
    from sksurv.nonparametric import cumulative_incidence_competing_risks

    hours, died, risk = stays()
    times, incidence = cumulative_incidence_competing_risks(np.where(died, 1, 2), hours)
    expected = [incidence[1][np.searchsorted(times, horizon, side="right") - 1] for horizon in HORIZONS]
    outcome = (died[:, None] & (hours[:, None] <= HORIZONS)).astype(np.float64)
    found = survival.thirds(outcome, risk)
    assert [third.patients for third in found] == [50, 50, 50]
    np.testing.assert_allclose(np.mean([third.observed for third in found], axis=0), expected, atol=1e-12)
    assert (np.diff([third.predicted[-1] for third in found]) > 0).all()


def test_without_a_death_or_with_one_horizon_the_measures_say_why_they_are_undefined() -> None:
    hours, _, risk = stays()
    nobody = np.zeros(len(hours), dtype=bool)
    found = survival.evaluate(hours, nobody, risk, HORIZONS, risk[0], each_alone(len(hours)), Sampling(20))
    assert found.concordance.value is None and found.concordance.reason == survival.NO_PAIR
    one = survival.evaluate(hours, ~nobody, risk[:, :1], HORIZONS[:1], risk[0, :1], each_alone(150), Sampling(20))
    assert one.integrated_brier.value is None and one.integrated_brier.reason == survival.ONE_HORIZON
    assert one.concordance.value is not None
    empty = np.zeros(0)
    none = survival.evaluate(
        empty, empty > 0, np.zeros((0, 4)), HORIZONS, risk[0], each_alone(0), Sampling(20), left_out=3
    )
    assert none.left_out == 3 and none.concordance.value is None
