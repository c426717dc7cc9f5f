"""Decides one by one which matches in a text count: what they stand for may depend on the words and the matches around them.

A qualifier becomes part of the mention after it, a heading gives way to the finding under it, and a mention may share its last
words with others before it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter

from emerge_ehr.rag.mentions import guards
from emerge_ehr.rag.mentions.candidates import Head
from emerge_ehr.rag.mentions.dictionary import HEADERS, NEAR, Entry, Target
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.mentions.forms import VALUE
from emerge_ehr.rag.mentions.guards import HEADING_REACH
from emerge_ehr.rag.mentions.lines import wrapped
from emerge_ehr.rag.mentions.no_disease import FOLLOWED

# What may stand between a heading and the finding under it: "chest pain / ASHD: hyperlipidemia", "Strokes: stroke"
HEADED = re.compile(r"(?: / [^:\n/]{1,30})?:[ \t]*(?:\w+ )?")
# A heading that names a class of diseases, of which the finding is one: "valve disease: mitral stenosis"
CLASS = re.compile(
    r"\b(?:(?:disease|disorder|dementia|malignancy|infection|dysfunction)s?|injury|malignancies"
    r"|(?:arrhythmia|dysrhythmia)s?|(?:anemia|cancer|tumor)s)\Z",
    re.IGNORECASE,
)
DENYING = re.compile(r":[ \t]*(?:no|not|denies|without|never|negative|neg)\b", re.IGNORECASE)
NUMBER = r"[<>~=]?\d+(?:\.\d+)?(?![\d)])"  # "PE 2)" is the end of a list's item
PHRASE_END = re.compile(r"[ \t]*(?:[,.;:)\n]|$)|[ \t]+(?:and|or|with|who)\b")
JOINTS = ("and ", " or ", "/or ", "and\n", " or\n", "/")
JOINT = re.compile(r"(?:,?\s+(?:and|or|and/or)\s+|/)\Z")
LISTED = re.compile(r",\s{1,2}\Z")
LONGEST_JOINT = 12  # characters
SHORTEST = 2  # characters of what shares the last words
JOINED_REACH = 120  # characters before a mention within which what shares its last words may begin
MADE = guards.TARGET | guards.FORM  # of a mention whose words are not those of the match
INHERITANCE = re.compile(r"(?:autosomal|x)[ -]", re.IGNORECASE)
# Start, end, number of the sentence, entry of the dictionary, its kind and what is to be asked of it (``guards.py``)
Event = tuple[int, int, int, Entry, int]
# How many settled matches come before it, start, end, number of the first and the last sentence, entry, what is to be asked
Match = tuple[int, int, int, int, int, Entry, int]


def choose(
    patterns: Mapping[str, Entry], text: str, settled: list[Event], open_matches: Iterable[Match]
) -> tuple[list[Event], dict[int, int]]:
    """The matches that count, among them those that are ``settled`` already; and the bridged sentences: the number of a sentence
    that begins within a mention, as after the full stop of "C. diff" -> the number of the sentence that it belongs to.
    """
    events: list[Event] = []
    bridged: dict[int, int] = {}
    passed, free, qualified = 0, 0, (-1, -1)
    for earlier, start, end, first, final, entry, asked in open_matches:
        if passed < earlier:
            events += _still(settled[passed:earlier], free, bridged)
            passed = earlier
        if start < free:
            continue
        sentence = bridged.get(first, first) if bridged else first
        if isinstance(entry, Target):
            if asked & guards.COUNTS and not _counts(entry, text, start, end, first != final):
                continue
            if asked & guards.FOLLOWED and FOLLOWED.match(text, end):
                free = end  # "heart failure clinic", and no shorter name within it either
                continue
            if first != final:
                bridged.update(dict.fromkeys(range(first + 1, final + 1), sentence))
            begin = qualified[0] if qualified[1] > start - 3 and _joined(text, *qualified, start) else start
            if (
                asked & guards.JOINT
                and text[max(start - 4, 0) : start].lower().endswith(JOINTS)
                and (shared := _sharing_last_words(patterns, text, start, end, _free(events, free)))
            ):
                later = bisect_left(events, shared[0][0], key=itemgetter(0))  # heads of candidates, if any
                joint: list[Event] = [(at, stop, sentence, target, MADE) for at, stop, target in shared]
                events[later:] = sorted([*events[later:], *joint], key=itemgetter(0, 1))
            known = asked if begin == start else MADE | guards.HEADED
            if (
                known & guards.HEADED
                and events
                and ":" in text[max(events[-1][1], begin - HEADING_REACH) : begin]
                and _heads(events[-1], text, begin, entry)
            ):
                events.pop()
            valued = text[end : end + 1] == ":"
            free, meaning = _with_value(patterns, text, start, end, entry) if valued else (end, entry)
            inherited = begin < start and not valued and INHERITANCE.match(text, begin)
            meaning = _inherited(patterns, text[start:end], entry) if inherited else meaning
            events.append((begin, free, sentence, meaning, known))
        elif entry is None:
            begin = qualified[0] if _joined(text, *qualified, start) else start
            qualified = (begin, end) if end > qualified[1] else qualified  # not "X-linked" in "X-linked recessive"
        else:
            events.append((start, end, sentence, entry, asked))
            free = free if isinstance(entry, Head) else end
    events += _still(settled[passed:], free, bridged)
    return events, bridged


def _still(settled: list[Event], free: int, bridged: Mapping[int, int]) -> list[Event]:
    """Those of the settled matches that do not begin before ``free``, in bridged sentences."""
    if settled and settled[0][0] < free:
        settled = [event for event in settled if event[0] >= free]
    if bridged:
        return [(start, end, bridged.get(at, at), entry, asked) for start, end, at, entry, asked in settled]
    return settled


def _free(events: Sequence[Event], free: int) -> int:
    """Where the last match ends that takes its characters."""
    last = next((event[1] for event in reversed(events) if not isinstance(event[3], Head)), 0)
    return max(last, free)


def _heads(event: Event, text: str, begin: int, target: Target) -> bool:
    """Whether the mention before ``begin`` is only a heading of the one that begins there.

    It is if a colon joins them, and the heading names several things ("chest pain / ASHD: hyperlipidemia"), a class ("valve
    disease: mitral stenosis", "anemia: iron deficiency"), or in a list the same disease ("- Strokes: stroke").
    """
    start, end, _, entry, _ = event
    if (
        not isinstance(entry, Target)
        or ":" not in text[end:begin]
        or not (between := HEADED.fullmatch(text, end, begin))
    ):
        return False
    if "/" in between[0] or text[max(start - 3, 0) : start] == " / ":
        return True
    if entry.name == target.name:
        return text[max(start - 3, 0) : start] in ("- ", "\n- ")
    general = CLASS.search(text, start, end) or f" {entry.name} " in f" {target.name} "
    return bool(general) and not DENYING.search(between[0])


def _joined(text: str, begin: int, end: int, start: int) -> bool:
    """Whether only a space or a hyphen lies between the end of a qualifier, ``text[begin:end]``, and ``start``."""
    return begin >= 0 and 0 < start - end < 3 and text[end:start].strip(" -\n") == ""


def _sharing_last_words(
    patterns: Mapping[str, Entry], text: str, start: int, end: int, free: int
) -> list[tuple[int, int, Target]]:
    """What before "and" shares the mention's last words: start, end and meaning of each, in order of position.

    For "ovarian cancer" after "breast and" that is "breast", which stands for breast cancer; after "skin, breast and" both do.
    """
    lowest = max(start - JOINED_REACH, free)
    found: list[tuple[int, int, Target]] = []
    joint = JOINT.search(text, max(start - LONGEST_JOINT, lowest), start)
    if joint is None or joint.start() == lowest:
        return found
    words = pattern(text[start:end]).split()
    endings = [f" {' '.join(words[first:])} " for first in range(1, len(words))]
    while joint and (shared := _with_last_words(patterns, text, lowest, joint.start(), endings)):
        found.append(shared)
        joint = LISTED.search(text, max(shared[0] - 3, lowest), shared[0])
    return found[::-1]


def _with_last_words(
    patterns: Mapping[str, Entry], text: str, lowest: int, end: int, endings: Sequence[str]
) -> tuple[int, int, Target] | None:
    """Start, end and meaning of the two words or the word before ``end``, with the first of the folded endings of a mention that
    makes a name of them; None if none does.
    """
    last = _word_start(text, lowest, end)
    for begin in dict.fromkeys((_word_start(text, lowest, max(last - 1, lowest)), last)):
        if end - begin < SHORTEST or not text[begin].isalpha():
            continue
        item = text[begin:end].lower().replace("-", " ")
        for ending in endings:
            entry = patterns.get(f" {item}{ending}")
            if isinstance(entry, Target) and entry.written is None:
                return begin, end, entry
    return None


def _word_start(text: str, lowest: int, end: int) -> int:
    """Where the word that ends at ``end`` begins, at ``lowest`` at the earliest."""
    return max(text.rfind(" ", lowest, end) + 1, text.rfind("\n", lowest, end) + 1, lowest)


def _with_value(patterns: Mapping[str, Entry], text: str, start: int, end: int, target: Target) -> tuple[int, Target]:
    """The end and the meaning of a mention before a colon, with the one word after it if that tells which disease it is.

    "perforation: esophageal" is esophageal perforation.
    """
    if value := VALUE.match(text, end):
        surface = text[start:end]
        for words in dict.fromkeys((surface, surface.rsplit(maxsplit=1)[-1])):
            entry = patterns.get(pattern(f"{value[1]} {words}"))
            if isinstance(entry, Target) and entry.written is None and entry.near is None:
                return value.end(), entry
    return end, target


def _inherited(patterns: Mapping[str, Entry], surface: str, target: Target) -> Target:
    """The meaning of a mention of which a mode of inheritance is told: the hereditary disease of its name, if there is one."""
    entry = patterns.get(pattern(f"hereditary {surface}"))
    return entry if isinstance(entry, Target) and entry.written is None else target


def _counts(target: Target, text: str, start: int, end: int, crosses: bool) -> bool:
    """Whether the match ``text[start:end]`` means the target; ``crosses``: a sentence ends within it."""
    if target.written is not None and text[start:end] != target.written:
        return False
    if target.punctuated:
        if crosses and "\n\n" in text[start:end]:
            return False
    elif crosses and not wrapped(text, start, end):
        return False
    if target.turned and ("," not in text[start:end] or not PHRASE_END.match(text, end)):
        return False
    plain = target.near is None and target.unless is None and not target.word
    return plain or _context_allows(target, text, start, end)


def _in_capitals(text: str, start: int, end: int) -> bool:
    """Whether the text nearby is all in capitals, where an abbreviation cannot be distinguished from a word."""
    around = text[max(start - 20, 0) : start] + text[end : end + 20]
    return around.isupper() and sum(letter.isalpha() for letter in around) > 10


def _context_allows(target: Target, text: str, start: int, end: int) -> bool:
    if target.word and _in_capitals(text, start, end):
        return False
    if (
        target.written in HEADERS
        and text[end : end + 1] == ":"
        and not text[text.rfind("\n", 0, start) + 1 : start].strip()
    ):
        return False  # a header, such as "PE:" for physical examination
    around = text[max(start - NEAR, 0) : end + NEAR]
    if target.near is not None and not _holds(around, target.near):
        return False
    return target.unless is None or not _holds(around, target.unless)


def _holds(around: str, listed: str) -> bool:
    """Whether one of the words is in a text. Where their letters are not, the slow search for whole words can be spared."""
    if around.isascii() and listed.isascii():
        lower = around.lower()
        if not any(word in lower for word in _plain(listed)):
            return False
    return _words(listed).search(around) is not None


@cache
def _plain(listed: str) -> tuple[str, ...]:
    """What a text must hold, in small letters, that holds one of the words: of those with a number what stands before it."""
    return tuple(dict.fromkeys(word.partition("#")[0].lower() for word in listed.split("|")))


@cache
def _words(listed: str) -> re.Pattern[str]:
    ways = [re.escape(word).replace(r"\#", NUMBER) for word in listed.split("|")]
    ends = [
        (r"(?<!\w)" if word[0].isalnum() else "", r"(?!\w)" if word[-1].isalnum() else "") for word in listed.split("|")
    ]
    return re.compile("|".join(f"{before}{way}{after}" for way, (before, after) in zip(ways, ends, strict=True)), re.I)
