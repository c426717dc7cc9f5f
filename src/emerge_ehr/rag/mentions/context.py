"""The status of a mention: present, past, denied, of the family, or only considered.

After NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029) and ConText (Harkema et al. 2009, doi 10.1016/j.jbi.2009.05.002):
a cue governs the mentions after it (or before it) in its sentence, up to a turn, a word such as "but" that ends its effect.
Besides, a header such as "Family History:" governs its section. Cues and mentions are read in one pass, in order of position.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.cues import Cue, phrases
from emerge_ehr.rag.mentions.folding import Folded, codes, fold_codes, pattern
from emerge_ehr.rag.mentions.forms import Mark, mark, minus_before
from emerge_ehr.rag.mentions.lines import breaks
from emerge_ehr.rag.mentions.relatives import follows, is_person
from emerge_ehr.rag.mentions.sections import section

REACH = 300  # characters after a cue within which it governs, however long the sentence is
BACK = 30  # most characters between a mention and a cue after it that governs it
ORDER: tuple[Status, ...] = (
    "family",
    "negated",
    "hypothetical",
    "historical",
)  # the first wins where several cues govern
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
MAY_BREAK = re.compile(r"[\n.;!?)#]")  # a text without any of these is one sentence
LISTING: tuple[Status | None, ...] = ("negated", "hypothetical")
LISTED = Cue("forward", "negated")  # what "- for" begins


@dataclass(slots=True)
class Reader:
    """Is given the cues and mentions of one text in order of position, each with its sentence's number.

    ``spans`` and ``statuses`` then hold the position and the status of each mention.
    """

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    active: dict[Status, tuple[int, Cue]] = field(default_factory=dict)  # the cues that govern, each with its end
    _sentence: int = -1
    _first: int = 0  # the sentence's first mention
    _turned: bool = False  # whether the sentence has come to the present
    _answer_end: int = 0  # where the last answer of a form ends
    _section: Status | None = None
    _section_end: int = 0
    # Of the last cue, if it yields and governs what is before it: its end, the cue, and the statuses in its sentence without it.
    _yielding: tuple[int, Cue, list[Status]] | None = None

    def mention(self, start: int, end: int, sentence: int, *, form: bool = True, alone: bool = False) -> None:
        """Take a mention. Its status is that of the cue that governs it so far; a later cue may change it.

        ``form``: it may stand in a form; ``alone``: no cue stands in its sentence.
        """
        if alone and (not self.active or sentence != self._sentence):
            self.spans.append((start, end))
            self.statuses.append(self._section or "present" if start < self._section_end else "present")
            return
        if sentence != self._sentence:
            self._enter(sentence)
        if self._yielding:
            self._yield(start)
        status = self._governing(start) if self.active else None
        if status in ("negated", "hypothetical") and self._is_subject(status, start, end):
            status = None
        if status is None and start < self._section_end and not (self._turned and self._section == "historical"):
            status = self._section
        if form and (found := mark(self.text, start, end, self._answer_end)):
            status = self._answered(found, status)
        self.spans.append((start, end))
        self.statuses.append(status or "present")

    def _answered(self, form: Mark, status: Status | None) -> Status | None:
        """The status of a mention in a form, which had ``status`` without it."""
        self._answer_end = form.end
        if form.list:
            self.active.pop("negated", None)
            if form.answer == "no":
                self.active["negated"] = (form.end, LISTED)
        if status == "family":
            return status
        if form.answer == "past":
            return status or "historical"
        if form.answer == "yes":
            return None if status in ("negated", "hypothetical") else status
        return "negated" if form.answer == "no" or status == "negated" else "hypothetical"

    def _is_subject(self, status: Status, start: int, end: int) -> bool:
        """Whether the mention begins a clause of its own, so that what governs does not reach it.

        That is said by a possessive, which presupposes the disease ("worsening of his asthma"), or by a verb that asserts it
        ("no fever, and the gout is stable").
        """
        for word in self.text[max(start - 40, 0) : start].lower().split()[:-4:-1]:
            if word in POSSESSIVES:
                return True
            if word in NO_ADJECTIVES or not word.isalpha():
                break
        if status != "negated" or not VERB.match(self.text, end):
            return False
        cue_end = self.active["negated"][0] if "negated" in self.active else start
        return CLAUSE.search(self.text, max(start - 40, cue_end), start) is not None

    def cue(self, cue: Cue, start: int, end: int, sentence: int) -> None:
        """Take a cue: it begins to govern, ends what governs, or changes the status of mentions before it."""
        if sentence != self._sentence:
            self._enter(sentence)
        self._yielding = None
        if cue.direction == "nothing" or start < self._answer_end:
            return
        if cue.direction == "turn":
            self._turn(cue, start, end)
            return
        if (cue.section or cue.heading or self.text[end : end + 1] == ":") and self._opens_section(cue, start, end):
            return
        if cue.direction != "forward":
            if cue.status == "family" and not is_person(self.text, start, end):
                return
            before = self.statuses[self._first :] if cue.yields else []
            back = self._govern_back(cue, start, end)
            if back and cue.yields:
                self._yielding = (end, cue, before)
            if back and not cue.alternatives:
                return
        if cue.direction != "backward" and cue.status is not None:
            self._begin(cue, cue.ahead or cue.status, start, end)

    def _begin(self, cue: Cue, status: Status, start: int, end: int) -> None:
        """Let the cue govern what comes after it, as ``status``."""
        if cue.opening:
            if not OPENING.search(self.text, max(start - 30, 0), start):
                return
            end += self.text[end : end + 1] == ","
        if status == "historical" and minus_before(self.text, start):
            status = "negated"
        if status == "historical" and self.active and not self._stays_denied(cue, start, end):
            self.active.clear()
        if cue.reach != "touching" or status not in self.active:
            self.active[status] = (end, cue)

    def _yield(self, start: int) -> None:
        """Let the last cue govern the mention at ``start`` and not those before it, if only adjectives part it from that."""
        assert self._yielding is not None
        end, cue, before = self._yielding
        self._yielding = None
        between = ADJECTIVES.fullmatch(self.text, end, start)
        if cue.status is None or between is None or not NO_QUALIFIERS.isdisjoint(between[0].lower().split()):
            return
        self.statuses[self._first :] = before
        self.active[cue.ahead or cue.status] = (end, cue)

    def _stays_denied(self, cue: Cue, start: int, end: int) -> bool:
        """Whether what governs also reaches past the cue: no comma comes before it, it is an adjective, as in "no angina, prior
        MI", or an "or" after it shows that the list goes on. A verb of its own asserts: "denies asthma and has a history of"."""
        if ASSERTS.search(self.text, max(start - 40, 0), start):
            return False
        return not self._comma_before(start) or cue.within or OR_AHEAD.match(self.text, end) is not None

    def _enter(self, sentence: int) -> None:
        self._sentence = sentence
        if self.active:
            self.active.clear()
        self._turned = False
        self._yielding = None
        self._first = len(self.spans)

    def _governing(self, start: int) -> Status | None:
        governing: Status | None = None
        for status in ORDER:
            if status in self.active:
                end, cue = self.active[status]
                if self._reaches(end, cue, start):
                    governing = governing or status
                    if cue.reach != "next":
                        continue
                del self.active[status]
        return governing

    def _reaches(self, end: int, cue: Cue, start: int) -> bool:
        if cue.reach == "list":
            return start - end <= REACH
        if cue.reach == "touching":
            return start - end <= 3
        between = self.text[end:start]
        if cue.reach == "next" and ":" in between.lstrip(" :"):
            return False  # "s/p hip surgery: fracture": what follows the colon is the reason, which may be present
        return start - end <= (REACH if cue.reach == "comma" else BACK) and "," not in between

    def _turn(self, cue: Cue, start: int, end: int) -> None:
        match cue.turn:
            case "all":
                self.active.clear()
            case "now":
                self.active.clear()
                self._turned = True
            case "family":
                self.active.pop("family", None)
            case "cause":
                self.active.pop("negated", None)
                self.active.pop("hypothetical", None)
            case "after comma":
                if self.active and (
                    self._comma_before(start) or AND_HAS.search(self.text, max(start - 8, 0), start + 4)
                ):
                    self.active.clear()
            case "severity":  # "no pneumonia, mild edema", but "no fever, severe pain or rash"
                if self.active and self._comma_before(start) and not OR_AHEAD.match(self.text, end):
                    self.active.pop("negated", None)

    def _comma_before(self, start: int) -> bool:
        return self.text[max(start - 10, 0) : start].rstrip().endswith(",")

    def _opens_section(self, cue: Cue, start: int, end: int) -> bool:
        """Whether the cue is a header, whose section then begins; one that needs a colon within it is nothing else either."""
        if cue.status is None or (not cue.section and cue.status not in LISTING):
            return False
        if cue.labelled:
            colon = self.text.find(":", start, end)
            if colon < 0:
                return True
            end = colon
        section_end = section(self.text, start, end, cue.status, listed=not cue.section)
        if section_end is None:
            return cue.labelled
        self._section, self._section_end = cue.status, section_end
        return True

    def _govern_back(self, cue: Cue, start: int, end: int) -> bool:
        """Whether the cue governs the mention before it; if so, set that mention's status, and that of mentions which "and" or
        "or" joins to it."""
        last = len(self.spans) - 1
        if last < self._first or cue.status is None:
            return False
        between = self.text[self.spans[last][1] : start]
        if not self._reaches_back(cue, between, end):
            return False
        while last > self._first and ON.fullmatch(self.text[self.spans[last - 1][1] : self.spans[last][0]]):
            last -= 1
            if cue.status != "historical":
                break
        self._correct(last, cue.status)
        joined = False
        for n in range(last, self._first, -1):
            link = self.text[self.spans[n - 1][1] : self.spans[n][0]]
            joined = joined or AND.fullmatch(link) is not None
            if not joined or not (AND.fullmatch(link) or COMMA.fullmatch(link)):
                break
            if cue.status == "family" and HAS.search(
                self.text, max(self.spans[n - 1][0] - 30, 0), self.spans[n - 1][0]
            ):
                break
            self._correct(n - 1, cue.status)
        return True

    def _reaches_back(self, cue: Cue, between: str, end: int) -> bool:
        """Whether a cue that ends at ``end`` governs the mention before it, from which ``between`` parts it."""
        relative = cue.status == "family" and cue.direction == "both"
        if relative:
            return len(between) <= BACK and follows(self.text, between, end)
        near = 3 if cue.reach == "touching" else BACK
        if len(between) > near or "," in between.strip(" ,:()-\n"):
            return False
        if not cue.closing:
            return True
        return PARTS.search(between) is None and DENIAL_ENDS.match(self.text, end) is not None

    def _correct(self, n: int, status: Status) -> None:
        now = self.statuses[n]
        if now == "present" or ORDER.index(status) < ORDER.index(now):
            self.statuses[n] = status


