"""Words and numbers of the report: what a label is called, how a share, a risk or a change is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emerge_ehr.datasets.tasks import Task
from emerge_ehr.evaluation import catalogue

NO_BREAK, THIN = "\u00a0", "\u202f"
MODALITIES = {"ehr": "vital signs and labs", "note": "clinical notes", "summary": "knowledge-graph summary"}
ATTRIBUTES = {"sex": "Sex", "age": "Age", "ethnicity": "Ethnicity", "icu_type": "Intensive care unit"}
# of units, where a figure has a name before it and little room; a score is plain
UNITS = {"degrees Celsius": "°C", "fraction": "", "points": "", "pH": ""}
LOWERED = ("and", "of", "or", "the", "to")


@dataclass(frozen=True)
class Label:
    """One outcome: its column in the arrays, its code, and what the report calls it."""

    column: int
    code: str
    title: str
    outcomes: tuple[str, str]

    def outcome(self, value: int | None) -> str:
        """What became of a patient."""
        return "not known" if value is None else self.outcomes[value]


def labels(task: Task, codes: Sequence[str]) -> tuple[Label, ...]:
    """The words for a run's label codes, as its task has them."""
    worded = zip(codes, task.outcomes(codes), strict=True)
    return tuple(Label(column, code, own.title, (own.absent, own.present)) for column, (code, own) in enumerate(worded))


def metric(key: str) -> str:
    """The name of a metric as papers print it."""
    known = catalogue.known(key)
    return known.reported if known else key.replace("_", " ")


def attribute_title(name: str) -> str:
    """What subgroups are formed by."""
    return ATTRIBUTES.get(name) or name.replace("_", " ")


def percent(share: float | None) -> str:
    """A share as a percentage with as many digits as it carries; a line does not break before the sign.

    >>> [percent(share).replace(NO_BREAK, " ") for share in (0.973, 0.0421, 0.0004, None)]
    ['97 %', '4.2 %', '<0.1 %', 'not known']
    """
    if share is None:
        return "not known"
    if 0 < share < 0.001 or 0.999 < share < 1:
        return f"{'<0.1' if share < 0.5 else '>99.9'}{NO_BREAK}%"
    digits = 0 if 0.0995 <= share <= 0.9905 or share in (0, 1) else 1
    return f"{100 * share:.{digits}f}{NO_BREAK}%"


def points(change: float) -> str:
    """A change of a risk in percentage points, signed.

    >>> points(0.214), points(-0.031), points(0.0001)
    ('+21.4', '−3.1', '0.0')
    """
    rounded = round(100 * change, 1)
    return "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def number(value: float) -> str:
    """Four significant digits at most, without an exponent where it can be avoided.

    >>> number(7.4), number(119.559), number(-4e-9), number(1234567.0)
    ('7.4', '119.6', '0', '1234567')
    """
    if abs(value) < 1e-6:  # what is left of 0 after standardising in float32 and back
        return "0"
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def unit(name: str) -> str:
    """A unit as it stands after a number. A code's meaning, "0 normal, 1 delayed", does not run into the number.

    >>> unit("degrees Celsius"), unit("pH"), unit("mmHg"), unit("0 normal, 1 delayed")
    ('°C', '', 'mmHg', '(0 normal, 1 delayed)')
    """
    return f"({name})" if name[:1].isdigit() else UNITS.get(name, name)


def measured(value: float, unit_name: str) -> str:
    """A measurement with its unit, or what a coded one means.

    >>> measured(6.93, "pH"), measured(46, "mmHg"), measured(1, "0 normal, 1 delayed")
    ('6.93', '46 mmHg', 'delayed')
    """
    coded = unit_name[:1].isdigit() and ", " in unit_name
    meanings = dict(part.split(" ", 1) for part in unit_name.split(", ") if " " in part) if coded else {}
    return meanings.get(number(value)) or f"{number(value)} {unit(unit_name)}".rstrip()


def stated(text: str) -> str:
    """A category that the source has in capitals, as it would stand in a text.

    >>> stated("HISPANIC OR LATINO"), stated("WHITE - BRAZILIAN"), stated("BLACK/AFRICAN AMERICAN"), stated("of Asia")
    ('Hispanic or Latino', 'White - Brazilian', 'Black/African American', 'of Asia')
    """
    if not text.isupper():
        return text
    words = re.sub(r"\w+", lambda word: found if (found := word[0].lower()) in LOWERED else found.capitalize(), text)
    return words[0].upper() + words[1:]


def decimal(value: float | None) -> str:
    """A metric with three digits, as tables print them."""
    return "undefined" if value is None else f"{value:.3f}".replace("-", "−")


def count(value: int) -> str:
    """A count with a thin space between thousands.

    >>> count(20000) == "20\\u202f000"
    True
    """
    return f"{value:,}".replace(",", THIN)


def plural(value: int, one: str, more: str = "") -> str:
    """A count and what is counted.

    >>> plural(1, "stay"), plural(2, "diagnosis", "diagnoses")
    ('1 stay', '2 diagnoses')
    """
    return f"{count(value)} {one if value == 1 else more or one + 's'}"


def ordinal(value: int) -> str:
    """A rank.

    >>> [ordinal(n) for n in (1, 2, 3, 11, 22)]
    ['1st', '2nd', '3rd', '11th', '22nd']
    """
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"
