"""Checks the numbers of a sentence: values, hours, z-scores and durations of the signals it names, or numbers of the notes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.rag.faithfulness import Claim, modality, units
from emerge_ehr.rag.faithfulness.names_in_text import Span, blanked
from emerge_ehr.rag.faithfulness.notes_text import NotesText
from emerge_ehr.rag.faithfulness.wording import NUMBER, ORDINAL, is_neutral, ordinal, words
from emerge_ehr.signals.abnormal import AbnormalSignal

HOUR_BEFORE = re.compile(r"\b(?:hours?|h)[ :#]+$", re.IGNORECASE)
Z_BEFORE = re.compile(r"\bz(?:[- ]?scores?)?(?: (?:of|was|is))? ?[=:]? ?$", re.IGNORECASE)
FOR = re.compile(r"\b(?:for|lasting|lasted|over|during|of|spent|than|about|totall?ing)\s+(?:the )?$", re.IGNORECASE)
WITHIN = re.compile(r"\b(?:first|within)\s*(?:the first )?$", re.IGNORECASE)
BEYOND = re.compile(r"^ (?:beyond|above|below|outside|over|under)\b", re.IGNORECASE)
ABOUT = re.compile(r"(?:\b(?:about|around|approximately|roughly|nearly|almost|circa)|[~≈])\s*$", re.IGNORECASE)
ABOVE = re.compile(
    r"(?:\b(?:above|over|exceed(?:ed|ing|s)?|(?:more|greater|higher) than|at least)|[>≥])\s*$", re.IGNORECASE
)
BELOW = re.compile(r"(?:\b(?:below|under|(?:less|lower|fewer) than|at most)|[<≤])\s*$", re.IGNORECASE)
HOURS = {"h": 1.0, "d": 24.0, "m": 1 / 60}


@dataclass(frozen=True)
class Reading:
    """A statement's text without names and quotations, and the ``whole`` of it; the signals that it names, those of the patient's
    that each may mean, and what else supports numbers."""

    text: str
    whole: str
    mentions: Sequence[Span]
    allowed: Mapping[int, Sequence[AbnormalSignal]]
    units: frozenset[str]
    free: frozenset[float]
    notes: NotesText


def claims(reading: Reading, rest: str) -> tuple[list[Claim], str]:
    """A claim for each number, and ``rest`` with numbers and units blanked out."""
    checked = []
    text = reading.text
    for match in ORDINAL.finditer(text):
        if reading.mentions:
            checked.append(_ordinal(reading, match))
            rest, text = blanked(rest, *match.span()), blanked(text, *match.span())
    for match in NUMBER.finditer(text):
        if not any(start <= match.start() < end for start, end, _ in reading.mentions):
            claim = _number(reading, match)
            checked.append(claim)
            rest = blanked(rest, claim.start, claim.end)
    return checked, rest


def _owner(reading: Reading, place: int) -> int | None:
    preceding = [n for n, mention in enumerate(reading.mentions) if mention[1] <= place]
    return preceding[-1] if preceding else (0 if reading.mentions else None)


def _ordinal(reading: Reading, match: re.Match[str]) -> Claim:
    """The claim of "third hour" or "second day"; hours count from 0, so that the third may be hour 2 or 3."""
    n, day = ordinal(match), match[3].lower() == "day"
    owner = _owner(reading, match.start())
    signals = reading.allowed[owner] if owner is not None else ()
    fits = any(signal.hour // 24 + 1 == n if day else n - 1 <= signal.hour <= n for signal in signals)
    return Claim(*match.span(), match[0], None if fits else "no abnormal value of the signal falls there")


def _number(reading: Reading, match: re.Match[str]) -> Claim:
    """The claim that a number makes."""
    stated = float(match[0].replace(",", "").replace("−", "-"))
    owner = _owner(reading, match.start())
    unit = units.after(reading.text, match.end(), reading.units)
    duration = modality.TIME_UNIT.match(reading.text, match.end())
    end = duration.end() if duration else match.end() + (len(unit) + 1 if unit else 0)
    end = min(end, len(reading.text))
    told = reading.text[match.start() : end].strip()
    why: str | None = "no signal is named that it could be a value of"
    if owner is None:
        why = None if stated in reading.free else why
    else:
        values = [
            value for signal in reading.allowed[owner] for value in _values(reading.text, match, duration, unit, signal)
        ]
        same = any(_fits(reading.text[: match.start()], match[0], stated, value) for value in values)
        why = None if same else f"not among the patient's values of {reading.mentions[owner][2]}"
        if not same and unit and not duration and reading.allowed[owner]:
            right = [signal for signal in reading.allowed[owner] if _fits("", match[0], stated, signal.value)]
            why = f"the unit is {right[0].unit}" if right else why
    noted_unit = duration[1] if duration else (unit if why and why.startswith("the unit") else None)
    if why and _in_notes(reading, match, owner, stated, noted_unit):
        why = None
    return Claim(match.start(), end, told, why)


def _values(
    text: str, match: re.Match[str], duration: re.Match[str] | None, unit: str | None, signal: AbnormalSignal
) -> tuple[float, ...]:
    """The numbers of the signal that the words around a number allow: its hour, z-score, duration or value."""
    before, after = (
        text[max(match.start() - 30, 0) : match.start()],
        text[duration.end() if duration else match.end() :],
    )
    if HOUR_BEFORE.search(before):
        return (float(signal.hour),)
    if Z_BEFORE.search(before):
        return (signal.z, abs(signal.z))
    if duration:
        per = HOURS.get(duration[1][0].lower())
        if per is None or duration[1].lower().startswith("mo"):
            return ()
        if WITHIN.search(before):
            return (float(match[0].replace(",", "")),) if signal.hour < float(match[0].replace(",", "")) * per else ()
        spans = (
            (signal.hours_beyond,) if FOR.search(before) or BEYOND.match(after) else (signal.hours_beyond, signal.hour)
        )
        return tuple(round(span / per, 1 if per > 1 else 0) for span in spans)
    value = units.value(signal, unit)
    return () if value is None else (value,)


def _fits(before: str, written: str, stated: float, measured: float) -> bool:
    """Whether a number is the measured one to the decimals that the text gives and five significant digits at most, or is said to
    be near, above or below it and is within a quarter of it."""
    decimals = len(written.partition(".")[2])
    if abs(stated - measured) <= max(0.5 * 0.1**decimals + 1e-9, abs(measured) * 1e-5):
        return True
    if ABOUT.search(before):
        return abs(stated - measured) <= 0.03 * abs(measured)
    if abs(stated - measured) > 0.25 * abs(measured):
        return False
    return bool((ABOVE.search(before) and measured > stated) or (BELOW.search(before) and measured < stated))


def _in_notes(reading: Reading, match: re.Match[str], owner: int | None, stated: float, unit: str | None) -> bool:
    """Whether the notes have the number in a sentence with what it is stated of."""
    stated = abs(stated)  # signs do not count there: "5.5 -6.1" is a range
    if owner is not None:
        start, end, _ = reading.mentions[owner]
        return reading.notes.number_with(stated, [reading.text[start:end].split()[0]], unit)
    first, last = modality.part(reading.whole, match.start())
    near = [
        word[0] for word in words(reading.whole[first:last]) if not is_neutral(word[0]) and not word[0][0].isdigit()
    ]
    return bool(near) and reading.notes.number_with(stated, near, unit)
