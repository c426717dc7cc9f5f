"""What stands behind a patient's summary, joined: statements, signals, mentions in the note, diseases and their triples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emerge_ehr.rag.records_file import Record

LONGEST_NOTE = 20_000  # characters shown
STATUSES = ("present", "historical", "negated", "family", "hypothetical")


@dataclass(frozen=True)
class Segment:
    """A piece of the note; ``status`` where it is a mention, ``disease`` the number of the disease that this was linked to.
    ``first``: the note's first mention of it."""

    text: str
    status: str | None = None
    name: str = ""
    disease: int | None = None
    first: bool = False


@dataclass(frozen=True)
class Disease:
    """A matched disease; ``relations``: relation -> names. ``statements``: numbers of those that rest on it.
    ``wordings``: how the notes call it, each once, in their order."""

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
    """What a statement rests on: where it stands in the view, and in words."""

    target: str
    words: str


@dataclass(frozen=True)
class Statement:
    """A statement of the summary; ``mention``: the disease whose mention it rests on; ``doubts``: claims that the audit found
    unsupported."""

    number: int
    text: str
    support: tuple[Support, ...]
    mention: int | None
    doubts: tuple[str, ...]


def segments(note: str, record: Record) -> list[Segment]:
    """The note cut at its mentions, the first ``LONGEST_NOTE`` characters of it."""
    numbers = {node["node_index"]: n for n, node in enumerate(record.nodes)}
    found: list[Segment] = []
    seen: set[int] = set()
    at = 0
    for entity in sorted(record.entities, key=lambda one: one["start"]):
        start, end = entity["start"], min(entity["end"], LONGEST_NOTE)
        if start < at or start >= end:
            continue
        number = numbers.get(entity["node_index"])
        found += [Segment(note[at:start])] if start > at else []
        first = number is not None and number not in seen
        found.append(Segment(note[start:end], entity["status"], entity["name"], number, first))
        if number is not None:
            seen.add(number)
        at = end
    rest = note[at:LONGEST_NOTE]
    return [*found, Segment(rest)] if rest else found


def diseases(record: Record) -> list[Disease]:
    """The matched diseases in the record's order, each with what was retrieved of it."""
    documents = {document["node_index"]: document for document in record.documents}
    citing: dict[int, list[int]] = {}
    for n, statement in enumerate(record.provenance):
        for item in items(statement):
            if "node_index" in item and n not in citing.setdefault(item["node_index"], []):
                citing[item["node_index"]].append(n)
    return [
        Disease(
            number=n,
            node_index=(index := node["node_index"]),
            name=node["name"],
            member=node.get("member"),
            wordings=_wordings(record, index),
            score=node["score"],
            count=node["count"],
            definition=documents.get(index, {}).get("definition") or "",
            description=documents.get(index, {}).get("description") or "",
            relations=_relations(record.triples, index),
            statements=tuple(citing.get(index, ())),
        )
        for n, node in enumerate(record.nodes)
    ]


def statements(record: Record) -> list[Statement]:
    """The summary's statements, each with what it rests on."""
    numbers = {node["node_index"]: n for n, node in enumerate(record.nodes)}
    doubts: dict[int, list[str]] = {}
    for claim in record.faithfulness.get("unsupported", []):
        doubts.setdefault(claim["statement"], []).append(claim["why"])
    return [
        Statement(n, one["text"], tuple(_supports(one, numbers)), _mention(one, numbers), tuple(doubts.get(n, ())))
        for n, one in enumerate(record.provenance)
    ]


def items(statement: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The pieces of evidence of a statement: itself, or what a language model cited for it."""
    own: Sequence[Mapping[str, Any]] = statement["evidence"] if statement["kind"] == "model" else [statement]
    return own


def _supports(statement: Mapping[str, Any], numbers: Mapping[int, int]) -> list[Support]:
    found = []
    for item in items(statement):
        if item["kind"] == "signal":
            found.append(Support(f"s-{item['code']}", f"{item['label']} at hour {item['hour']}"))
        elif item["kind"] == "patient":
            found.append(Support("who", "age and sex"))
        elif item.get("node_index") in numbers:
            number = numbers[item["node_index"]]
            found.append(
                Support(f"t-{number}", item["relation"])
                if item["kind"] == "triples"
                else Support(f"d-{number}", "mention and definition" if item.get("definition") else "mention")
            )
    return list(dict.fromkeys(found))


def _mention(statement: Mapping[str, Any], numbers: Mapping[int, int]) -> int | None:
    cited = [numbers.get(item["node_index"]) for item in items(statement) if item["kind"] == "disease"]
    return cited[0] if cited else None


def _wordings(record: Record, node_index: int) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for entity in sorted(record.entities, key=lambda one: one["start"]):
        if entity["node_index"] == node_index:
            found.setdefault(entity["surface"].casefold(), entity["surface"])
    return tuple(found.values())


def _relations(triples: Sequence[tuple[int, str, str, str]], node_index: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for index, _, relation, name in triples:
        if index == node_index:
            found.setdefault(relation, []).append(name)
    return found