@cache
def _cues() -> tuple[object, Sequence[Cue]]:
    from ahocorasick_rs import AhoCorasick

    listed = phrases()
    return AhoCorasick(list(listed)), tuple(listed.values())


def statuses(text: str, spans: Iterable[tuple[int, int]]) -> list[Status]:
    """The status of each mention ``text[start:end]``; ``spans`` must be in order of position and must not overlap.

    >>> statuses("denies asthma but has gout", [(7, 13), (22, 26)])
    ['negated', 'present']
    """
    mentions = list(spans)
    reader = Reader(text)
    if len(mentions) == 1 and not _holds_cue(text):
        reader.mention(*mentions[0], 0)
        return reader.statuses
    points = codes(text)
    folded, ends = fold_codes(points), breaks(text, points).tolist() if MAY_BREAK.search(text) else []
    events: list[tuple[int, int, Cue | None]] = [(start, -end, None) for start, end in mentions]
    events += [(start, -end, cue) for start, end, cue in cue_spans(folded)]
    last = 0
    for start, negative_end, cue in sorted(events, key=lambda event: (event[0], event[1], event[2] is not None)):
        end = -negative_end
        if cue is None:
            reader.mention(start, end, bisect_right(ends, start))
            last = end
        elif start >= last and not any(a < end and start < b for a, b in mentions):
            reader.cue(cue, start, end, bisect_right(ends, start))
            last = end
    return reader.statuses


