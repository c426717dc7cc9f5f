"""Links an entity's name to a disease node: by the same name or, if there is none, by the most similar name above a threshold."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Linking
from emerge_ehr.fields import UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.mentions import no_disease
from emerge_ehr.rag.names import name_index, normal, own_nodes
from emerge_ehr.rag.phrases import SAYS_NOTHING, words
from emerge_ehr.rag.similarity import NameSimilarity

# Names that many phrases resemble and that say next to nothing; only a phrase that is exactly such a name is linked to it.
TOO_GENERAL = no_disease.names() | {
    "acute disease",
    "chronic disease",
    "systemic disease",
    "disease or disorder",
    "disorder involving pain",
    "ulcer disease",
}
# Words of a name that make its disease graver, narrower or an inherited one: a similar name may not add one.
NARROWING = (
    "syndrome hereditary familial congenital inherited autosomal sporadic malignant neoplasm carcinoma metastatic acute chronic"
    " subacute fulminant severe neonatal perinatal infantile juvenile primary secondary idiopathic recurrent"
)
# Words that say little of a phrase at its end, so that a similar name may lack them.
NO_HEADS = (
    "disease disorder syndrome form variant type condition lesion anomaly abnormality malformation defect change site"
)
# What follows the head of a phrase, or stands before a head that tells nothing ("other forms of keratitis").
AFTER_HEAD = re.compile(r"(?<=\w) (?:of|with|without|due|in|from|not|as|by|and|or|to|for|during|following)\b.*")
BEFORE_HEAD = re.compile(r"^(?: |other|specified|unspecified|forms?|variants?|types?|of|and)+(?= )")
ADJECTIVE = re.compile(r"(?:al|ic|ous|ive|ary|ar|ed|ing)$|^..?$|^\d+$")
SAME_STEM = 5  # letters at the beginning that two stems of one word share
Linked = tuple[int, float, str]  # node, score, the graph's name that matched


@dataclass(frozen=True)
class Linker:
    """``index``: normal form of a name -> node; ``names``: those that ``similarity`` was built over, in its order.

    ``title_threshold``: in place of ``threshold`` for what is the whole of a title.
    """

    index: Mapping[str, int]
    names: Sequence[str]
    similarity: NameSimilarity
    threshold: float
    title_threshold: float

    def link(self, names: Iterable[str], exact: Set[str] = frozenset(), *, titles: bool = False) -> dict[str, Linked]:
        """The link of each name that is in the graph or similar enough to a name there, by the name's normal form.

        ``exact``: normal forms that are linked to the same name only. ``titles``: whether the names are titles.
        """
        threshold = self.title_threshold if titles else self.threshold
        distinct = sorted({normal(name) for name in names})
        linked = {name: (self.index[name], 1.0, name) for name in distinct if name in self.index}
        rest = [name for name in distinct if name not in linked and name not in exact and name]
        if rest:
            positions, scores = self.similarity.nearest(rest)
            for name, position, score in zip(rest, positions.tolist(), scores.tolist(), strict=True):
                matched = self.names[position]
                if score >= threshold and not says_other(name, matched):
                    linked[name] = (self.index[matched], min(1.0, round(score, 4)), matched)
        return linked


def says_other(phrase: str, name: str) -> bool:
    """Whether a similar name of the graph says what the phrase does not: both are in normal form.

    It does if it adds a word that makes the disease graver, narrower or inherited, or lacks the phrase's head. What is hereditary
    may be called a syndrome.

    >>> says_other("acute respiratory distress", "acute respiratory distress syndrome")
    True
    >>> says_other("neuromuscular block", "neuromuscular disease"), says_other("kidney dysfunction", "kidney disease")
    (True, False)
    """
    said, found = words(phrase).keys(), words(name).keys()
    narrowing = _stems(NARROWING) - _stems("syndrome") if said & _stems("hereditary") else _stems(NARROWING)
    if found & narrowing - said:
        return True
    head = _head(phrase) - _stems(NO_HEADS)
    return bool(head) and not {stem[:SAME_STEM] for stem in head} & {stem[:SAME_STEM] for stem in found}


@cache
def _stems(listed: str) -> Set[str]:
    return words(listed).keys()


def _head(phrase: str) -> Set[str]:
    """The stems of the noun that says what the phrase is about; none if there is no such noun."""
    telling = AFTER_HEAD.sub("", BEFORE_HEAD.sub("", SAYS_NOTHING.sub("", phrase)).strip()).split()
    while telling and ADJECTIVE.search(telling[-1]):
        telling.pop()
    return words(telling[-1]).keys() if telling else frozenset()


def build(graph: KnowledgeGraph, rule: Linking, seed: int, cache_dir: Path, pool: Pool = LOCAL) -> Linker:
    """The linker over all disease names of the graph.

    Raises:
        UserError: the graph holds no disease.
    """
    index = name_index(graph)
    if not index:
        raise UserError("the knowledge graph holds no disease; check the files in paths.kg_dir")
    names = sorted(index.keys() - TOO_GENERAL) or sorted(index)
    similarity = components.build(
        "linking.similarity", rule.similarity, names=names, seed=seed, cache_dir=cache_dir, pool=pool
    )
    own = (similarity.threshold, similarity.title_threshold)
    return Linker(index, names, similarity, *(own if rule.threshold is None else (rule.threshold, rule.threshold)))


def told_by_own_name(linked: Mapping[str, Linked], graph: KnowledgeGraph) -> dict[str, Linked]:
    """The links, with the disease of a name itself instead of a group whose name, texts and triples are not this disease's."""
    own = own_nodes(graph)
    return {name: (own.get((node, matched), node), score, matched) for name, (node, score, matched) in linked.items()}
