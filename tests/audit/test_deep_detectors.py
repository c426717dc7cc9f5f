"""The detectors of the deep audit, against formulas, brute force and planted copies."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from emerge_ehr.audit.deep import chance, note_copies, ridge, series_copies, swapped, words
from emerge_ehr.audit.findings import of_labels


def drawn(samples: int, seed: int = 0) -> tuple[ridge.Array, ridge.Array]:
    """Columns with gaps, and an outcome that depends on the first."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(samples, 6)) * [1, 5, 1, 1, 1, 0]
    outcome = (columns[:, 0] + rng.normal(size=samples) > 0.8).astype(float)
    columns[rng.random(columns.shape) < 0.1] = np.nan
    return columns, outcome


def test_the_quick_method_is_ridge_regression_with_the_best_generalised_cross_validation() -> None:
    columns, outcome = drawn(150)
    others, _ = drawn(40, seed=1)
    mean, scale = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
    scale[scale == 0] = 1
    known, wanted = (np.nan_to_num((part - mean) / scale) for part in (columns, others))
    best: tuple[float, ridge.Array] = (np.inf, np.zeros(0))
    for strength in ridge.STRENGTHS:
        model = Ridge(alpha=strength * 150).fit(known, outcome)
        hat = known @ np.linalg.solve(known.T @ known + strength * 150 * np.eye(6), known.T)
        error = ((outcome - model.predict(known)) ** 2).sum() / (149 - np.trace(hat)) ** 2
        best = min(best, (error, model.predict(wanted) - outcome.mean()), key=lambda pair: pair[0])
    assert np.allclose(ridge.scores(columns, outcome[:, None], others)[:, 0], best[1], atol=1e-8)


def test_many_outcomes_at_once_are_each_alone() -> None:
    columns, outcome = drawn(120)
    several = np.stack([outcome, 1 - outcome, np.roll(outcome, 7)], axis=1)
    alone = [ridge.scores(columns, several[:, [n]], columns)[:, 0] for n in range(3)]
    assert np.allclose(ridge.scores(columns, several, columns), np.stack(alone, axis=1), atol=1e-10)


def test_the_error_of_chance_is_the_spread_of_aurocs_that_know_nothing() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([1.0, 0.0], [25, 75])
    areas = [ridge.area(label, rng.normal(size=100)) for _ in range(2000)]
    assert np.std(areas) == pytest.approx(ridge.chance(25, 75), rel=0.06)


def test_shuffled_outcomes_are_within_four_errors_of_a_half_and_a_leak_is_not() -> None:
    columns, outcome = drawn(400)
    rng = np.random.default_rng(3)
    mixed = np.stack([rng.permutation(outcome) for _ in range(30)], axis=1)
    mean, error = chance.mean_area(columns, mixed, 250)
    assert abs(mean - 0.5) < chance.ERRORS * error < 0.05
    leaking, _ = chance.mean_area(np.column_stack([columns, mixed[:, 0]]), mixed[:, :1], 250)
    assert leaking > 0.9


def test_an_order_that_tells_the_outcome_is_warned_of_and_a_random_one_is_not() -> None:
    outcome = np.repeat([1.0, 0.0], [60, 140])
    alone, place = np.arange(200).astype(str), np.random.default_rng(0).normal(size=200)
    assert chance.ordered("patient_id", outcome, np.arange(200.0), alone)[1] == "warning"
    assert chance.ordered("patient_id", outcome, place, alone)[1] == "passed"
    of_ten = np.repeat(
        np.random.default_rng(5).normal(size=10), 20
    )  # ten persons with twenty samples each: chance is larger
    assert chance.ordered("patient_id", outcome, of_ten, alone)[1] == "warning"
    assert chance.ordered("patient_id", outcome, of_ten, np.repeat(np.arange(10), 20).astype(str))[1] == "passed"
    assert chance._places(["10", "9", "101"]).tolist() == [1, 0, 2]


