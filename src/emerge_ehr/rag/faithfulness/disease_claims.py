"""Checks what a statement says about diseases, and about what the graph connects them with.

A statement's subjects are the patient's linked diseases that it names. Any other name in it must stand in the notes. Where the
statement speaks of a disease in general, it may stand in a subject's documents instead, or be its neighbour in the graph by the
relation that the words state.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import OF_THE_PATIENT, Entity
from emerge_ehr.rag.faithfulness import Claim, modality, relations
from emerge_ehr.rag.faithfulness.evidence import PatientEvidence
from emerge_ehr.rag.faithfulness.names_in_text import NamesInText, Span, blanked, build, literal, longest
from emerge_ehr.rag.faithfulness.signal_claims import TERMS
from emerge_ehr.rag.names import normal

PRONOUN = re.compile(r"\s*(?:it|this|its|these|they|their|the (?:disease|condition)s?)\b", re.IGNORECASE)
AMBIGUOUS = frozenset(
    {"lead", "gold", "iron", "tin", "onset", "falls", "metals", "mo", "pain", "death", "age", "water", "oxygen"}
)
# Status in a statement -> statuses in the notes that do not contradict it.
AGREES = {
    "negated": ("negated", "hypothetical"),
    "hypothetical": ("hypothetical", "negated"),
    "historical": OF_THE_PATIENT,
}
HEAD = re.compile(
    r"\s*(?:(?P<negated>denied|ruled out|absent)|(?P<hypothetical>possible(?: only)?|suspected)|(?P<family>family history)"
    r"|(?P<historical>(?:past |medical )*history|past)): ",
    re.IGNORECASE,
)
UNGIVEN = frozenset(
    {"negated", "family", "planned", "stopped", "former"}
)  # what may not be said of a drug that was given
DENIED = re.compile(r"\b(?:never|(?:does|do|did|has|have) not|ruled out|excluded|no longer|absent)\b", re.IGNORECASE)


def neighbour_names(graph: KnowledgeGraph, signals: Iterable[str]) -> NamesInText:
    """A finder of everything that the graph connects with a disease (drugs, genes, phenotypes, ...) except signals' names."""
    edges = graph.edges()
    names = {edges.name[row] for row in np.unique(edges.neighbour).tolist()}
    others = AMBIGUOUS | {name.lower() for name in signals}
    return build(name for name in names if len(name) > 2 and name.lower() not in others)


def subjects(text: str, patient: PatientEvidence, before: frozenset[int]) -> frozenset[int]:
    """The patient's diseases that the text names; those in ``before``, of the previous statement, if it begins with a pronoun
    and names none."""
    named = frozenset(patient.names[name] for _, _, name in literal(text, patient.names))
    return named or (before if PRONOUN.match(text) else named)


def is_list_of_notes(text: str, noted: Mapping[int | str, frozenset[str]]) -> bool:
    """Whether the text is a head, such as "Denied:", with words of the notes' own mentions that have this status there.

    >>> is_list_of_notes("Denied: PE, asthma.", {"pe": frozenset({"negated"}), "asthma": frozenset({"family", "negated"})})
    True
    """
    head = HEAD.match(text)
    if head is None:
        return False
    listed = text[head.end() :].removesuffix(".")
    names = listed.split("; " if "; " in listed else ", ")
    return all(head.lastgroup in noted.get(normal(name), ()) for name in names)


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
    own = longest(literal(rest, (*patient.names, *objects, *patient.treated)))
    known = [span for span in known if rest[span[0] : span[1]] == text[span[0] : span[1]] and _apart(text, span, own)]
    spans = longest([*own, *known])
    checked, remaining = [], rest
    for start, end, name in spans:
        entity = entities.get((start, end))
        node = patient.names.get(name)
        if node is None:
            node = nodes.get(normal(entity.name if entity else name))
        why = _why_not(text, (start, end, name), node, patient, subjects, entity)
        if why is None or name not in TERMS:  # else it is a signal's name too, and checked as such
            checked.append(Claim(start, end, text[start:end], why))
            remaining = blanked(remaining, start, end)
    return [*checked, *_relations_without_object(text, rest, spans, patient)], remaining


