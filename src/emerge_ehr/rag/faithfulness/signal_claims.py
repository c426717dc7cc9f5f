"""What a sentence says of measured signals: values, hours, z-scores, units and directions, checked against the patient's.

A number belongs to the signal named last before it, or to the next one named after it.
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
# What clinicians call a signal that is too high or too low.
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
    """What the dataset's signals are called: name (lower case, or symbol) -> codes; and every unit there is."""

    finder: NamesInText
    codes: Mapping[str, tuple[str, ...]]
    units: frozenset[str]


@dataclass(frozen=True)
class Claim:
    """A part of a statement: where it stands, what it says, and why that is not so (None: it is)."""

    start: int
    end: int
    said: str
    why: str | None


def vocabulary(signals: Sequence[Signal]) -> Vocabulary:
    """Labels, codes and synonyms of the dataset's signals."""
    codes: dict[str, tuple[str, ...]] = {}
    for signal in signals:
        for name in (signal.label, signal.name, signal.name.replace("_", " "), *SYNONYMS.get(signal.name, ())):
            key = name if names_in_text.SYMBOL.fullmatch(name) else name.lower()
            codes[key] = (*codes.get(key, ()), signal.name)
    units = frozenset(signal.unit.lower() for signal in signals if signal.unit)
    return Vocabulary(names_in_text.build([*codes, *TERMS]), codes, units)


def claims(text: str, known: Sequence[AbnormalSignal], words: Vocabulary, free: Iterable[float]) -> list[Claim]:
    """Every claim about signals in ``text``, from which quotations and other names are blanked out.

    ``known`` are the patient's abnormal signals. ``free`` numbers may stand where no signal is named.
    """
    for signal in known:  # a unit in words is no claim: "1 0 normal, 1 delayed"
        text = text.replace(f" {signal.unit}", " " * (len(signal.unit) + 1)) if " " in signal.unit else text
    mentions = words.finder.find(text)
    said: dict[int, set[str]] = {n: set() for n in range(len(mentions))}
    found = []
    for match in DIRECTION.finditer(text):
        if mentions:
            said[_nearest(text, mentions, match.start(), match.end())].add(str(match.lastgroup))
    allowed: dict[int, list[AbnormalSignal]] = {}
    for n, (start, end, name) in enumerate(mentions):
        codes, implied = TERMS.get(name, (words.codes.get(name, ()), ""))
        wanted = {implied} if implied else said[n]
        mine = [signal for signal in known if signal.code in codes]
        allowed[n] = [signal for signal in mine if not wanted or signal.direction in wanted]
        if wanted and (not allowed[n] or "normal" in wanted):
            found.append(Claim(start, end, f"{name}: {' and '.join(sorted(wanted))}", _contradiction(mine)))
        elif wanted:
            found.append(Claim(start, end, name, None))
    return found + [
        claim for match in NUMBER.finditer(text) if (claim := _number(text, match, mentions, allowed, words, free))
    ]


def _contradiction(mine: Sequence[AbnormalSignal]) -> str:
    if not mine:
        return "no abnormal value of it was found"
    return f"it was {' and '.join(sorted({signal.direction for signal in mine}))}"


def _nearest(text: str, mentions: Sequence[names_in_text.Span], start: int, end: int) -> int:
    """The mention a direction word goes with: the nearest, words that begin something new counting as far."""

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
    if any(start <= match.start() < end for start, end, _ in mentions):
        return None  # part of a signal's name
    number = float(match[0].replace(",", "").replace("−", "-"))
    before, after = text[: match.start()], text[match.end() :]
    decimals = len(match[0].partition(".")[2])
    preceding = [n for n, mention in enumerate(mentions) if mention[1] <= match.start()]
    owner = preceding[-1] if preceding else (0 if mentions else None)
    unit = UNIT_AFTER.match(after)
    said = match[0] + (f" {unit[1]}" if unit else "")
    if owner is None:
        why = None if number in free else "no signal is named that it could be a value of"
    else:
        near = [_numbers(signal, before, after) for signal in allowed[owner]]
        same = any(_equal(number, value, decimals) for values in near for value in values)
        why = None if same else f"not among the patient's values of {mentions[owner][2]}"
        if same and unit and not _fits(unit[1], allowed[owner], words):
            why = f"the unit is {allowed[owner][0].unit}"
    return Claim(match.start(), match.end(), said, why)


def _numbers(signal: AbnormalSignal, before: str, after: str) -> tuple[float, ...]:
    """What of the signal the number may be, by the words around it."""
    if HOUR_BEFORE.search(before[-10:]):
        return (signal.hour,)
    if Z_BEFORE.search(before[-14:]):
        return (signal.z, abs(signal.z))
    if DURATION_AFTER.match(after):
        return (signal.hours_beyond, signal.hour)
    return (signal.value,)


def _equal(said: float, known: float, decimals: int) -> bool:
    """As far as the text is exact; six significant digits at most."""
    return abs(said - known) <= max(0.5 * 0.1**decimals + 1e-9, abs(known) * 1e-5)


def _fits(unit: str, signals: Sequence[AbnormalSignal], words: Vocabulary) -> bool:
    """A word after a number that is the unit of another signal, and not of this one, is a wrong unit."""
    said = unit.lower()
    own = {signal.unit.lower() for signal in signals}
    return bool(said not in words.units or said in own)
