"""Checks what a sentence says about measured signals (values, hours, z-scores, units, directions) against the patient's signals.

A number belongs to the signal named last before it or, if there is none, to the first one named after it. What the signals do not
support may stand in the notes.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.rag.faithfulness import Claim, modality, names_in_text, signal_numbers
from emerge_ehr.rag.faithfulness.names_in_text import NamesInText
from emerge_ehr.rag.faithfulness.notes_text import NotesText
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import Signal

HIGH = r"high(?:er|est|ly)?|elevat(?:ed|ion)|raised|increased?|above|rose|rising|peaked|spiked|climbed|surged|up to"
LOW = r"low(?:er|est)?|impaired|decreased?|reduced|depressed|below|fell|fall|falling|drop(?:ped)?|diminished|declined|dipped"
LOW += r"|down to|plummeted|sank"
DIRECTION = re.compile(
    rf"\b(?:(?P<high>{HIGH})|(?P<low>{LOW})|(?P<normal>normal(?:ly|ised|ized)?|unremarkable|within (?:normal )?limits))\b",
    re.IGNORECASE,
)
BETWEEN = re.compile(r"[,;:.(]|\b(?:and|with|but|while)\b")
# Words for how long or how far, the signal's field that they speak of, and its least and most for them (our own limits).
DEGREES = (
    (
        re.compile(r"\b(?:throughout|entire(?:ly)?|whole|constant(?:ly)?|continuous(?:ly)?)\b", re.I),
        "hours_beyond",
        24,
        math.inf,
    ),
    (
        re.compile(r"\b(?:persistent(?:ly)?|sustained|prolonged|persisted|repeated(?:ly)?)\b", re.I),
        "hours_beyond",
        4,
        math.inf,
    ),
    (
        re.compile(r"\b(?:brief(?:ly)?|transient(?:ly)?|momentar(?:y|ily)|short-lived|temporar(?:y|ily))\b", re.I),
        "hours_beyond",
        0,
        3,
    ),
    (re.compile(r"\b(?:mild(?:ly)?|slight(?:ly)?|borderline|minimally)\b", re.I), "z", 0, 3.5),
    (re.compile(r"\b(?:severe(?:ly)?|critical(?:ly)?|dangerous(?:ly)?|massive(?:ly)?)\b", re.I), "z", 2.5, math.inf),
)
SYNONYMS = {
    "heart_rate": ("pulse", "pulse rate", "HR"),
    "oxygen_saturation": ("SpO2", "O2 saturation", "saturation", "saturations"),
    "glucose": ("blood glucose", "blood sugar"),
    "mean_blood_pressure": ("mean arterial pressure", "mean pressure", "MAP", "blood pressure", "BP"),
    "systolic_blood_pressure": ("systolic pressure", "SBP", "blood pressure", "BP"),
    "diastolic_blood_pressure": ("diastolic pressure", "DBP", "blood pressure", "BP"),
    "fraction_inspired_oxygen": ("FiO2", "inspired oxygen fraction", "inspired oxygen"),
    "gcs_total": (
        "Glasgow coma scale",
        "Glasgow coma score",
        "GCS",
        "GCS score",
        "total GCS",
        "consciousness",
        "level of consciousness",
    ),
    "respiratory_rate": ("breathing rate", "RR"),
    "temperature": ("body temperature", "temp"),
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
    "hyperthermia": (("temperature",), "high"),
    "pyrexia": (("temperature",), "high"),
    "hypoxaemia": (("oxygen_saturation",), "low"),
    "hypoxemic": (("oxygen_saturation",), "low"),
    "desaturated": (("oxygen_saturation",), "low"),
    "hyperglycemic": (("glucose",), "high"),
    "hypoglycemic": (("glucose",), "low"),
    "tachypnoea": (("respiratory_rate",), "high"),
    "bradypnea": (("respiratory_rate",), "low"),
    "acidotic": (("ph",), "low"),
    "acidosis": (("ph",), "low"),
    "acidemia": (("ph",), "low"),
    "alkalosis": (("ph",), "high"),
    "alkalemia": (("ph",), "high"),
}


MEASURES = re.compile(rf"\d|\bfirst\b|{'|'.join(pattern.pattern for pattern, _, _, _ in DEGREES)}", re.IGNORECASE)


@dataclass(frozen=True)
class Vocabulary:
    """The names of the dataset's signals. ``codes``: name (in lower case, unless a symbol) -> codes; ``units``: all units.

    ``values``: high and low values in words, of signals whose list says what these show. They are no diseases, even where the
    dictionary has "low potassium" as a name of hypokalemia.
    """

    finder: NamesInText
    codes: Mapping[str, tuple[str, ...]]
    units: frozenset[str]
    values: frozenset[str] = frozenset()


def vocabulary(signals: Sequence[Signal]) -> Vocabulary:
    """The vocabulary of the dataset's signals: their labels, codes and synonyms."""
    codes: dict[str, tuple[str, ...]] = {}
    for signal in signals:
        for name in (signal.label, signal.name, signal.name.replace("_", " "), *SYNONYMS.get(signal.name, ())):
            key = name if names_in_text.SYMBOL.fullmatch(name) else name.lower()
            codes[key] = tuple(dict.fromkeys((*codes.get(key, ()), signal.name)))
    units = frozenset(signal.unit.lower() for signal in signals if signal.unit)
    listed = [signal.label.lower() for signal in signals if signal.high_shows or signal.low_shows]
    values = frozenset(f"{direction} {label}" for label in listed for direction in ("high", "low"))
    return Vocabulary(names_in_text.build([*codes, *TERMS]), codes, units, values)


