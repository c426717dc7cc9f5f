"""What the form around a mention says of it: answers ("Asthma: none"), signs ("(-) asthma", "asthma +"), check boxes and tables.

Only an answer that fills its place decides: "Asthma: no" denies it, "Asthma: no recent attacks" does not. A year after a mention
says that it is past ("MI in 2010", "CVA 3/2015").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Answer = Literal["yes", "no", "unsure", "past"]

NO = (
    r"(?:(?:pt|patient|he|she)\s+)?(?:no|none|nil|never|denie[sd]|denied by (?:the )?patient|negative|neg|absent|n|nope|false|"
    r"not present|not known|not reported|non[- ]?reactive|not reactive|not detected|undetected|(?-i:NR)|none (?:known|"
    r"reported|noted)|never had|n/?a|not applicable|"
    r"(?:no|denies)(?: any)?(?: known| prior| past)? (?:history|hx|h/o))"
)
YES = r"(?:yes|y|yep|true|positive|pos|present|reactive|detected)"
UNSURE = r"(?:unknown|unk|unsure|uncertain|unclear|not sure|possible|possibly|questionable|suspected|pending)"
# What may follow an answer that fills its place: the cell's or the line's end, a bracket or the next label.
CLOSED = r"(?=[^\S\n]*(?:$|[\n,.;|()\[\]\t]| [ ]|[-/] |(?:[A-Z][\w'/-]*[ ]?){1,4}[:=?]))"
ANSWER = re.compile(
    rf"[^\S\n]*[(\[]?(?:(?P<no>(?i:{NO})|[-−–]+(?:ve)?|\(-\))|(?P<yes>(?i:{YES})|\++(?:ve)?|\(\+\))|(?P<unsure>(?i:{UNSURE})|\?+))"
    rf"(?:[)\]]|{CLOSED})"
)
SEPARATOR = re.compile(r"[^\S\n]*(?:[:|=\t]+|[–—]| -+ |-+>|\.{2,}|_{2,}|\?(?=[^\S\n]+\S)|[ ]{2,}(?=\S))")
LABEL_END = re.compile(r"[^.;:|=?\n\t\[\]]{1,30}+(?:[:=]|\?(?=[^\S\n]+\S))")
SIGN = re.compile(
    r"(?:[^\S\n]?(?P<no>[-−–]+)|[^\S\n]?(?P<yes>\++))(?:ve\b(?! for\b)|(?=[^\S\n]*(?:$|[\n,.;|)/]| [ ])))|(?P<more>\++)(?=\s)"
)
# In a line such as "PE neg DVT pos", "PE no, DVT yes" or "Asthma (-) COPD (+)" the signs stand after what they belong to.
ITEM_SIGN = re.compile(r"\([-−–+?]+\)|(?<![^\s])[-−–+]+(?:ve)?(?![^\s])|\b(?:negative|neg|positive|pos|yes|no)\b", re.I)
SIGN_IN_LIST = re.compile(
    r"[^\S\n]+(?:(?P<no>(?i:neg(?:ative)?)\b|(?i:no)(?=[^\S\n]*(?:[,;.|\n]|$))|[-−–]+(?=\s))"
    r"|(?P<yes>(?i:pos(?:itive)?|yes)\b|\++(?=\s)))"
)
ANSWERS_BEGIN = frozenset("nNpPyY-−–+")
LIST_PARTS = re.compile(r"[\n,;:|]|\.\s")
LONGEST_LIST = 300  # characters on either side
LIST_END = re.compile(r"[\n,;|]|\.(?:\s|$)")
# A year, which may follow a month; not a day, nor an amount.
YEAR_REACH = 44  # characters at most between a mention and where the year begins
_MONTHS = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|spring|summer|fall|winter"
_MONTH = rf"(?:(?:{_MONTHS})\w{{0,6}}\.?,?[ ]|\d{{1,2}}[/-](?:\d{{1,2}}[/-])?)"
BEFORE_YEARS = (" ", ",", "(")
DATED = re.compile(
    rf"(?:[ ]x[ ]?\d)?,?[ ]?[(]?(?:(?:back|treated|around|circa|about)[ ])?(?:in[ ](?:the[ ])?|c\.[ ]?|~[ ]?)?"
    rf"(?:(?:early|late|mid)[ -])?{_MONTH}?(?:(?:19\d\d|20[0-4]\d)s?|['’]\d\ds?|\[\*\*\d{{4}}\*\*\])(?![\w/-])"
    r"(?![ ]?(?:ml|cc|mg|g|units?|k?cal|hours|hrs?|h)\b)",
    re.I,
)
BRACKET = re.compile(
    rf"[^\S\n]?\((?:(?P<no>[-−–]+(?:ve)?|(?i:{NO}))|(?P<yes>\++(?:ve)?|(?i:{YES}))|(?P<unsure>\?+|(?i:{UNSURE})))(?:\)|,)"
)
QUALIFIED = re.compile(r"[^\S\n]?\([^()\n]{1,30}\)(?=[^\S\n]*(?:[:=|\t]| -+ ))")  # "Cancer (breast): no"
BOX = r"\[[ _]*\]|\[[^\S\n]*(?P<{0}>[xX*✓✔+yYnN-])[^\S\n]*\]|\([ _]+\)|\((?P<{0}r>[xX✓✔])\)|[☐□]|(?P<{0}c>[☑☒✓✔☓✗✘])"
BOX_BEFORE = re.compile(rf"(?:{BOX.format('mark')})[^\S\n]*\Z")
BOX_AFTER = re.compile(rf"[^\S\n]*[:=]?[^\S\n]*(?:{BOX.format('mark')})")
CHOICES = re.compile(rf"[^\S\n]*(?:{BOX.format('first')})?[^\S\n]*\(?(?P<answer>(?i:yes|no|y|n))\b\)?")
FIRST_BOX, LAST_BOX = (re.compile(rf"[^\S\n]*(?:{BOX.format(name)})") for name in ("first", "last"))
BOXES = re.compile(r"\[|[☐□☑☒✓✔☓✗✘]|\([ _xX]+\)")
COLON = re.compile(r"[^\S\n]*[:=]?")
BOX_FIRST = re.compile(r"[ \t\-*•]*(?:[A-Z][\w /&-]{0,40}:[ \t]*)?(?:\[[^\[\]\n]{0,2}\]|\([ xX_]\)|[☐□☑☒✓✔])")
TICKS = "xX*✓✔+yY☑☒"
SIGN_BEFORE = re.compile(r"(?:^|(?<=[\s,;:(/]))(?:\((?P<bracket>[-−–+?]+)\)|(?P<plain>[-−–+](?:ve)?|\?+))[^\S\n]*\Z")
SIGN_FOR = re.compile(r"(?:^|(?<=[\s,;:(]))(?P<sign>[-−–+])(?:ve)?[^\S\n]+for[^\S\n]+\Z")
VALUE = re.compile(r":[ \t]*([A-Za-z]{4,})(?=[ \t]*(?:$|[\n:,;.)]))")  # one word that fills its place
BULLETS = "-−–*•·▪◦"
DASHES = "-−–"
ENDS_OF_MINUS = (*DASHES, ")", "ve")
DENIES = re.compile(rf"[^\S\n]*(?i:{NO})(?: any)? ")
CLOSING = frozenset(("", ".", ";", ")", "\n", "\r"))
NO_FORM = frozenset(("", ".", ";", ")", "\n", "\r", ",", "/"))
WORD = re.compile(r"[^\S\n]*[(\[]?([A-Za-z]+|[-−–+?]+)")
_FIRST_WORDS = (
    "pt patient he she no none nil never denies denied negative neg absent n nope false not na yes "
    "y yep true positive pos present reactive detected non nonreactive undetected nr "
    "unknown unk unsure uncertain unclear possible possibly questionable suspected pending"
)
FIRST_WORDS = frozenset(_FIRST_WORDS.split())
ENDS_OF_SIGNS = frozenset("?)]-−–+_☐□☑☒✓✔☓✗✘")
FORM_REACH = 34  # characters after a mention within which a label's colon is looked for


@dataclass(frozen=True, slots=True)
class Mark:
    """``answer``: what the form says; ``end``: where the answer ends, the words of which are no cues; ``list``: whether it holds
    for the mentions after this too, as "- for" does."""

    answer: Answer
    end: int
    list: bool = False


def mark(text: str, start: int, end: int, taken: int = 0) -> Mark | None:  # noqa: PLR0911 - most leave early
    """What the form says of the mention ``text[start:end]``; None if it is in no form. ``taken``: where the last answer ended.

    >>> mark("Asthma: none", 0, 6).answer, mark("(+) asthma", 4, 10).answer, mark("Asthma: no attacks", 0, 6)
    ('no', 'yes', None)
    """
    before = text[start - 1 : start] if start else ""
    if before == " ":
        before = text[start - 2 : start - 1]
    follow = text[end : end + 1]
    if follow in CLOSING and before not in ENDS_OF_SIGNS and before not in ("r", "e"):
        return None
    if before == "r" and text[max(start - 4, 0) : start - 1] == "for" and (sign := _sign_for(text, start)):
        return sign
    if before == "-" and text[max(start - 3, 0) : start] in ("\n- ", "- "):
        before = ""  # a bullet
    signed = before in ENDS_OF_SIGNS or (before == "e" and text[max(start - 4, 0) : start].strip()[-2:] == "ve")
    if signed and (found := _before(text, start, end, taken)):
        return found
    after = text[end : end + FORM_REACH]
    if follow in BEFORE_YEARS and (dated := _dated(text, end)):
        return dated
    if follow == " ":
        follow = after[1:2]
        if follow in ANSWERS_BEGIN and (listed := SIGN_IN_LIST.match(text, end)) and _trails(text, start, listed.end()):
            return Mark(_chosen(listed), listed.end())
        if follow.isalnum() or follow in NO_FORM:
            return _labelled(text, end) if ":" in after or "?" in after else None
    if follow in NO_FORM:
        return _labelled(text, end) if follow == "," and ":" in after else None
    if (
        follow == ":"
        and (word := WORD.match(text, end + 1))
        and word[1][0].isalpha()
        and word[1].lower() not in FIRST_WORDS
    ):
        return None
    return _after(text, start, end)


def _dated(text: str, end: int) -> Mark | None:
    near = text[end : end + YEAR_REACH + 3]
    if not ("20" in near or "19" in near or "'" in near or "’" in near or "[*" in near):
        return None
    dated = DATED.match(text, end)
    return Mark("past", dated.end()) if dated else None


def _before(text: str, start: int, end: int, taken: int) -> Mark | None:
    line = text.rfind("\n", 0, start) + 1
    begin = max(line, start - 12)
    near = text[begin:start]
    if (box := BOX_BEFORE.search(near)) and (begin == line or BOX_FIRST.match(text, line)):
        head = text[line:begin] + near[: box.start()]
        mixed = BOX_AFTER.match(text, end) is not None and not BOX_FIRST.match(text, line)
        labelled = re.match(r"[^\S\n]*(?::|-[^\S\n])[^\S\n]*\w", text[end : end + 12])
        if not mixed and not labelled and (BOX_FIRST.match(text, line) or not head.strip()):
            return Mark("yes" if _ticked(box, "mark") else "no", start)
    if not (sign := SIGN_BEFORE.search(near)):
        return None
    at = begin + sign.start()
    if at < taken or (text[max(at - 2, line) : at].strip()[-1:].isalnum() and _trails(text, start, end)):
        return None  # it belongs to what stands before it
    written = sign["bracket"] or sign["plain"]
    if "?" in written:
        return Mark("unsure", start)
    if written[0] == "+":
        return Mark("yes", start)
    return Mark("no", start) if sign["bracket"] or "v" in written or _denies(text, start, at, line) else None


def _trails(text: str, start: int, end: int) -> bool:
    """Whether in the list around a mention the signs stand after their items: it begins with an item and ends with a sign."""
    first = max(start - LONGEST_LIST, 0)
    begin = max((part.end() for part in LIST_PARTS.finditer(text, first, start)), default=first)
    stop = LIST_END.search(text, end, end + LONGEST_LIST)
    items = text[begin : stop.start() if stop else end + LONGEST_LIST].strip()
    signs = list(ITEM_SIGN.finditer(items))
    return bool(signs) and signs[0].start() > 0 and signs[-1].end() == len(items)


def minus_before(text: str, start: int) -> bool:
    """Whether a minus that denies stands right before the place, as before "hx" in "-CP, -hx DVT"."""
    if not text[max(start - 2, 0) : start].strip().endswith(ENDS_OF_MINUS):
        return False
    line = text.rfind("\n", 0, start) + 1
    begin = max(line, start - 4)
    sign = SIGN_BEFORE.search(text[begin:start])
    if sign is None or (sign["bracket"] or sign["plain"])[0] not in DASHES:
        return False
    return sign["bracket"] is not None or _denies(text, start, begin + sign.start(), line)


def _denies(text: str, start: int, dash: int, line: int) -> bool:
    """Whether a dash before a mention is a minus, not a bullet or a dash between words."""
    stop = text.find("\n", start)
    rest = text[line : stop if stop >= 0 else len(text)]
    signs = re.search(r"(?:^|[\s,;:(])\+\s?\w", rest) is not None
    if signs:
        return True
    if dash + 1 != start:
        return False
    if text[line:dash].strip():
        return True
    above = text[:line].rstrip().rpartition("\n")[2].strip()
    below = text[stop + 1 : stop + 80].lstrip()[:1] if stop >= 0 else ""
    if above.startswith("+") or below == "+":
        return True
    listed = above[:1] in BULLETS or below in BULLETS
    return not ((above[:1] and listed) or (below and listed) or above.endswith(":"))


def _sign_for(text: str, start: int) -> Mark | None:
    if not (sign := SIGN_FOR.search(text[max(start - 12, 0) : start])):
        return None
    return Mark("yes" if sign["sign"] == "+" else "no", start, list=True)


def _after(text: str, start: int, end: int) -> Mark | None:  # noqa: PLR0911 - a form after the other is tried
    if text[end : end + 2].lstrip(" ")[:1] in "([-−–+":
        for form in (BRACKET, SIGN):
            if match := form.match(text, end):
                return Mark(_chosen(match), match.end())
        if qualified := QUALIFIED.match(text, end):
            end = qualified.end()
    separator = SEPARATOR.match(text, end)
    at = separator.end() if separator else end
    if BOXES.search(text, at, at + 8) and (box := _boxes(text, end)):
        return box
    if separator is None:
        return Mark("unsure", end + 1) if text[end : end + 1] == "?" else _labelled(text, end)
    if "|" in separator[0] and (column := _column(text, start, end)):
        return column
    if answer := _answer(text, at):
        return answer
    if separator[0].strip() == "?":
        return Mark("unsure", end + 1)
    if text[at : at + 2].lstrip(" ")[:1] not in "nNdD":
        return None
    repeats = DENIES.match(text, at)  # the denial that repeats its question: "Anxiety: denies anxiety"
    if repeats and text[repeats.end() : repeats.end() + end - start].lower() == text[start:end].lower():
        return Mark("no", at)
    return None


def _answer(text: str, at: int) -> Mark | None:
    first = WORD.match(text, at)
    if first is None or (first[1].lower() not in FIRST_WORDS and first[1][0].isalpha()):
        return None
    answer = ANSWER.match(text, at)
    return Mark(_chosen(answer), answer.end()) if answer else None


def _labelled(text: str, end: int) -> Mark | None:
    """The answer to a label that holds more than the mention: "Stroke or TIA: no"."""
    label = LABEL_END.match(text, end)
    return _answer(text, label.end()) if label else None


def _boxes(text: str, end: int) -> Mark | None:
    """The box after the mention, or that of its two boxes for yes and no which is ticked."""
    colon = COLON.match(text, end)
    at = colon.end() if colon else end
    answers: list[tuple[bool, str]] = []
    for _ in range(2):
        choice = CHOICES.match(text, at)
        if choice is None:
            break
        trailing = None if answers and answers[0][0] else LAST_BOX.match(text, choice.end())
        first = FIRST_BOX.match(text, at) is not None
        ticked = _ticked(choice, "first") if first else trailing is not None and _ticked(trailing, "last")
        answers.append((ticked, choice["answer"].lower()))
        at = choice.end() if first or trailing is None else trailing.end()
    if len(answers) == 2 and answers[0][0] != answers[1][0]:
        return Mark("yes" if (answers[0] if answers[0][0] else answers[1])[1].startswith("y") else "no", at)
    line = text.rfind("\n", 0, end) + 1
    box = BOX_AFTER.match(text, end)
    if box is None or BOX_FIRST.match(text, line):
        return None
    return Mark("yes" if _ticked(box, "mark") else "no", box.end())


def _ticked(box: re.Match[str], name: str) -> bool:
    tick = box[name] or box[f"{name}r"] or box[f"{name}c"]
    return tick is not None and tick in TICKS


def _chosen(match: re.Match[str]) -> Answer:
    groups = match.groupdict()
    if groups.get("no") is not None:
        return "no"
    return "unsure" if groups.get("unsure") is not None else "yes"


def _column(text: str, start: int, end: int) -> Mark | None:
    """The answer of a table whose header names the columns yes and no, one of which is marked in the mention's row."""
    line = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    cells = _cells(text[line : stop if stop >= 0 else len(text)])
    marked = [n for n, cell in enumerate(cells) if cell.lower() in ("x", "✓", "✔", "*")]
    if len(marked) != 1:
        return None
    for above in reversed(text[max(line - 4000, 0) : line].splitlines()):
        header = [cell.lower() for cell in _cells(above)]
        if "yes" in header and "no" in header and marked[0] < len(header):
            answer: Answer | None = "yes" if header[marked[0]] == "yes" else "no" if header[marked[0]] == "no" else None
            return Mark(answer, end) if answer else None
    return None


def _cells(row: str) -> Sequence[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
