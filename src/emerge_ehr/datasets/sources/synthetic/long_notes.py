"""Lays out notes as hospitals do: planted sentences among sections, lists, tables and text copied from the days before.

Everything but the planted sentences is drawn without regard to the patient. A note has ``SHORTEST`` to ``LONGEST``
characters.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from emerge_ehr.datasets.sources.synthetic.phrases import Phrases

SHORTEST, LONGEST = 2_000, 20_000
# Of a note's own sections, those that the notes after it copy
COPIED = ("reason", "present", "family", "history", "events", "care", "labs", "plan")


class Sentence(NamedTuple):
    """A planted sentence; ``kind`` decides the section that it stands in."""

    kind: Literal["reason", "history", "disease", "family", "care", "film", "end"]
    text: str


@dataclass(frozen=True)
class Note:
    """A note before it is laid out; ``minute`` after ICU admission."""

    kind: str
    minute: int
    sentences: Sequence[Sentence]


@dataclass(frozen=True)
class Filling:
    """The text around the planted sentences: ``lines`` by section, and ``labs`` with usual value, spread and decimals."""

    lines: Mapping[str, Sequence[str]]
    labs: Mapping[str, tuple[float, float, int]]


@cache
def filling() -> Filling:
    """What stands in ``long_notes.toml``."""
    raw = tomllib.loads(Path(__file__).with_name("long_notes.toml").read_text(encoding="utf-8"))
    return Filling(raw["lines"], {name: tuple(values) for name, values in raw["labs"].items()})


def laid_out(notes: Sequence[Note], phrases: Phrases, rng: np.random.Generator) -> list[str]:
    """The texts of a stay's notes. Each but the reports of films ends with a copy of those before it, the newest first."""
    texts: list[str] = []
    earlier: list[tuple[str, str]] = []  # title and text of what later notes copy
    for note in notes:
        sections = LAYOUTS[note.kind](note.sentences, rng)
        text = "\n\n".join(_section(phrases, name, body) for name, body in sections.items() if body)
        if note.kind != "Radiology":
            own = [_section(phrases, name, body) for name, body in sections.items() if body and name in COPIED]
            text = _with_copies(text, earlier, phrases)
            earlier.append((f"{phrases.headers['copied']} HOUR {note.minute // 60}", "\n\n".join(own)))
        texts.append(text)
    return texts


def _with_copies(text: str, earlier: Sequence[tuple[str, str]], phrases: Phrases) -> str:
    """The note with as many of the earlier ones below it, newest first, as it may hold."""
    for title, copy in reversed(earlier):
        longer = f"{text}\n\n{title}:\n\n{copy}"
        if len(longer) > LONGEST:
            break
        text = longer
    return text


def _section(phrases: Phrases, name: str, body: str) -> str:
    """The text under its header; the planted lists of past and of family diseases bring their own."""
    header = phrases.headers.get(name)
    return body if header is None else f"{header}:\n{body}"


def _admission(sentences: Sequence[Sentence], rng: np.random.Generator) -> dict[str, str]:
    return {
        "reason": _of(sentences, "reason"),
        "present": _mixed(sentences, "disease", "present", (8, 18), rng),
        "history": _of(sentences, "history"),
        "family": _of(sentences, "family"),
        "care": _mixed(sentences, "care", "care", (4, 12), rng),
        "medications": _list("medications", (6, 26), rng),
        "review": _lines("review", 0.8, rng),
        "exam": _lines("exam", 0.85, rng),
        "labs": _labs((14, 24), (1, 5), rng),
        "imaging": _lines("imaging", 0.6, rng),
        "plan": _lines("plan", 0.8, rng),
        "signed": _lines("attestation", 0.7, rng),
    }


