"""Words that the cues are made of, and the other spellings of a cue: "hasn't been seen", "not r/o'd"."""

import re
from collections.abc import Iterator

PREVENTED = (
    "vaccine",
    "vaccinated",
    "vaccination",
    "immunization",
    "immunized",
    "immunisation",
    "immunised",
    "inoculation",
)
# "doesn't look like pneumonia": denied as by "not", since the verb tells of the patient.
_TELL = (
    "think believe suspect appear seem represent suggest show reveal develop suffer get demonstrate see find identify"
)
UNCERTAIN = "|".join(f"{verb}n't {what}" for verb in ("do", "does", "did") for what in ("look like", *_TELL.split()))
YEARS = "|".join(f"in {year}" for year in range(1940, 2040))
LOW = ("low", "very low", "intermediate")
CHANCES = tuple(
    f"{kind}{word}" for kind in ("", "pretest ", "pre-test ", "clinical ") for word in ("probability", "prob")
)
_SPANS = ("years", "year", "yrs", "yr", "months", "month", "mos", "decades", "decade")
_YOUNG = ("child", "kid", "teenager", "teen", "baby", "infant", "adolescent", "boy", "girl", "young man", "young woman")
_AGES = ("teens", "twenties", "thirties", "forties", "20s", "30s", "40s", "50s", "60s", "70s")
PAST = "|".join(
    [f"{unit} {back}" for unit in _SPANS for back in ("ago", "back", "prior", "earlier")]
    + [f"as {a}{who}" for a in ("", "a ", "an ", "a young ") for who in (*_YOUNG, "young adult")]
    + [
        f"when {who} was {young}"
        for who in ("he", "she")
        for young in ("young", "little", "a child", "a kid", "a teenager")
    ]
    + [
        f"in {whose} {age}"
        for whose in ("his", "her")
        for age in (*_AGES, "youth", "childhood", "infancy", "adolescence")
    ]
    + [f"{when} {age}" for when in ("in", "during") for age in ("childhood", "infancy", "adolescence")]
    + [f"last {time}" for time in ("year", "month", "spring", "summer", "fall", "winter")]
    + ["in the past", "in the distant past", "in the remote past", "long ago", "when young"]
)
_ALLERGENS = (
    "pcn|penicillin|penicillins|sulfa|sulfas|sulfonamides|nkda|nka|no known|none|unknown|codeine|asa|aspirin|nsaids|"
    "nsaid|ibuprofen|morphine|demerol|dilaudid|percocet|vicodin|oxycodone|hydrocodone|tramadol|iodine|contrast|"
    "iv contrast|dye|latex|tape|"
    "adhesive|amoxicillin|ampicillin|augmentin|zosyn|cephalosporins|keflex|cefazolin|ceftriaxone|vancomycin|vanco|levaquin|"
    "levofloxacin|cipro|ciprofloxacin|bactrim|erythromycin|azithromycin|clindamycin|doxycycline|tetracycline|flagyl|"
    "metronidazole|"
    "shellfish|peanuts|peanut|eggs|bee stings|lisinopril|ace inhibitors|acei|ace|statins|heparin|reglan|compazine|haldol|"
    "phenergan|ativan|gabapentin|dilantin|phenytoin"
)
ALLERGENS = tuple(_ALLERGENS.split("|"))

_NOT = re.compile(r"\b(is|was|are|were|has|have|had|do|does|did|could) not\b|\bcan ?not\b")
# Which verbs are contracted with "not" before the words after it.
_VERBS = (
    ("not been", "has have had"),
    ("not be", "ca could"),
    ("not have", "do does did"),
    ("not exclude", "ca could do does did"),
    ("not rule out", "ca could do does did"),
    ("not take", "do does did"),
    ("not tolerate", "do does did ca could"),
    ("not", "is are was were"),
)


def spellings(phrase: str) -> Iterator[str]:
    """The other ways to write a cue: contracted, and "r/o'd" for "ruled out".

    >>> list(spellings("was not ruled out"))
    ["wasn't ruled out", "was not r/o'd", "wasn't r/o'd", "was not r/o'ed", "wasn't r/o'ed"]
    """
    ways = [phrase, *_contracted(phrase)]
    if "ruled out" in phrase:
        ways += [way.replace("ruled out", short) for short in ("r/o'd", "r/o'ed") for way in ways]
    yield from ways[1:]


def _contracted(phrase: str) -> Iterator[str]:
    if match := _NOT.search(phrase):
        yield f"{phrase[: match.start()]}{match[1] or 'ca'}n't{phrase[match.end() :]}"
        return
    begins, verbs = next((row for row in _VERBS if f"{phrase} ".startswith(f"{row[0]} ")), ("", ""))
    for verb in verbs.split() if begins else ():
        yield f"{verb}n't{phrase[3:]}"
