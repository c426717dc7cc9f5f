"""Which phenotypes of the graph are findings of an adult, told in general of a disease.

The graph's phenotypes are mostly those of inherited and congenital diseases. One is told if

- no disease of the graph has its name: lymphoma is no sign of an obstruction;
- it is common: it belongs to the quarter of the phenotypes that have the most diseases;
- less than ``MOST_INBORN`` of its diseases are inborn: they have a way of inheritance, or begin at birth or in childhood;
- its name does not speak of birth, growth, fertility or tumours, which nobody asks about in intensive care.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.phrases import words
from emerge_ehr.rag.ranking.containment import content

PHENOTYPE = "disease_phenotype_positive"
INBORN = re.compile(
    r"inheritance$|^(?:congenital|infantile|childhood|juvenile|neonatal|antenatal) onset$", re.IGNORECASE
)
MOST_INBORN = 0.45
COMMON = 0.75  # quantile of the number of diseases
UNFIT = re.compile(
    r"\b(?:congenital|neonatal|neonates?|infan\w+|child\w*|juvenile|fetal|foetal|gestation\w*|birth|pregnan\w+|abortion|"
    r"infertility|fertility|stature|growth|development\w*|puberty|inheritance|onset|penetrance|expressivity|\w*plasms?|"
    r"\w*omas?|tumou?rs?|cancer|malignan\w+|cases|heterogeneous|variability|(?:slow )?progress\w+|\(with .*)",
    re.IGNORECASE,
)
NOT_TUMOURS = re.compile(r"\b(?:coma|h(?:a?e)matoma|stoma|glaucoma|symptoms?)\b", re.IGNORECASE)
CAPITALISED = re.compile(r"\b[A-Z][a-z]+")
ALIKE = 0.65  # of the longer word's letters


@dataclass(frozen=True)
class Findings:
    """``names``: normal form of each finding's name; ``proper``: words that are written with a capital within a sentence."""

    names: frozenset[str]
    proper: frozenset[str]

    def told(self, disease: Iterable[str], phenotypes: Iterable[str]) -> dict[str, str]:
        """Those of a disease's phenotypes that are findings other than itself -> how they are written within a sentence."""
        own = list(disease)
        return {
            name: inside(name, self.proper)
            for name in phenotypes
            if normal(name) in self.names and not any(alike(one, name) or circular(one, name) for one in own)
        }


@lru_cache(100_000)
def alike(disease: str, phenotype: str) -> bool:
    """Whether the words of the phenotype are all in the disease's name, be it with another ending.

    >>> alike("hypertensive disorder", "Hypertension"), alike("pulmonary hypertension", "hypertension")
    (True, True)
    >>> alike("hypotensive disorder", "Hypertension"), alike("pneumonia", "Respiratory failure")
    (False, False)
    """
    return all(any(_alike(word, other) for other in content(disease)) for word in content(phenotype))


@lru_cache(100_000)
def circular(disease: str, phenotype: str) -> bool:
    """Whether the one is called like the other, or like a kind of it, in words of the same meaning.

    >>> circular("type 2 diabetes mellitus", "Type II diabetes mellitus"), circular("encephalopathy", "Acute encephalopathy")
    (True, True)
    >>> circular("chronic kidney disease", "Nephropathy"), circular("pneumonia", "Cough")
    (True, False)
    """
    first, second = (words(normal(name).replace("insufficiency", "failure")).keys() for name in (disease, phenotype))
    return first <= second or second <= first


def _alike(one: str, other: str) -> bool:
    longest = max(len(one), len(other))
    common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one == other or (common >= ALIKE * longest and common > len("hyper"))


def inside(name: str, proper: frozenset[str] = frozenset()) -> str:
    """A name as it is written within a sentence.

    >>> inside("Hypertension"), inside("Crohn's disease", frozenset({"Crohn"})), inside("EEG abnormality")
    ('hypertension', "Crohn's disease", 'EEG abnormality')
    """
    first = CAPITALISED.match(name)
    return name if first is None or first[0] in proper else name[0].lower() + name[1:]


def build(graph: KnowledgeGraph) -> Findings:
    """The findings among the phenotypes of the graph."""
    edges = graph.edges()
    relation = np.array([*(key == PHENOTYPE for key, _ in edges.relations), False])
    disease = np.repeat(np.arange(len(edges.disease)), np.diff(edges.start))
    rows = np.flatnonzero(relation[edges.relation])
    pairs = np.unique(disease[rows] * len(edges.name) + edges.neighbour[rows])
    whose, phenotype = np.divmod(pairs, max(len(edges.name), 1))
    told = np.unique(phenotype)
    marks = [node for node in told.tolist() if INBORN.search(edges.name[node])]
    inborn = np.isin(whose, whose[np.isin(phenotype, marks)])
    count = np.bincount(phenotype, minlength=len(edges.name))
    share = np.bincount(phenotype, weights=inborn, minlength=len(edges.name)) / np.maximum(count, 1)
    least = np.quantile(count[told], COMMON, method="lower") if len(told) else 0
    diseases = {normal(name) for known in graph.diseases().values() for name in known.names}
    fitting = told[(count[told] >= least) & (share[told] < MOST_INBORN)]
    names = {normal(edges.name[node]) for node in fitting.tolist() if not _unfit(edges.name[node])}
    return Findings(frozenset(names - diseases), _proper(graph))


def _unfit(name: str) -> bool:
    return bool(UNFIT.search(NOT_TUMOURS.sub("", name)))


def _proper(graph: KnowledgeGraph) -> frozenset[str]:
    """The words that diseases' names always write with a capital, such as those of persons."""
    words = " ".join(name for disease in graph.diseases().values() for name in disease.names)
    return frozenset(CAPITALISED.findall(words)) - frozenset(
        word.capitalize() for word in set(re.findall(r"\b[a-z]+", words))
    )
