"""Where in a patient's notes a mention stands, and the words around it that say how severe and when.

A title, an assessment or a list of diagnoses says what matters now; a past history says what does not.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from emerge_ehr.rag.mentions.folding import small

PAST, OTHER, CURRENT = 0, 1, 2
HEADER = re.compile(
    r"^[ \t#*]*(?P<line>[A-Za-z][A-Za-z0-9 /&,'()-]{1,58}?)[ \t]*(?::|$)|(?P<capitals>\b[A-Z][A-Z /&]{3,40}):",
    re.MULTILINE,
)
PAST_HEADER = re.compile(
    r"\b(?:past|prior|previous|pmhx?|psh|comorbid\w*|background|medications?|meds|allerg\w+|social|family|fh)\b",
    re.IGNORECASE,
)
CURRENT_HEADER = re.compile(
    r"\b(?:assessment|impression|diagnos[ei]s|dx|chief complaint|cc|reason for|problems?|plan|a ?[/&] ?p|presenting|indication|"
    r"conclusion|hospital course|consult(?:ation)?|active)\b",
    re.IGNORECASE,
)
OTHER_HEADER = re.compile(
    r"\b(?:present illness|hpi|examination|exam|vitals?|vital signs|labs?|laboratory|results|data|imaging|review of systems|ros|"
    r"studies|course|events|subjective|objective)\b",
    re.IGNORECASE,
)
LONGEST_TITLE = 80
SEVERE = (
    "severe|severely|massive|critical|critically|fulminant|life-threatening|decompensated|refractory|acute|worsening|worsened|"
    "unstable|uncontrolled|poorly controlled|advanced|end-stage|end stage|extensive|metastatic|profound|impending"
)
MILD = "mild|mildly|minor|trace|stable|resolved|resolving|improving|improved|controlled|well-controlled|well controlled|remote"
OTHERS = (
    "acute on chronic|chronic|subacute|moderate|moderately|new|recurrent|persistent|known|large|small|bilateral|recent"
)
CERTAINTY = "probable|probably|possible|possibly|suspected|confirmed|acute on chronic|chronic|new|recurrent"
WITH = "rapid ventricular (?:response|rate)|rvr|(?:acute )?exacerbation|shock|hypotension|respiratory failure|hypoxia"
STAGE = r"(?:stage|grade|class|type) (?:[IVX]{1,4}|\d)[a-cA-C]?\b"
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
DATE = rf"(?:{MONTH} (?:of )?)?(?:19|20)\d\d|\d{{1,2}}/(?:\d{{1,2}}/)?(?:19|20)?\d\d"
COUNT = r"\d{1,2}|an?|one|two|three|four|five|six|seven|eight|nine|ten|several|few|many"
AGO = rf"(?:{COUNT}) (?:hours?|days?|weeks?|months?|years?|yrs?) (?:ago|prior|earlier|before)"
ON = rf"(?:diagnosed |dx(?:'?d)? |first )?(?:in|since|on|from|about|around|~) (?:{DATE})"
TIME = rf"(?:{ON}|\(?(?:{DATE})\)?|{AGO}|at (?:the )?age (?:of )?\d{{1,3}})"
BEFORE = re.compile(rf"(?:\b(?:{OTHERS}|{SEVERE}|{MILD})[ -])+$")
TIME_BEFORE = re.compile(
    rf"\b(?:in|since) (?:{DATE}),? (?:(?:s?he|the patient|pt) )?(?:had|suffered|developed) (?:an? )?$"
)
AFTER = re.compile(
    rf"(?:(?:,? \(?|: ?| - )(?:{SEVERE}|{MILD}|{STAGE}|{CERTAINTY})\)?\b\)?)?"
    rf"(?: with (?:{WITH})\b)?(?:,? (?:status post|s/p) [a-z]+)?(?:,?[ ]{TIME}(?!\d))?",
    re.IGNORECASE,
)
# What an item of a list says of its disease: all that stands behind a colon, dash, bracket or such a word.
ITEM = re.compile(r"[ \t]*[-*•][ \t]+[^\n]*\Z")
OF_ITEM = re.compile(r"(?:\(s\))?(?:: ?| - | \(| (?:with|due to|secondary to|requiring|from) )[^\n;]{1,60}(?=\n|;|\Z)")
OTHER_WORDS = re.compile(r"\.\s|\bnot\b|\bwithout\b")  # a denial would seem to be the disease's own
SEVERE_WORD, MILD_WORD = (re.compile(rf"\b(?:{words})\b") for words in (SEVERE, MILD))
# Patterns of small letters, as they are searched: what threatens life within days, whatever words stand around it.
GRAVE = re.compile(
    r"\b(?:shock|sepsis|septic\w*|septicemia|arrest|respiratory (?:failure|distress)|acute \w+ (?:failure|syndrome|injury)|"
    r"emboli\w*|infarction|stroke|ha?emorrhag\w*|bleed\w*|ketoacidosis|status epilepticus|perforat\w*|ruptur\w*|tamponade|"
    r"dissection|meningitis|encephal\w+|coma|disseminated intravascular coagulation|anaphyla\w*|pneumonia|peritonitis|"
    r"ischemi\w*|rhabdomyolysis|overdose|intoxication|tension pneumothorax|liver failure|necroti[sz]ing)\b"
)

FAILED = re.compile(r"\b(?:shock|arrest|coma)\b")  # what such a disease comes to at worst


@dataclass(frozen=True, slots=True)
class NoteStart:
    """Where a note begins in a patient's joined notes, and its type."""

    start: int
    note_type: str


