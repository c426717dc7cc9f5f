"""Audits summaries: all that a statement's text states must be in the patient's evidence, which is signals, graph and notes.

The evidence that a statement cites plays no part. Names of diseases, the person, causes, signals and numbers are checked one
after the other, each on what the checks before it left of the text; every word that is left must stand in the notes. A statement
that says nothing is not supported.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import Entity, EntityExtractor
from emerge_ehr.rag.faithfulness import (
    Claim,
    Faithfulness,
    UnsupportedClaim,
    disease_claims,
    person_claims,
    relations,
    remaining_words,
    signal_claims,
)
from emerge_ehr.rag.faithfulness import evidence as known
from emerge_ehr.rag.faithfulness.evidence import DiseaseDocuments, PatientEvidence
from emerge_ehr.rag.faithfulness.names_in_text import blanked, literal
from emerge_ehr.rag.faithfulness.notes_text import NotesText
from emerge_ehr.rag.faithfulness.reading import Reader, Statement
from emerge_ehr.rag.names import name_index, normal
from emerge_ehr.rag.summaries import Evidence, Summary
from emerge_ehr.rag.summaries.template import signal_text
from emerge_ehr.signals.signals import Signal

CLAUSE_END = re.compile(r"[:;]\s+|\.\s+|\s-\s|\.$")
IN_MARKS = re.compile(r"[“\"]([^“”\"]+)[”\"]")
MOST = 50_000  # verdicts that are kept
QUOTE = 10  # characters of a clause that count as quoted if a document holds them
NOTHING = "it says nothing that the evidence could support"


@dataclass(frozen=True)
class Auditor:
    """Checks summaries against one graph.

    ``shown``: (signal, direction) -> phenotypes in lower case; ``documents``: those of diseases seen so far, by node;
    ``verdicts``: on statements that rest on graph and statuses alone, which are the same for many patients.
    """

    graph: KnowledgeGraph
    reader: Reader
    shown: Mapping[tuple[str, str], frozenset[str]]
    documents: dict[int, DiseaseDocuments] = field(default_factory=dict)
    verdicts: dict[Hashable, list[Claim]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what was seen so far, which another process sees for itself."""
        return Auditor, (self.graph, self.reader, self.shown)

    def audit(
        self,
        summaries: Sequence[Summary],
        evidence: Sequence[Evidence],
        entities: Sequence[Sequence[Entity]],
        charted: Sequence[tuple[str, Sequence[float]]],
    ) -> list[Faithfulness]:
        """One for each summary.

        ``charted``: the patient's notes and, for each signal, the value measured in its hour; the evidence must agree with them.
        """
        patients = [self._patient(own, entities[n], *charted[n]) for n, own in enumerate(evidence)]
        checkable = [_checkable(summary, patient) for summary, patient in zip(summaries, patients, strict=True)]
        read = self.reader.read({text for texts in checkable for text in texts if text is not None})
        result = []
        for texts, patient in zip(checkable, patients, strict=True):
            by_statement = self._claims([None if text is None else read[text] for text in texts], patient)
            wrong = [(i, claim, claim.why) for i, claims in enumerate(by_statement) for claim in claims if claim.why]
            sound = sum(not any(claim.why for claim in claims) for claims in by_statement)
            result.append(
                Faithfulness(
                    supported=round(sound / len(by_statement), 4) if by_statement else None,
                    statements=len(by_statement),
                    unsupported=tuple(UnsupportedClaim(i, claim.text, why) for i, claim, why in wrong),
                )
            )
        return result

    def _patient(
        self, evidence: Evidence, entities: Sequence[Entity], notes: str, values: Sequence[float]
    ) -> PatientEvidence:
        """The evidence without what does not hold: signals whose value was not measured in their hour, and diseases whose surface
        is not in the notes or whose node is not in the graph."""
        signals = [s for s, value in zip(evidence.signals, values, strict=True) if abs(value - s.value) <= 1e-3]
        diseases = self.graph.diseases()
        linked = [
            link.node_index
            for link in evidence.links
            if link.surface in notes and link.quote in notes and link.node_index in diseases
        ]
        for node in linked:
            if node not in self.documents:
                self.documents[node] = known.documents(self.graph, node)
        own = {node: self.documents[node] for node in linked}
        return known.patient(evidence, signals, own, NotesText(notes, entities), self.reader.nodes)

    def _claims(self, statements: Sequence[Statement | None], patient: PatientEvidence) -> list[list[Claim]]:
        """The claims of each statement; None stands for evidence in its own words.

        A statement that begins with a pronoun speaks of the diseases of the one before.
        """
        claims, before = list[list[Claim]](), frozenset[int]()
        for statement in statements:
            if statement is None:
                claims.append([])
                continue
            subjects = disease_claims.subjects(statement.text, patient, before)
            own = self._verdict(statement, patient, subjects)
            claims.append(own or [Claim(0, len(statement.text), statement.text.strip(), NOTHING)])
            before = subjects or before
        return claims

    def _verdict(self, statement: Statement, patient: PatientEvidence, subjects: frozenset[int]) -> list[Claim]:
        """All claims of one statement, kept for other patients of whom the same holds."""
        marked, rest = _in_marks(statement.text, patient)
        if statement.measures:
            return marked + self._of_statement(statement, rest, patient, subjects)
        key = (statement.text, rest, subjects, self._bearing(statement, patient, subjects))
        if key not in self.verdicts:
            patient.notes.consulted = False
            own = self._of_statement(statement, rest, patient, subjects)
            if patient.notes.consulted:
                return marked + own
            if len(self.verdicts) >= MOST:
                self.verdicts.clear()
            self.verdicts[key] = own
        return marked + self.verdicts[key]

    def _bearing(self, statement: Statement, patient: PatientEvidence, subjects: frozenset[int]) -> Hashable:
        """What of the patient's evidence bears on a statement, beside the notes' words and the signals' values."""
        own = sorted(subjects)
        return (
            tuple([patient.objects[node] for node in own]),
            tuple((name, patient.treated[name]) for _, _, name in literal(statement.text, patient.treated)),
            tuple([patient.noted.get(key) for key in (*own, *statement.keys)]),
            frozenset((s.code, s.direction) for s in patient.signals if s.code in statement.signals),
            (bool(patient.signals), bool(patient.counts)),
            (patient.ages, patient.sex) if statement.of_person else None,
            (tuple(patient.counts.items()), len(patient.signals)) if statement.counts else None,
        )

    def _of_statement(
        self, statement: Statement, rest: str, patient: PatientEvidence, subjects: frozenset[int]
    ) -> list[Claim]:
        """All claims of one statement in ``rest``, its text without words of the notes in quotation marks."""
        text = statement.text
        quotations, rest = self._quotations(rest, patient, subjects)
        values = self.reader.words.values
        diseases = [entity for entity in statement.entities if text[entity.start : entity.end].lower() not in values]
        in_graph, rest = disease_claims.claims(
            text, rest, patient, subjects, diseases, statement.named, self.reader.nodes
        )
        of_person, rest = person_claims.claims(rest, text, patient, subjects)
        in_documents = {float(n) for node in subjects for n in self.documents[node].numbers}
        in_signals, rest = signal_claims.claims(
            rest, text, patient.signals, self.reader.words, in_documents, patient.notes
        )
        shown = self._manifestations(text, patient, subjects)
        left = remaining_words.claims(rest, text, patient, subjects)
        return [*quotations, *in_graph, *of_person, *in_signals, *shown, *left]

    def _quotations(self, text: str, patient: PatientEvidence, subjects: frozenset[int]) -> tuple[list[Claim], str]:
        """Clauses that stand in a document of the statement's diseases, and the text with these blanked out.

        None in a text that states a strict relation: such a clause is then one end of the relation, not a quotation.
        """
        if not subjects:
            return [], text
        quotations, start = list[Claim](), 0
        for end in [match.end() for match in CLAUSE_END.finditer(text)] + [len(text)]:
            last = quotations[-1] if quotations and quotations[-1].end == start else None
            # a short clause counts as the end of a longer quotation
            clauses = {normal(text[begin:end]) for begin in (start, last.start if last else start)}
            if any(
                len(clause) >= QUOTE and clause in self.documents[node].text for clause in clauses for node in subjects
            ):
                quotations.append(Claim(start, end, "quotation", None))
            start = end
        rest = text
        for claim in quotations:
            rest = blanked(rest, claim.start, claim.end)
        return ([], text) if relations.ANY_STRICT.search(rest) else (quotations, rest)

    def _manifestations(self, text: str, patient: PatientEvidence, subjects: frozenset[int]) -> list[Claim]:
        """Signals told as manifestations of a disease: one must show a phenotype of it."""
        claims = []
        for match in relations.MANIFESTS.finditer(text):
            clause = relations.clause(text, match.start())
            triples = {name for node in subjects for _, name in patient.documents[node].triples}
            mentions = {name for _, _, name in self.reader.words.finder.find(clause)}
            codes = {code for name in mentions for code in signal_claims.codes(name, self.reader.words)}
            shown = {name for (code, _), names in self.shown.items() if code in codes for name in names}
            if subjects and mentions and not shown & triples and not mentions & triples:
                claims.append(Claim(*match.span(), match[0], "no triple connects the signal with the disease"))
        return claims


