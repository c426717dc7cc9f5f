"""What the summary prompt of the original code shows a model, and how its answer is read (Zhu et al. 2024).

The model sees abnormal features, diseases, their documents and triples, and answers with running text, which cites nothing. Its
sentences become statements, so that the audit can check them one by one.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from emerge_ehr.llm import thoughts
from emerge_ehr.rag import sentences
from emerge_ehr.rag.summaries import Evidence, OfModel, Statement, bounded, mentioned
from emerge_ehr.rag.treatments import SAID


@dataclass(frozen=True)
class Text:
    """The model's answer."""

    summary: str


def shown(evidence: Evidence, definition_characters: int) -> str:
    """The evidence in the four parts of the original prompt."""
    features = ", ".join(f"{signal.label} too {signal.direction}" for signal in evidence.signals)
    names, documents, triples = list[str](), list[str](), list[str]()
    for link in evidence.links:
        disease = evidence.diseases[link.node_index]
        name, whole = mentioned(link, disease)
        names.append(name)
        definition = sentences.whole(whole, definition_characters)
        description = sentences.whole(disease.description, definition_characters) if whole else ""
        told = [("disease name", name), ("definition", definition), ("description", description)]
        documents.append(" ".join(f"[{head}] {text}" for head, text in told if text))
        triples += [f"({triple.x_name}, {triple.display_relation}, {triple.y_name})" for triple in disease.triples]
    parts = {
        "Potential abnormal features": features,
        "Potential diseases": ", ".join(names),
        "Definitions and descriptions of the diseases": "\n".join(documents),
        "Relations of the diseases": ",\n".join(triples),
    }
    if evidence.treatments:
        parts["Treatments"] = ", ".join(f"{drug.name} ({SAID[drug.kind]})" for drug in evidence.treatments)
        against = [f"({one.drug}, contraindication, {one.disease})" for one in evidence.told_contraindications]
        parts["Contraindications of the treatments"] = ",\n".join(against)
    return "\n\n".join(f"[{head}]\n{text or 'none'}" for head, text in parts.items())


def statements(value: dict[str, Any], characters: int) -> tuple[tuple[Statement, ...], Counter[str]]:
    """The sentences of the answer's summary, at most so many ``characters``, and how many were dropped, by what was wrong.

    Raises:
        ValueError: it holds no words, or thoughts alone.
    """
    text = value["summary"]
    if not isinstance(text, str):
        raise ValueError("summary: input should be a valid string")
    try:
        left = thoughts.cut(text)
    except thoughts.UnclosedError as error:
        raise ValueError(f"summary: {error}") from None
    plain = " ".join(left.text[: left.heading].split())
    if not any(map(str.isalpha, plain)):  # as the prompt's own form has it: "..."
        raise ValueError("summary: it has no words")
    ends = [match.end() for match in sentences.END.finditer(plain)]
    cuts = [0, *ends, *([len(plain)] if plain[ends[-1] if ends else 0 :].strip() else [])]
    written = [Statement(plain[a:b].strip(), OfModel(())) for a, b in pairwise(cuts)]
    kept = bounded(written, characters)
    if not kept:
        raise ValueError(f"summary: no sentence of at most {characters} characters")
    too_long = len(written) - len(kept)
    return kept, Counter({"statements dropped: too long": too_long} if too_long else {})
