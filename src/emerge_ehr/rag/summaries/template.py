"""The template summary: sentences filled with the evidence, without a language model.

In order: who and what; the present diseases, the most important first, each with the signals that are known manifestations of
it, the drugs of the notes that concern it, and what was given though the graph holds it contraindicated in it; the signals; what
was given; past diseases; what the graph has no disease for, what is denied, only possible, or a relative's; and at last what the
graph says in general, for which there is no more room than signals and notes take.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from emerge_ehr.fields import Positive
from emerge_ehr.graphs import Triple
from emerge_ehr.rag.entities import OF_THE_PATIENT, Status
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.ranking.connections import NOTHING, PHENOTYPE
from emerge_ehr.rag.ranking.findings import inside
from emerge_ehr.rag.sentences import current_name, readable, whole
from emerge_ehr.rag.summaries import (
    Evidence,
    OfContraindications,
    OfDisease,
    OfManifestations,
    OfNotes,
    OfNothing,
    OfPerson,
    OfSignal,
    OfTreatments,
    OfTriples,
    Statement,
    Summarizer,
    Summary,
    bounded,
)
from emerge_ehr.rag.treatments import SAID
from emerge_ehr.rag.treatments.contraindications import RELATION as CONTRAINDICATION
from emerge_ehr.signals.abnormal import AbnormalSignal

USES = {"indication": "indicated", "contraindication": "contraindicated", "off-label use": "used off label"}
ASIDES: Mapping[Status, str] = {
    "present": "Also noted",
    "historical": "Also in the past",
    "negated": "Denied",
    "hypothetical": "To rule out",
    "family": "Family history",
}
DENIED = re.compile(r"[ (]+(?:not|without)\b")  # "not due to heart failure" would seem to deny the disease
PUNCTUATED = re.compile(r"[,:()]| - ")
UNNAMED = ("", "fraction", "pH")  # units that nobody says
MOST_ASIDES, MOST_OWN = 6, 12  # names of each kind; of the patient's own findings
MOST_DRUGS = 60  # infused, and as many prescribed


@dataclass(frozen=True)
class Options:
    """``definition_characters``: the most of a definition that is quoted; ``max_characters``: the most of a summary."""

    light: ClassVar[bool] = True
    definition_characters: Positive = 300
    max_characters: Annotated[int, Ge(200)] = 12000


@dataclass(frozen=True)
class Template:
    """Summaries for one ``question`` about one ``window``, both in words."""

    asks: ClassVar[bool] = False
    options: Options
    question: str
    window: str

    def summarise(self, evidence: Sequence[Evidence]) -> list[Summary]:
        """One summary per patient, in the order of ``evidence``."""
        limit = self.options.max_characters
        return [Summary(bounded(self._statements(patient), limit), "template") for patient in evidence]

    def _statements(self, evidence: Evidence) -> list[Statement]:
        """Statements about the patient, then as much of the graph's general knowledge as is no longer than they are."""
        own = [self._opening(evidence)]
        for link in evidence.links:
            if link.status == "present":
                own += [_disease(link), *_manifestations(link, evidence), *_drugs(link, evidence)]
                own += _contraindications(link, evidence)
        own += [Statement(signal_text(signal), OfSignal(**vars(signal))) for signal in evidence.signals]
        if not evidence.signals:
            own.append(Statement("No abnormal signal was found.", OfNothing("no signal")))
        own += _treatments(evidence)
        for link in evidence.links:
            if link.status == "historical":
                own += [_disease(link), *_drugs(link, evidence), *_contraindications(link, evidence)]
        if not evidence.links and not evidence.asides.get("present") and not evidence.asides.get("historical"):
            own.append(Statement("No disease was found in the notes.", OfNothing("no disease")))
        own += _asides(evidence)
        own, room = _at_most_half(own)
        return [*own, *bounded(list(self._general(evidence)), room)]

    def _opening(self, evidence: Evidence) -> Statement:
        sex = {"F": "woman", "M": "man"}.get(evidence.sex or "", "patient")
        who = f"A {sex}" if evidence.age is None else f"{_article(evidence.age)} {evidence.age:.0f}-year-old {sex}"
        text = f"{who}, {self.window}; the question is {self.question}."
        return Statement(text, OfPerson(evidence.age, evidence.sex))

    def _general(self, evidence: Evidence) -> Iterator[Statement]:
        """What the graph says of the diseases, whoever has them: phenotypes that were retrieved, then definitions, each once."""
        for link in evidence.links:
            disease = evidence.diseases[link.node_index]
            connected = evidence.connected.get(link.node_index, NOTHING)
            above = {item.phenotype for item in connected.manifestations}
            phenotypes = [t for t in disease.triples if _tells(t, connected.findings) and t.y_name not in above]
            if phenotypes:
                names = tuple(triple.y_name for triple in phenotypes)
                written = [connected.findings[name] for name in names]
                text = f"{current_name(link.name)} can come with {_joined(written)}."
                yield Statement(_sentence(text), OfTriples(link.node_index, phenotypes[0].display_relation, names))
        told = set[str]()
        for link in evidence.links:
            quoted = whole(readable(evidence.diseases[link.node_index].definition), self.options.definition_characters)
            if quoted and quoted not in told and link.member is None:  # the graph defines a group, not its members
                told.add(quoted)
                full = quoted if quoted.endswith((".", "!", "?")) else f"{quoted}."
                name = current_name(link.name)
                head = "" if normal(full).startswith(f"{normal(name)} is ") else f"{name}: "
                yield Statement(_sentence(f"{head}{full}"), _of_disease(link, definition=True))


