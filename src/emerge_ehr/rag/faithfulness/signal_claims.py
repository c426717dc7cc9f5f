"""Checks what a sentence says about measured signals (values, hours, z-scores, units, directions) against the patient's signals.

A number belongs to the signal named last before it or, if there is none, to the first one named after it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.rag.faithfulness import names_in_text
from emerge_ehr.rag.faithfulness.names_in_text import NamesInText
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import Signal

NUMBER = re.compile(r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\d])")
HIGH = r"high(?:er|est|ly)?|elevated|elevation|raised|increased|above|rose|peaked"
LOW = r"low(?:er|est)?|decreased|reduced|depressed|below|fell|dropped|diminished"
DIRECTION = re.compile(rf"\b(?:(?P<high>{HIGH})|(?P<low>{LOW})|(?P<normal>normal|unremarkable))\b", re.IGNORECASE)
BETWEEN = re.compile(r"[,;:.(]|\b(?:and|with|but|while)\b")
HOUR_BEFORE = re.compile(r"\b(?:hours?|h) $", re.IGNORECASE)
Z_BEFORE = re.compile(r"\bz(?:[- ]?score)?(?: of)?[ =:]{0,3}$", re.IGNORECASE)
DURATION_AFTER = re.compile(r"^[ -]?(?:h|hrs?|hours?)\b")
UNIT_AFTER = re.compile(r"^ ?([A-Za-z%°µ][A-Za-z%°µ/]*(?: [A-Z][a-z]+)?)")
SYNONYMS = {
    "heart_rate": ("pulse", "pulse rate"),
    "oxygen_saturation": ("SpO2", "O2 saturation", "saturation"),
    "glucose": ("blood glucose", "blood sugar"),
    "mean_blood_pressure": ("mean arterial pressure", "MAP"),
    "systolic_blood_pressure": ("systolic pressure", "SBP"),
    "diastolic_blood_pressure": ("diastolic pressure", "DBP"),
    "fraction_inspired_oxygen": ("FiO2",),
    "gcs_total": ("Glasgow coma scale", "GCS"),
    "respiratory_rate": ("breathing rate",),
    "temperature": ("body temperature",),
}
PRESSURES = ("systolic_blood_pressure", "diastolic_blood_pressure", "mean_blood_pressure")
# Clinicians' words for signals that are too high or too low.
TERMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "tachycardia": (("heart_rate",), "high"),
    "tachycardic": (("heart_rate",), "high"),
    "bradycardia": (("heart_rate",), "low"),
    "bradycardic": (("heart_rate",), "low"),
    "hypotension": (PRESSURES, "low"),
    "hypotensive": (PRESSURES, "low"),
    "hypertensive": (PRESSURES, "high"),
    "tachypnea": (("respiratory_rate",), "high"),
    "tachypneic": (("respiratory_rate",), "high"),
    "fever": (("temperature",), "high"),
    "febrile": (("temperature",), "high"),
    "hypothermia": (("temperature",), "low"),
    "hypothermic": (("temperature",), "low"),
    "hypoxemia": (("oxygen_saturation",), "low"),
    "hypoxia": (("oxygen_saturation",), "low"),
    "hypoxic": (("oxygen_saturation",), "low"),
    "desaturation": (("oxygen_saturation",), "low"),
    "hyperglycemia": (("glucose",), "high"),
    "hypoglycemia": (("glucose",), "low"),
    "acidosis": (("ph",), "low"),
    "acidemia": (("ph",), "low"),
    "alkalosis": (("ph",), "high"),
    "alkalemia": (("ph",), "high"),
}


@dataclass(frozen=True)
class Vocabulary:
    """The names of the dataset's signals. ``codes``: name (in lower case, unless a symbol) -> codes; ``units``: all units."""

    finder: NamesInText
    codes: Mapping[str, tuple[str, ...]]
    units: frozenset[str]


@dataclass(frozen=True)
class Claim:
    """A part of a statement: its position, its words, and why the evidence does not support it (None: it does)."""

    start: int
    end: int
    text: str
    why: str | None


def vocabulary(signals: Sequence[Signal]) -> Vocabulary:
    """The vocabulary of the dataset's signals: their labels, codes and synonyms."""
    codes: dict[str, tuple[str, ...]] = {}
    for signal in signals:
        for name in (signal.label, signal.name, signal.name.replace("_", " "), *SYNONYMS.get(signal.name, ())):
            key = name if names_in_text.SYMBOL.fullmatch(name) else name.lower()
            codes[key] = (*codes.get(key, ()), signal.name)
    units = frozenset(signal.unit.lower() for signal in signals if signal.unit)
    return Vocabulary(names_in_text.build([*codes, *TERMS]), codes, units)


