"""Everything that the rules look for, in one dictionary: diseases of the graph, clinical terms, and the cues around them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag import word_lists
from emerge_ehr.rag.mentions import no_disease
from emerge_ehr.rag.mentions.candidates import Head, heads
from emerge_ehr.rag.mentions.cues import Cue, phrases
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.mentions.name_forms import forms
from emerge_ehr.rag.names import name_index, normal

QUALIFIERS = (
    "acute|chronic|subacute|hereditary|familial|inherited|sporadic|congenital|autosomal dominant|autosomal recessive|"
    "x linked|x linked dominant|x linked recessive|"
    "early onset|late onset|adult onset|juvenile onset|recurrent|primary|idiopathic|malignant|metastatic"
)
# Abbreviations that in small letters, or in a text all in capitals, may be a word or another abbreviation.
WORDS = re.compile(
    "AIDS|ALI|ALL|ALS|AMI|ARF|AS|CAD|CAP|CAS|CMP|CRI|DDD|DRESS|GAD|GPA|HAP|HE|HIT|HONK|HRS|HUS|ICH|IDA|MAT|MDS|MODS|MONO|MS|NASH|NEC|"
    "PAD|PANDAS|PCP|PDA|PE|PEA|PD|POEMS|PRES|RA|RAD|SAD|SCD|SIRS|SLE|SSS|TEN|TIA|TTP"
)
NO_NODE = "-"  # among a term's names: no disease of the graph fits if it has none of those before
HEADERS = frozenset(
    ["MS", "PCP", "PE"]
)  # abbreviations that at the start of a line, before a colon, head a part of the note
NEAR = 60  # characters on either side of a term within which words decide whether it counts


@dataclass(frozen=True, slots=True)
class Target:
    """The disease that a pattern stands for: ``name`` is looked up in the graph, which may lack it. The rest says where the
    pattern counts.

    ``written``: only where the text has exactly these letters. ``near``, ``unless``: words, separated by ``|``, one of which must
    stand nearby, or none of which may; ``#`` is any number. ``punctuated``: the name itself holds punctuation. ``turned``: the
    words are inverted, as in "disease, chronic", so that a phrase must end after them. ``word``: an abbreviation that in another
    spelling may be a word.
    """

    name: str
    written: str | None = None
    near: str | None = None
    unless: str | None = None
    punctuated: bool = False
    turned: bool = False
    word: bool = False


# None: a qualifier, which becomes part of the mention right after it
Entry = Target | Cue | Head | None


def dictionary(
    graph: KnowledgeGraph, terms_file: Path, minimum_length: int, candidates: bool = True
) -> dict[str, Entry]:
    """Folded pattern -> what it stands for. A disease of the graph overrides a cue, and a clinical term overrides both.
    With ``candidates``, also the words at which a candidate may end, which all else overrides.

    Raises:
        UserError: the terms file is missing or has another form.
    """
    index = name_index(graph)
    entries: dict[str, Entry] = dict(heads()) if candidates else {}
    entries |= {pattern(word): None for word in QUALIFIERS.split("|")}
    entries |= phrases()
    entries |= _names_of_graph(graph, index, minimum_length)
    entries |= _clinical_terms(index, terms_file)
    return entries | {pattern(phrase): Cue("nothing") for phrase in no_disease.phrases()}


def _names_of_graph(graph: KnowledgeGraph, index: Mapping[str, int], minimum_length: int) -> dict[str, Entry]:
    """Patterns of the graph's names, and of their other forms where these are not names themselves."""
    names = sorted({name for disease in graph.diseases().values() for name in disease.names})
    names = [name for name in names if len(normal(name)) >= minimum_length and normal(name) not in no_disease.names()]
    exact: dict[str, Entry] = {}
    others: dict[str, Entry] = {}
    for name in names:
        key = normal(name)
        if key not in index:
            continue
        symbol = _symbol(name)
        word = symbol is not None and WORDS.fullmatch(symbol) is not None
        target = Target(key, written=symbol, punctuated=_is_punctuated(name), word=word)
        straight, turned = forms(name)
        exact.setdefault(straight[0], target)
        if target.written is None:
            for form in straight[1:]:
                others.setdefault(form, target)
            for form in turned:
                others.setdefault(form, Target(key, punctuated=True, turned=True))
    return others | exact


def _is_punctuated(name: str) -> bool:
    return re.search(r"[,(.:\[]", name) is not None


def _symbol(name: str) -> str | None:
    """``name`` if it is a symbol such as AIDS or PDA1, which counts only in capitals; else None."""
    return name if len(name) <= 6 and name == name.upper() else None


def _clinical_terms(index: Mapping[str, int], path: Path) -> dict[str, Entry]:
    """Patterns of the clinical terms in the file at ``path``, and of those of their names that the graph lacks."""
    entries: dict[str, Entry] = {}
    unknown: dict[str, Entry] = {}  # a name that the graph lacks stands for the first of the term's names that it has
    for row in terms(path):
        term, names = row["term"], [name for name in row["names"].split("|") if name != NO_NODE] or [row["term"]]
        name = next((normal(other) for other in (*names, term) if normal(other) in index), normal(names[0]))
        target = Target(
            name, near=row.get("near") or None, unless=row.get("unless") or None, punctuated=_is_punctuated(term)
        )
        for missing in names[: [normal(other) for other in names].index(name)] if name in map(normal, names) else []:
            unknown |= dict.fromkeys(forms(missing)[0], Target(name, punctuated=_is_punctuated(missing)))
        if not _is_abbreviation(term):
            entries |= dict.fromkeys(forms(term)[0], target)
        elif len(term) > 2 and not WORDS.fullmatch(term):
            entries |= {pattern(term): target, pattern(f"{term}s"): target}
        else:
            for written in (term, f"{term}s"):
                word = WORDS.fullmatch(written) is not None
                entries[pattern(written)] = Target(name, written, target.near, target.unless, word=word)
    return unknown | entries


def _is_abbreviation(term: str) -> bool:
    return re.fullmatch(r"[A-Z0-9]{2,}|[A-Z][A-Za-z]*[A-Z]+[A-Za-z]*", term) is not None


def terms(path: Path) -> list[dict[str, str]]:
    """The rows of a table of clinical terms, with columns ``term``, ``names``, and optionally ``near`` and ``unless``.

    ``names`` ends with ``-`` where no broader disease may stand for the term: it is then found under its own name and not linked.

    Raises:
        UserError: the file cannot be read, or is not such a table.
    """
    return word_lists.read(path, "entities.terms_file", ("term", "names"), ("near", "unless"))
