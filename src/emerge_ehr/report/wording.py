"""Words and numbers of the report: what a label is called, how a share, a risk or a change is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emerge_ehr.datasets.tasks import Task
from emerge_ehr.evaluation import catalogue

NO_BREAK, THIN = "\u00a0", "\u202f"
MODALITIES = {"ehr": "vital signs and labs", "note": "clinical notes", "summary": "knowledge-graph summary"}
ATTRIBUTES = {
    "site": "Hospital",
    "sex": "Sex",
    "age": "Age",
    "ethnicity": "Ethnicity",
    "icu_type": "Intensive care unit",
}
# short forms of units, as a figure has little room and names the signal before the value; a score has no unit
UNITS = {"degrees Celsius": "°C", "fraction": "", "points": "", "pH": ""}
ORDINARY_WORD = re.compile(r"[a-z]+(?=[\s,:]|$)")
LOWERED = ("and", "of", "or", "the", "to")


@dataclass(frozen=True)
class Label:
    """A label: its column in the arrays, its code, and what the report calls it and its absence and presence."""

    column: int
    code: str
    title: str
    outcomes: tuple[str, str]

    def outcome(self, value: int | None) -> str:
        """The outcome of a patient in words, from its value 0 or 1; None where it is not known."""
        return "not known" if value is None else self.outcomes[value]


def labels(task: Task, codes: Sequence[str]) -> tuple[Label, ...]:
    """The labels of a run, in the words of its task."""
    worded = zip(codes, task.outcomes(codes), strict=True)
    return tuple(
        Label(column, code, outcome.title, (outcome.absent, outcome.present))
        for column, (code, outcome) in enumerate(worded)
    )


def metric(key: str) -> str:
    """The name of a metric as papers print it."""
    known = catalogue.known(key)
    return known.reported if known else key.replace("_", " ")


def attribute_title(name: str) -> str:
    """The title of an attribute that subgroups are formed by."""
    return ATTRIBUTES.get(name) or name.replace("_", " ")


def percent(share: float | None) -> str:
    """A share as a percentage, with one decimal below 10 % and above 99 %; no line breaks before the sign.

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
    """A change of a risk in percentage points, with its sign.

    >>> points(0.214), points(-0.031), points(0.0001)
    ('+21.4', '−3.1', '0.0')
    """
    rounded = round(100 * change, 1)
    return "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def number(value: float) -> str:
    """A number with at most four significant digits, and without an exponent where possible.

    >>> number(7.4), number(119.559), number(-4e-9), number(1234567.0)
    ('7.4', '119.6', '0', '1234567')
    """
    if abs(value) < 1e-6:  # a 0 that was standardised in float32 and converted back
        return "0"
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def unit(name: str) -> str:
    """A unit as it stands after a number. The meanings of codes, "0 normal, 1 delayed", are put in parentheses.

    >>> unit("degrees Celsius"), unit("pH"), unit("mmHg"), unit("0 normal, 1 delayed")
    ('°C', '', 'mmHg', '(0 normal, 1 delayed)')
    """
    return f"({name})" if name[:1].isdigit() else UNITS.get(name, name)


def measured(value: float, unit_name: str) -> str:
    """A measurement with its unit, or the meaning of a coded one.

    >>> measured(6.93, "pH"), measured(46, "mmHg"), measured(1, "0 normal, 1 delayed")
    ('6.93', '46 mmHg', 'delayed')
    """
    coded = unit_name[:1].isdigit() and ", " in unit_name
    meanings = dict(part.split(" ", 1) for part in unit_name.split(", ") if " " in part) if coded else {}
    return meanings.get(number(value)) or f"{number(value)} {unit(unit_name)}".rstrip()


def moment(step: int, bin_hours: int) -> str:
    """The hours of the window that a step of the series stands for.

    >>> moment(7, 1), moment(2, 24)
    ('hour 7', 'hours 48–71')
    """
    return span(step * bin_hours, (step + 1) * bin_hours - 1)


def span(first: int, last: int) -> str:
    """Hours of the window, from the ``first`` to the ``last``.

    >>> span(36, 41), span(3, 3)
    ('hours 36–41', 'hour 3')
    """
    return f"hour {first}" if first == last else f"hours {first}–{last}"


def stated(text: str) -> str:
    """A category as it stands in running text; those that the source writes in capitals are put in lower case with initials.

    >>> stated("HISPANIC OR LATINO"), stated("WHITE - BRAZILIAN"), stated("BLACK/AFRICAN AMERICAN"), stated("of Asia")
    ('Hispanic or Latino', 'White - Brazilian', 'Black/African American', 'of Asia')
    """
    if not text.isupper():
        return text
    words = re.sub(
        r"\w+", lambda word: lowered if (lowered := word[0].lower()) in LOWERED else lowered.capitalize(), text
    )
    return words[0].upper() + words[1:]


def capitalised(text: str) -> str:
    """The text as a sentence: its first letter is a capital, unless it begins with a path, a file or a code.

    >>> capitalised("audit: leak"), capitalised("data/x.csv: empty"), capitalised("heart_rate: none"), capitalised("e.csv is")
    ('Audit: leak', 'data/x.csv: empty', 'heart_rate: none', 'e.csv is')
    """
    return text[0].upper() + text[1:] if ORDINARY_WORD.match(text) else text


def decimal(value: float | None) -> str:
    """A metric with three decimals, as tables print it."""
    return "undefined" if value is None else f"{value:.3f}".replace("-", "−")


def count(value: int) -> str:
    """A count with a thin space between thousands.

    >>> count(20000) == "20\\u202f000"
    True
    """
    return f"{value:,}".replace(",", THIN)


def plural(value: int, one: str, more: str = "") -> str:
    """A count and the noun of what is counted, in the plural where needed; ``more`` is the plural if it does not end in s.

    >>> plural(1, "stay"), plural(2, "diagnosis", "diagnoses")
    ('1 stay', '2 diagnoses')
    """
    return f"{count(value)} {one if value == 1 else more or one + 's'}"


def ordinal(value: int) -> str:
    """A rank with its ending.

    >>> [ordinal(n) for n in (1, 2, 3, 11, 22)]
    ['1st', '2nd', '3rd', '11th', '22nd']
    """
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"
