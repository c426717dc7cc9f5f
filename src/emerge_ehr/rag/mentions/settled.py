"""Decides for all matches of a block at once which are taken, and which fall away because they overlap these.

Of overlapping matches the leftmost is taken, and of these the longest. That needs nothing but positions, as long as nothing is to
be asked of the matches that are taken. The others are decided one by one (``choosing.py``).
"""

import numpy as np

from emerge_ehr.rag.mentions.guards import ASKED, HEAD, KIND, QUALIFIER, Flags, Places

QUALIFIER_REACH = 3  # a mention that begins closer than this to a qualifier's end may be joined to it


def settled(asked: Places, starts: Places, ends: Places) -> tuple[Flags, Flags]:
    """Which matches are taken, and which fall away; ``starts`` ascend, and of equal ones the longest is first.

    Where something is to be asked of a match, all matches stay undecided that overlap it, or one that overlaps it, and so on.
    """
    taken = np.zeros(len(asked), bool)
    if not len(asked):
        return taken, taken
    kind = asked & KIND
    qualified = np.maximum.accumulate(np.where(kind == QUALIFIER, ends, -QUALIFIER_REACH))
    joinable = np.append(-QUALIFIER_REACH, qualified[:-1]) > starts - QUALIFIER_REACH
    unclear = (asked & ASKED > 0) | (kind == QUALIFIER) | joinable

    leading = np.flatnonzero(np.append(True, starts[1:] >= np.maximum.accumulate(ends)[:-1]))  # of groups that overlap
    beyond = np.append(leading[1:], len(asked))
    undecided = np.zeros(len(leading), bool)
    group, at = np.arange(len(leading)), leading
    while len(at):
        clear = ~unclear[at]
        undecided[group[~clear]] = True
        group, at = group[clear], at[clear]
        taken[at] = True
        # A head takes no characters from others.
        following = np.where(kind[at] == HEAD, at + 1, np.searchsorted(starts, ends[at]))
        within = following < beyond[group]
        group, at = group[within], following[within]
    rest = np.repeat(undecided, beyond - leading)
    return taken & ~rest, ~taken & ~rest