def _progress(sentences: Sequence[Sentence], rng: np.random.Generator) -> dict[str, str]:
    return {
        "events": _mixed(sentences, "disease", "events", (5, 12), rng),
        "family": _of(sentences, "family"),
        "care": _mixed(sentences, "care", "care", (4, 12), rng),
        "current": _list("medications", (6, 26), rng),
        "exam": _lines("exam", 0.85, rng),
        "labs": _labs((10, 24), (1, 6), rng),
        "imaging": _lines("imaging", 0.4, rng),
        "plan": _lines("plan", 0.9, rng),
        "signed": _lines("attestation", 0.7, rng),
    }


def _film(sentences: Sequence[Sentence], rng: np.random.Generator) -> dict[str, str]:
    # nearly all lines, since a report has no copies that lengthen it
    return {
        "imaging": f"{_lines('radiology', 1, rng)}\n{_of(sentences, 'film')}",
        "signed": _lines("attestation", 1, rng),
    }


def _discharge(sentences: Sequence[Sentence], rng: np.random.Generator) -> dict[str, str]:
    return {
        "course": _mixed(sentences, "end", "events", (8, 14), rng),
        "medications": _list("medications", (12, 26), rng),
        "exam": _lines("exam", 0.85, rng),
        "labs": _labs((14, 24), (2, 4), rng),
        "signed": _lines("attestation", 0.7, rng),
    }


LAYOUTS: Mapping[str, Callable[[Sequence[Sentence], np.random.Generator], dict[str, str]]] = {
    "Admission note": _admission,
    "Radiology": _film,
    "Progress note": _progress,
    "Discharge summary": _discharge,
}


def _of(sentences: Sequence[Sentence], kind: str) -> str:
    """The planted sentences of the kind, one a line."""
    return "\n".join(_capital(sentence.text) for sentence in sentences if sentence.kind == kind)


def _mixed(
    sentences: Sequence[Sentence], kind: str, section: str, count: tuple[int, int], rng: np.random.Generator
) -> str:
    """The planted sentences of the kind among ``count`` sentences of the filling, in paragraphs of one to four sentences."""
    planted = [_capital(sentence.text) for sentence in sentences if sentence.kind == kind]
    others = _drawn(section, count, rng)
    order = rng.permutation(len(planted) + len(others))
    mixed = [(planted + others)[index] for index in order]
    ends = rng.random(len(mixed)) < 0.4
    return "".join(f"{text}\n" if end else f"{text} " for text, end in zip(mixed, ends, strict=True)).strip()


def _list(section: str, count: tuple[int, int], rng: np.random.Generator) -> str:
    return "\n".join(f"{place}. {line}" for place, line in enumerate(_drawn(section, count, rng), start=1))


def _lines(section: str, share: float, rng: np.random.Generator) -> str:
    """About this share of the section's lines, in their order."""
    lines = filling().lines[section]
    kept = rng.random(len(lines)) < share
    return "\n".join(line for line, keep in zip(lines, kept, strict=True) if keep)


def _labs(rows: tuple[int, int], columns: tuple[int, int], rng: np.random.Generator) -> str:
    """A table of results, the newest first; the numbers are drawn without regard to the patient and to the lab file."""
    names = list(filling().labs)
    chosen = np.sort(rng.permutation(len(names))[: rng.integers(rows[0], rows[1] + 1)])
    width = int(rng.integers(columns[0], columns[1] + 1))
    head = "".join(f"{f'-{8 * back} h':>9}" for back in range(width))
    table = [f"{'':<30}{head}"]
    for name in (names[index] for index in chosen):
        usual, spread, digits = filling().labs[name]
        table.append(f"{name:<30}{''.join(f'{value:>9.{digits}f}' for value in rng.normal(usual, spread, width))}")
    return "\n".join(table)


def _drawn(section: str, count: tuple[int, int], rng: np.random.Generator) -> list[str]:
    """So many different lines of the section, in any order."""
    lines = filling().lines[section]
    wanted = int(rng.integers(count[0], count[1] + 1))
    return [lines[index] for index in rng.permutation(len(lines))[:wanted]]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