def claims(text: str, signals: Sequence[AbnormalSignal], words: Vocabulary, free: Iterable[float]) -> list[Claim]:
    """Every claim about signals in ``text``, in which quotations and other names are blanked out.

    ``signals``: the patient's abnormal ones; ``free``: numbers that may stand where no signal is named.
    """
    for signal in signals:  # a unit that is a sentence of its own, "0 normal, 1 delayed", makes no claim
        text = text.replace(f" {signal.unit}", " " * (len(signal.unit) + 1)) if " " in signal.unit else text
    mentions = words.finder.find(text)
    stated: dict[int, set[str]] = {n: set() for n in range(len(mentions))}  # directions, by the mention's number
    checked = []
    for match in DIRECTION.finditer(text):
        if mentions:
            stated[_nearest(text, mentions, match.start(), match.end())].add(str(match.lastgroup))
    allowed: dict[int, list[AbnormalSignal]] = {}
    for n, (start, end, name) in enumerate(mentions):
        codes, implied = TERMS.get(name, (words.codes.get(name, ()), ""))
        directions = {implied} if implied else stated[n]
        own = [signal for signal in signals if signal.code in codes]
        allowed[n] = [signal for signal in own if not directions or signal.direction in directions]
        if directions and (not allowed[n] or "normal" in directions):
            checked.append(Claim(start, end, f"{name}: {' and '.join(sorted(directions))}", _contradiction(own)))
        elif directions:
            checked.append(Claim(start, end, name, None))
    return checked + [
        claim for match in NUMBER.finditer(text) if (claim := _number(text, match, mentions, allowed, words, free))
    ]


def _contradiction(own: Sequence[AbnormalSignal]) -> str:
    if not own:
        return "no abnormal value of it was found"
    return f"it was {' and '.join(sorted({signal.direction for signal in own}))}"


def _nearest(text: str, mentions: Sequence[names_in_text.Span], start: int, end: int) -> int:
    """The number of the mention that a direction word belongs to: the nearest one.

    A word or mark between the two that begins something new, such as "and" or a comma, counts as 20 characters.
    """

    def distance(n: int) -> tuple[int, int]:
        first, last, _ = mentions[n]
        gap = text[last:start] if last <= start else text[end:first]
        return len(gap) + 20 * len(BETWEEN.findall(gap)), first

    return min(range(len(mentions)), key=distance)


def _number(
    text: str,
    match: re.Match[str],
    mentions: Sequence[names_in_text.Span],
    allowed: Mapping[int, Sequence[AbnormalSignal]],
    words: Vocabulary,
    free: Iterable[float],
) -> Claim | None:
    """The claim that a number makes; None if it is part of a signal's name."""
    if any(start <= match.start() < end for start, end, _ in mentions):
        return None
    number = float(match[0].replace(",", "").replace("−", "-"))
    before, after = text[: match.start()], text[match.end() :]
    decimals = len(match[0].partition(".")[2])
    preceding = [n for n, mention in enumerate(mentions) if mention[1] <= match.start()]
    owner = preceding[-1] if preceding else (0 if mentions else None)
    unit = UNIT_AFTER.match(after)
    with_unit = match[0] + (f" {unit[1]}" if unit else "")
    if owner is None:
        why = None if number in free else "no signal is named that it could be a value of"
    else:
        near = [_numbers(signal, before, after) for signal in allowed[owner]]
        same = any(_equal(number, value, decimals) for values in near for value in values)
        why = None if same else f"not among the patient's values of {mentions[owner][2]}"
        if same and unit and not _fits(unit[1], allowed[owner], words):
            why = f"the unit is {allowed[owner][0].unit}"
    return Claim(match.start(), match.end(), with_unit, why)


def _numbers(signal: AbnormalSignal, before: str, after: str) -> tuple[float, ...]:
    """The numbers of the signal that the words around a number allow: its hour, z-score, duration or value."""
    if HOUR_BEFORE.search(before[-10:]):
        return (signal.hour,)
    if Z_BEFORE.search(before[-14:]):
        return (signal.z, abs(signal.z))
    if DURATION_AFTER.match(after):
        return (signal.hours_beyond, signal.hour)
    return (signal.value,)


def _equal(stated: float, measured: float, decimals: int) -> bool:
    """Whether two numbers are equal to the decimals that the text gives, and to five significant digits at most."""
    return abs(stated - measured) <= max(0.5 * 0.1**decimals + 1e-9, abs(measured) * 1e-5)


def _fits(unit: str, signals: Sequence[AbnormalSignal], words: Vocabulary) -> bool:
    """Whether the word after a number is a unit of these signals, or no unit at all."""
    word = unit.lower()
    own = {signal.unit.lower() for signal in signals}
    return bool(word not in words.units or word in own)
