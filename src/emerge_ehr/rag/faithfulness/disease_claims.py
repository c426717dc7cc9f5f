"""What a sentence says of diseases and what the graph connects them with, checked against the patient's diseases.

A statement's subjects are the patient's linked diseases that it names. Another name in it must stand in a subject's documents
or be its neighbour in the graph, by the relation that the words state.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import OF_THE_PATIENT, Entity
from emerge_ehr.rag.faithfulness.names_in_text import NamesInText, Span, build, literal, longest
from emerge_ehr.rag.faithfulness.signal_claims import NUMBER, TERMS, Claim
from emerge_ehr.rag.linking import Link
from emerge_ehr.rag.names import normal as normal_form
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.signals.abnormal import AbnormalSignal

# What states a relation, by PrimeKG's display name for it. A strict one must be a triple.
STRICT = {
    "contraindication": re.compile(r"contraindicat", re.IGNORECASE),
    "off-label use": re.compile(r"off[- ]label", re.IGNORECASE),
    "indication": re.compile(r"(?<!contra)\bindicat(?:ed|ions?)\b(?! by)", re.IGNORECASE),
    "phenotype absent": re.compile(r"phenotype absent", re.IGNORECASE),
    "phenotype present": re.compile(r"phenotype present", re.IGNORECASE),
    "parent-child": re.compile(r"parent-child", re.IGNORECASE),
}
ANY_STRICT = re.compile("|".join(f"(?:{pattern.pattern})" for pattern in STRICT.values()), re.IGNORECASE)
LOOSE = {
    "indication": re.compile(r"\btreat(?:s|ed|ment|ments)?\b", re.IGNORECASE),
    "off-label use": re.compile(r"\btreat(?:s|ed|ment|ments)?\b", re.IGNORECASE),
}
CLAUSE = re.compile(r"[;.]\s|\b(?:but|while|whereas)\b")
PRONOUN = re.compile(r"\s*(?:it|this|its|these|they|their|the (?:disease|condition)s?)\b", re.IGNORECASE)
ENDING = re.compile(
    r"\b(?:[A-Za-z-]*(?:[a-z]{2}itis|[a-z]{2}osis|[a-z]{2}a?emia|[a-z]{3}oma|[a-z]{2}pathy|[a-z]{2}plegia)"
    r"|[\w'’-]+ (?:syndrome|disease|disorder|deficiency|cancer|infection))\b"
)
NO_CONDITION = re.compile(
    r"(?:diagnosis|prognosis|hypothesis|psychosis|osmosis|coma|sympathy|empathy)$"
    r"|^(?:the|this|that|a|an|any|no|other|underlying|each|such|her|his|of|and|or|with|linked|mentioned|chronic|acute) ",
    re.IGNORECASE,
)
AMBIGUOUS = frozenset(
    {"lead", "gold", "iron", "tin", "onset", "falls", "metals", "mo", "pain", "death", "age", "water", "oxygen"}
)
normal = lru_cache(200_000)(normal_form)  # the same names come back in every summary
AGREES = {
    "negated": ("negated", "hypothetical"),
    "hypothetical": ("hypothetical", "negated"),
    "historical": OF_THE_PATIENT,
}


@dataclass(frozen=True)
class DiseaseDocuments:
    """What the graph says of a disease: ``text`` (normal form, blank at both ends), its ``numbers``, and its ``triples`` as
    (display relation, lower-case neighbour)."""

    text: str
    numbers: frozenset[str]
    triples: frozenset[tuple[str, str]]
    neighbours: frozenset[str]


@dataclass(frozen=True)
class PatientEvidence:
    """What may be said. ``names``: lower-case names of the linked diseases -> node; ``objects``: of what was retrieved for
    them; ``noted``: node or normal name -> statuses of the notes' mentions."""

    signals: Sequence[AbnormalSignal]
    linked: Mapping[int, Link]
    documents: Mapping[int, DiseaseDocuments]
    names: Mapping[str, int]
    objects: Mapping[int, tuple[str, ...]]
    noted: Mapping[int | str, frozenset[str]]

    @property
    def links(self) -> Mapping[int, Link]:
        """The linked diseases."""
        return self.linked


