"""Whether a member of a group of diseases is what the group's node says it is.

PrimeKG merges diseases with similar names into one node, which has one name, one set of edges, and the texts of all its members.
Most members are kinds of what the node's name says ("type 1 diabetes mellitus 10"). Some are not: the node "hemoglobinopathy"
holds acute myocardial infarction, "anxiety disorder" holds depressive disorder. What is true of the node is not true of these.
"""

import re

# Words that say nothing about which disease it is.
EMPTY = re.compile(
    r"\d+|.|diseases?|disorders?|syndrome|type|form|variants?|and|of|the|in|due|to|without|with|or|by|an|nos|obsolete|autosomal|"
    r"recessive|dominant|linked|ii|iii|iv|vi|vii|viii|ix"
)
WORDS = re.compile(r"[a-z0-9]+")
ENDING = 3  # letters in which two forms of a word may differ, as "dysplasia" and "dysplastic"
LEAST = 4  # letters that they must share


def fits(name: str, member: str) -> bool:
    """Whether ``member`` is called a kind of ``name``: it has every word of it that has a meaning, in some form.

    Of words that ``/`` or "or" joins, one is enough.

    >>> fits("pancreatitis", "acute pancreatitis"), fits("cleft lip/palate", "cleft palate")
    (True, True)
    >>> fits("hemoglobinopathy", "acute myocardial infarction"), fits("retinal artery occlusion", "retinal vein occlusion")
    (False, False)
    """
    own = _words(member)
    return all(any(_alike(word, other) for word in way for other in own) for way in _needed(name))


def _needed(name: str) -> list[list[str]]:
    """The words of a name that have a meaning; those that ``/`` joins together."""
    alternatives = re.sub(r"\s+or\s+", "/", name)
    needed = [[word for part in joined.split("/") for word in _words(part)] for joined in alternatives.split()]
    return [ways for ways in needed if ways]


def _words(name: str) -> list[str]:
    return [word for word in WORDS.findall(name.lower()) if not EMPTY.fullmatch(word)]


def _alike(word: str, other: str) -> bool:
    shared = min(len(word), len(other))
    length = max(min(shared, LEAST), shared - ENDING)
    return word[:length] == other[:length]
