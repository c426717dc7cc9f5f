"""Groups of patients, each measured by scikit-learn on its own."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, precision_score, recall_score, roc_auc_score

from emerge_ehr.evaluation import subgroups
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.resampling import Sampling, each_alone, persons

THRESHOLD = 0.45


def patients(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, pl.DataFrame]:
    generator = np.random.default_rng(seed)
    label = (generator.random(count) < 0.4).astype(np.float64)
    score = np.clip(0.3 * label + 0.7 * generator.random(count), 0, 1).round(2)
    table = pl.DataFrame(
        {
            "sex": generator.choice(["F", "M", None], count, p=[0.45, 0.45, 0.1]).tolist(),
            "age": generator.uniform(18, 95, count).round().tolist(),
            "ethnicity": generator.choice(["WHITE", "BLACK/AFRICAN AMERICAN", "UNKNOWN"], count).tolist(),
            "icu_type": [None] * count,
        },
        schema={"sex": pl.String, "age": pl.Float64, "ethnicity": pl.String, "icu_type": pl.String},
    )
    return label, score, table


def by_scikit_learn(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    called = score >= THRESHOLD
    return {
        "auroc": roc_auc_score(label, score),
        "auprc": average_precision_score(label, score),
        "brier": brier_score_loss(label, score),
        "overprediction": score.mean() - label.mean(),
        "sensitivity": recall_score(label, called),
        "specificity": recall_score(1 - label, ~called),
        "ppv": precision_score(label, called),
        "alert_rate": called.mean(),
    }


def alone(key: str, label: np.ndarray, score: np.ndarray) -> float:
    """Of these patients alone: by scikit-learn or, of a metric whose oracle is elsewhere, as it is measured of a whole split."""
    measured = measure(label, score, [key], THRESHOLD)(np.ones((1, len(label))))
    return by_scikit_learn(label, score).get(key, float(measured[key][0]))


def test_every_group_is_measured_as_if_alone_and_its_gap_is_to_everybody_else() -> None:
    label, score, table = patients(400, 0)
    groups = subgroups.groups(table)
    assert list(groups) == ["sex", "age", "ethnicity"]  # nobody's ICU is known
    rows = subgroups.evaluate("test", "death", label, score, THRESHOLD, groups, each_alone(400), Sampling(20, 0))
    assert {row.group for row in rows if row.attribute == "age"} == {"18-44", "45-64", "65-79", "80+"}
    for row in rows:
        own = groups[row.attribute] == row.group
        assert (row.patients, row.positives) == (own.sum(), label[own].sum())
        value, rest = (alone(row.metric, label[part], score[part]) for part in (own, ~own))
        assert row.value == pytest.approx(value, abs=1e-12)
        assert row.gap == pytest.approx(value - rest, abs=1e-12)
    assert len(rows) == len(keys("subgroups")) * (3 + 4 + 3)


def test_the_intervals_of_a_group_and_its_gap_are_of_the_same_resampled_persons() -> None:
    label, score, table = patients(150, 1)
    groups = {"sex": subgroups.groups(table)["sex"]}
    own = groups["sex"] == "female"
    numbers = persons(np.random.default_rng(2).integers(0, 100, 150).tolist())
    units = int(numbers.max()) + 1
    rows = subgroups.evaluate("test", "death", label, score, THRESHOLD, groups, numbers, Sampling(60, 4))
    loop = []
    for row in np.random.default_rng(4).integers(0, units, (60, units)):
        index = np.concatenate([np.flatnonzero(numbers == number) for number in row])
        inside = own[index]
        loop.append([roc_auc_score(label[index[part]], score[index[part]]) for part in (inside, ~inside)])
    values, gaps = np.array(loop)[:, 0], np.array(loop) @ [1, -1]
    found = next(row for row in rows if row.group == "female" and row.metric == "auroc")
    assert (found.low, found.high) == tuple(pytest.approx(np.percentile(values, q), abs=1e-12) for q in (2.5, 97.5))
    assert (found.gap_low, found.gap_high) == tuple(
        pytest.approx(np.percentile(gaps, q), abs=1e-12) for q in (2.5, 97.5)
    )


def test_small_groups_are_marked_and_what_one_class_leaves_undefined_is_empty() -> None:
    label = np.array([0.0, 1] * 60 + [0.0] * 3 + [0.0, 1] * 20)
    score = np.linspace(0, 1, len(label))
    groups = {"icu_type": np.array(["A"] * 120 + ["B"] * 3 + ["C"] * 40)}
    rows = subgroups.evaluate("test", "death", label, score, 0.5, groups, each_alone(len(label)), Sampling(20, 0))
    small = {row.group: row.small for row in rows}
    assert small == {"A": 0, "B": 1, "C": 1}
    one_class = {row.metric: row for row in rows if row.group == "B"}
    for name in ("auroc", "auprc", "sensitivity"):
        row = one_class[name]
        assert (row.value, row.low, row.gap, row.gap_low) == (None, None, None, None)
    assert one_class["brier"].value == pytest.approx(brier_score_loss(label[120:123], score[120:123]))
    assert one_class["brier"].gap is not None


def test_a_large_group_with_few_outcomes_is_small() -> None:
    label = np.array([1.0] * 9 + [0.0] * 91)
    rows = subgroups.evaluate(
        "test",
        "death",
        label,
        np.linspace(1, 0, 100),
        0.5,
        {"sex": np.array(["female"] * 100)},
        each_alone(100),
        Sampling(5, 0),
    )
    assert {row.small for row in rows} == {1}
    assert {row.gap for row in rows} == {None}  # there is nobody else


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("WHITE - OTHER EUROPEAN", "white"),
        ("Caucasian", "white"),
        ("HISPANIC/LATINO - CUBAN", "hispanic"),
        ("SOUTH AMERICAN", "hispanic"),
        ("BLACK/CAPE VERDEAN", "black"),
        ("African American", "black"),
        ("ASIAN - ASIAN INDIAN", "asian"),
        ("AMERICAN INDIAN/ALASKA NATIVE", "other"),
        ("NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER", "other"),
        ("OTHER", "other"),
        ("PATIENT DECLINED TO ANSWER", "unknown"),
        ("UNABLE TO OBTAIN", "unknown"),
        ("  ", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_texts_of_mimic_and_eicu_fall_into_few_groups(text: str | None, group: str) -> None:
    assert subgroups.ethnicity(text) == group


@pytest.mark.parametrize(
    ("years", "band"),
    [
        (17, "under 18"),
        (18, "18-44"),
        (44, "18-44"),
        (45, "45-64"),
        (65, "65-79"),
        (79, "65-79"),
        (80, "80+"),
        (120, "80+"),
    ],
)
def test_the_bands_of_age_meet_without_overlap(years: float, band: str) -> None:
    assert subgroups.age_band(years) == band


def test_nobody_and_nothing_known_give_no_rows() -> None:
    label, score, table = patients(30, 3)
    unknown = table.with_columns(pl.lit(None).alias(name) for name in table.columns)
    assert subgroups.groups(unknown) == {}
    assert subgroups.evaluate("test", "d", label, score, 0.5, {}, each_alone(30), Sampling(5, 0)) == []
    empty = np.empty(0)
    groups = {"sex": np.array([], dtype=np.str_)}
    assert subgroups.evaluate("test", "d", empty, empty, 0.5, groups, each_alone(0), Sampling(5, 0)) == []
