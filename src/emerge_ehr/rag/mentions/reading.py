"""From the events in a text, which are the matches that count, to rows: its mentions and candidates with their statuses."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from sys import maxsize
from typing import get_args

from emerge_ehr.rag.entities import Entity, Status
from emerge_ehr.rag.mentions.candidates import TITLE_LENGTH, Head, phrase, titles
from emerge_ehr.rag.mentions.choosing import Event
from emerge_ehr.rag.mentions.cues import Cue
from emerge_ehr.rag.mentions.dictionary import Target
from emerge_ehr.rag.mentions.guards import ALONE, CUE, FORM, HEAD, KIND, QUIET, TARGET
from emerge_ehr.rag.mentions.reader import Reader, Section

STATUSES: tuple[Status, ...] = get_args(Status)
NUMBERS = {status: number for number, status in enumerate(STATUSES)}
PRESENT = NUMBERS["present"]
CANDIDATE, TITLE = -1, -2  # in place of the number of a name: the name is what the text says
Row = tuple[int, int, int, int]  # start, end, number of the name, number of the status


def read(text: str, events: Sequence[Event], names: Mapping[str, int], vocabulary: frozenset[str]) -> list[Row]:
    """The mentions, then the candidates among the events, each with the status that the cues give it.

    ``names``: the numbers of all names; ``vocabulary``: the words of the diseases' names, if candidates are looked for.
    """
    short = len(text) <= TITLE_LENGTH[1]
    heads = [number for number, event in enumerate(events) if event[4] & KIND == HEAD]
    events, headings = _with_phrases(text, events, heads, vocabulary) if heads else (events, [])
    rows = _rows(text, events, names)
    if not (vocabulary and (heads or short)):
        return rows
    entities, candidates = ([row for row in rows if (row[2] == CANDIDATE) == wanted] for wanted in (False, True))
    if not (short or headings):
        return entities + candidates
    mentions = [Entity("", "", start, end, STATUSES[status]) for start, end, _, status in entities]
    whole = {(title.start, title.end): NUMBERS[title.status] for title in titles(text, headings, mentions)}
    # A phrase that is the whole title keeps its status, which is read with the words around the title.
    phrases = [
        (start, end, TITLE if (start, end) in whole else CANDIDATE, status) for start, end, _, status in candidates
    ]
    spans = {row[:2] for row in phrases}
    return entities + phrases + [(*span, TITLE, status) for span, status in whole.items() if span not in spans]


def _with_phrases(
    text: str, events: Sequence[Event], heads: Sequence[int], vocabulary: frozenset[str]
) -> tuple[list[Event], list[int]]:
    """The events, with phrases in place of the heads that end one; and where the headings among the heads end.

    ``heads``: the numbers of the events that are heads.
    """
    phrases, headings, free = dict[int, Event](), list[int](), 0
    for number in heads:
        _, end, sentence, head, _ = events[number]
        if number and events[number - 1][4] & KIND != HEAD:
            free = max(free, events[number - 1][1])
        assert isinstance(head, Head)
        if head.kind == "heading":
            headings.append(end)
            continue
        span = phrase(text, end, free, head, vocabulary) if end > free else None
        if span and all(span[1] <= event[0] for event in events[number + 1 : number + 2]):
            phrases[number] = (*span, sentence, head, HEAD)
            free = span[1]
    others = [event for event in events if event[4] & KIND != HEAD]
    return (sorted([*others, *phrases.values()], key=itemgetter(0)) if phrases else others), headings


def _rows(text: str, events: Sequence[Event], names: Mapping[str, int]) -> list[Row]:
    """The mentions and phrases among the events. The reader is given only those events that may change a status."""
    reader, heard = _heard(text, [event for event in events if not event[4] & QUIET], names)
    if reader.lists:  # what a form began may govern mentions that no cue governs
        return _heard(text, [event for event in events if event[4] & (KIND | ALONE) != CUE | ALONE], names)[1]
    quiet = [
        (start, end, names[entry.name], PRESENT)  # type: ignore[union-attr]  # a target, as its kind says
        for start, end, _, entry, asked in events
        if asked & (KIND | QUIET) == TARGET | QUIET
    ]
    if not quiet:
        return heard
    if reader.sections:
        _set_statuses(quiet, reader.sections)
    return sorted(heard + quiet) if heard else quiet


def _heard(text: str, events: Sequence[Event], names: Mapping[str, int]) -> tuple[Reader, list[Row]]:
    """The reader to whom the events were read, and the mentions and phrases among them."""
    reader, numbers = Reader(text), list[int]()
    for start, end, sentence, entry, asked in events:
        if isinstance(entry, Cue):
            if reader.active or entry.direction != "turn" or entry.turn == "now":
                reader.cue(entry, start, end, sentence)
        elif isinstance(entry, Target):
            reader.mention(start, end, sentence, asked & FORM > 0, asked & ALONE > 0)
            numbers.append(names[entry.name])
        else:
            reader.mention(start, end, sentence)
            numbers.append(CANDIDATE)
    rows = [
        (start, end, number, NUMBERS[status])
        for number, (start, end), status in zip(numbers, reader.spans, reader.statuses, strict=True)
    ]
    return reader, rows


def _set_statuses(rows: list[Row], sections: Sequence[Section]) -> None:
    """Give each of the mentions the status of the section in which it begins, if it is in one. A section ends the one before."""
    starts = [row[0] for row in rows]
    for (opened, end, status), (following, _, _) in pairwise([*sections, (maxsize, maxsize, "present")]):
        within = slice(bisect_right(starts, opened), bisect_left(starts, min(end, following)))
        rows[within] = [(start, stop, name, NUMBERS[status]) for start, stop, name, _ in rows[within]]
