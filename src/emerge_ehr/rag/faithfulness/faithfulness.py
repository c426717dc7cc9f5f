"""Audits summaries: each disease, value and relation that a statement's text states must be in the patient's evidence.

The evidence that a statement cites plays no part. About a disease of the patient, a statement may say what the graph says in its
documents and triples. Names are recognised by the graph's dictionary, other conditions by their ending (``-itis``).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import Entity, EntityExtractor
from emerge_ehr.rag.faithfulness import Faithfulness, UnsupportedClaim, disease_claims, names_in_text, signal_claims
from emerge_ehr.rag.faithfulness.disease_claims import PatientEvidence
from emerge_ehr.rag.faithfulness.names_in_text import Span
from emerge_ehr.rag.faithfulness.signal_claims import Claim
from emerge_ehr.rag.names import name_index, normal
from emerge_ehr.rag.summaries import Evidence, Summary
from emerge_ehr.signals.signals import Signal

AGE = re.compile(r"\b(\d{1,3})[- ]?(?:years?|yr|y/?o)\b[- ]?(?:old)?|\baged? (\d{1,3})\b")
SEX = re.compile(r"\b(?:(?P<F>woman|female|lady)|(?P<M>man|male|gentleman))\b", re.IGNORECASE)
TIMES = re.compile(r"\b(\d+) (?:times|mentions)\b")
NOTHING = (
    (re.compile(r"\bno abnormal signals? (?:was|were) found", re.IGNORECASE), "signals"),
    (re.compile(r"\bno diseases? (?:was|were) found", re.IGNORECASE), "links"),
)
OUTCOME = re.compile(
    r"\b(?:will|likely|unlikely|expected|predict\w*|probab\w+|risk (?:of|for)|prognosis|chance)\b[^.;]{0,60}"
    r"\b(?:die|dies|death|dead|mortality|surviv\w+|readmi\w+|discharge[ds]?)\b",
    re.IGNORECASE,
)
CAUSE = re.compile(
    r"\b(?:caused by|causing|due to|because of|secondary to|contribut\w+ to|(?:leads?|leading|led) to"
    r"|result(?:s|ed|ing)? (?:in|from)|suggest\w*|indicat(?:es|ing|ive)|explain\w*|attribut\w+ to|complicated by)\b",
    re.IGNORECASE,
)
CLAUSE_END = re.compile(r"[:;]\s+|\.\s+|\s-\s|\.$")
QUOTE = 10  # characters of a clause that count as quoted if a document holds them


@dataclass(frozen=True)
class Auditor:
    """Checks summaries against one graph.

    ``extractor`` finds the graph's diseases and their status; ``nodes``: normal name -> node; ``task_texts``: the task's question
    and window, which a statement may repeat unchecked; ``documents``: those of diseases seen so far, by node.
    """

    graph: KnowledgeGraph
    extractor: EntityExtractor
    nodes: Mapping[str, int]
    neighbours: names_in_text.NamesInText
    words: signal_claims.Vocabulary
    task_texts: tuple[str, ...]
    documents: dict[int, disease_claims.DiseaseDocuments] = field(default_factory=dict)

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
        texts = sorted({statement.text for summary in summaries for statement in summary.statements})
        diseases = (extraction.entities for extraction in self.extractor.extract(texts))
        others = (self.neighbours.find(text) for text in texts)
        mentioned = dict(zip(texts, zip(diseases, others, strict=True), strict=True))
        result = []
        for n, (summary, own) in enumerate(zip(summaries, evidence, strict=True)):
            patient = self._patient(own, entities[n], *charted[n])
            by_statement = self._claims(summary, own, patient, mentioned)
            wrong = [(i, claim, claim.why) for i, claims in enumerate(by_statement) for claim in claims if claim.why]
            sound = sum(bool(claims) and not any(claim.why for claim in claims) for claims in by_statement)
            result.append(
                Faithfulness(
                    supported=round(sound / len(by_statement), 4) if by_statement else None,
                    statements=len(by_statement),
                    unchecked=sum(not claims for claims in by_statement),
                    unsupported=tuple(UnsupportedClaim(i, claim.text, why) for i, claim, why in wrong),
                )
            )
        return result

    def _patient(
        self,
        evidence: Evidence,
        entities: Sequence[Entity],
        notes: str,
        values: Sequence[float],
    ) -> PatientEvidence:
        """The evidence without what does not hold: signals whose value was not measured in their hour, and diseases whose surface
        is not in the notes or whose node is not in the graph."""
        signals = [s for s, value in zip(evidence.signals, values, strict=True) if abs(value - s.value) <= 1e-3]
        linked = {
            link.node_index: link
            for link in evidence.links
            if link.surface in notes and link.node_index in self.graph.diseases()
        }
        for node in linked:
            if node not in self.documents:
                self.documents[node] = disease_claims.documents(self.graph, node)
        return disease_claims.patient(signals, linked, evidence.diseases, entities, self.documents, self.nodes)

    def _claims(
        self,
        summary: Summary,
        evidence: Evidence,
        patient: PatientEvidence,
        mentioned: Mapping[str, tuple[Sequence[Entity], Sequence[Span]]],
    ) -> list[list[Claim]]:
        """The claims of each statement. One that begins with a pronoun speaks of the previous statement's diseases."""
        claims, before = [], frozenset[int]()
        for statement in summary.statements:
            text = self._without_task_texts(statement.text)
            subjects = disease_claims.subjects(text, patient, before)
            quotations, rest = self._quotations(text, patient, subjects)
            entities, named = mentioned[statement.text]
            in_graph, rest = disease_claims.claims(text, rest, patient, subjects, entities, named, self.nodes)
            claims.append([*quotations, *in_graph, *self._of_person(rest, text, evidence, patient, subjects)])
            before = subjects or before
        return claims

    def _without_task_texts(self, text: str) -> str:
        """The text with the task's question and window blanked out."""
        for part in self.task_texts:
            text = text.replace(part, " " * len(part))
        return text

    def _quotations(self, text: str, patient: PatientEvidence, subjects: frozenset[int]) -> tuple[list[Claim], str]:
        """Clauses that stand in a document of the statement's diseases, and the text with these blanked out.

        None in a text that states a strict relation: such a clause is then one end of the relation, not a quotation.
        """
        quotations, start = [], 0
        for end in [match.end() for match in CLAUSE_END.finditer(text)] + [len(text)]:
            clause = normal(text[start:end])
            if len(clause) >= QUOTE and any(clause in self.documents[node].text for node in subjects):
                quotations.append(Claim(start, end, "quotation", None))
            start = end
        rest = text
        for claim in quotations:
            rest = _blanked(rest, claim.start, claim.end)
        return ([], text) if disease_claims.ANY_STRICT.search(rest) else (quotations, rest)

    def _of_person(
        self, rest: str, text: str, evidence: Evidence, patient: PatientEvidence, subjects: frozenset[int]
    ) -> list[Claim]:
        """Claims about age, sex, outcome, causes, numbers and signals in ``rest``: ``text`` without names and quotations."""
        checked = []
        for match in AGE.finditer(rest):
            right = evidence.age is not None and (match[1] or match[2]) == f"{evidence.age:.0f}"
            checked.append(Claim(*match.span(), match[0], None if right else "not the patient's age"))
            rest = _blanked(rest, *match.span())
        for match in SEX.finditer(rest):
            why = None if evidence.sex == match.lastgroup else "not the patient's sex"
            checked.append(Claim(*match.span(), match[0], why))
        for match in TIMES.finditer(rest):
            counts = {patient.linked[node].count for node in subjects}
            checked.append(
                Claim(*match.span(), match[0], None if int(match[1]) in counts else "not how often it is mentioned")
            )
            rest = _blanked(rest, *match.span())
        for pattern, kind in NOTHING:
            why = "there is some" if getattr(patient, kind) else None
            checked += [Claim(*match.span(), match[0], why) for match in pattern.finditer(text)]
        for pattern, why in (
            (OUTCOME, "it speaks of the outcome, of which there is no evidence"),
            (CAUSE, "a cause that no document states in these words"),
        ):
            checked += [Claim(*match.span(), match[0], why) for match in pattern.finditer(rest)]
        in_documents = {float(n) for node in subjects for n in self.documents[node].numbers}
        return checked + signal_claims.claims(rest, patient.signals, self.words, in_documents)


def _blanked(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def totals(audits: Sequence[Faithfulness]) -> dict[str, float | None]:
    """The counts over all patients, for ``metadata.json``."""
    statements = sum(audit.statements for audit in audits)
    sound = sum(round(audit.supported * audit.statements) for audit in audits if audit.supported is not None)
    return {
        "statements": statements,
        "share_of_statements_supported": round(sound / statements, 4) if statements else None,
        "unchecked_statements": sum(audit.unchecked for audit in audits),
        "unsupported_claims": sum(len(audit.unsupported) for audit in audits),
        "patients_with_unsupported_claims": sum(bool(audit.unsupported) for audit in audits),
    }


def build(
    graph: KnowledgeGraph, extractor: EntityExtractor, signals: Sequence[Signal], task_texts: Iterable[str]
) -> Auditor:
    """The auditor over one graph; ``extractor`` finds the graph's diseases, ``signals`` are those of the dataset."""
    words = signal_claims.vocabulary(signals)
    return Auditor(
        graph,
        extractor,
        name_index(graph),
        disease_claims.neighbour_names(graph, words.codes),
        words,
        tuple(sorted(task_texts, key=len, reverse=True)),
    )