def documents(graph: KnowledgeGraph, node: int) -> DiseaseDocuments:
    """All the graph says of a disease, whether it was retrieved or not."""
    disease, triples = graph.diseases()[node], graph.triples(node)
    raw = f"{disease.definition} {disease.description}"
    return DiseaseDocuments(
        f" {normal(raw)} ",
        frozenset(number.lstrip("+").replace(",", "").replace("−", "-") for number in NUMBER.findall(raw)),
        frozenset((triple.display_relation, triple.y_name.lower()) for triple in triples),
        frozenset(triple.y_name.lower() for triple in triples),
    )


def neighbour_names(graph: KnowledgeGraph, signals: Iterable[str]) -> NamesInText:
    """Finds whatever the graph connects with any disease: drugs, genes, phenotypes, exposures, diseases; no signal's name."""
    edges = graph.edges()
    names = {edges.name[row] for row in np.unique(edges.neighbour).tolist()}
    others = AMBIGUOUS | {name.lower() for name in signals}
    return build(name for name in names if len(name) > 2 and name.lower() not in others)


def patient(
    signals: Sequence[AbnormalSignal],
    linked: Mapping[int, Link],
    diseases: Mapping[int, Retrieved],
    entities: Sequence[Entity],
    known: Mapping[int, DiseaseDocuments],
    nodes: Mapping[str, int],
) -> PatientEvidence:
    """What the checked evidence holds."""
    names: dict[str, int] = {}
    for node, link in linked.items():
        for name in (link.name, link.surface, diseases[node].name):
            names.setdefault(" ".join(name.lower().split()), node)
    objects = {node: tuple({triple.y_name.lower() for triple in diseases[node].triples} - {""}) for node in linked}
    noted: dict[int | str, set[str]] = {}
    for entity in entities:
        for key in {normal(entity.name), normal(entity.surface)}:
            noted.setdefault(key, set()).add(entity.status)
            if key in nodes:
                noted.setdefault(nodes[key], set()).add(entity.status)
    frozen = {key: frozenset(statuses) for key, statuses in noted.items()}
    return PatientEvidence(signals, linked, {node: known[node] for node in linked}, names, objects, frozen)


def subjects(text: str, patient: PatientEvidence, before: frozenset[int]) -> frozenset[int]:
    """The patient's diseases that the text names; those of the statement ``before`` if it only points back to them."""
    named = frozenset(patient.names[name] for _, _, name in literal(text, patient.names))
    return named or (before if PRONOUN.match(text) else named)


def claims(
    text: str,
    rest: str,
    patient: PatientEvidence,
    subjects: frozenset[int],
    mentioned: Iterable[Entity],
    named: Sequence[Span],
    nodes: Mapping[str, int],
) -> tuple[list[Claim], str]:
    """The claims in ``rest``, which is ``text`` without quotations, and what is left of it without the names.

    ``mentioned``: the diseases in ``text`` that the dictionary knows, with their status in the sentence; ``named``: whatever else
    of the graph stands there.
    """
    entities = {(entity.start, entity.end): entity for entity in mentioned}
    known = [*named, *((start, end, text[start:end].lower()) for start, end in entities)]
    objects = [name for node in subjects for name in patient.objects[node]]
    own = longest(literal(rest, (*patient.names, *objects)))
    known = [span for span in known if rest[span[0] : span[1]] == text[span[0] : span[1]] and _apart(text, span, own)]
    spans = longest([*own, *known])
    found, left = [], rest
    for start, end, name in spans:
        entity = entities.get((start, end))
        node = patient.names.get(name)
        if node is None:
            node = nodes.get(normal(entity.name if entity else name))
        why = _why_not(text, (start, end, name), node, patient, subjects, entity.status if entity else "present")
        if why is None or name not in TERMS:  # the others speak of a signal, and are checked there
            found.append(Claim(start, end, text[start:end], why))
            left = left[:start] + " " * (end - start) + left[end:]
    found += _relations_of_nothing(text, rest, spans, patient)
    return found + _unknown_conditions(left, patient, subjects), left


def _apart(text: str, span: Span, own: Sequence[Span]) -> bool:
    """Whether a name of the dictionary is one beside the patient's own, or holds one of them (``recurrent pneumonia``); else it
    only joins what a list has side by side."""
    touched = [one for one in own if one[0] < span[1] and span[0] < one[1]]
    inside = all(span[0] <= one[0] and one[1] <= span[1] for one in touched)
    return not touched or (inside and len(touched) == 1 and "," not in text[span[0] : span[1]])


