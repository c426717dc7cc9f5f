"""Finds words that a language model copied from a text, also where it typed them otherwise.

Models write straight quotes and hyphens for curly quotes and dashes, take ligatures and soft hyphens apart, compose accents, and
change the case and the white space. Such a copy is looked for in the text folded as the rules fold it; what is returned are
places in the text as it is.
"""

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.mentions.folding import APOSTROPHES, fold, pattern

# One character that stands for several letters -> these
LIGATURES = {
    "ﬀ": "ff",
    "ﬁ": "fi",
    "ﬂ": "fl",
    "ﬃ": "ffi",
    "ﬄ": "ffl",
    "ﬅ": "st",
    "ﬆ": "st",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ß": "ss",
}
LIGATURE = re.compile("[" + "".join(LIGATURES) + "]")
SIGNS = str.maketrans(
    {**dict.fromkeys(APOSTROPHES, "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)


def typed(words: str) -> str:
    """The words as one types them: composed letters, straight quotes, plain hyphens, single spaces, nothing invisible.

    >>> typed("Crohn’s\\xa0 dis\\xadease"), typed("ﬁbrillation")
    ("Crohn's disease", 'fibrillation')
    """
    seen = "".join(character for character in words if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).translate(SIGNS).split())


def places(text: str, words: str) -> list[tuple[int, int]]:
    """Where the words stand in the text, as whole words: as written or, if nowhere, in any case or, if nowhere, typed otherwise.

    A blank may be a line break in the text.

    >>> places("Known Crohn’s dis\\xadease.", "crohn's disease")
    [(6, 22)]
    """
    if not words.split():
        return []
    regex = r"(?<!\w)" + r"\s+".join(map(re.escape, words.split())) + r"(?!\w)"
    matches = list(re.finditer(regex, text)) or list(re.finditer(regex, text, re.IGNORECASE))
    return [match.span() for match in matches] or _folded_places(text, words)


def _folded_places(text: str, words: str) -> list[tuple[int, int]]:
    expanded, position = _expanded(text)
    folded, wanted = fold(expanded), pattern(_expanded(words)[0])
    found: list[tuple[int, int]] = []
    at = folded.text.find(wanted) if wanted.strip() else -1
    while at >= 0:
        first, last = (
            at,
            at + len(wanted) - 2,
        )  # among the characters that were kept: the first, and the space after the last
        start = int(position[folded.original(np.array([first]))[0]])
        end = len(text) if last >= len(folded.text) - 2 else int(position[folded.original(np.array([last]))[0]])
        while text[end - 1] in APOSTROPHES:
            end -= 1
        if _other_letters(text[start:end]) == _other_letters(words):
            found.append((start, end))
        at = folded.text.find(wanted, at + len(wanted) - 1)
    return found


def _expanded(text: str) -> tuple[str, NDArray[np.int64]]:
    """The text with its ligatures taken apart, and for each of its characters the position in the text."""
    if not LIGATURE.search(text):
        return text, np.arange(len(text) + 1)
    parts = [LIGATURES.get(character, character) for character in text]
    lengths = np.array([*map(len, parts), 1])
    return "".join(parts), np.repeat(np.arange(len(text) + 1), lengths)


def _other_letters(words: str) -> str:
    """The letters of other alphabets, which all fold to one sign, so that they must be compared themselves."""
    plain = unicodedata.normalize("NFKC", LIGATURE.sub("", words)).casefold()
    return "".join(
        letter for letter in plain if letter.isalpha() and not unicodedata.normalize("NFKD", letter)[0].isascii()
    )