def _at_most_half(own: Sequence[Statement]) -> tuple[list[Statement], int]:
    """Statements about the patient without the last that join them by the graph, where these take more than half of the
    characters; and how many characters more the graph may take."""
    kept = list(own)
    while True:
        joined = [n for n, text in enumerate(kept) if isinstance(text.evidence, OfManifestations | OfTriples)]
        room = sum(len(text.text) + 1 for text in kept) - 2 * sum(len(kept[n].text) + 1 for n in joined)
        if room >= 0 or not joined:
            return kept, room
        del kept[joined[-1]]


def _disease(link: Link) -> Statement:
    """The disease in the words of the notes and, where they differ, by the graph's name."""
    name, quoted = current_name(link.member or link.name), DENIED.split(" ".join(link.quote.split()))[0]
    known = f" {normal(name)} " in f" {normal(quoted)} "
    told = name if normal(quoted) in ("", normal(name)) else f"“{quoted}”" if known else f"“{quoted}” ({name})"
    head = "Present" if link.status == "present" else "History"
    return Statement(f"{head}: {told}.", _of_disease(link, definition=False))


def _of_disease(link: Link, definition: bool) -> OfDisease:
    quoted = "" if definition else link.quote
    return OfDisease(link.node_index, link.surface, link.score, definition, quoted)


def _manifestations(link: Link, evidence: Evidence) -> Iterator[Statement]:
    """The signals that are known manifestations of the disease; those that show the same phenotypes are told together."""
    connected = evidence.connected.get(link.node_index, NOTHING)
    shown: dict[tuple[str, str], list[str]] = {}
    for item in connected.manifestations:
        shown.setdefault((item.signal.direction, item.signal.label), []).append(item.phenotype)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (direction, label), names in shown.items():
        alike.setdefault((direction, tuple(names)), []).append(label)
    if shown:
        signals = [
            f"{direction} {_joined(labels)} ({_joined([inside(name) for name in names])})"
            for (direction, names), labels in alike.items()
        ]
        codes = tuple(dict.fromkeys(item.signal.code for item in connected.manifestations))
        phenotypes = tuple(dict.fromkeys(item.phenotype for item in connected.manifestations))
        text = f"{_joined(signals)} {_known(codes)} of {current_name(link.name)}."
        yield Statement(_sentence(text), OfManifestations(link.node_index, codes, phenotypes))


