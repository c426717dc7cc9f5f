"""The sections of a note: where a header begins one, and where it ends.

A header stands at a line's start or after a full stop, and is followed by a colon or, alone on its line, by the line's end.
Its section ends at an empty line, at the next header, or at a sentence that says of the patient what the section does not ("The
patient has ...").
"""

import re
from collections.abc import Mapping

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.lines import CONTINUATIONS
from emerge_ehr.rag.mentions.relatives import NEARBY, RELATIVE

_KNOWN = (
    "Allergies|Medications|Assessment|Plan|Labs|Vitals|Exam|Imaging|Impression|Findings|Hospital|Discharge|Indication|HPI|"
    "Pertinent|Diagnosis|Diagnoses|Course|Results|Recommendations|Subjective|Objective"
)
# An empty line, or the next header: two capitalised words, a word in capitals or a common header, and a colon. It
# begins with one set of characters, as the search then skips all others fast.
_HEADER = rf"[A-Z][A-Za-z]*(?:[ /][A-Za-z&]+){{1,5}}|[A-Z]{{4,}}|{_KNOWN}"
_INLINE = rf"[A-Z]{{3,}}(?:[ /&]+[A-Z]+){{0,5}}|[A-Z][a-z]+(?:(?:[ /]| and | of )[A-Z][a-z]+){{1,4}}|{_KNOWN}"
SECTION_END = re.compile(
    rf"[\n.;](?:(?<=\n)(?:[ \t\r]*\n|[ \t]*(?:{_HEADER})[ \t]*:)|(?<=[.;])[ \t]+(?:{_INLINE})[ \t]*:)"
)
# Headers that fill a line without a colon.
_HISTORIES = (
    "|past |past medical |past surgical |past psychiatric |past medical and surgical |past medical/surgical |"
    "prior medical |medical |"
    "surgical |psychiatric |family |family medical |social |social and family |family and social |family/social |"
    "medication |sexual |"
    "substance use |occupational |obstetric |birth |travel |smoking |tobacco |drug "
)
_MEDICATIONS = "|home |current |discharge |admission |outpatient |inpatient |scheduled |prior to admission "
_OTHERS = (
    "pmh|pmhx|psh|pshx|fh|fhx|sh|shx|hpi|history of present illness|ros|a/p|a&p|review of systems|chief complaint|code status|"
    "allergies|allergy|drug allergies|known allergies|immunizations|medications on admission|physical exam|"
    "physical examination|exam|"
    "examination|vitals|vital signs|labs|lab data|lab results|laboratory data|laboratory results|laboratory studies|results|"
    "pertinent results|imaging|radiology|microbiology|studies|impression|impressions|assessment|assessment and plan|"
    "assessment & plan|"
    "assessment/plan|plan|hospital course|brief hospital course|disposition|discharge disposition|discharge instructions|"
    "discharge condition|recommendations|subjective|objective|consults|follow up|followup|follow-up"
)
HEADERS = frozenset(
    [f"{kind}{word}" for kind in _HISTORIES.split("|") for word in ("history", "hx")]
    + [f"{kind}{word}" for kind in _MEDICATIONS.split("|") for word in ("medications", "meds")]
    + _OTHERS.split("|")
)
# These end a section too, but may stand at its begin, as a part of it.
_PARTS = "problem list|problems|active problems|findings|procedures|diagnosis|diagnoses|discharge diagnosis|discharge diagnoses"
PARTS = HEADERS.union(_PARTS.split("|"))
MARKS = " \t\r#*"
MARKS_BEFORE, ENDS_BEFORE = " \t#*", ".;"  # what may stand between the line's begin, or a sentence's end, and a header
INDENT = 4  # characters before a header in which that is looked for
SECTION_HEAD = re.compile(r"[ \t]*(?::[ \t]*|\r?$)", re.M)
HEAD_BEGINS = (":", " ", "\t", "\n", "\r")
FILLED = re.compile(r"\S")
_HAS = (
    r"(?:(?:also|currently|now|himself|herself)[ ]+)*(?:has|had|have|is a|was|takes|suffers|presents|carries|reports)\b"
)
# Sentences that leave a section: of allergies any that tells of the patient, of the family one that names the patient.
LEAVES: Mapping[Status, re.Pattern[str]] = {
    "hypothetical": re.compile(rf"[.;]\s+(?:He|She|They|Pt|Patient|The (?:patient|pt)|(?:Mr|Mrs|Ms)\.? \S+)[ ]+{_HAS}"),
    "family": re.compile(
        rf"[.;]\s+(?:(?:Pt|Patient|The (?:patient|pt))[ ]+{_HAS}|(?:He himself|She herself)\b)"
        rf"{NEARBY}"
    ),
}


