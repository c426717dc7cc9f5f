"""Dictionary extraction: all disease names of the graph and a table of clinical terms, in one Aho-Corasick automaton.

Case, hyphens and plurals do not matter; an abbreviation in capitals matches only capitals. Of overlapping matches the
longest stands. ``clinical_terms.csv`` maps what clinicians write to the disease's name, first name in the graph wins.
"""

import csv
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from src.config import Positive, UserError
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.context import sentences, status
from src.datasets.preprocess.entities import Entity, Extraction
from src.datasets.preprocess.names import name_index, normal

TERMS = Path(__file__).with_name("clinical_terms.csv")
# Disease names of the graph that in a clinical text almost always mean something else.
AMBIGUOUS = frozenset(
    {
        "mo",
        "injury",
        "disease",
        "syndrome",
        "disorder",
        "infection",
        "burn",
        "palsy",
        "polyp",
        "neoplasm",
        "cyst",
        "death",
    }
    | {"pain", "fever", "allergy", "dependence", "abuse", "inflammation", "hyperplasia", "congenital", "tumor"}
    | {"carcinoma in situ", "benign neoplasm", "susceptibility", "hypersensitivity"}
)
POSSESSIVE = re.compile(r"'s\b")
# Same length in and out, so that positions in the folded text are positions in the text.
FOLD = str.maketrans(
    {**{chr(c): chr(c + 32) for c in range(65, 91)}, "-": " ", "/": " ", "\n": " ", "\t": " ", "’": "'"}
)


@dataclass(frozen=True)
class Options:
    """``terms_file``: a table ``term,names`` to use instead of the built-in one. ``minimum_length`` guards short names."""

    terms_file: Path = TERMS
    minimum_length: Positive = 4


@dataclass(frozen=True)
class Rules:
    """``automaton`` over ``patterns`` (folded); each pattern's looked-up name and whether it must be in capitals."""

    automaton: Any
    targets: Sequence[tuple[str, str | None]]

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """Mentions in order of position."""
        bar = tqdm(texts, desc="entities", unit="patient", disable=None, leave=False)
        return [Extraction(tuple(self._mentions(text)), "rules") for text in bar]

    def _mentions(self, text: str) -> list[Entity]:
        ends = sentences(text)
        mentions = []
        sentence, sentence_start = 0, 0
        for start, end, name in self._longest(text):
            while ends[sentence] < end:
                sentence_start = ends[sentence]
                sentence += 1
            where = min(sentence_start, start)
            mentions.append(Entity(text[start:end], name, start, end, status(text, start, end, where, ends[sentence])))
        return mentions

    def _longest(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Whole-word matches, leftmost then longest, without overlap."""
        folded = text.translate(FOLD)
        cuts = [match.start() - 2 * n for n, match in enumerate(POSSESSIVE.finditer(folded))]
        folded = POSSESSIVE.sub("", folded)
        found = []
        for pattern, first, after in self.automaton.find_matches_as_indexes(folded, overlapping=True):
            name, capitals = self.targets[pattern]
            whole = not (folded[first - 1 : first].isalnum() or folded[after : after + 1].isalnum())
            start, end = first + 2 * bisect_right(cuts, first), after + 2 * bisect_left(cuts, after)
            if whole and (capitals is None or text[start:end] == capitals):
                found.append((start, end, name))
        last = 0
        for start, end, name in sorted(found, key=lambda match: (match[0], -match[1], match[2])):
            if start >= last:
                yield start, end, name
                last = end


def build(options: Options, *, graph: KnowledgeGraph) -> Rules:
    """The extractor over the graph's names and the clinical terms.

    Raises:
        UserError: the terms file is missing or has other columns.
    """
    from ahocorasick_rs import AhoCorasick, MatchKind

    index = name_index(graph)
    patterns: dict[str, tuple[str, str | None]] = {}
    for name in sorted(index):
        if len(name) >= options.minimum_length and name not in AMBIGUOUS:
            for form in _forms(name):
                patterns.setdefault(form, (name, None))
    for term, names in _terms(options.terms_file):
        chosen = next((normal(name) for name in (term, *names) if normal(name) in index), normal(names[0]))
        capitals = term if re.fullmatch(r"[A-Z0-9]{2,}|[A-Z][A-Za-z]*[A-Z]+[A-Za-z]*", term) else None
        for form in [term.translate(FOLD)] if capitals else _forms(term.translate(FOLD)):
            patterns[form] = (chosen, capitals)
    automaton = AhoCorasick(list(patterns), matchkind=MatchKind.Standard)
    return Rules(automaton, list(patterns.values()))


def _forms(name: str) -> list[str]:
    """The name, its plural, and the form without comma inversion.

    >>> _forms("kidney failure"), _forms("coronary artery")[1:]
    (['kidney failure', 'kidney failures'], ['coronary arteries', 'coronary arterys'])
    """
    plural = [f"{name[:-1]}ies"] if name.endswith("y") else []
    return [name, *plural, f"{name}s"]


def _terms(path: Path) -> list[tuple[str, list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; entities.terms_file is a CSV with columns term,names") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a UTF-8 CSV: {error}") from None
    if not rows or set(rows[0]) != {"term", "names"} or not all(row["term"] and row["names"] for row in rows):
        raise UserError(f"{path}: expected the columns term,names, none of them empty, and at least one row")
    return [(row["term"], row["names"].split("|")) for row in rows]
