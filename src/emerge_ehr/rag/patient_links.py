"""A patient's diseases: which of those that the notes mention count, and which matters most.

Present diseases stand before past ones. Within each, the order is that of the sum of

- the place of the best placed mention: 2 in a title, an assessment or a list of diagnoses, 0 in a past history, else 1;
- severity: 1 if the words around a mention say severe, acute or the like, -1 if they only say mild, stable or resolved;
- gravity: 1 for a disease that threatens life within days, such as sepsis;
- recency: the share of the notes that begin no later than that of the last mention outside a past history;
- count: log2(1 + mentions) / 4, at most 1;
- specificity: 1 / (1 + ln(1 + parent-child edges of the node)).

A disease and a more general one of the patient take one place, that of the more specific, where the words of the general one are
all in those of the specific one (``rag/ranking/containment.py``); so do nodes whose names differ only in words such as
"disorder". A present disease never yields to one that is past, except to its own
type, which is then present; a past disease is no part of an
acute one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from emerge_ehr.rag.entities import OF_THE_PATIENT, Entity
from emerge_ehr.rag.linking import Linked
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.ranking import containment, places
from emerge_ehr.rag.ranking.hierarchy import Hierarchy
from emerge_ehr.rag.ranking.places import NoteStart, Places

Reason = Literal["more general", "same disease", "beyond max_nodes"]


@dataclass(frozen=True)
class Link:
    """A disease node that a patient's notes mention ``count`` times; ``score``: the names' similarity, 1 if they are equal.

    ``surface``: the words of a mention, ``quote``: the same with the words around it that say how severe and when. ``member``:
    PrimeKG groups diseases into nodes; where the notes name a member of the group instead of the group, the member's name.
    """

    node_index: int
    name: str
    surface: str
    score: float
    count: int
    member: str | None = None
    status: Literal["present", "historical"] = "present"
    quote: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A disease of the notes without a place of its own; ``kept``: the disease for which its mentions count, if there is one."""

    node_index: int
    name: str
    surface: str
    count: int
    reason: Reason
    kept: int | None


@dataclass(frozen=True)
class PatientLinks:
    """The linked diseases, the most important first, and those that were left out; ``parts``: those of the notes."""

    links: tuple[Link, ...]
    left_out: tuple[LeftOut, ...]
    parts: Places


@dataclass
class _Candidate:
    """A node with its mentions, in the order of the notes; ``matched``: the graph's name that the first of them has."""

    node: int
    score: float
    matched: str
    mentions: list[Entity] = field(default_factory=list)
    merged: list[Entity] = field(default_factory=list)
    typed: bool = False  # it is the type of a disease that is mentioned as present

    @property
    def present(self) -> bool:
        return self.typed or any(mention.status == "present" for mention in self.mentions)


