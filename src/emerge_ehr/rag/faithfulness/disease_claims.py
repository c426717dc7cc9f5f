"""Checks what a statement says about diseases, and about what the graph connects them with, against the patient's diseases.

A statement's subjects are the patient's linked diseases that it names. Any other name in it must stand in a subject's documents
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

# PrimeKG's display name of a relation -> words that state it. A relation stated by a STRICT pattern must be a triple.
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
normal = lru_cache(200_000)(normal_form)  # the same names stand in many summaries
# Status in a statement -> statuses in the notes that do not contradict it.
AGREES = {
    "negated": ("negated", "hypothetical"),
    "hypothetical": ("hypothetical", "negated"),
    "historical": OF_THE_PATIENT,
}


@dataclass(frozen=True)
class DiseaseDocuments:
    """What the graph says about a disease.

    ``text``: its documents in normal form, with a blank at both ends; ``numbers``: those in the documents; ``triples``: (display
    relation, neighbour in lower case); ``neighbours``: in lower case.
    """

    text: str
    numbers: frozenset[str]
    triples: frozenset[tuple[str, str]]
    neighbours: frozenset[str]


@dataclass(frozen=True)
class PatientEvidence:
    """The evidence that a summary of this patient may state.

    ``names``: lower-case name of a linked disease -> node; ``objects``: node -> lower-case neighbours in the triples that were
    retrieved for it; ``noted``: node or normal name -> statuses of its mentions in the notes.
    """

    signals: Sequence[AbnormalSignal]
    linked: Mapping[int, Link]
    documents: Mapping[int, DiseaseDocuments]
    names: Mapping[str, int]
    objects: Mapping[int, tuple[str, ...]]
    noted: Mapping[int | str, frozenset[str]]

    @property
    def links(self) -> Mapping[int, Link]:
        """The linked diseases, under the name that ``Evidence`` has for them."""
        return self.linked


def documents(graph: KnowledgeGraph, node: int) -> DiseaseDocuments:
    """Everything that the graph says about a disease, whether it was retrieved or not."""
    disease, triples = graph.diseases()[node], graph.triples(node)
    raw = f"{disease.definition} {disease.description}"
    return DiseaseDocuments(
        f" {normal(raw)} ",
        frozenset(number.lstrip("+").replace(",", "").replace("−", "-") for number in NUMBER.findall(raw)),
        frozenset((triple.display_relation, triple.y_name.lower()) for triple in triples),
        frozenset(triple.y_name.lower() for triple in triples),
    )


def neighbour_names(graph: KnowledgeGraph, signals: Iterable[str]) -> NamesInText:
    """A finder of everything that the graph connects with a disease (drugs, genes, phenotypes, ...) except signals' names."""
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
    """The evidence of one patient, from parts that hold: see ``PatientEvidence``."""
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
    """The patient's diseases that the text names; those in ``before``, of the previous statement, if it begins with a pronoun
    and names none."""
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
    """The claims in ``rest``, which is ``text`` with quotations blanked out; and ``rest`` with the checked names blanked out too.

    ``mentioned``: the diseases in ``text`` that the dictionary knows, with their status there; ``named``: other names of the
    graph in it.
    """
    entities = {(entity.start, entity.end): entity for entity in mentioned}
    known = [*named, *((start, end, text[start:end].lower()) for start, end in entities)]
    objects = [name for node in subjects for name in patient.objects[node]]
    own = longest(literal(rest, (*patient.names, *objects)))
    known = [span for span in known if rest[span[0] : span[1]] == text[span[0] : span[1]] and _apart(text, span, own)]
    spans = longest([*own, *known])
    checked, remaining = [], rest
    for start, end, name in spans:
        entity = entities.get((start, end))
        node = patient.names.get(name)
        if node is None:
            node = nodes.get(normal(entity.name if entity else name))
        why = _why_not(text, (start, end, name), node, patient, subjects, entity.status if entity else "present")
        if why is None or name not in TERMS:  # else it is a signal's name too, and checked as such
            checked.append(Claim(start, end, text[start:end], why))
            remaining = remaining[:start] + " " * (end - start) + remaining[end:]
    checked += _relations_without_object(text, rest, spans, patient)
    return checked + _unknown_conditions(remaining, patient, subjects), remaining


def _apart(text: str, span: Span, own: Sequence[Span]) -> bool:
    """Whether a name in the dictionary stands apart from the patient's own names, or holds one of them (``recurrent pneumonia``).

    Otherwise it only arises because a list puts two names side by side.
    """
    touched = [other for other in own if other[0] < span[1] and span[0] < other[1]]
    inside = all(span[0] <= other[0] and other[1] <= span[1] for other in touched)
    return not touched or (inside and len(touched) == 1 and "," not in text[span[0] : span[1]])