def _holds_cue(text: str) -> bool:
    automaton, _ = _cues()
    return bool(automaton.find_matches_as_indexes(pattern(text)))  # type: ignore[attr-defined]


def cue_spans(folded: Folded) -> list[tuple[int, int, Cue]]:
    """``(start, end, cue)`` in the text for every cue, including those inside longer ones."""
    automaton, listed = _cues()
    hits = np.array(automaton.find_matches_as_indexes(folded.text, overlapping=True), dtype=np.int64).reshape(-1, 3)  # type: ignore[attr-defined]
    starts, ends = places(folded, hits)
    return [(a, b, listed[n]) for n, a, b in zip(hits[:, 0].tolist(), starts.tolist(), ends.tolist(), strict=True)]


def places(folded: Folded, hits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end in the text, ``[M]`` each, of ``hits [M, 3]``: pattern, start and end in the folded text.

    The patterns begin and end with a space, which does not count.
    """
    return folded.original(hits[:, 1]), folded.original(hits[:, 2] - 3) + 1


def status(text: str, start: int, end: int, sentence_start: int, sentence_end: int) -> Status:
    """The status of one mention within its sentence, regardless of the section it stands in.

    >>> text = "denies asthma but has gout"
    >>> status(text, 7, 13, 0, len(text)), status(text, 22, 26, 0, len(text))
    ('negated', 'present')
    """
    return statuses(text[sentence_start:sentence_end], [(start - sentence_start, end - sentence_start)])[0]