@dataclass(frozen=True)
class Places:
    """The parts of a patient's notes: ``weights[i]`` is that of the text from ``starts[i]`` on; ``notes``: where notes begin."""

    starts: Sequence[int]
    weights: Sequence[int]
    notes: Sequence[int]

    def weight(self, position: int) -> int:
        """``CURRENT`` under a title, an assessment or diagnoses, ``PAST`` under a past history, else ``OTHER``."""
        return self.weights[bisect_right(self.starts, position) - 1]

    def recency(self, position: int) -> float:
        """The share of the notes that begin no later than the one at ``position``: 1 in the last note."""
        return bisect_right(self.notes, position) / len(self.notes)


def places(text: str, notes: Sequence[NoteStart]) -> Places:
    """The parts of the joined notes ``text``, of which ``notes`` are the beginnings, in order."""
    beginnings = notes or (NoteStart(0, ""),)
    starts, weights = [0], [OTHER]
    for number, note in enumerate(beginnings):
        end = beginnings[number + 1].start if number + 1 < len(beginnings) else len(text)
        base = _weight(note.note_type)
        base = OTHER if base is None else base
        starts.append(note.start)
        weights.append(base)
        line_end = text.find("\n", note.start, end)
        title = text[note.start : line_end if line_end >= 0 else end]
        if 0 < len(title) <= LONGEST_TITLE and not title.rstrip().endswith((".", ":")):
            starts += [note.start, note.start + len(title)]
            weights += [PAST if PAST_HEADER.search(title) else CURRENT, base]
        for header in HEADER.finditer(text, note.start, end):
            weight = _weight(header["line"] or header["capitals"])
            if weight is not None:
                starts.append(header.start())
                weights.append(weight)
    return Places(starts, weights, [note.start for note in beginnings])


def _weight(header: str) -> int | None:
    """The weight of what stands under a header, or in a note of this type; None if the words are not a known header's."""
    if PAST_HEADER.search(header):
        return PAST
    if CURRENT_HEADER.search(header):
        return CURRENT
    return OTHER if OTHER_HEADER.search(header) else None


def quote(text: str, start: int, end: int) -> str:
    """The mention ``text[start:end]`` with the words around it, on its line, that say how severe and when.

    >>> note = "He had a severe stroke in 1995, and takes aspirin."
    >>> quote(note, 16, 22)
    'severe stroke in 1995'
    >>> quote("- COPD - severe", 2, 6)
    'COPD - severe'
    """
    before = small(text[max(start - 40, 0) : start])
    found = BEFORE.search(before) or TIME_BEFORE.search(before)
    begin = start - len(found[0]) if found else start
    is_item = ITEM.match(text, text.rfind("\n", 0, start) + 1, start)
    item = OF_ITEM.match(text, end, min(end + 80, len(text))) if is_item else None
    if item and not OTHER_WORDS.search(item[0]):
        return text[begin : item.end()].rstrip()
    following = AFTER.match(text, end, min(end + 60, len(text)))
    return text[begin : following.end() if following else end]


def severity(words: str) -> int:
    """1 for words such as severe or acute, -1 for mild or resolved, 0 without any."""
    lower = small(words)
    return 1 if SEVERE_WORD.search(lower) else -1 if MILD_WORD.search(lower) else 0


def grave(names: str) -> bool:
    """Whether one of the names is of a disease that threatens life within days."""
    return bool(GRAVE.search(small(names)))


def gravity(words: str) -> int:
    """2 where the words tell of shock, arrest or coma, 1 of another disease that threatens life within days, else 0.

    >>> gravity("septic shock"), gravity("severe sepsis"), gravity("gout")
    (2, 1, 0)
    """
    return 2 if FAILED.search(small(words)) else int(grave(words))