def codes(name: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The codes of the signals that a name of the vocabulary may mean."""
    return TERMS[name][0] if name in TERMS else vocabulary.codes.get(name, ())


def claims(
    text: str,
    whole: str,
    signals: Sequence[AbnormalSignal],
    vocabulary: Vocabulary,
    free: Iterable[float],
    notes: NotesText,
) -> tuple[list[Claim], str]:
    """Every claim about signals in ``text``, which is ``whole`` without quotations and other names; and the text without them.

    ``signals``: the patient's abnormal ones; ``free``: numbers that may stand where no signal is named.
    """
    for signal in signals:  # a unit that is a sentence of its own, "0 normal, 1 delayed", makes no claim
        text = text.replace(f" {signal.unit}", " " * (len(signal.unit) + 1)) if "," in signal.unit else text
    mentions = vocabulary.finder.find(text)
    stated: dict[int, set[str]] = {n: set() for n in range(len(mentions))}  # directions, by the mention's number
    rest = text
    if mentions:
        for match in DIRECTION.finditer(text):
            stated[_nearest(text, mentions, match.start(), match.end())].add(str(match.lastgroup))
            rest = names_in_text.blanked(rest, *match.span())
    checked, allowed = list[Claim](), dict[int, list[AbnormalSignal]]()
    for n, (start, end, name) in enumerate(mentions):
        implied = TERMS[name][1] if name in TERMS else ""
        directions = {implied} if implied else stated[n]
        own = [signal for signal in signals if signal.code in codes(name, vocabulary)]
        allowed[n] = [signal for signal in own if not directions or signal.direction in directions]
        how = modality.at(whole, start, end)
        if directions:
            denied = "negated" in how or "normal" in directions
            why = _contradiction(own) if denied or not allowed[n] else None
            if why and _noted(text, (start, end, name), notes, how, implied):
                why = None
            told = (
                name
                if why is None
                else f"{name}: {' and '.join(sorted(directions))}{' denied' if 'negated' in how else ''}"
            )
            checked.append(Claim(start, end, told, why))
        rest = names_in_text.blanked(rest, start, end)
    if mentions:
        degrees, rest = _degrees(rest, mentions, allowed)
        checked += degrees
    reading = signal_numbers.Reading(text, whole, mentions, allowed, vocabulary.units, frozenset(free), notes)
    numbers, rest = signal_numbers.claims(reading, rest)
    return [*checked, *numbers], rest


def _noted(text: str, mention: names_in_text.Span, notes: NotesText, how: modality.Modality, implied: str) -> bool:
    """Whether the notes say of the signal what the text says of it, in the text's words."""
    start, end, name = mention
    if implied:
        return notes.says(name, how)
    first, last = modality.part(text, start)
    said = [match[0] for match in DIRECTION.finditer(text, first, last)]
    return notes.says(f"{text[start:end]} {' '.join(said)}", how)


def _contradiction(own: Sequence[AbnormalSignal]) -> str:
    if not own:
        return "no abnormal value of it was found"
    return f"it was {' and '.join(sorted({signal.direction for signal in own}))}"


def _degrees(
    text: str, mentions: Sequence[names_in_text.Span], allowed: Mapping[int, Sequence[AbnormalSignal]]
) -> tuple[list[Claim], str]:
    """Claims about how long and how far a signal was abnormal, in words; and the text without them."""
    claims = []
    for pattern, quantity, least, most in DEGREES:
        for match in pattern.finditer(text):
            own = allowed[_nearest(text, mentions, match.start(), match.end())]
            if own:
                fits = any(least <= abs(getattr(signal, quantity)) <= most for signal in own)
                why = None if fits else "not what the signal's hours and z-score say"
                claims.append(Claim(*match.span(), match[0], why))
    for claim in claims:
        text = names_in_text.blanked(text, claim.start, claim.end)
    return claims, text


def _nearest(text: str, mentions: Sequence[names_in_text.Span], start: int, end: int) -> int:
    """The number of the mention that a direction word belongs to: the nearest one.

    A word or mark between the two that begins something new, such as "and" or a comma, counts as 20 characters.
    """

    def distance(n: int) -> tuple[int, int]:
        first, last, _ = mentions[n]
        gap = text[last:start] if last <= start else text[end:first]
        return len(gap) + 20 * len(BETWEEN.findall(gap)), first

    return min(range(len(mentions)), key=distance)
