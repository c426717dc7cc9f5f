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
