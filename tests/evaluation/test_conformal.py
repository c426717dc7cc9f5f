"""Sets against crepes on other patients and against their definition, and the risk-coverage curve against a plain loop."""

import numpy as np
import pytest
from crepes import ConformalClassifier
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from emerge_ehr.evaluation import conformal, set_coverage
from emerge_ehr.evaluation.abstention import SHARES, Surest
from emerge_ehr.evaluation.resampling import Sampling, each_alone
from tests.evaluation.test_calibration import case


def drawn(seed: int, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, risks with ties that are badly calibrated, and groups that differ in risk and in how well it is known."""
    generator = np.random.default_rng(seed)
    group = generator.choice(["female", "male"], patients, p=[0.3, 0.7])
    true = generator.normal(-1.5, 1.5, patients) + (group == "female")
    label = (generator.random(patients) < expit(true)).astype(float)
    seen = true + generator.normal(size=patients) * np.where(group == "female", 2, 0.3)
    return label, np.round(expit(2 * seen + 1), 2), group


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_sets_of_new_patients_are_those_of_crepes_by_outcome_and_group(coverage: float) -> None:
    label, risk, group = drawn(0, 400)
    _, new, new_group = drawn(1, 300)
    found = conformal.fit(label, risk, group, coverage).of(new, new_group)
    scores = conformal.scored(risk)[np.arange(len(risk)), label.astype(int)]
    bins = np.char.add(group, label.astype(int).astype(str))
    fitted = ConformalClassifier().fit(scores, bins=bins)
    for outcome in (0, 1):
        expected = fitted.predict_set(
            conformal.scored(new), np.char.add(new_group, str(outcome)), confidence=coverage, smoothing=False
        )
        assert found[:, outcome].tolist() == expected[:, outcome].astype(bool).tolist()


def test_nine_of_ten_patients_with_each_outcome_in_each_group_have_it_in_their_set_over_many_calibrations() -> None:
    label, risk, group = drawn(2, 30_000)
    risk += np.random.default_rng(0).random(len(risk)) * 1e-4  # ties would make sets larger
    shares = []
    for part in np.array_split(np.arange(20_000), 40):
        sets = conformal.fit(label[part], risk[part], group[part], 0.9)
        held = conformal.covered(label[20_000:], sets.of(risk[20_000:], group[20_000:]))
        rest = label[20_000:], group[20_000:]
        shares.append([held[(rest[0] == y) & (rest[1] == g)].mean() for y in (0, 1) for g in ("female", "male")])
    mean = np.mean(shares, axis=0)
    assert ((mean > 0.89) & (mean < 0.93)).all(), mean  # a little more than promised where patients are few


def test_nothing_is_left_out_where_too_few_had_an_outcome_nor_in_unseen_groups() -> None:
    label, risk, _ = drawn(3, 200)
    few = np.flatnonzero(label > 0)[conformal.needed(0.9) - 1 :]
    kept = np.setdiff1d(np.arange(200), few)
    sets = conformal.fit(label[kept], risk[kept], np.full(len(kept), conformal.ALL), 0.9)
    new = np.linspace(0, 1, 50)
    assert sets.of(new, np.full(50, conformal.ALL)).all()
    assert sets.of(new, np.full(50, "another")).all()
    kept = np.append(kept, few[:1])
    sets = conformal.fit(label[kept], risk[kept], np.full(len(kept), conformal.ALL), 0.9)
    assert not sets.of(new, np.full(50, conformal.ALL)).all(axis=0).any()


def test_sets_as_text_are_read_again_and_other_texts_are_not() -> None:
    every = np.array([[zero, one] for zero in (True, False) for one in (True, False)])
    assert (conformal.read(conformal.written(every)) == every).all()
    with pytest.raises(ValueError, match=r"'\{2\}' is no set; it must be one of"):
        conformal.read(["{0}", "{2}"])


def test_aurc_is_the_mean_share_of_wrong_calls_among_the_surest_and_the_curve_has_their_auroc() -> None:
    label, risk = case(4, patients=200)
    risk = risk + np.random.default_rng(0).normal(size=200) * 1e-9  # without ties
    order = np.argsort(-np.maximum(risk, 1 - risk))
    wrong = ((risk >= 0.5) != (label > 0))[order]
    surest = Surest(label, risk)
    everyone = np.ones((1, 200))
    assert surest.aurc(everyone)[0] == pytest.approx(np.mean([wrong[:k].mean() for k in range(1, 201)]))
    counts = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=5).astype(float)
    for row, value in zip(counts, surest.aurc(counts), strict=True):
        repeated = np.repeat(np.arange(200), row.astype(int))
        again = Surest(label[repeated], risk[repeated])
        assert value == pytest.approx(again.aurc(np.ones((1, 200)))[0])
    curve = surest.curve()
    assert [point.share for point in curve] == list(SHARES)
    for point in curve:
        first = order[: point.patients]
        assert point.error == pytest.approx(wrong[: point.patients].mean())
        expected = roc_auc_score(label[first], risk[first]) if 0 < label[first].sum() < len(first) else None
        assert point.auroc == (None if expected is None else pytest.approx(expected))


def test_patients_of_whom_the_model_is_as_sure_are_answered_together() -> None:
    label, risk = np.array([1.0, 0, 1, 0, 1, 0]), np.array([0.9, 0.9, 0.1, 0.9, 0.6, 0.6])
    surest = Surest(label, risk)
    assert [(point.patients, point.error) for point in surest.curve()] == [(4, 0.75), (6, pytest.approx(4 / 6))]
    assert surest.aurc(np.ones((1, 6)))[0] == pytest.approx((4 * 0.75 + 2 * 4 / 6) / 6)


def test_coverage_counts_patients_by_group_and_outcome_and_says_why_there_is_none() -> None:
    label, risk, group = drawn(5, 300)
    sets = conformal.fit(label, risk, np.full(300, conformal.ALL), 0.9)
    possible = sets.of(risk, np.full(300, conformal.ALL))
    rows = set_coverage.coverage(
        ("test", "death"), label, possible, {"sex": group}, each_alone(300), Sampling(resamples=50)
    )
    by_key = {(row.attribute, row.group, row.outcome): row for row in rows}
    assert len(by_key) == 9
    held = conformal.covered(label, possible)
    for (attribute, name, outcome), row in by_key.items():
        chosen = (group == name) | (attribute == conformal.ALL)
        chosen &= {"all": label >= 0, "0": label == 0, "1": label > 0}[outcome]
        assert row.patients == chosen.sum() and row.covered == pytest.approx(held[chosen].mean())
        assert row.answered == pytest.approx(conformal.answered(possible)[chosen].mean())
        assert row.low is not None and row.high is not None and row.low <= row.covered <= row.high
    nobody = set_coverage.told(label[:0], risk[:0], possible[:0], each_alone(0), Sampling(resamples=5))
    assert nobody["patients"] == 0 and nobody["aurc"]["value"] is None and nobody["curve"] == []
