"""Whose disease it is, if not the patient's: the words for relatives, and how a sentence joins a disease to one of them.

"Family" is anybody else: a relative, a spouse, a friend.
"""

import re

_RELATIVES = (
    "mother father mom mum dad parents parent brother brothers sister sisters sibling siblings aunt aunts uncle uncles cousin "
    "cousins son sons daughter daughters grandmother grandfather grandparents grandparent grandma grandpa grandson granddaughter "
    "grandchildren wife husband spouse child children niece nieces nephew nephews twin stepmother stepfather stepson stepdaughter"
)
_IN_SHORT = "mgm mgf pgm pgf sib sibs bro bros sis dtr dtrs gma"
_GRAND = tuple(f"{side} {who}" for side in ("mat", "pat", "maternal", "paternal") for who in ("gm", "gf", "gma", "gpa"))
TELLERS: tuple[str, ...] = tuple(_RELATIVES.split())  # who may also bring the patient, or tell of them
RELATIVES: tuple[str, ...] = (*TELLERS, *_IN_SHORT.split(), *_GRAND)
# They count only where a verb or "with" says that the disease is theirs.
_OTHERS = (
    "friend|partner|roommate|girlfriend|boyfriend|fiance|coworker|neighbor|sick contact|sick contacts|family member|"
    "family members|relative|relatives"
)
OTHERS = tuple(_OTHERS.split("|"))
_SUFFER = (
    "with|w/|has|had|have|has had|who has|who had|who have|diagnosed with|was diagnosed with|tested positive for|positive for|"
    "sick with|died of|died from"
)
SUFFER = tuple(_SUFFER.split("|"))
OWN = ("", "his ", "her ", "the ", "their ", "a ", "patient ", "pt ")
REPORTS = (
    "reports|reported|states|stated|says|said|notes|noticed|called|denies|brought|bedside|at bedside|at the bedside"
)
LED_BY = (
    "per|lives with|living with|brought in by|accompanied by|with help from|according to|discussed with|spoke with|history from|"
    "contacted|cared for by|met with"
)
IN_FAMILY = "|".join(
    f"in {count}{who}"
    for count in ("", "other ", "several ", "multiple ", "many ", "some ", "two ", "one ", "a ", "all ")
    for who in (
        "family member",
        "family members",
        "relatives",
        *(f"{n} degree relative{s}" for n in ("first", "second") for s in ("", "s")),
    )
)
IN_FAMILY += "".join(f"|in {own}{who}" for own in OWN for who in (*RELATIVES, "family"))
IN_FAMILY += "".join(f"|{verb} in {own}family" for verb in ("runs", "run") for own in OWN)
IN_FAMILY += "|maternal side|paternal side|maternal family|paternal family"
IN_FAMILY += "".join(f"|both sides of {own}family" for own in OWN)
# Of the patient's story, not of a relative's disease: "per his wife", "the daughter reports".
TELLING = "|".join(
    [f"{led} {own}{who}" for led in LED_BY.split("|") for own in OWN for who in TELLERS]
    + [f"{who} {verb}" for who in TELLERS for verb in REPORTS.split("|")]
)
# "lives with his wife, who has dementia": the longer phrase counts
THEIRS = "|".join(
    f"{led} {own}{who} {verb}"
    for led in ("lives with", "living with", "cared for by")
    for own in OWN
    for who in TELLERS
    for verb in ("who has", "who had", "with")
)

_ANY = "|".join(RELATIVES)
_OWNERS = r"his|her|their|the|an?|our|my|your|(?:patient|pt)(?:['’]?s)?"
RELATIVE = re.compile(rf"\b(?:{_ANY}|maternal|paternal|[mp]at)\b", re.I)
NEARBY = rf"(?!.{{0,20}}\b(?i:family|{_ANY})\b)"
# "in both parents", "in an older brother", "in his maternal grandmother": what stands before the relative.
IN = re.compile(
    rf"in(?:\s+(?:{_OWNERS}|both|one|two|three|\d|all|several|multiple|many|some|other|maternal|paternal|[mp]at\.?|older|oldest|elder|"
    r"eldest|younger|youngest|twin|half|step|first|second|great|identical|late|deceased|biological|only|of)){0,4}",
    re.I,
)
ON_SIDE = re.compile(rf"on(?:\s+(?:{_OWNERS}))?", re.I)
SIDE = re.compile(r"(?:['’]?s)?\s+side\b", re.I)
# "the pneumonia that his wife had", "the cancer that killed his father"
THAT = re.compile(rf",?\s*(?:(?:that|which|as)\s+)?(?:(?:{_OWNERS})\s+)?", re.I)
HAD = re.compile(
    r"\s+(?:also\s+)?(?:had|has|have|got|died (?:of|from)|suffered(?: from)?)\b(?=\s*(?:$|[.,;)\n]|too\b|as well\b))",
    re.I,
)
KILLED = re.compile(rf"(?:(?:that|which)\s+)?(?:killed|affected|struck)(?:\s+(?:{_OWNERS}))?", re.I)
ENDS = re.compile(rf"\s*(?:$|[.;,\n)(]|at \d|age|\d|(?:and|&) (?:\w+ )?(?:{_ANY})\b)")
REFLEXES = ("DTR", "DTRs", "DTRS")  # deep tendon reflexes; in small letters a daughter


def is_person(text: str, start: int, end: int) -> bool:
    """Whether the word for a relative means one: not the reflexes, nor milligrams ("5 mgm")."""
    word = text[start:end]
    if word in REFLEXES:
        return False
    return word.lower() != "mgm" or not text[max(start - 2, 0) : start].strip()[-1:].isdigit()


def follows(text: str, before: str, end: int) -> bool:
    """Whether the disease before ``before`` is that of the relative who is named after it, up to ``end``.

    >>> follows("lupus in both parents", " in both ", 21), follows("lupus; his mother had", "; his ", 17)
    (True, False)
    """
    words = before.strip()
    if words in ("", ",") and ENDS.match(text, end):
        return True
    if words[:1] in ("(", "-", ":"):
        return len(before) < 4
    if words[:2].lower() == "in":
        return IN.fullmatch(words) is not None
    if words[:2].lower() == "on":
        return ON_SIDE.fullmatch(words) is not None and SIDE.match(text, end) is not None
    if HAD.match(text, end):
        return THAT.fullmatch(before) is not None
    return KILLED.fullmatch(words) is not None
