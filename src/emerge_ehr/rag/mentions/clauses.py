"""What stands between a cue and a mention or around them, as far as it decides whether the cue governs the mention."""

import re

from emerge_ehr.rag.mentions.cues import Cue
from emerge_ehr.rag.mentions.relatives import follows

REACH = 300  # characters after a cue within which it governs, however long the sentence is
BACK = 30  # most characters between a mention and a cue after it that governs it
AND = re.compile(r"\s*,?\s*(?:and/or|and|or|nor|/)\s*", re.I)
COMMA = re.compile(r"\s*,\s*")
# What joins a disease to the one that it comes from: "AKI on CKD, now resolved" is said of the AKI.
ON = re.compile(r"\s+(?:on|due to|secondary to|2/2|from|in (?:the )?setting of|superimposed on)\s+", re.I)
OR_AHEAD = re.compile(r"(?:(?!\bbut\b|\bhowever\b)[^.;:]){0,200}?\b(?:or|nor)\b", re.I)
_POSSESSIVES = "his her their your my patient's patient’s pt's pt’s"
POSSESSIVES = frozenset(_POSSESSIVES.split())
_NO_ADJECTIVES = "for is was are were of with and or to in as has had on by from that if nor no"
NO_ADJECTIVES = frozenset(_NO_ADJECTIVES.split())
CLAUSE = re.compile(r"(?:,(?: and)?|\band)\s+(?:(?:the|his|her|their|a)\s+)?(?:(?!or\b|nor\b)[\w-]+\s+)?\Z", re.I)
VERB = re.compile(
    r"\s+(?:is|was|are|were|remains?|remained|has been|have been|continues?|improved|has improved|"
    r"worsened|has worsened)\b(?!\s+(?:also\s+)?"
    r"(?:not|seen|identified|noted|present|evident|appreciated|found|detected|demonstrated|"
    r"visuali[sz]ed|visible|suspected|observed|"
    r"reported|documented|apparent|ruled|excluded|absent|negative|unlikely|shown|elicited|diagnosed|felt|described))",
    re.I,
)
# "negative" after a mention denies it, unless it belongs to a noun ("negative deflections") or a word parts the two.
DENIAL_ENDS = re.compile(
    r"\s*(?:$|[^\w\s]|\n|(?:for|by|on|per|in|at|and|but|or|x\d|this|today|during|after|as|so|thus|then|based|given|with|from|"
    r"than|though|pending|yesterday|now|last|to|because|since|again|prior|[A-Z0-9])\b|(?<=\s)\d)",
    re.I,
)
PARTS = re.compile(r"\b(?:with|without|but|while|although|because|despite|has|had|showing|showed)\b", re.I)
ASSERTS = re.compile(
    r"(?:,|\band|\bbut)\s+(?:(?:he|she|pt|patient)\s+)?(?:also\s+)?(?:has|had|with)\s+(?:\w+\s+){0,2}\Z", re.I
)
# Before a mention: the patient has it, whatever the one after "and" is said of.
HAS = re.compile(r"\b(?:has|have|had|with)\s+(?:\w+\s+){0,2}\Z", re.I)
# Between a cue that yields and the mention that it then governs: an adjective or two.
# Before a cue that governs only if it begins its sentence: "Two years ago", "As a child".
OPENING = re.compile(r"(?:^|[\n.;:•*-]|\d\))[^\S\n]*(?:[\w~]+[^\S\n]+){0,2}\Z")
_NO_QUALIFIERS = (
    "after before during given due likely when while since because than vs versus if so then but he she it this patient"
)
NO_QUALIFIERS = NO_ADJECTIVES.union(_NO_QUALIFIERS.split())
ADJECTIVES = re.compile(r"[^\S\n]*(?:[A-Za-z][\w-]*[^\S\n]+){0,2}")
AND_HAS = re.compile(r"\band (?:also )?(?:has|had)\b", re.I)


def begins_clause(text: str, start: int, end: int, denied_from: int | None) -> bool:
    """Whether the mention ``text[start:end]`` begins a clause of its own, so that what denies it or what it is considered by does
    not reach it. ``denied_from``: where the cue ends that denies it, if one does.

    That is said by a possessive, which presupposes the disease ("worsening of his asthma"), or by a verb that asserts it
    ("no fever, and the gout is stable").
    """
    for word in text[max(start - 40, 0) : start].lower().split()[:-4:-1]:
        if word in POSSESSIVES:
            return True
        if word in NO_ADJECTIVES or not word.isalpha():
            break
    if denied_from is None or not VERB.match(text, end):
        return False
    return CLAUSE.search(text, max(start - 40, denied_from), start) is not None


def begins_sentence(text: str, start: int) -> bool:
    """Whether at most two words of a sentence stand before a cue such as "years ago"."""
    return OPENING.search(text, max(start - 30, 0), start) is not None


def stays_denied(text: str, cue: Cue, start: int, end: int) -> bool:
    """Whether what governs also reaches past the cue: no comma comes before it, it is an adjective, as in "no angina, prior
    MI", or an "or" after it shows that the list goes on. A verb of its own asserts: "denies asthma and has a history of"."""
    if ASSERTS.search(text, max(start - 40, 0), start):
        return False
    return not comma_before(text, start) or cue.within or OR_AHEAD.match(text, end) is not None


def comma_before(text: str, start: int) -> bool:
    """Whether a comma comes right before the place."""
    return text[max(start - 10, 0) : start].rstrip().endswith(",")


def reaches(text: str, cue: Cue, end: int, start: int) -> bool:
    """Whether a cue that ends at ``end`` governs a mention after it that begins at ``start``."""
    if cue.reach == "list":
        return start - end <= REACH
    if cue.reach == "touching":
        return start - end <= 3
    between = text[end:start]
    if cue.reach == "next" and ":" in between.lstrip(" :"):
        return False  # "s/p hip surgery: fracture": what follows the colon is the reason, which may be present
    return start - end <= (REACH if cue.reach == "comma" else BACK) and "," not in between


def reaches_back(text: str, cue: Cue, between: str, end: int) -> bool:
    """Whether a cue that ends at ``end`` governs the mention before it, from which ``between`` parts it."""
    relative = cue.status == "family" and cue.direction == "both"
    if relative:
        return len(between) <= BACK and follows(text, between, end)
    near = 3 if cue.reach == "touching" else BACK
    if len(between) > near or "," in between.strip(" ,:()-\n"):
        return False
    if not cue.closing:
        return True
    return PARTS.search(between) is None and DENIAL_ENDS.match(text, end) is not None


def leads_to(text: str, end: int, start: int) -> bool:
    """Whether only an adjective or two stand between a cue that yields and the mention that it then governs."""
    between = ADJECTIVES.fullmatch(text, end, start)
    return between is not None and NO_QUALIFIERS.isdisjoint(between[0].lower().split())
