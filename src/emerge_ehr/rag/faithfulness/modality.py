"""How a text speaks of something: denied, of a relative, planned, stopped or past. Statements and notes are read alike."""

import re

from emerge_ehr.rag.mentions.folding import small

Modality = frozenset[str]
PART = re.compile(r"[.;!?](?=\s|$)|\n|\b(?:but|however|although|though|while|whereas|yet)\b", re.I)
JOINT = re.compile(r",|\(|\)|\b(?:and|as well as|or|then|plus)\b", re.I)
NEGATION = r"no|not|never|none|nor|without|denies|denied|denying|deny|cannot|unable|neither|w/o"
ASIDE = "on|by|at|after|since|per|via|during|despite"  # what follows these is not what is denied
# Patterns of small letters, as they are searched.
NEGATED_BEFORE = re.compile(
    rf"\b(?:{NEGATION}|negative for|(?<!was )(?<!were )(?<!been )(?<!is )(?:excluded|excludes|ruled out|rules out)(?! by| on)"
    r"|absence of|free of|free from|lacks?|(?:doesn|didn|isn|wasn|hasn|hadn)['’]t)\b(?! only\b)(?: (?:on|in))?"
    rf"(?:(?!\b(?:{ASIDE})\b)(?:[^,]|,(?= (?:or|nor|and) )|,(?=[^,]{{1,40}},? (?:or|nor) ))){{0,80}}$",
)
NEGATED_AFTER = re.compile(
    r"^(?:\W+\w+){0,3}?(?:\W+(?:negative(?! for)|absent|unremarkable)\b"
    r"|\W+(?:is|was|are|were|has|have|had|been|does|did|not) (?:been )?"
    r"(?:not|never|no longer|denied|ruled out|excluded|declined|refused)\b"
    r"|\W+(?:denied|ruled out|excluded|r/o['’]?d)(?=[^\w]*$))",
)
FAMILY = re.compile(
    r"\b(?:mother|father|brother|sister|sibling|son|daughter|aunt|uncle|cousin|parents?|relatives"
    r"|relative(?=\s*(?:$|[.,;)]|with\b|who\b|had\b|has\b))"
    r"|grand(?:mother|father|parents?|sons?|daughters?|child(?:ren)?)|family|maternal|paternal"
    r"|mom|dad|wife|husband|spouse|niece|nephew)(?:['’]?s)?\b",
)
FAMILY_HISTORY = re.compile(r"family history[^.]{0,20}$")
PLANNED = re.compile(
    r"\b(?:plan(?:ned|s|ning)?|await\w*|pending|will|ordered|scheduled|suspect\w*|suspicion|possibl[ey]|probabl[ey]|question(?:able)?|"
    r"considered?|considering|if needed|tomorrow|expected|to be|rule out|r/o|concern(?:ing)? for|candidates?|candidacy|potential"
    r"|may|might|anticipated|at risk|evaluate for|eventual|recommend\w*|offered|discussed)\b|\?",
)
STOPPED = re.compile(
    r"\b(?:held|hold|stop(?:ped)?|discontinued?|withheld|d/c['’]?d|refus\w+|declin(?:ed|es)|non-?complian\w+|nonadheren\w+|allerg\w+"
    r"|reversed|avoid\w*|off|suspended|ceased|intoleran\w+|missed|missing|ran out|skipp\w+)\b",
)
FORMER = re.compile(r"\b(?:former(?:ly)?|ex|quit|no longer|used to|resolved|until)\b")
PAST = re.compile(
    r"\b(?:history|hx|h/o|prior|previous(?:ly)?|past|ago|last (?:year|month)|former(?:ly)?|s/p|status post|remote|earlier|old"
    r"|(?:19|20)\d\d|january|february|march|april|june|july|august|september|october|november|december)\b",
)
CURRENT = re.compile(
    r"\b(?:new(?:ly)?|current(?:ly)?|ongoing|now|active(?:ly)?|(?:this|present) (?:hospital )?(?:admission|stay|visit|encounter)"
    r"|this hospitali[sz]ation|in hospital|recent(?:ly)?|presents? with|presented with|today|still)\b",
)
TIME_UNIT = re.compile(r"\s?-?(hours?|h|hrs?|days?|d|weeks?|months?|years?|yrs?|minutes?|min)\b", re.I)
WORDS = (("planned", PLANNED), ("stopped", STOPPED), ("former", FORMER), ("past", PAST), ("current", CURRENT))


def segment(text: str, position: int) -> tuple[int, int]:
    """Where the part between commas or "and" around ``position`` begins and ends."""
    first, last = part(text, position)
    start = max((match.end() for match in JOINT.finditer(text, first, position)), default=first)
    after = JOINT.search(text, position, last)
    return start, after.start() if after else last


def part(text: str, position: int) -> tuple[int, int]:
    """Where the part of the sentence around ``position`` begins and ends."""
    low, high = max(position - 300, 0), position + 300
    start = max((match.end() for match in PART.finditer(text, low, position)), default=low)
    after = PART.search(text, position, high)
    return start, after.start() if after else min(len(text), high)


def at(text: str, start: int, end: int, itself: bool = True) -> Modality:
    """How the text speaks of ``text[start:end]``; ``itself``: by these words too ("planned"); no name does so ("active TB").

    >>> sorted(at("No fever, but metoprolol was held", 14, 24)), sorted(at("Her mother has no asthma", 18, 24))
    (['stopped'], ['family', 'negated'])
    """
    first, last = part(text, start)
    before, after = small(text[first:start]), small(text[end:last])
    close = before.rpartition(",")[2] + (small(text[start:end]) if itself else " _ ") + after.partition(",")[0]
    found = {name for name, pattern in WORDS if pattern.search(close)}
    if NEGATED_BEFORE.search(before) or NEGATED_AFTER.match(after):
        found.add("negated")
    if FAMILY.search(close) or FAMILY_HISTORY.search(small(text[max(first - 30, 0) : first])):
        found.add("family")
    return frozenset(found)


def allows(noted: Modality, stated: Modality) -> bool:
    """Whether what the notes say so may be stated so."""
    if ("negated" in noted) != ("negated" in stated) or ("family" in noted and "family" not in stated):
        return False
    if any(kind in noted and kind not in stated for kind in ("planned", "stopped", "former")):
        return False
    return not ("current" in stated and "past" in noted and "past" not in stated)