def _drugs(link: Link, evidence: Evidence) -> Iterator[Statement]:
    """The drugs that the notes name and that the graph has for or against the disease."""
    by_relation: dict[str, list[Triple]] = {}
    told = {one.drug for one in evidence.contraindications if one.node_index == link.node_index}
    for drug in evidence.connected.get(link.node_index, NOTHING).drugs:
        if drug.relation != CONTRAINDICATION or drug.y_name.lower() not in told:
            by_relation.setdefault(drug.relation, []).append(drug)
    for relation, drugs in by_relation.items():
        names = tuple(drug.y_name for drug in drugs)
        verb = "is" if len(names) == 1 else "are"
        written = _joined([inside(name) for name in names])
        text = f"{written}, named in the notes, {verb} {USES[relation]} in {current_name(link.name)}."
        yield Statement(_sentence(text), OfTriples(link.node_index, drugs[0].display_relation, names, of_patient=True))


def _treatments(evidence: Evidence) -> Iterator[Statement]:
    """What was given: infusions, then prescriptions."""
    for kind, said in SAID.items():
        drugs = tuple(drug.name for drug in evidence.treatments if drug.kind == kind)[:MOST_DRUGS]
        if drugs:
            yield Statement(f"{said.capitalize()}: {', '.join(drugs)}.", OfTreatments(kind, drugs))


def _contraindications(link: Link, evidence: Evidence) -> Iterator[Statement]:
    """The drugs given that the graph holds contraindicated in the disease."""
    for kind, said in SAID.items():
        against = [one for one in evidence.contraindications if (one.node_index, one.kind) == (link.node_index, kind)]
        if against:
            drugs, nodes = tuple(one.drug for one in against), tuple(one.drug_node_index for one in against)
            verb = "is" if len(drugs) == 1 else "are"
            text = (
                f"{_joined(drugs)}, {said}, {verb} contraindicated in {current_name(link.name)} by the knowledge graph."
            )
            yield Statement(_sentence(text), OfContraindications(link.node_index, kind, drugs, nodes))


def _asides(evidence: Evidence) -> Iterator[Statement]:
    """The patient's findings that have no node, and what the notes deny, only consider, or say of relatives."""
    for status, head in ASIDES.items():
        surfaces = _apart(evidence.asides.get(status, ()))[: MOST_OWN if status in OF_THE_PATIENT else MOST_ASIDES]
        if surfaces:
            written = [" ".join(surface.split()) for surface in surfaces]
            # a list's commas would run into those of its entries: "Jaundice, unspecified, not of newborn"
            separator = "; " if any(PUNCTUATED.search(surface) for surface in written) else ", "
            yield Statement(f"{head}: {separator.join(written)}.", OfNotes(status, surfaces))


def _tells(triple: Triple, findings: Mapping[str, str]) -> bool:
    """Whether a triple is a phenotype that is told of the disease in general."""
    return triple.relation == PHENOTYPE and triple.y_name in findings


def _article(age: float) -> str:
    """The article before an age: an 8-, 11-, 18- or 80-year-old.

    >>> _article(82), _article(18), _article(28)
    ('An', 'An', 'A')
    """
    years = f"{age:.0f}"
    return "An" if years.startswith("8") or years in ("11", "18") else "A"


def _apart(surfaces: Sequence[str]) -> tuple[str, ...]:
    """The surfaces without those that others hold.

    >>> _apart(["GI bleeding", "lower GI bleeding", "rash"])
    ('lower GI bleeding', 'rash')
    """
    names = [f" {normal(surface)} " for surface in surfaces]
    return tuple(
        surface
        for n, surface in enumerate(surfaces)
        if not any(names[n] in other and (names[n] != other or m < n) for m, other in enumerate(names) if m != n)
    )


def _joined(names: Sequence[str]) -> str:
    """The names as a list with "and".

    >>> _joined(["a"]), _joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _known(what: Sequence[str]) -> str:
    return "is a known manifestation" if len(what) == 1 else "are known manifestations"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def signal_text(signal: AbnormalSignal) -> str:
    """A signal in words, as summaries state it."""
    unit = f" {signal.unit}" if signal.unit not in UNNAMED else ""
    return (
        f"Abnormally {signal.direction} {signal.label}: {signal.value:g}{unit} at hour {signal.hour} (z {signal.z:+.1f}, "
        f"{signal.hours_beyond} h beyond the threshold)."
    )


def build(options: Options, *, question: str, window: str) -> Summarizer:
    """The summariser; ``question`` and ``window`` in words: "death in this hospital admission", "first 48 h of the stay"."""
    return Template(options, question, window)
