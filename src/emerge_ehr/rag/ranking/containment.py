"""Whether the mentions of a general disease mean a more specific one of the same patient, judged by their words.

A parent in the graph is not enough: edema of the lung is no kind of respiratory failure that could stand for it. The words of the
general name must all be in those of the specific one, so that nothing is lost with the general one.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache

from emerge_ehr.rag.names import normal

FILLERS = frozenset(
    ["disease", "diseases", "disorder", "disorders", "syndrome", "condition", "nos", "unspecified", "of", "the"]
)
ACUTE = frozenset(["acute", "crisis", "emergency", "exacerbation", "status"])
TYPES = frozenset(["type", "1", "2", "i", "ii"])
ELEVATED = frozenset(["hypertension", "hypertensive"])
ELSEWHERE = frozenset(
    ["pulmonary", "portal", "intracranial", "ocular"]
)  # no kinds of what is simply called hypertension
TUMOURS = frozenset(
    ["cancer", "carcinoma", "neoplasm", "tumor", "lymphoma"]
)  # of an organ, but not what its disease means
OTHER = frozenset(["other", "another", "elsewhere", "unknown"])


@lru_cache(100_000)
def content(name: str) -> frozenset[str]:
    """The words of a name that say which disease it is.

    >>> sorted(content("anxiety disorder")), sorted(content("disease"))
    (['anxiety'], ['disease'])
    """
    words = frozenset(normal(name).split())
    return words - FILLERS or words


def means(name: str, surfaces: Collection[str], lines: Collection[str], specific: Sequence[str]) -> bool:
    """Whether all mentions of a general disease may mean the specific one.

    ``name`` is the general name, ``surfaces`` are its mentions' words and ``lines`` what follows them on their lines;
    ``specific`` holds the names and mentions of the specific one. A name such as
    "liver disease" has but one word of content: it means a kind
    of it only where the notes write the class, not "hepatic dysfunction". "Cancer, primary site other" is
    not the cancer beside it.

    >>> means("diabetes mellitus", ["DM"], [""], ["type 2 diabetes mellitus"])
    True
    >>> means("liver disease", ["hepatic dysfunction"], [""], ["liver cancer"])
    False
    >>> means("cancer", ["cancer"], [", primary site other"], ["lung cancer"])
    False
    """
    below = frozenset[str]().union(*(content(words) for words in specific))
    above = content(name)
    if any(OTHER & set(normal(line).split()) for line in lines):
        return False
    if (ELEVATED & above) and (ELSEWHERE & below):
        return False
    return all(_means(name, above, surface, below) for surface in surfaces)


def _means(name: str, above: frozenset[str], surface: str, below: frozenset[str]) -> bool:
    said = frozenset(normal(surface).split())
    is_class = len(above) == 1 and bool(FILLERS & set(normal(name).split()))
    classed = (bool(said & FILLERS) or said == above) and not TUMOURS & (below - above)
    by_name = above <= below and (not is_class or classed)
    return by_name or content(surface) <= below


def is_kind_by_name(general: str, specific: str) -> bool:
    """Whether the specific name is the general one with words in front, as in "acute myocardial infarction"."""
    return normal(specific).endswith(f" {normal(general)}")


def only_acute(general: str, specific: str) -> bool:
    """Whether the specific name says of the general one that it is acute: a past one is no part of it."""
    return bool(ACUTE & content(specific)) and not ACUTE & content(general)


def only_typed(general: str, specific: str) -> bool:
    """Whether the specific name only adds a type: whoever has it keeps it, wherever the notes mention it.

    >>> only_typed("diabetes mellitus", "type 2 diabetes mellitus"), only_typed("pneumonia", "aspiration pneumonia")
    (True, False)
    """
    below, above = content(specific), content(general)
    return above < below and below - above <= TYPES
