"""The evidence behind a patient's summary, linked to each other: statements, signals, mentions, diseases and their triples."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.rag.records_file import Record, RecordedTriple
from emerge_ehr.rag.summaries import (
    OfContraindications,
    OfDisease,
    OfManifestations,
    OfMention,
    OfPerson,
    OfSignal,
    OfTreatments,
    OfTriples,
    Statement,
)
from emerge_ehr.rag.treatments import SAID

QUOTED = re.compile(r", “.*”")
LONGEST_NOTE = 20_000  # characters shown
STATUSES = ("present", "historical", "negated", "family", "hypothetical")


@dataclass(frozen=True)
class Segment:
    """A part of the note's text. Of a mention, ``status`` says which kind; ``disease`` is the number of the disease that the
    mention was linked to, and ``first`` says whether it is the note's first mention of that disease."""

    text: str
    status: str | None = None
    name: str = ""
    disease: int | None = None
    first: bool = False


@dataclass(frozen=True)
class ShownDisease:
    """A matched disease. ``relations``: relation -> names of its neighbours. ``statements``: the numbers of the statements that
    rest on it. ``wordings``: what the notes call it, without repetition, in the order of the notes."""

    number: int
    node_index: int
    name: str
    member: str | None
    wordings: tuple[str, ...]
    score: float
    count: int
    definition: str
    description: str
    relations: dict[str, list[str]]
    statements: tuple[int, ...]


@dataclass(frozen=True)
class Support:
    """Evidence that a statement rests on: ``target`` is its place in the view, ``words`` what the link says."""

    target: str
    words: str


@dataclass(frozen=True)
class ShownStatement:
    """A statement of the summary. ``mention``: the number of the disease whose mention it rests on. ``doubts``: why the audit
    found claims of it unsupported."""

    number: int
    text: str
    support: tuple[Support, ...]
    mention: int | None
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class ShownDrug:
    """A drug that was given: its name, how, and the hour. ``written``: what the records call it; ``against``: the diseases of the
    patient in which the graph holds it contraindicated."""

    name: str
    how: str
    hour: int
    in_graph: bool
    written: tuple[str, ...]
    against: tuple[str, ...]


def segments(note: str, record: Record) -> list[Segment]:
    """The first ``LONGEST_NOTE`` characters of the note, cut at its mentions."""
    numbers = _numbers(record)
    parts: list[Segment] = []
    seen: set[int] = set()
    at = 0
    for entity in sorted(record.entities, key=lambda mention: mention.start):
        start, end = entity.start, min(entity.end, LONGEST_NOTE)
        if start < at or start >= end:
            continue
        number = numbers.get(entity.node_index) if entity.node_index is not None else None
        parts += [Segment(note[at:start])] if start > at else []
        first = number is not None and number not in seen
        parts.append(Segment(note[start:end], entity.status, entity.name, number, first))
        if number is not None:
            seen.add(number)
        at = end
    rest = note[at:LONGEST_NOTE]
    return [*parts, Segment(rest)] if rest else parts


def diseases(record: Record) -> list[ShownDisease]:
    """The matched diseases in the record's order, each with what was retrieved about it."""
    documents = {document.node_index: document for document in record.documents}
    citing: dict[int, list[int]] = {}
    for n, statement in enumerate(record.provenance):
        for node_index in dict.fromkeys(statement.nodes):
            citing.setdefault(node_index, []).append(n)
    return [
        ShownDisease(
            number=n,
            node_index=(index := node.node_index),
            name=node.name,
            member=node.member,
            wordings=_wordings(record, index),
            score=node.score,
            count=node.count,
            definition=documents[index].definition if index in documents else "",
            description=documents[index].description if index in documents else "",
            relations=_relations(record.triples, index),
            statements=tuple(citing.get(index, ())),
        )
        for n, node in enumerate(record.nodes)
    ]


