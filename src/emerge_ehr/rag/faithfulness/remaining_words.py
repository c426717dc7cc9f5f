"""Checks every word of a statement that nothing else has checked: notes must have it, or the graph say it in general.

So what no rule foresees ("she is intubated") is supported by the notes or not at all.
"""

import re
from collections.abc import Iterable

from emerge_ehr.rag.faithfulness import Claim, modality, relations
from emerge_ehr.rag.faithfulness.evidence import PatientEvidence
from emerge_ehr.rag.faithfulness.names_in_text import literal
from emerge_ehr.rag.faithfulness.wording import is_neutral, words, written_out
from emerge_ehr.rag.names import normal

INFUSED = re.compile(r"infus(?:ed|ion|ions|ing)", re.IGNORECASE)  # of a drug that was given so
QUOTE = 4  # words in a row that count as quoted if a document holds them
# Words that say which or how something is: the notes must have them beside the same thing.
QUALIFIER = re.compile(
    r"(?:left|right|bilateral|upper|lower|middle|anterior|posterior|acute|chronic|mild|moderate|severe|positive|stable|unstable|improv\w+|"
    r"wors\w+|resol\w+|recover\w*|controlled|uncontrolled|new|recurrent|stage|grade|massive|minor|major|normal|low|high|elevated|reduced)",
    re.IGNORECASE,
)


def claims(rest: str, text: str, patient: PatientEvidence, subjects: Iterable[int]) -> list[Claim]:
    """A claim for each word left in ``rest``, which is ``text`` without all that was checked; neighbours that fail make one."""
    checked: list[Claim] = []
    infused = any(patient.treated[name] == "infusion" for _, _, name in literal(text, patient.treated))
    quoted: set[str] | None = None
    for match in words(rest):
        word = match[0]
        if is_neutral(word) or word[0].isdigit() or (infused and INFUSED.fullmatch(word)):
            continue
        why = _why_not(word, match.span(), text, patient)
        if why is not None:
            quoted = _quoted(text, patient, subjects) if quoted is None else quoted
            general = relations.of_graph(relations.clause(text, match.start()))
            if word.lower() in quoted or (general and any(patient.documents[n].holds(word) for n in subjects)):
                why = None
        last = checked[-1] if checked else None
        if why and last and last.why == why and not text[last.end : match.start()].strip(" -"):
            checked[-1] = Claim(last.start, match.end(), text[last.start : match.end()], why)
        else:
            checked.append(Claim(*match.span(), word, why))
    return checked


def _why_not(word: str, span: tuple[int, int], text: str, patient: PatientEvidence) -> str | None:
    """Why the notes do not support the word where the text has it; None if they do."""
    places = patient.notes.places(word)
    if not places and (meant := written_out(word)):  # an abbreviation that the notes write out
        places = [
            place for place in patient.notes.places(meant[0]) if all(patient.notes.places(other) for other in meant)
        ]
    if not places:
        return "the evidence says nothing of it"
    stated = modality.at(text, *span)
    places = [place for place in places if modality.allows(patient.notes.modality(place), stated)]
    if not places:
        return "the notes say otherwise of it"
    others = _others(text, span)
    if QUALIFIER.fullmatch(word):
        beside = _beside(others, span)
        return None if beside is None or patient.notes.near(word, beside) else "the notes do not say so of it"
    if not others or any(_names_other(patient, word, other) for other, _ in others):
        return None
    return "the notes do not say so of it"


def _names_other(patient: PatientEvidence, word: str, other: str) -> bool:
    """Whether the notes have two words in one sentence, or the second one nowhere: then it is judged by itself."""
    return not patient.notes.places(other) or patient.notes.shares_sentence(word, other)


def _others(text: str, span: tuple[int, int]) -> list[tuple[str, int]]:
    """The other words that say something in the same part of the sentence, with their positions."""
    start, end = modality.segment(text, span[0])
    found = [(match[0], start + match.start()) for match in words(text[start:end])]
    return [(word, at) for word, at in found if at != span[0] and not is_neutral(word) and not word[0].isdigit()]


def _beside(others: list[tuple[str, int]], span: tuple[int, int]) -> str | None:
    """The nearest word that is no qualifier itself: the next one, or else the one before."""
    things = [(word, at) for word, at in others if not QUALIFIER.fullmatch(word)]
    after = [word for word, at in things if 0 < at - span[1] <= 25]
    before = [word for word, at in things if at < span[0]]
    return after[0] if after else (before[-1] if before else None)


def _quoted(text: str, patient: PatientEvidence, subjects: Iterable[int]) -> set[str]:
    """The words of ``text`` that belong to at least ``QUOTE`` words in a row in a document of the subjects."""
    documents = [patient.documents[node] for node in subjects]
    listed = normal(text).split()
    quoted: set[str] = set()
    for first in range(len(listed) - QUOTE + 1):
        run = listed[first : first + QUOTE]
        if any(document.holds(" ".join(run)) for document in documents):
            quoted.update(run)
    return quoted
