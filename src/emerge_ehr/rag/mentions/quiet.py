"""Decides for all matches of a block at once which the reader of the context need not see: they change nothing in it.

That are mentions that no cue of their sentence can govern, cues that can govern nothing in theirs, and turns that have nothing to
end. A cue governs what comes after it or before it, as its direction says; a header governs its section besides.
"""

import numpy as np

from emerge_ehr.rag.mentions import sections
from emerge_ehr.rag.mentions.clauses import BACK
from emerge_ehr.rag.mentions.folding import SPACE
from emerge_ehr.rag.mentions.guards import (
    ALONE,
    CUE,
    FORM,
    HEAD,
    KIND,
    QUIET,
    TARGET,
    Codes,
    Flags,
    Kinds,
    Matches,
    Places,
    beside,
    next_of,
)

NEWLINE = ord("\n")
MARKS, ENDS = (
    np.array([ord(mark) for mark in marks]) for marks in (sections.MARKS_BEFORE, sections.ENDS_BEFORE + "\n")
)


def quiet(kinds: Kinds, points: Codes, matches: Matches, asked: Places, sentences: int) -> Places:
    """For each match ``ALONE`` if it is a mention that no cue can govern or a cue that can govern nothing, and ``QUIET`` if it is
    that or a turn that can end nothing. ``sentences``: how many ends of sentences there are.
    """
    kind, numbers, sentence, order = asked & KIND, matches.numbers, matches.first, np.arange(len(asked))
    cue, mention = kind == CUE, kind >= HEAD
    ahead, turn, back = kinds.ahead[numbers], kinds.turn[numbers], kinds.back[numbers]
    near = back & (_reach_before(kinds, points, matches, kind) >= matches.starts - BACK)
    crossed = np.zeros(sentences + 1, bool)  # these sentences may turn out to be one with another
    for n in np.flatnonzero(matches.first != matches.final).tolist():
        crossed[matches.first[n] : matches.final[n] + 1] = True

    def after(which: Flags) -> Flags:
        """Whether one of ``which`` comes later in the sentence."""
        last = np.full(sentences + 1, -1)
        last[sentence[which]] = order[which]
        later: Flags = (last[sentence] > order) | crossed[sentence]
        return later

    def before(which: Flags) -> Flags:
        """Whether one of ``which`` comes earlier in the sentence."""
        first = np.full(sentences + 1, len(order))
        first[sentence[which][::-1]] = order[which][::-1]
        earlier: Flags = (first[sentence] < order) | crossed[sentence]
        return earlier

    mention_before, mention_after, governed = before(mention), after(mention), before(ahead)
    # After a cue that yields, one that governs back says that it does not.
    heard = (ahead | turn) & mention_after | back & mention_before & (near | before(kinds.yields[numbers]))
    idle = cue & ~heard & ~_may_head(kinds, points, matches)
    alone = idle | (kind == TARGET) & (asked & FORM == 0) & ~governed & ~after(near)
    ends_nothing = turn & ~governed
    flags: Places = ALONE * alone | QUIET * (alone | ends_nothing)
    return flags


def _reach_before(kinds: Kinds, points: Codes, matches: Matches, kind: Places) -> Places:
    """How far the mentions before each match reach, at most: one before a colon or "of" may get more words of its line."""
    ends, after = matches.ends, beside(points, matches.ends)
    longer = (kind == TARGET) & (after == ord(":")) | kinds.longer[matches.numbers] & (after == SPACE)
    reach = np.where(kind >= HEAD, ends, -BACK - 1)
    reach[longer] = next_of(np.flatnonzero(points == NEWLINE), ends[longer], len(points))
    reach_before: Places = np.append(-BACK - 1, np.maximum.accumulate(reach))[: len(ends)]
    return reach_before


def _may_head(kinds: Kinds, points: Codes, matches: Matches) -> Flags:
    """Which cues ``sections.section`` may find to be headers: they begin a line or a sentence, and a colon or a blank follows."""
    after, second = beside(points, matches.ends), beside(points, matches.ends + 1)
    lists = (after == ord(":")) & ((second <= SPACE) | (second == ord(":")))  # nothing else on the line
    header: Flags = kinds.header[matches.numbers] & ((after <= SPACE) | (after == ord(":")))
    header |= kinds.listing[matches.numbers] & lists | kinds.labelled[matches.numbers]
    at = np.flatnonzero(header)
    header[at] = _begins(points, matches.starts[at])
    return header


def _begins(points: Codes, starts: Places) -> Flags:
    """Whether a line begins at most some blanks and marks before each place, or a sentence ends there."""
    begins, unsure = np.ones(len(starts), bool), np.ones(len(starts), bool)
    for back in range(1, sections.INDENT + 1):
        unsure &= starts >= back
        before = beside(points, starts - back)
        mark = np.isin(before, MARKS)
        begins[unsure & ~mark & ~np.isin(before, ENDS)] = False
        unsure &= mark
    return begins
