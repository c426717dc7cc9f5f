"""Reads the cues and mentions of a text in order of position, and gives each mention its status."""

from dataclasses import dataclass, field

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.clauses import (
    AND,
    AND_HAS,
    COMMA,
    HAS,
    ON,
    OR_AHEAD,
    begins_clause,
    begins_sentence,
    comma_before,
    leads_to,
    reaches,
    reaches_back,
    stays_denied,
)
from emerge_ehr.rag.mentions.cues import Cue
from emerge_ehr.rag.mentions.forms import Mark, mark, minus_before
from emerge_ehr.rag.mentions.relatives import is_person
from emerge_ehr.rag.mentions.sections import section

ORDER: tuple[Status, ...] = (
    "family",
    "negated",
    "hypothetical",
    "historical",
)  # the first wins where several cues govern
LISTING: tuple[Status | None, ...] = ("negated", "hypothetical")
LISTED = Cue("forward", "negated")  # what "- for" begins
Section = tuple[int, int, Status]  # where its header begins, where it ends, and the status that it gives


@dataclass(slots=True)
class Reader:
    """Is given the cues and mentions of one text in order of position, each with its sentence's number.

    ``spans`` and ``statuses`` then hold the position and the status of each mention, ``sections`` what headers began.
    """

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    active: dict[Status, tuple[int, Cue]] = field(default_factory=dict)  # the cues that govern, each with its end
    sections: list[Section] = field(default_factory=list)
    lists: bool = False  # whether a form began to govern what comes after it
    _sentence: int = -1
    _first: int = 0  # the sentence's first mention
    _turned: bool = False  # whether the sentence has come to the present
    _answer_end: int = 0  # where the last answer of a form ends
    _section: Status | None = None
    _section_end: int = 0
    # Of the last cue, if it yields and governs what is before it: its end, the cue, and the statuses in its sentence without it.
    _yielding: tuple[int, Cue, list[Status]] | None = None

    def mention(self, start: int, end: int, sentence: int, form: bool = True, alone: bool = False) -> None:
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
        if status and status in LISTING and begins_clause(self.text, start, end, self._denied_from(status, start)):
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
                self.lists = True
        if status == "family":
            return status
        if form.answer == "past":
            return status or "historical"
        if form.answer == "yes":
            return None if status in ("negated", "hypothetical") else status
        return "negated" if form.answer == "no" or status == "negated" else "hypothetical"

    def _denied_from(self, status: Status, start: int) -> int | None:
        """Where the cue ends that denies a mention at ``start``; None if it is not denied."""
        if status != "negated":
            return None
        return self.active["negated"][0] if "negated" in self.active else start

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
            if not begins_sentence(self.text, start):
                return
            end += self.text[end : end + 1] == ","
        if status == "historical" and minus_before(self.text, start):
            status = "negated"
        if status == "historical" and self.active and not stays_denied(self.text, cue, start, end):
            self.active.clear()
        if cue.reach != "touching" or status not in self.active:
            self.active[status] = (end, cue)

    def _yield(self, start: int) -> None:
        """Let the last cue govern the mention at ``start`` and not those before it, if only adjectives part it from that."""
        assert self._yielding is not None
        end, cue, before = self._yielding
        self._yielding = None
        if cue.status is None or not leads_to(self.text, end, start):
            return
        self.statuses[self._first :] = before
        self.active[cue.ahead or cue.status] = (end, cue)

    def _enter(self, sentence: int) -> None:
        self._sentence = sentence
        if self.active:
            self.active.clear()
        self._turned = False
        self._yielding = None
        self._first = len(self.spans)

    def _governing(self, start: int) -> Status | None:
        governing: Status | None = None
        for status in ORDER if len(self.active) > 1 else tuple(self.active):
            if status in self.active:
                end, cue = self.active[status]
                if reaches(self.text, cue, end, start):
                    governing = governing or status
                    if cue.reach != "next":
                        continue
                del self.active[status]
        return governing

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
                    comma_before(self.text, start) or AND_HAS.search(self.text, max(start - 8, 0), start + 4)
                ):
                    self.active.clear()
            case "severity":  # "no pneumonia, mild edema", but "no fever, severe pain or rash"
                if self.active and comma_before(self.text, start) and not OR_AHEAD.match(self.text, end):
                    self.active.pop("negated", None)

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
        self.sections.append((start, section_end, cue.status))
        return True

    def _govern_back(self, cue: Cue, start: int, end: int) -> bool:
        """Whether the cue governs the mention before it; if so, set that mention's status, and that of mentions which "and" or
        "or" joins to it."""
        last = len(self.spans) - 1
        if last < self._first or cue.status is None:
            return False
        between = self.text[self.spans[last][1] : start]
        if not reaches_back(self.text, cue, between, end):
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

    def _correct(self, n: int, status: Status) -> None:
        now = self.statuses[n]
        if now == "present" or ORDER.index(status) < ORDER.index(now):
            self.statuses[n] = status
