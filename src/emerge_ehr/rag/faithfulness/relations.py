"""Which relation of the graph the words of a clause state, and whether it speaks of the patient or of a disease in general."""

import re
from functools import lru_cache

from emerge_ehr.rag.faithfulness.evidence import DiseaseDocuments

# PrimeKG's display name of a relation -> words that state it. A relation stated by a STRICT pattern must be a triple.
STRICT = {
    "contraindication": re.compile(r"contraindicat", re.IGNORECASE),
    "off-label use": re.compile(r"off[- ]label", re.IGNORECASE),
    "indication": re.compile(r"(?<!contra)\bindicat(?:ed|ions?)\b(?! by)", re.IGNORECASE),
    "phenotype absent": re.compile(r"phenotypes? absent", re.IGNORECASE),
    "phenotype present": re.compile(r"phenotypes? present", re.IGNORECASE),
    "parent-child": re.compile(r"parent-child", re.IGNORECASE),
}
ANY_STRICT = re.compile("|".join(f"(?:{pattern.pattern})" for pattern in STRICT.values()), re.IGNORECASE)
TREATS = re.compile(r"\btreat(?:s|ed|ment|ments)?\b", re.IGNORECASE)
LOOSE = {"indication": TREATS, "off-label use": TREATS}
CLAUSE = re.compile(r"[;.]\s|\b(?:but|while|whereas)\b|, (?:which|who)\b")
PATIENT = re.compile(
    r"\b(?:patient|she|he|her|his|him|(?:wo)?man|lady|gentleman|(?:fe)?male|year-old|years? old)\b", re.IGNORECASE
)
# Something that was done: it is told of a patient, not of a disease in general.
DONE = re.compile(
    r"\b(?:(?:was|were|being|been) (?:\w+ )?(?:treated|given|started|prescribed|administered)|receiv(?:ed|es|ing)"
    r"|tak(?:es|ing)|took|prescribed|administered|continued on|started on|maintained on|(?:home|current) medications?)\b",
    re.IGNORECASE,
)
OF_GRAPH = re.compile(
    r"\b(?:phenotypes?|manifestations?|a (?:known |typical |common )?(?:feature|symptom|sign)s? of|knowledge graph|genes?"
    r"|(?:form|type|kind|subtype) of|associated with|characteri[sz]ed|defined as|recogni[sz]ed)\b",
    re.IGNORECASE,
)
GENERAL = re.compile(
    r"\b(?:may|can|could|typical(?:ly)?|usual(?:ly)?|common(?:ly)?|often|generally|treat(?:s|ed|ments?)?|includes?|used)\b",
    re.IGNORECASE,
)
MANIFESTS = re.compile(
    r"\b(?:manifestations?|(?:sign|symptom|feature|phenotype)s?) (?:of|in)\b|\b(?:consistent|compatible|in keeping) with\b",
    re.IGNORECASE,
)


@lru_cache(100_000)
def stated(clause: str, strict: bool) -> tuple[str, ...]:
    """The relations that the words of a clause state, by the strict or by the loose patterns."""
    if strict and not ANY_STRICT.search(clause):
        return ()
    return tuple(relation for relation, pattern in (STRICT if strict else LOOSE).items() if pattern.search(clause))


@lru_cache(100_000)
def clause(text: str, place: int) -> str:
    """The clause around the position ``place``."""
    start = max((match.end() for match in CLAUSE.finditer(text, 0, place)), default=0)
    after = CLAUSE.search(text, place)
    return text[start : after.start() if after else len(text)]


@lru_cache(100_000)
def of_graph(clause: str) -> bool:
    """Whether a clause says what the graph says of a disease, whoever has it.

    >>> of_graph("Fever is a known manifestation of pneumonia"), of_graph("He has a fever"), of_graph("He may have a fever")
    (True, False, False)
    """
    if DONE.search(clause):
        return False
    if ANY_STRICT.search(clause) or OF_GRAPH.search(clause):
        return True
    return GENERAL.search(clause) is not None and not PATIENT.search(clause)


def joins(documents: DiseaseDocuments, name: str, clause: str) -> str | None:
    """None if a disease's documents or triples hold ``name``, by the relation that the clause states, if any; else why not."""
    strict = stated(clause, strict=True)
    if strict:
        return None if any((relation, name) in documents.triples for relation in strict) else _no_triple(strict)
    loose = stated(clause, strict=False)
    if documents.holds(name) or any((relation, name) in documents.triples for relation in loose):
        return None
    if loose:
        return _no_triple(loose)
    return None if name in documents.neighbours else "not connected with what the statement names"


def _no_triple(relations: tuple[str, ...]) -> str:
    return f"no triple connects it as {' or '.join(relations)}"
