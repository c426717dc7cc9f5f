"""Measures of shift against their formulas, and against samples of one population."""

import math

import numpy as np
import pytest

from emerge_ehr.evaluation import shift


def test_measures_are_those_of_their_formulas() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(5, 2, 300), generator.normal(6, 3, 200)
    expected = (second.mean() - first.mean()) / math.sqrt((first.std() ** 2 + second.std() ** 2) / 2)
    assert shift.standardised_difference(first, second) == pytest.approx(expected)
    assert shift.spread_ratio(first, second) == pytest.approx(math.log(second.std() / first.std()))
    assert shift.cohens_h(0.25, 0.75) == pytest.approx(math.pi / 3)
    assert shift.total_variation([1, 2, 1], [4, 0, 0]) == pytest.approx(0.75)


def test_equal_samples_differ_by_nothing_and_other_constants_have_no_measure() -> None:
    values = np.array([1.0, 2.0, 5.0])
    constant = np.ones(4)
    assert shift.standardised_difference(values, values) == shift.spread_ratio(values, values) == 0.0
    assert shift.standardised_difference(constant, constant) == shift.spread_ratio(constant, constant) == 0.0
    assert shift.cohens_h(0.0, 0.0) == shift.cohens_h(1.0, 1.0) == 0.0
    assert shift.total_variation([3, 1], [6, 2]) == 0.0
    assert shift.standardised_difference(constant, constant + 1) is None
    assert shift.spread_ratio(constant, values) is None


def test_samples_of_one_population_stay_below_what_chance_gives_nearly_always() -> None:
    generator = np.random.default_rng(5)
    above = dict.fromkeys(("mean", "share", "spread", "groups"), 0)
    for _ in range(2000):
        first, second = generator.gamma(3, size=(2, 250))
        above["mean"] += abs(shift.standardised_difference(first, second) or 0) > shift.by_chance(250, 250)
        above["spread"] += abs(shift.spread_ratio(first, second) or 0) > shift.spread_by_chance(first, second)
        shares = generator.binomial(250, 0.3, 2) / 250
        above["share"] += abs(shift.cohens_h(*shares)) > shift.by_chance(250, 250)
    for n in range(300):
        counts = generator.multinomial(250, [0.5, 0.3, 0.1, 0.1], 2).tolist()
        above["groups"] += shift.total_variation(*counts) > shift.variation_by_chance(*counts, (250, 250), n)
    assert above["mean"] <= 8 and above["share"] <= 8 and above["groups"] <= 4
    assert above["spread"] <= 30  # the kurtosis of few skewed values is too low


def test_more_tests_need_a_larger_difference() -> None:
    assert shift.by_chance(100, 100) == pytest.approx(3.2905 * math.sqrt(0.02), rel=1e-4)
    assert shift.by_chance(100, 100, tests=1000) > shift.by_chance(100, 100, tests=10) > shift.by_chance(100, 100)
