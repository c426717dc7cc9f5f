"""The table of LOINC codes: a mistyped code would never match anything, and nobody would be told."""

import pytest

from emerge_ehr.signals import codes


def check_digit(number: str) -> str:
    """LOINC's check digit (Mod 10): from the right, every other digit counts double, as the sum of its digits."""
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(number)))
    return str(-total % 10)


@pytest.mark.parametrize("loinc", codes.known("wide").signal)
def test_every_loinc_code_has_the_check_digit_of_its_number(loinc: str) -> None:
    number, _, digit = loinc.partition("-")
    assert digit == check_digit(number)


@pytest.mark.parametrize(
    ("loinc", "unit", "scale"),
    [("2160-0", "umol/L", 1 / 88.4), ("2160-0", "mg/dL", 1), ("6690-2", "10*3/uL", 1), ("718-7", "g/L", 0.1),
     ("34714-6", "{INR}", 1),
     ("2524-7", "mmol/L", 1), ("1742-6", "[IU]/L", 1), ("2703-7", "kPa", 7.5), ("2823-3", "meq/L", 1)],
)  # fmt: skip
def test_a_laboratory_code_is_read_in_every_unit_that_becomes_the_signals(loinc: str, unit: str, scale: float) -> None:
    found = codes.known("wide").unit(loinc, unit)
    assert found is not None and found.of_signal(1) == pytest.approx(scale, rel=0.01)


def test_no_other_unit_is_guessed_and_the_benchmarks_codes_are_its_own_alone() -> None:
    assert codes.known("wide").unit("2160-0", "mm[Hg]") is None
    assert "2160-0" not in codes.known().signal and set(codes.known().signal) < set(codes.known("wide").signal)
