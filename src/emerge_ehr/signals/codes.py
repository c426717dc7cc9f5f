"""The LOINC codes and UCUM units of our signals, from ``codes.csv``: how a value of FHIR or OMOP becomes one of the signal.

This material contains content from LOINC (http://loinc.org). LOINC is copyright Regenstrief Institute, Inc. and the LOINC
Committee and is available at no cost under the license at http://loinc.org/license.

A row with a ``unit``: the value times ``scale`` plus ``offset``; or, where ``above`` is given, 1 if the value is greater, else 0.
A row with neither unit nor answer: the units that ``unit_forms`` converts to the signal's, as for laboratory values.
A row with an ``answer``: the LOINC answer code of that many points. A unit or an answer that has no row is not guessed.
``rank``: of several values of a signal at one time those of the lowest count, as when tables are converted: pressures of an
arterial line (0), those of which nobody says how they were measured (1), those of a cuff (2). Empty where it does not matter.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emerge_ehr.signals import signals, unit_forms
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import BENCHMARK

FILE = Path(__file__).with_name("codes.csv")
GREATER, LESS = (">", ">="), ("<", "<=")
BRACKETS = str.maketrans("", "", "[]")
ANNOTATION = re.compile(r"\{[^{}]*\}")  # UCUM: braces hold a remark, which means nothing


@dataclass(frozen=True)
class Unit:
    """How a value in this unit becomes one of the signal."""

    scale: float
    offset: float
    above: float | None

    def of_signal(self, value: float) -> float:
        """The value in the signal's unit.

        >>> round(Unit(5 / 9, -160 / 9, None).of_signal(98.6), 6), Unit(1.0, 0.0, 3.0).of_signal(3.5)
        (37.0, 1.0)
        """
        return value * self.scale + self.offset if self.above is None else float(value > self.above)

    def of_bound(self, comparator: str, bound: float) -> float | None:
        """What a bound, such as ``> 600``, counts as: the bound itself, or the side of the limit on which every such value is;
        None where the values may be on both sides.

        >>> refill = Unit(1.0, 0.0, 3.0)
        >>> [refill.of_bound(*said) for said in ((">", 3), (">=", 3), ("<", 2), ("<=", 3), (">", 2), ("<", 4))]
        [1.0, 1.0, 0.0, 0.0, None, None]
        """
        if self.above is None:
            return self.of_signal(bound)
        if comparator in GREATER:  # "3 s or more" is how a delayed refill is charted
            return 1.0 if bound >= self.above else None
        return 0.0 if bound <= self.above else None


@dataclass(frozen=True)
class Codes:
    """``signal`` and ``rank``: of a LOINC code; ``units``: by LOINC code and unit; ``scores``: by LOINC code and answer code.

    ``described``: our signals by name.
    """

    signal: Mapping[str, str]
    rank: Mapping[str, int]
    units: Mapping[tuple[str, str], Unit]
    scores: Mapping[tuple[str, str], float]
    described: Mapping[str, Signal]

    def unit(self, loinc: str, ucum: str) -> Unit | None:
        """The unit, whatever remarks it carries; None where the signal has none such.

        >>> known().unit("8867-4", "{beats}/min"), known().unit("8867-4", "mm[Hg]"), known().unit("9269-2", "{score}")
        (Unit(scale=1.0, offset=0.0, above=None), None, Unit(scale=1.0, offset=0.0, above=None))
        """
        plain = ANNOTATION.sub("", ucum) or "1"
        if (loinc, "") in self.units:
            signal = self.described[self.signal[loinc]]
            forms = unit_forms.forms(signal.unit, signal.molar_mass, signal.charge) or {}
            factors = forms.get(plain.translate(BRACKETS).lower())
            return factors and Unit(*factors, None)
        return self.units.get((loinc, plain))


@cache
def known(chosen: str = BENCHMARK) -> Codes:
    """What ``codes.csv`` says of the signals of one of our lists."""
    described = {signal.name: signal for signal in signals.read(chosen)}
    signal: dict[str, str] = {}
    rank: dict[str, int] = {}
    units: dict[tuple[str, str], Unit] = {}
    scores: dict[tuple[str, str], float] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["signal"] not in described:
                continue
            loinc = row["loinc"]
            signal[loinc], rank[loinc] = row["signal"], int(row["rank"] or 0)
            if row["answer"]:
                scores[loinc, row["answer"]] = float(row["score"])
            else:
                above = float(row["above"]) if row["above"] else None
                units[loinc, row["unit"]] = Unit(float(row["scale"] or 1), float(row["offset"] or 0), above)
    return Codes(signal, rank, units, scores, described)