@dataclass(frozen=True)
class Chooser:
    """Chooses the diseases of patients, at most ``most`` of each."""

    hierarchy: Hierarchy
    most: int

    def choose(
        self, entities: Sequence[Entity], linked: Mapping[str, Linked], notes: str, starts: Sequence[NoteStart]
    ) -> PatientLinks:
        """The diseases of one patient. ``linked``: the link of each entity's normal name; ``starts``: where the notes begin."""
        found, parts = _candidates(entities, linked), places.places(notes, starts)
        if not found:
            return PatientLinks((), (), parts)
        yielded = self._yielded(found, notes)
        for node in yielded:
            found[_last(node, yielded)].merged.extend(found[node].mentions)
        quotes = {
            node: [places.quote(notes, mention.start, mention.end) for mention in candidate.mentions]
            for node, candidate in found.items()
        }
        own = [candidate for node, candidate in found.items() if node not in yielded]
        ranked = sorted(own, key=lambda one: (not one.present, -self._points(one, quotes[one.node], parts)))
        beyond = {one.node for one in ranked[self.most :]}
        left = [self._left(found[node], yielded, beyond) for node in found if node in yielded or node in beyond]
        return PatientLinks(tuple(self._link(one, quotes[one.node]) for one in ranked[: self.most]), tuple(left), parts)

    def _yielded(self, found: Mapping[int, _Candidate], notes: str) -> dict[int, tuple[int, Reason]]:
        """The nodes that yield their place, each with the node that takes it, and why."""
        yielded: dict[int, tuple[int, Reason]] = {}
        keys: dict[frozenset[str], int] = {}
        for node, one in sorted(found.items(), key=lambda item: (not item[1].present, -len(item[1].mentions))):
            first = keys.setdefault(containment.content(one.matched), node)
            if first != node:
                yielded[node] = (first, "same disease")
        own = [one for node, one in found.items() if node not in yielded]
        for general in own:
            specific = [one for one in own if one is not general and self._takes(one, general, notes)]
            if specific:
                best = max(specific, key=lambda one: (one.present, len(one.mentions), -one.mentions[0].start))
                if _last(best.node, yielded) != general.node:
                    yielded[general.node] = (best.node, "more general")
                    best.typed |= general.present
        return yielded

    def _takes(self, specific: _Candidate, general: _Candidate, notes: str) -> bool:
        """Whether ``general`` is a word for ``specific``, as far as the graph and the notes tell."""
        name, longer = general.matched, specific.matched
        above = general.node in self.hierarchy.ancestors(specific.node)
        below = specific.node in self.hierarchy.ancestors(general.node)
        if below or not (above or containment.is_kind_by_name(name, longer)):
            return False
        if general.present and not specific.present and not containment.only_typed(name, longer):
            return False
        if not general.present and containment.only_acute(name, longer):
            return False
        said = {mention.surface for mention in specific.mentions}
        lines = {_rest_of_line(notes, mention.end) for mention in general.mentions}
        surfaces = {mention.surface for mention in general.mentions}
        return containment.means(name, surfaces, lines, [self._name(specific.node), longer, *said])

    def _name(self, node: int) -> str:
        return self.hierarchy.graph.diseases()[node].names[0]

    def _points(self, one: _Candidate, quotes: Sequence[str], parts: Places) -> float:
        mentions = one.mentions + one.merged
        weights = [parts.weight(mention.start) for mention in mentions]
        severities = [places.severity(quote) for quote in quotes]
        recent = [parts.recency(m.start) for m, weight in zip(mentions, weights, strict=True) if weight != places.PAST]
        return (
            max(weights)
            + (1 if 1 in severities else min(max(severities), 0))
            + places.grave(f"{one.matched} {quotes[0]}")
            + max(recent, default=0.0)
            + min(math.log2(1 + len(mentions)) / 4, 1.0)
            + 1 / (1 + math.log(1 + self.hierarchy.breadth(one.node)))
        )

    def _link(self, one: _Candidate, quotes: Sequence[str]) -> Link:
        """The link with the mention that says most: of the link's status, and with words that say how severe or when."""
        status: Literal["present", "historical"] = "present" if one.present else "historical"
        of_status = {mention.status for mention in one.mentions} & {status} or set(OF_THE_PATIENT)
        said = [
            ((places.gravity(quote), places.severity(quote), len(quote) - len(mention.surface)), mention.surface, quote)
            for mention, quote in zip(one.mentions, quotes, strict=True)
            if mention.status in of_status
        ]
        _, surface, quote = max(said, key=lambda words: words[0])
        count = len(one.mentions) + len(one.merged)
        member = None if one.matched == normal(self._name(one.node)) else one.matched
        return Link(one.node, self._name(one.node), surface, one.score, count, member, status, quote)

    def _left(self, one: _Candidate, yielded: Mapping[int, tuple[int, Reason]], beyond: set[int]) -> LeftOut:
        kept = _last(one.node, yielded) if one.node in yielded else None
        reason: Reason = yielded[one.node][1] if one.node in yielded else "beyond max_nodes"
        return LeftOut(
            one.node,
            self._name(one.node),
            one.mentions[0].surface,
            len(one.mentions),
            reason,
            None if kept in beyond else kept,
        )


def _candidates(entities: Sequence[Entity], linked: Mapping[str, Linked]) -> dict[int, _Candidate]:
    """The nodes of the patient's own entities, in the order of their first mentions."""
    found: dict[int, _Candidate] = {}
    for entity in entities:
        if entity.status in OF_THE_PATIENT and (link := linked.get(normal(entity.name))):
            node, score, matched = link
            found.setdefault(node, _Candidate(node, score, matched)).mentions.append(entity)
    return found


def _rest_of_line(notes: str, end: int) -> str:
    stop = notes.find("\n", end)
    return notes[end : stop if stop >= 0 else len(notes)].split(". ", maxsplit=1)[0]


def _last(node: int, yielded: Mapping[int, tuple[int, Reason]]) -> int:
    """The node that takes the place of ``node`` in the end."""
    while node in yielded:
        node = yielded[node][0]
    return node