def _why_not(
    text: str, span: Span, node: int | None, patient: PatientEvidence, subjects: frozenset[int], status: str
) -> str | None:
    """Why a name does not belong in the statement; None if it does. ``status`` is the one it has there."""
    name = span[2]
    if node in patient.linked:
        of_graph = _stated(_clause(text, span[0]), strict=True) or any(
            _holds(name, patient.documents[n]) for n in subjects
        )
        denied = status in ("negated", "family") and not of_graph
        return f"stated as {status}, the notes have it as present" if denied else None
    related = _related(text, span, patient, subjects)
    if related is None:
        return None
    noted = patient.noted.get(node if node is not None else normal(name)) or patient.noted.get(normal(name))
    if noted and (status in noted or noted & set(AGREES.get(status, ()))):
        return None
    if noted and "present" not in noted:
        return f"stated as {status}, the notes have it as {' and '.join(sorted(noted))} only"
    return related if subjects else "not among the patient's diseases, nor connected with one that the statement names"


def _related(text: str, span: Span, patient: PatientEvidence, subjects: frozenset[int]) -> str | None:
    """None if a subject's documents or triples support the name; otherwise why they do not.

    A triple must have the relation that the name's clause states, if it states one.
    """
    name = span[2].lower()
    stated = _stated(_clause(text, span[0]), strict=True)
    if stated:
        triples = {(relation, name) for relation in stated}
        if any(triples & patient.documents[node].triples for node in subjects):
            return None
        return f"no triple connects it as {' or '.join(stated)}"
    stated = _stated(_clause(text, span[0]), strict=False)
    for node in subjects:
        documents = patient.documents[node]
        if _holds(name, documents) or any((relation, name) in documents.triples for relation in stated):
            return None
        if name in documents.neighbours and not stated:
            return None
    return (
        f"no triple connects it as {' or '.join(stated)}" if stated else "not connected with what the statement names"
    )


def _holds(name: str, documents: DiseaseDocuments) -> bool:
    return f" {normal(name)} " in documents.text


@lru_cache(100_000)
def _stated(clause: str, strict: bool) -> tuple[str, ...]:
    """The relations that the words of a clause state, by the strict or by the loose patterns."""
    if strict and not ANY_STRICT.search(clause):
        return ()
    return tuple(relation for relation, pattern in (STRICT if strict else LOOSE).items() if pattern.search(clause))


@lru_cache(100_000)
def _clause(text: str, place: int) -> str:
    """The clause around the position ``place``."""
    start = max((match.end() for match in CLAUSE.finditer(text, 0, place)), default=0)
    after = CLAUSE.search(text, place)
    return text[start : after.start() if after else len(text)]


def _relations_without_object(text: str, rest: str, spans: Sequence[Span], patient: PatientEvidence) -> list[Claim]:
    """Strict relations in clauses that name nothing but the patient's diseases, with no triple between two of these."""
    wrong: list[Claim] = []
    for relation, pattern in STRICT.items() if ANY_STRICT.search(rest) else ():
        for match in pattern.finditer(rest):
            clause = _clause(text, match.start())
            names = {name for start, _, name in spans if _clause(text, start) == clause}
            own = {patient.names[name] for name in names if name in patient.names}
            between = {(relation, name) for name in names}
            if names <= patient.names.keys() and not any(between & patient.documents[node].triples for node in own):
                why = f"what is stated as {relation} is no triple of the graph"
                wrong.append(Claim(match.start(), match.end(), clause.strip(), why))
    return wrong


def _unknown_conditions(text: str, patient: PatientEvidence, subjects: frozenset[int]) -> list[Claim]:
    """Words that end like a condition's name but are neither a known name nor in a document of the statement's diseases."""
    unknown = []
    for match in ENDING.finditer(text):
        name = match[0].lower()
        if name not in TERMS and not NO_CONDITION.search(name) and not _excused(name, patient, subjects):
            unknown.append(
                Claim(match.start(), match.end(), match[0], "a condition of which the evidence says nothing")
            )
    return unknown


def _excused(name: str, patient: PatientEvidence, subjects: frozenset[int]) -> bool:
    """Whether a subject's documents, or the notes, speak of this condition."""
    noted = patient.noted.get(normal(name), frozenset())
    return any(_holds(name, patient.documents[node]) for node in subjects) or bool(noted & set(OF_THE_PATIENT))