def series(samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    value = rng.normal(size=(samples, 24, 4)).astype(np.float32)
    mask = (rng.random(value.shape) < 0.6).astype(np.float32)
    return value, mask


def test_a_series_is_found_again_though_it_is_rounded_and_part_of_it_is_missing() -> None:
    value, mask = series(60)
    value[40], mask[40] = value[3].round(1), mask[3] * (np.random.default_rng(6).random((24, 4)) < 0.8)
    found = list(series_copies.pairs(value, mask, np.arange(30, 60)))
    assert [pair[:2] for pair in found] == [(40, 3)] and found[0].distance < 0.1
    assert [pair[:2] for pair in series_copies.pairs(value, mask, np.arange(60))] == [(3, 40)]


def test_series_that_say_nothing_are_no_copies() -> None:
    value, mask = np.zeros((8, 24, 4), np.float32), np.ones((8, 24, 4), np.float32)
    assert not list(series_copies.pairs(value, mask, np.arange(8)))
    assert not list(series_copies.pairs(*series(60), np.arange(60)))


def written(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """Notes of persons in splits; a person is a sample."""
    table = pl.DataFrame(rows, schema=["person", "part", "text"], orient="row")
    return table.with_columns(pl.col("person").alias("patient_id"))


def passage(start: int, words: int = 60) -> str:
    return " ".join(f"w{start + n}" for n in range(words))


def test_a_note_is_found_again_with_other_case_spacing_and_a_word_changed() -> None:
    changed = passage(0).upper().replace(" ", ",\n").replace("W30", "OTHER")
    notes = written(("a", "train", passage(0)), ("b", "test", changed), ("c", "val", passage(500)))
    found = note_copies.copies(notes)
    assert found.select("patient_id", "patient_id_other").rows() == [("a", "b")]


def test_templates_short_texts_and_notes_within_a_split_are_no_copies() -> None:
    template = [(f"p{n}", ("train", "test")[n % 2], passage(0)) for n in range(8)]
    short = [("a", "train", "No acute change."), ("b", "test", "No acute change.")]
    within = [("c", "train", passage(900)), ("d", "train", passage(900))]
    assert note_copies.copies(written(*template, *short, *within)).is_empty()


def test_a_copied_passage_in_a_long_note_of_ones_own_is_no_copy_of_the_note() -> None:
    notes = written(("a", "train", passage(0, 300)), ("b", "test", passage(1000, 300) + " " + passage(0, 40)))
    assert note_copies.copies(notes).is_empty()


def test_words_that_tell_are_named_and_those_said_of_relatives_are_not() -> None:
    rng = np.random.default_rng(7)
    label = (rng.random(600) < 0.25).astype(float)
    notes = [
        f"stable {'mother died of cancer' if rng.random() < 0.3 else ''} {'pupils fixed' if dies and rng.random() < 0.5 else ''}"
        for dies in label
    ]
    found = words.ranked(notes, label)
    assert {word.text for word in found if words.tells(word)} == {"pupils", "fixed"}
    assert found[0].positive and not any(words.tells(word) for word in words.ranked(notes, rng.permutation(label)))


def test_a_word_of_few_notes_proves_nothing() -> None:
    label = np.repeat([1.0, 0.0], [100, 300])
    notes = ["calm terminal" if n < 11 else "calm" for n in range(400)]
    assert not any(words.tells(word) for word in words.ranked(notes, label))
    stated = ["calm autopsy" if n < 11 else "calm" for n in range(400)]
    assert [word.text for word in words.ranked(stated, label) if words.tells(word)] == ["autopsy"]


def test_a_redrawn_split_keeps_persons_whole_and_the_numbers_of_each_class() -> None:
    rng = np.random.default_rng(8)
    persons = np.array([f"p{n // 2}" for n in range(200)])
    outcome = np.repeat(rng.random(100) < 0.3, 2).astype(float)
    tested = np.repeat(rng.random(100) < 0.25, 2)
    drawn_again = swapped.redrawn(outcome, tested, persons, rng)
    assert not np.array_equal(drawn_again, tested)
    assert (drawn_again[::2] == drawn_again[1::2]).all()
    assert [(drawn_again & (outcome == value)).sum() for value in (0, 1)] == [
        (tested & (outcome == value)).sum() for value in (0, 1)
    ]


def test_a_test_split_of_other_samples_is_warned_of_and_a_random_one_is_not() -> None:
    columns, outcome = drawn(600, seed=9)
    rng = np.random.default_rng(10)
    persons, tested = np.arange(600).astype(str), rng.random(600) < 0.3
    assert swapped.judge(np.nan_to_num(columns), outcome, tested, persons, rng)[1] == "passed"
    easy = np.nan_to_num(columns)
    easy[tested, 0] = 3 * outcome[tested] + 0.3 * easy[tested, 0]
    assert swapped.judge(easy, outcome, tested, persons, rng)[1] == "warning"


def test_of_several_outcomes_the_worst_is_told() -> None:
    finding = of_labels("x", [("death", "fine", "passed"), ("stay", "odd", "warning")], "none")
    assert (finding.verdict, finding.detail) == ("warning", "stay: odd")
    assert of_labels("x", [], "none").verdict == "skipped"
