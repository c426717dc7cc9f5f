"""How the words of statements and notes are compared: stems, synonyms, numbers in words, and words that state nothing."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from emerge_ehr.rag import word_lists

NUMBER = re.compile(r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\d])")
WORD = re.compile(r"[A-Za-zµ]+(?:[’'][a-z]+)?|(?<![\w.,])\d+(?:[.,]\d+)*")
ENDING = re.compile(
    r"(?:ations?|ational|ated|ates?|ating|ator|ively|ives?|ings?|edly|ed|ions?|ies|ied|ily|ity|ous|ness|ments?|ally|als?|ly|ers?"
    r"|ors?|ic|es|e|s|y)$"
)
UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
]
UNITS += ["eighteen", "nineteen"]
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CARDINALS = {word: n for n, word in enumerate(UNITS)} | {word: 10 * n for n, word in enumerate(TENS, 2)}
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
NUMBER_WORDS = re.compile(
    rf"\b(?:{'|'.join([*CARDINALS, 'hundred'])})(?:[ -](?:and )?(?:{'|'.join([*CARDINALS, 'hundred', 'point'])}))*\b",
    re.I,
)
ORDINAL = re.compile(rf"\b(?:({'|'.join(ORDINALS)})|(\d+)(?:st|nd|rd|th)) (hour|day)\b", re.I)


@lru_cache(200_000)
def stem(word: str) -> str:
    """The word without its ending, and for synonyms the same for all of them.

    >>> stem("Intubated") == stem("intubation"), stem("stopped") == stem("held"), stem("CT")
    (True, True, 'ct')
    """
    lower = word.lower().replace("’", "'").removesuffix("'s")
    return _synonyms().get(_bare(lower), _bare(lower))


def _bare(lower: str) -> str:
    short = ENDING.sub("", lower)
    if len(short) < 3:
        return lower
    return short[:-1] if len(short) > 3 and short[-1] == short[-2] and short[-1] not in "ls" else short


@cache
def _synonyms() -> dict[str, str]:
    return {
        _bare(word): _bare(group[0])
        for group in _groups("synonyms.txt")
        for word in group[1:]
        if _bare(word) not in {_bare(first[0]) for first in _groups("synonyms.txt")}
    }


@cache
def _groups(file: str) -> tuple[tuple[str, ...], ...]:
    lines = Path(__file__).with_name(file).read_text("utf-8").splitlines()
    return tuple(tuple(line.split()) for line in lines if line and not line.startswith("#"))


@cache
def _neutral() -> frozenset[str]:
    listed = {word for line in _groups("neutral_words.txt") for word in line}
    return frozenset(listed | {_bare(word) for word in listed if len(word) > 4})


@lru_cache(200_000)
def is_neutral(word: str) -> bool:
    """Whether the word states nothing about a patient by itself.

    >>> is_neutral("Documented"), is_neutral("intubated")
    (True, False)
    """
    lower = word.lower().replace("’", "'").removesuffix("'s")
    return lower in _neutral() or len(lower) < 2 or (len(lower) > 4 and _bare(lower) in _neutral())


def words(text: str) -> Iterator[re.Match[str]]:
    """Words and numbers of a text."""
    return WORD.finditer(text)


@lru_cache(200_000)
def broader(word: str) -> tuple[str, ...]:
    """The words for what a word means or belongs to: of an abbreviation, and of a drug its classes.

    >>> broader("EF"), broader("apixaban")[0]
    (('ejection', 'fraction'), 'anticoagulant')
    """
    return tuple(term for pattern, terms, _ in _broader() if pattern.fullmatch(word.lower()) for term in terms)


@lru_cache(200_000)
def written_out(word: str) -> tuple[str, ...]:
    """The words of which a word is the abbreviation; none if it is no abbreviation.

    >>> written_out("CXR"), written_out("apixaban")
    (('chest', 'x', 'ray', 'radiograph'), ())
    """
    return next(
        (terms for pattern, terms, kind in _broader() if kind == "short" and pattern.fullmatch(word.lower())), ()
    )


@cache
def _broader() -> tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...]:
    path = Path(__file__).with_name("broader_words.csv")
    rows = word_lists.read(path, "broader_words.csv", ("word", "means", "kind"))
    return tuple((re.compile(row["word"]), tuple(row["means"].split()), row["kind"]) for row in rows)


def with_digits(text: str) -> str:
    """The text with its numbers in digits; "one" stays, as it seldom counts anything.

    >>> with_digits("high for twelve hours, then one hundred and forty-two"), with_digits("twenty-five point five")
    ('high for 12 hours, then 142', '25.5')
    """
    if not re.search(r"[a-z]", text):
        return text
    return NUMBER_WORDS.sub(lambda match: _digits(match[0]), text)


def _digits(phrase: str) -> str:
    whole, _, fraction = phrase.lower().replace("-", " ").partition(" point ")
    parts = [part for part in whole.split() if part != "and"]
    if parts == ["one"]:
        return phrase
    total = 0
    for part in parts:
        total = max(total, 1) * 100 if part == "hundred" else total + CARDINALS.get(part, 0)
    decimals = "".join(str(CARDINALS.get(part, "")) for part in fraction.split())
    return f"{total}.{decimals}" if decimals else str(total)


def ordinal(match: re.Match[str]) -> int:
    """The number that a match of ``ORDINAL`` states."""
    return ORDINALS.index(match[1].lower()) + 1 if match[1] else int(match[2])


def number(text: str) -> float | None:
    """The number that a word is, in digits or letters; None if it is none.

    >>> number("1,840"), number("two"), number("to")
    (1840.0, 2.0, None)
    """
    if text[0].isdigit():
        try:
            return float(text.replace(",", ""))
        except ValueError:
            return None
    value = CARDINALS.get(text.lower())
    return None if value is None else float(value)
