"""What a signal is, and the lists of signals: the 17 of the in-hospital-mortality benchmark (Harutyunyan et al. 2019), the wide
list of common laboratory values and treatments, and a user's own (``table``).

A value outside ``plausible`` cannot come from a living patient in the stated unit; it is dropped and counted. The bounds are
ours: those of the benchmark's published outlier table, narrowed where clinical limits are tighter. ``reference`` is the usual
adult range, used for wording only; whether a signal is abnormal is decided by its z-score.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from emerge_ehr.fields import UserError
from emerge_ehr.signals import table, unit_forms
from emerge_ehr.signals.table import Row

Hour = Literal["last", "sum", "max"]
ANY = (-math.inf, math.inf)
NAME = re.compile(r"[a-z][a-z0-9_]*")
RECORDED = ("dated", "plausible", "score", "hour", "high_shows", "low_shows")  # where they are not as usual


@dataclass(frozen=True)
class Signal:
    """A measured quantity; ``plausible`` and ``reference`` are inclusive ranges in ``unit``.

    ``percent``: a value above 1 was charted in percent. ``sum_of``: where all these signals were charted at one time, their sum
    is a measurement of this one. ``score``: only certain numbers occur, so that a mean of two values means nothing; the worse
    of two is the low or the high one. ``dated``: its times are dates without a time of day. ``hour``: the value of an hour is
    the last in it, or the sum or the highest of all; those of a sum add up where they are of one time. ``molar_mass`` (g/mol)
    and ``charge`` of the substance, for conversions; 0 if not known. ``high_shows``, ``low_shows``: the phenotypes that a high or
    low value shows, as the knowledge graph names them.
    """

    name: str
    label: str
    unit: str = ""
    plausible: tuple[float, float] = ANY
    reference: tuple[float, float] | None = None
    percent: bool = False
    sum_of: tuple[str, ...] = ()
    score: Literal["", "low", "high"] = ""
    dated: bool = False
    hour: Hour = "last"
    molar_mass: float = 0
    charge: int = 0
    high_shows: tuple[str, ...] = ()
    low_shows: tuple[str, ...] = ()


def read(chosen: str) -> tuple[Signal, ...]:
    """The signals of a list: "benchmark", "wide", or the path of a user's own CSV.

    Raises:
        UserError: the file cannot be read, or a row makes no sense.
    """
    rows = table.rows(chosen)
    signals = tuple(_signal(row) for row in rows)
    names = {signal.name for signal in signals}
    for row, signal in zip(rows, signals, strict=True):
        if lacking := [part for part in signal.sum_of if part not in names]:
            raise UserError(f"{row.where}: sum_of names '{lacking[0]}', which has no row; add it, or clear sum_of")
    return signals


def _signal(row: Row) -> Signal:
    cells = row.cells
    if not NAME.fullmatch(cells["name"]):
        raise UserError(
            f"{row.where}: name '{cells['name']}' is not of small letters, digits and _, beginning with a letter"
        )
    ends = {kind: _range(row, kind) for kind in ("plausible", "reference")}
    reference = ends["reference"]
    if reference and math.inf in map(abs, reference):
        raise UserError(f"{row.where}: give both reference_low and reference_high, or neither")
    mass, charge = (_number(row, name) or 0.0 for name in ("molar_mass", "charge"))
    if mass < 0 or charge < 0 or charge != int(charge):
        raise UserError(
            f"{row.where}: molar_mass is a number of g/mol and charge a whole number, both above 0 or empty"
        )
    if unit_forms.forms(cells["unit"]) is None:
        known = ", ".join(unit_forms.FAMILIES)
        raise UserError(
            f"{row.where}: unit '{cells['unit']}' is unknown; there are {known}, none, and what numbers mean ('0 no, 1 yes')"
        )
    return Signal(
        cells["name"],
        cells["label"] or cells["name"].replace("_", " "),
        cells["unit"],
        ends["plausible"] or ANY,
        reference,
        percent=_choice(row, "percent", "", "yes") == "yes",
        sum_of=tuple(_parts(cells["sum_of"])),
        score=cast(Literal["", "low", "high"], _choice(row, "score", "", "low", "high")),
        hour=cast(Hour, _choice(row, "hour", "", "last", "sum", "max") or "last"),
        molar_mass=mass,
        charge=int(charge),
        high_shows=tuple(_parts(cells["high_shows"])),
        low_shows=tuple(_parts(cells["low_shows"])),
    )


def _range(row: Row, kind: str) -> tuple[float, float] | None:
    """The range in two columns, open where one is empty; None where both are."""
    low, high = (_number(row, f"{kind}_{end}") for end in ("low", "high"))
    if low is None and high is None:
        return None
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    if ends[0] > ends[1]:
        raise UserError(f"{row.where}: {kind}_low {ends[0]:g} is above {kind}_high {ends[1]:g}; exchange them")
    return ends


def _number(row: Row, name: str) -> float | None:
    text = row.cells[name]
    try:
        number = (int(text) if text.lstrip("-").isdecimal() else float(text)) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise UserError(f"{row.where}: {name} '{text}' is not a number; mend it, or leave it empty")
    return number


def _choice(row: Row, name: str, *choices: str) -> str:
    if row.cells[name] not in choices:
        raise UserError(
            f"{row.where}: {name} '{row.cells[name]}' is none of {', '.join(filter(None, choices))}; or leave it empty"
        )
    return row.cells[name]


def _parts(text: str) -> Iterator[str]:
    return (part for each in text.split(";") if (part := each.strip()))


SIGNALS = read(table.BENCHMARK)
SIGNAL_BY_NAME = {signal.name: signal for signal in SIGNALS}


def described(code: str) -> Signal:
    """The benchmark's signal called ``code``; for a code of the user's own, a signal without unit or ranges."""
    return SIGNAL_BY_NAME.get(code) or Signal(code, code.replace("_", " "))


def to_record(signal: Signal) -> dict[str, Any]:
    """The signal as JSON values, for ``provenance.json`` and ``metadata.json``. Of a benchmark signal only the words,
    unit and reference range are told again."""
    usual = SIGNAL_BY_NAME.get(signal.name, Signal(signal.name, signal.label))
    own = {name: getattr(signal, name) for name in RECORDED if getattr(signal, name) != getattr(usual, name)}
    if own.pop("plausible", ANY) != ANY:
        own["plausible"] = [end if math.isfinite(end) else None for end in signal.plausible]
    return {"name": signal.name, "label": signal.label, "unit": signal.unit, "reference": signal.reference, **own}


def from_record(entry: Mapping[str, Any]) -> Signal:
    """The inverse of ``to_record``, without what only ``convert`` needs, such as the plausible range of a benchmark signal."""
    reference = entry["reference"] and tuple(entry["reference"])
    own = {name: entry[name] for name in RECORDED if name in entry}
    if "plausible" in own:
        low, high = own["plausible"]
        own["plausible"] = (-math.inf if low is None else low, math.inf if high is None else high)
    own |= {name: tuple(own[name]) for name in ("high_shows", "low_shows") if name in own}
    score = own.pop("score", described(entry["name"]).score)
    return Signal(entry["name"], entry["label"], entry["unit"], reference=reference, score=score, **own)