def _apart(text: str, span: Span, own: Sequence[Span]) -> bool:
    """Whether a name in the dictionary stands apart from the patient's own names, or holds one of them (``recurrent pneumonia``).

    Otherwise it only arises because a list puts two names side by side.
    """
    touched = [other for other in own if other[0] < span[1] and span[0] < other[1]]
    inside = all(span[0] <= other[0] and other[1] <= span[1] for other in touched)
    return not touched or (inside and len(touched) == 1 and "," not in text[span[0] : span[1]])


def _why_not(
    text: str, span: Span, node: int | None, patient: PatientEvidence, subjects: frozenset[int], entity: Entity | None
) -> str | None:
    """Why a name does not belong in the statement; None if it does."""
    clause = relations.clause(text, span[0])
    how = modality.at(text, span[0], span[1], itself=False)
    status = _status(text, entity, how)
    noted = patient.statuses(node, entity.name if entity else span[2])
    now = "current" in how and "past" not in how
    if now and noted and (noted == {"historical"} or patient.notes.only_past(span[2])):
        return "stated as present now, the notes have it as historical only"
    general = relations.of_graph(clause)
    if node in patient.documents:
        if general and (relations.ANY_STRICT.search(clause) or status == "present"):
            return None
        return _against(status, noted or frozenset({"present"}))
    reasons = [relations.joins(patient.documents[n], span[2].lower(), clause) for n in sorted(subjects)]
    related = None in reasons
    if (general and related) or (
        _given(span[2], how, patient) and (related or not relations.stated(clause, strict=True))
    ):
        return None
    if noted and not relations.stated(clause, strict=True):
        return _against(status, noted)
    return None if not general and patient.notes.says(span[2], how) else _unrelated(reasons)


def _given(name: str, how: modality.Modality, patient: PatientEvidence) -> bool:
    """Whether the patient was given a drug of that name, and the statement does not say otherwise."""
    return name.lower() in patient.treated and not how & UNGIVEN


def _unrelated(reasons: Sequence[str | None]) -> str:
    """Why a name that the notes do not have is not supported; ``reasons``: why each subject does not support it."""
    if not reasons:
        return "not among the patient's diseases, nor connected with one that the statement names"
    told = "the graph connects it with the disease, the notes do not say it of the patient"
    return next((why for why in reasons if why), told)


def _status(text: str, entity: Entity | None, how: modality.Modality) -> str:
    """The status that a name has in the statement."""
    if head := HEAD.match(text):
        return str(head.lastgroup)
    status = entity.status if entity else ("negated" if "negated" in how else "present")
    if status == "present" and "family" in how:
        return "family"
    if status == "present" and "planned" in how:
        return "hypothetical"
    if status == "present" and "negated" in how and DENIED.search(text):
        return "negated"
    return status


def _against(status: str, noted: frozenset[str]) -> str | None:
    """Why a disease may not be stated with this status, as the notes have it with those in ``noted``; None if it may."""
    own = noted & set(OF_THE_PATIENT)
    if status in noted or (status in ("present", "hypothetical") and own) or noted & set(AGREES.get(status, ())):
        return None
    only = " only" if "present" not in noted else ""
    return f"stated as {status}, the notes have it as {' and '.join(sorted(noted))}{only}"


def _relations_without_object(text: str, rest: str, spans: Sequence[Span], patient: PatientEvidence) -> list[Claim]:
    """Strict relations in clauses that name nothing but the patient's diseases, with no triple between two of these."""
    wrong: list[Claim] = []
    for relation, pattern in relations.STRICT.items() if relations.ANY_STRICT.search(rest) else ():
        for match in pattern.finditer(rest):
            clause = relations.clause(text, match.start())
            names = {name for start, _, name in spans if relations.clause(text, start) == clause}
            own = {patient.names[name] for name in names if name in patient.names}
            between = {(relation, name) for name in names}
            if names <= patient.names.keys() and not any(between & patient.documents[node].triples for node in own):
                why = f"what is stated as {relation} is no triple of the graph"
                wrong.append(Claim(match.start(), match.end(), clause.strip(), why))
    return wrong