def section(text: str, start: int, end: int, status: Status, listed: bool) -> int | None:
    """Where the section ends whose header is ``text[start:end]``; None if that is no header.

    ``listed``: a header that must have its findings below it, such as "Denies:".

    >>> text = "Family History\\nGout\\nPlan\\nRest"
    >>> text[section(text, 0, 14, "family", listed=False) :]
    '\\nPlan\\nRest'
    """
    if text[end : end + 1] not in HEAD_BEGINS:
        return None
    line = text.rfind("\n", 0, start) + 1
    before = text[max(line, start - INDENT) : start].strip(MARKS_BEFORE) if line < start else ""
    if before and before[-1] not in ENDS_BEFORE:
        return None
    head = SECTION_HEAD.match(text, end)
    if head is None or not _is_header(text, (line, start, end), head, inline=before != "", listed=listed):
        return None
    filled = FILLED.search(text, head.end())
    begin = filled.start() if filled else len(text)
    until = next(
        (match.start() for match in SECTION_END.finditer(text, begin) if not RELATIVE.search(match[0])), len(text)
    )
    until = _bare_header(text, begin, until, first="\n" in text[end:begin])
    leaves = LEAVES[status].search(text, begin, until) if status in LEAVES and not listed else None
    return leaves.start() if leaves else until


def _bare_header(text: str, begin: int, until: int, *, first: bool) -> int:
    """Where in ``text[begin:until]`` the first header stands that fills its line; ``until`` if none does.

    ``first``: the text begins with a line, which may be such a header or one with a colon.
    """
    lines = text[begin:until].split("\n")
    if first and lines[0].partition(":")[0].strip(MARKS).lower() in HEADERS:
        return begin
    at = begin + len(lines[0])
    for line in lines[1:]:
        name = line.lower()
        if name in PARTS or ((line[:1] in MARKS or line[-1:] in MARKS) and name.strip(MARKS) in PARTS):
            return at
        at += len(line) + 1
    return until


def _is_header(text: str, at: tuple[int, int, int], head: re.Match[str], *, inline: bool, listed: bool) -> bool:
    """Whether it is one that stands ``at`` the line's begin, its own and its end; ``head``: the colon or line end after it.

    ``inline``: it stands after a full stop.
    """
    line, start, end = at
    alone = text[head.end() : head.end() + 1] in ("", "\n", "\r")
    if listed and not alone:
        return False
    written = text[start:end]
    titled = written in (written.upper(), written.title())
    if ":" not in head[0]:
        capital = written[:1].isupper()
        return not inline and (capital or not listed) and not _is_wrapped(text, line, head.end(), capital)
    return titled or (alone and not inline)


def _is_wrapped(text: str, line: int, end: int, capital: bool) -> bool:
    """Whether a line without a colon is a piece of a sentence: its words go on in the next line, or come from the one before."""
    after = text[end : end + 40].split(maxsplit=1)[:1]
    if after and after[0] in CONTINUATIONS:
        return True
    above = text[:line].rstrip(" \t\r\n")[-1:] if not capital and text[max(line - 2, 0) : line].strip("\r\n") else ""
    return above.isalnum() or above == ","