def _why_not(
    text: str, span: Span, node: int | None, patient: PatientEvidence, subjects: frozenset[int], said: str
) -> str | None:
    """Why a name does not belong into the statement; None if it does. ``said`` is its status there."""
    name = span[2]
    if node in patient.linked:
        of_graph = _stated(_clause(text, span[0]), strict=True) or any(
            _holds(name, patient.documents[n]) for n in subjects
        )
        denied = said in ("negated", "family") and not of_graph
        return f"stated as {said}, the notes have it as present" if denied else None
    related = _related(text, span, patient, subjects)
    if related is None:
        return None
    noted = patient.noted.get(node if node is not None else normal(name)) or patient.noted.get(normal(name))
    if noted and (said in noted or noted & set(AGREES.get(said, ()))):
        return None
    if noted and "present" not in noted:
        return f"stated as {said}, the notes have it as {' and '.join(sorted(noted))} only"
    return related if subjects else "not among the patient's diseases, nor connected with one that the statement names"


def _related(text: str, span: Span, patient: PatientEvidence, subjects: frozenset[int]) -> str | None:
    """None if a subject's documents hold the name, or a triple of the relation that its clause states."""
    name = span[2].lower()
    stated = _stated(_clause(text, span[0]), strict=True)
    if stated:
        triples = {(relation, name) for relation in stated}
        if any(triples & patient.documents[node].triples for node in subjects):
            return None
        return f"no triple connects it as {' or '.join(stated)}"
    stated = _stated(_clause(text, span[0]), strict=False)
    for node in subjects:
        known = patient.documents[node]
        if _holds(name, known) or any((relation, name) in known.triples for relation in stated):
            return None
        if name in known.neighbours and not stated:
            return None
    return (
        f"no triple connects it as {' or '.join(stated)}" if stated else "not connected with what the statement names"
    )


def _holds(name: str, known: DiseaseDocuments) -> bool:
    return f" {normal(name)} " in known.text


@lru_cache(100_000)
def _stated(clause: str, strict: bool) -> tuple[str, ...]:
    """The relations that a clause's words state."""
    if strict and not ANY_STRICT.search(clause):
        return ()
    return tuple(relation for relation, pattern in (STRICT if strict else LOOSE).items() if pattern.search(clause))


@lru_cache(100_000)
def _clause(text: str, place: int) -> str:
    start = max((match.end() for match in CLAUSE.finditer(text, 0, place)), default=0)
    after = CLAUSE.search(text, place)
    return text[start : after.start() if after else len(text)]


def _relations_of_nothing(text: str, rest: str, spans: Sequence[Span], patient: PatientEvidence) -> list[Claim]:
    """A strict relation needs two ends: a clause that names none but the patient's diseases must hold a triple between them."""
    found: list[Claim] = []
    for relation, pattern in STRICT.items() if ANY_STRICT.search(rest) else ():
        for match in pattern.finditer(rest):
            clause = _clause(text, match.start())
            names = {name for start, _, name in spans if _clause(text, start) == clause}
            own = {patient.names[name] for name in names if name in patient.names}
            between = {(relation, name) for name in names}
            if names <= patient.names.keys() and not any(between & patient.documents[node].triples for node in own):
                why = f"what is stated as {relation} is no triple of the graph"
                found.append(Claim(match.start(), match.end(), clause.strip(), why))
    return found


def _unknown_conditions(left: str, patient: PatientEvidence, subjects: frozenset[int]) -> list[Claim]:
    """Words that end like a condition's name, and are neither a known name nor in a document of the statement's diseases."""
    found = []
    for match in ENDING.finditer(left):
        name = match[0].lower()
        if name not in TERMS and not NO_CONDITION.search(name) and not _excused(name, patient, subjects):
            found.append(Claim(match.start(), match.end(), match[0], "a condition of which the evidence says nothing"))
    return found


def _excused(name: str, patient: PatientEvidence, subjects: frozenset[int]) -> bool:
    noted = patient.noted.get(normal(name), frozenset())
    return any(_holds(name, patient.documents[node]) for node in subjects) or bool(noted & set(OF_THE_PATIENT))
