"""Whether a mention speaks of the patient's present: negation, family history and hypothesis within its sentence.

The rules follow the NegEx / ConText idea (Chapman et al. 2001, Harkema et al. 2009): a trigger governs the words after it (or
before it, for the few that follow what they qualify) up to the end of the sentence or a word that turns the sentence.
"""

import re

from src.datasets.preprocess.entities import Status

REACH = 300  # characters before and after a mention in which a trigger counts, however long the sentence

SENTENCE_END = re.compile(r"[.;!?](?=\s|$)|\n\s*(?=\n|[-*•#]|\d+[.)]|[A-Z][A-Za-z /]*:)")
TURN = re.compile(
    r"\b(?:but|however|although|except|aside from|apart from|yet|now with|presents? with|found to have)\b", re.I
)
BEFORE: tuple[tuple[Status, re.Pattern[str]], ...] = (
    (
        "family",
        re.compile(
            r"\b(?:family history|family hx|fhx?|(?:grand)?(?:mother|father)|parents?|brother|sister|siblings?|aunt|uncle|"
            r"cousin|son|daughter)\b",
            re.I,
        ),
    ),
    (
        "negated",
        re.compile(
            r"\b(?:no|not|denie[sd]|denying|without|negative for|absence of|absent|never had|free of|ruled out(?: for)?|"
            r"rules out|neither|nor)\b",
            re.I,
        ),
    ),
    (
        "hypothetical",
        re.compile(
            r"\b(?:if|should (?:he|she|they|the patient)|rule out|r/o|risk (?:of|for)|at risk|concern(?:ing|ed)? for|"
            r"evaluat\w+ for|work-?up for|monitor(?:ing)? for|watch for|return (?:if|for)|prophylaxis|prevent(?:ion)?(?: of)?|"
            r"screen(?:ing|ed)? for|to exclude|in case of|possibility of|suspect(?:ed)?|possible|questionable)\b",
            re.I,
        ),
    ),
)
AFTER: tuple[tuple[Status, re.Pattern[str]], ...] = (
    (
        "negated",
        re.compile(
            r"^\W*(?:(?:was|is|were|has been|have been)\s+)?(?:ruled out|excluded|negative|absent|unlikely|not seen)\b",
            re.I,
        ),
    ),
    (
        "family",
        re.compile(r"^[^,;.]{0,20}\bin (?:his|her|the|their) (?:mother|father|brother|sister|family|parents?)\b", re.I),
    ),
)


# Phrases that hold a trigger's words but negate nothing.
PSEUDO = re.compile(
    r"\b(?:no (?:increase|change|significant change|further|improvement)|not only|gram negative|no longer|without difficulty)\b",
    re.I,
)


def sentences(text: str) -> list[int]:
    """Where sentences end, ascending; the last is the text's end.

    >>> sentences("No fever. CHF.")
    [9, 14, 14]
    """
    return [*(match.end() for match in SENTENCE_END.finditer(text)), len(text)]


def status(text: str, start: int, end: int, sentence_start: int, sentence_end: int) -> Status:
    """The status of the mention ``text[start:end]`` in its sentence.

    >>> text = "denies asthma but has gout"
    >>> status(text, 7, 13, 0, len(text)), status(text, 22, 26, 0, len(text))
    ('negated', 'present')
    """
    before = text[max(sentence_start, start - REACH) : start]
    cut = max((turn.end() for turn in TURN.finditer(before)), default=0)
    governed = PSEUDO.sub(" ", before[cut:])
    for found, pattern in BEFORE:
        if pattern.search(governed):
            return found
    for found, pattern in AFTER:
        if pattern.search(text[end : min(sentence_end, end + REACH)]):
            return found
    return "present"