def _checkable(summary: Summary, patient: PatientEvidence) -> list[str | None]:
    """The texts of the statements; None for one that is evidence in its own words: a signal, or a list of mentions."""
    signals = {signal_text(signal) for signal in patient.signals}
    texts = (statement.text for statement in summary.statements)
    return [None if text in signals or disease_claims.is_list_of_notes(text, patient.noted) else text for text in texts]


def _in_marks(text: str, patient: PatientEvidence) -> tuple[list[Claim], str]:
    """Words in quotation marks, which must stand in the notes; and the text with those blanked out that do."""
    claims, rest = [], text
    for match in IN_MARKS.finditer(text):
        held = patient.notes.quotes(match[1].strip(" .,"))
        claims.append(Claim(*match.span(), match[0], None if held else "the notes do not hold these words"))
        if held:
            rest = blanked(rest, *match.span())
    return claims, rest


def totals(audits: Sequence[Faithfulness]) -> dict[str, float | None]:
    """The counts over all patients, for ``metadata.json``."""
    statements = sum(audit.statements for audit in audits)
    sound = sum(round(audit.supported * audit.statements) for audit in audits if audit.supported is not None)
    return {
        "statements": statements,
        "share_of_statements_supported": round(sound / statements, 4) if statements else None,
        "unsupported_claims": sum(len(audit.unsupported) for audit in audits),
        "patients_with_unsupported_claims": sum(bool(audit.unsupported) for audit in audits),
    }


def build(
    graph: KnowledgeGraph,
    extractor: EntityExtractor,
    signals: Sequence[Signal],
    shown: Mapping[tuple[str, str], Sequence[str]],
    question: str,
    window: str,
) -> Auditor:
    """The auditor over one graph.

    ``extractor`` finds the graph's diseases; ``signals`` are those of the dataset; ``shown``: (signal, direction) -> the
    phenotypes that it shows; ``question`` and ``window``: the task's in words, as for summaries.
    """
    words = signal_claims.vocabulary(signals)
    names = disease_claims.neighbour_names(graph, words.codes)
    return Auditor(
        graph,
        Reader(extractor, name_index(graph), names, words, question, window),
        {key: frozenset(name.lower() for name in names) for key, names in shown.items()},
    )
