"""What the options do to the risk and to when patients die: diseases that need a falling pressure, base rate, horizons."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import hospital_and_rounds
from emerge_ehr.datasets.sources.synthetic.horizons import HORIZONS, risk_within
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from emerge_ehr.datasets.sources.synthetic.risk import graph_part, note_part
from emerge_ehr.datasets.sources.synthetic.tables import risk_table

STAYS = 8000


def lasting(hospital: Hospital) -> NDArray[np.bool_]:
    return hospital.los_hours >= 48


def hours_after_window(hospital: Hospital) -> NDArray[np.float64]:
    return (hospital.outtime - hospital.intime).astype(np.float64) / 3600 - 48


def test_a_disease_that_carries_risk_matters_only_while_the_pressure_falls() -> None:
    hospital, _ = hospital_and_rounds(Options(STAYS, falling_pressure=True), 1)
    graph = load_graph()
    parts = np.column_stack([hospital.series, note_part(hospital.wording), graph_part(hospital.asserted, graph)])
    weights = {}
    for falling in (True, False):
        rows = lasting(hospital) & ((hospital.series > 0) == falling)
        weights[falling] = LogisticRegression(C=1000).fit(parts[rows], hospital.died[rows]).coef_[0]
    assert weights[True][2] == pytest.approx(2.4, abs=0.3) and weights[False][2] == pytest.approx(0, abs=0.2)
    assert weights[True][1] == pytest.approx(1.6, abs=0.3) and weights[False][1] == pytest.approx(1.6, abs=0.3)
    rows = lasting(hospital)
    added = LogisticRegression().fit(parts[rows], hospital.died[rows]).decision_function(parts[rows])
    best = roc_auc_score(hospital.died[rows], hospital.true_risk[rows])
    assert best > 0.91 and best - roc_auc_score(hospital.died[rows], added) > 0.02


def test_site_b_has_fewer_deaths_among_the_same_patients() -> None:
    (first, _), (other, _) = (hospital_and_rounds(Options(STAYS, site=site), 1) for site in ("a", "b"))
    assert 0.21 < first.died[lasting(first)].mean() < 0.25
    assert 0.15 < other.died[lasting(other)].mean() < 0.18
    shared, ours, theirs = np.intersect1d(first.stay_id, other.stay_id, return_indices=True)
    assert len(shared) > 0.9 * STAYS
    np.testing.assert_allclose(first.log_odds[ours] - other.log_odds[theirs], 0.8)


def test_the_sicker_die_sooner_and_each_horizons_risk_is_that_of_its_outcome() -> None:
    (plain, _), (hospital, _) = (hospital_and_rounds(Options(STAYS, death_times=when), 1) for when in ("stay", "risk"))
    np.testing.assert_array_equal(plain.died, hospital.died)  # who dies stays the same, only when changes
    hours, rows = hours_after_window(hospital), lasting(hospital)
    assert (hours[hospital.died] > 0).all()
    after = {name: hours_after_window(of)[of.died] for name, of in (("stay", plain), ("risk", hospital))}
    risk_of_dead = hospital.log_odds[hospital.died]
    assert np.corrcoef(risk_of_dead, np.log(after["risk"]))[0, 1] < -0.3
    assert abs(np.corrcoef(risk_of_dead, np.log(after["stay"]))[0, 1]) < 0.06
    table = risk_table(hospital, horizons=True)
    assert table.columns == ["stay_id", "true_risk", "true_risk_24h", "true_risk_48h", "true_risk_168h"]
    rates = []
    for horizon in HORIZONS:
        died = hospital.died & (hours <= horizon)
        risk = table[f"true_risk_{horizon}h"].to_numpy()
        np.testing.assert_allclose(risk[rows], risk_within(hospital.log_odds, horizon)[rows], atol=1e-6)
        assert died[rows].mean() == pytest.approx(risk[rows].mean(), abs=0.01)
        assert roc_auc_score(died[rows], risk[rows]) > 0.9
        rates.append(died[rows].mean())
    assert 0.07 < rates[0] < 0.1 < rates[1] < 0.15 and 0.19 < rates[2] < hospital.died[rows].mean()