def given(record: Record) -> tuple[ShownDrug, ...]:
    """What the patient was given, those drugs first that are contraindicated in a disease of the patient."""
    against: dict[int, list[str]] = {}
    for one in record.contraindications:
        against.setdefault(one.drug_node_index, []).append(one.disease)
    drugs = [
        ShownDrug(
            drug.name,
            SAID[drug.kind],
            drug.hour,
            drug.node_index is not None,
            drug.written,
            tuple(against.get(drug.node_index, ())) if drug.node_index is not None else (),
        )
        for drug in record.treatments
    ]
    return tuple(sorted(drugs, key=lambda drug: not drug.against))


def statements(record: Record, with_quotes: bool) -> list[ShownStatement]:
    """The summary's statements, each with the evidence it rests on.

    Without ``with_quotes``, words of the notes are left out, and statements that are made of such words or may hold some.
    """
    numbers = {node.node_index: n for n, node in enumerate(record.nodes)}
    doubts: dict[int, list[str]] = {}
    for claim in record.faithfulness.unsupported:
        doubts.setdefault(claim.statement, []).append(claim.why)
    return [
        ShownStatement(n, text, tuple(_supports(said, numbers)), _mention(said, numbers), tuple(doubts.get(n, ())))
        for n, said in enumerate(record.provenance)
        if (text := said.text if with_quotes else _without_quotes(said))
    ]


def _without_quotes(statement: Statement) -> str:
    """The statement's text without words of the notes; empty if nothing is left to tell."""
    if not statement.quotes:
        return statement.text
    return QUOTED.sub("", statement.text) if isinstance(statement.evidence, OfDisease) else ""


def _supports(statement: Statement, numbers: Mapping[int, int]) -> list[Support]:
    supports = []
    for item in statement.items:
        match item:
            case OfSignal():
                supports.append(Support(f"s-{item.code}", f"{item.label} at hour {item.hour}"))
            case OfPerson():
                supports.append(Support("who", "age and sex"))
            case OfManifestations() if item.node_index in numbers:
                supports += [Support(f"s-{code}", code.replace("_", " ")) for code in item.codes]
                supports.append(Support(f"t-{numbers[item.node_index]}", "phenotypes"))
            case OfTreatments():
                supports.append(Support("given", "what was given"))
            case OfContraindications() if item.node_index in numbers:
                supports.append(Support("given", "what was given"))
                supports.append(Support(f"d-{numbers[item.node_index]}", "disease"))
            case OfTriples() if item.node_index in numbers:
                supports.append(Support(f"t-{numbers[item.node_index]}", item.relation))
            case OfDisease() | OfMention() if item.node_index in numbers:
                quoted = isinstance(item, OfDisease) and item.definition
                words = "mention and definition" if quoted else "mention"
                supports.append(Support(f"d-{numbers[item.node_index]}", words))
    return list(dict.fromkeys(supports))


def _mention(statement: Statement, numbers: Mapping[int, int]) -> int | None:
    cited = [numbers.get(item.node_index) for item in statement.items if isinstance(item, OfDisease | OfMention)]
    return cited[0] if cited else None


def _numbers(record: Record) -> dict[int, int]:
    """The number of each disease; that of a more general one is the number of the disease that took its place."""
    own = {node.node_index: n for n, node in enumerate(record.nodes)}
    left = {left.node_index: own[left.kept] for left in record.left_out if left.kept in own}
    return {**left, **own}


def _wordings(record: Record, node_index: int) -> tuple[str, ...]:
    surfaces: dict[str, str] = {}
    for entity in sorted(record.entities, key=lambda mention: mention.start):
        if entity.node_index == node_index:
            surfaces.setdefault(entity.surface.casefold(), entity.surface)
    return tuple(surfaces.values())


def _relations(triples: Sequence[RecordedTriple], node_index: int) -> dict[str, list[str]]:
    names_by_relation: dict[str, list[str]] = {}
    for triple in triples:
        if triple.node_index == node_index:
            names_by_relation.setdefault(triple.relation, []).append(triple.y_name)
    return names_by_relation
