"""The status of a mention: present, past, denied, of the family, or only considered.

After NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029) and ConText (Harkema et al. 2009, doi 10.1016/j.jbi.2009.05.002):
a cue governs the mentions after it (or before it) in its sentence, up to a turn, a word such as "but" that ends its effect.
Besides, a header such as "Family History:" governs its section. Cues and mentions are read in one pass, in order of position.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.cues import Cue, phrases
from emerge_ehr.rag.mentions.folding import Folded, codes, fold_codes, pattern
from emerge_ehr.rag.mentions.lines import breaks
from emerge_ehr.rag.mentions.reader import Reader

MAY_BREAK = re.compile(r"[\n.;!?)#]")  # a text without any of these is one sentence


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
