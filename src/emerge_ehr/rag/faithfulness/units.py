"""Units as texts spell them, and values in other units than the evidence has."""

import re
from collections.abc import Callable, Mapping

from emerge_ehr.signals.abnormal import AbnormalSignal

PER_MINUTE = r"/ ?min(?:ute)?|(?:per|a) min(?:ute)?"
DEGREE = r"(?:°|º|degrees?|deg\.?)"
# A unit of the signals, in lower case -> its spellings.
SPELLINGS: Mapping[str, str] = {
    "beats/min": rf"bpm|beats? ?(?:/|per|a) ?min(?:ute)?|{PER_MINUTE}",
    "breaths/min": rf"breaths? ?(?:/|per|a) ?min(?:ute)?|{PER_MINUTE}",
    "mmhg": r"mm ?hg|millimet(?:er|re)s? (?:of )?mercury",
    "mg/dl": r"mg ?(?:/|per) ?dl|milligrams? per decilit(?:er|re)",
    "degrees celsius": rf"{DEGREE}? ?c(?:elsius|entigrade)?|{DEGREE}(?! ?[fk])",
    "%": r"%|per ?cent",
    "points": r"points?|/ ?15|out of 15",
    "cm": r"cm|centimet(?:er|re)s?",
    "kg": r"kg|kgs|kilograms?|kilos?",
    "ph": r"ph",
    "fraction": r"fraction",
}
# The same for units that values of this unit may be converted to.
CONVERTED: Mapping[str, tuple[tuple[str, Callable[[float], float]], ...]] = {
    "mg/dl": ((r"mmol ?(?:/|per) ?l(?:it(?:er|re))?|millimoles? per lit(?:er|re)", lambda value: value / 18.016),),
    "degrees celsius": ((rf"{DEGREE}? ?f(?:ahrenheit)?", lambda value: value * 9 / 5 + 32),),
    "mmhg": ((r"kpa|kilopascals?", lambda value: value / 7.50062),),
    "kg": ((r"lbs?|pounds?", lambda value: value * 2.20462), (r"g|grams?", lambda value: value * 1000)),
    "cm": ((r"inch(?:es)?", lambda value: value / 2.54), (r"m|met(?:er|re)s?", lambda value: value / 100)),
    "fraction": ((SPELLINGS["%"], lambda value: value * 100),),
}
OTHERS = (
    r"m?mol ?(?:/|per) ?l|g ?(?:/|per) ?d?l|m?eq ?(?:/|per) ?l|cm ?h2o|kelvin|[mµu]g ?(?:/|per) ?l|(?:beats?|breaths?)?"
    r" ?(?:/ ?h(?:our)?|/ ?s(?:ec)?|(?:per|an?) (?:hour|second|day))|fold|stones?|ounces?|l|ml|lit(?:er|re)s?"
)
_EVERY = [*SPELLINGS.values(), *(pattern for pairs in CONVERTED.values() for pattern, _ in pairs), OTHERS]
UNIT = re.compile(rf"[ -]?({'|'.join(sorted(_EVERY, key=len, reverse=True))})(?![A-Za-z])", re.IGNORECASE)


def after(text: str, place: int, own: frozenset[str]) -> str | None:
    """The unit that stands at ``place``; ``own``: the units of the dataset's signals, in lower case."""
    found = [match[1] for match in [UNIT.match(text, place)] if match]
    lower = text[place : place + 30].lower().lstrip(" -")
    found += [
        lower[: len(unit)] for unit in own if unit and lower.startswith(unit) and not lower[len(unit) :][:1].isalpha()
    ]
    return max(found, key=len, default=None)


def value(signal: AbnormalSignal, unit: str | None) -> float | None:
    """The signal's value in a unit as a text spells it; None where the signal has no such unit.

    >>> value(AbnormalSignal("temperature", "temperature", "high", 39.4, "degrees Celsius", 1, 2.9, 3), "degrees Fahrenheit")
    102.92
    """
    own = signal.unit.lower()
    if unit is None or unit.lower() == own or re.fullmatch(SPELLINGS.get(own, re.escape(own)), unit, re.IGNORECASE):
        return signal.value
    for pattern, convert in CONVERTED.get(own, ()):
        if re.fullmatch(pattern, unit, re.IGNORECASE):
            return round(convert(signal.value), 4)
    return None
