"""Which drugs of the graph an order or a chart names, by names alone: a similar name is another drug.

Hydroxyzine and hydralazine differ by a few letters, so that no similarity links drugs. A name is looked up as it stands, then by
``drug_names.csv`` (brand names, and names that the graph spells otherwise), then without its salt ("metoprolol tartrate"), unless
only a metal is left (potassium phosphate is not "potassium"); then each part of a combination. A hyphen joins drugs
("sacubitril-valsartan"), but it also stands within names: neo-synephrine is not synephrine. Of a name with brackets, what stands
before them is looked up first.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag import word_lists
from emerge_ehr.rag.names import normal

DRUG = "drug"
HERE = Path(__file__).parent
BRACKETS = re.compile(r"\(([^()]*)\)?")
STRENGTH = re.compile(
    r"(?<![\w])\d[\d.,]*\s*(?:%|mg|mcg|g|gm|grams?|units?|meq|ml|l|mmol|mm|hr|h)?(?:\s*/\s*\d*[\d.]*\s*(?:ml|l|hr|h|g|mg|m?eq)?)*(?![\w])"
)
JOINTS = re.compile(r"\s*(?:--+|(?<!\S)-|-(?!\S)|/|\+|;|\band\b|\bwith\b|\bw/)\s*")
WORDS = re.compile(r"[^\W\d_][^\W_]*|\d+")
PREFIX = 6  # letters of what begins a name before a hyphen ("neo-", "pseudo-") and is no drug
# A name of one word and its ending in other languages, which English drops or writes "e": furosemid, furosemida; insuline
ENDING = re.compile(r"([a-z]{6,}?)(?:[aeo]|um)?")
LONGEST = 80  # characters of a name that the graph does not have


@dataclass(frozen=True)
class Named:
    """A drug that a name names: its ``name`` in small letters, and its node, if the graph has one for it."""

    name: str
    node_index: int | None


@dataclass(frozen=True)
class DrugNames:
    """``nodes``: normal form of a drug's name in the graph -> node and name."""

    nodes: Mapping[str, tuple[int, str]]

    def of(self, written: str) -> list[Named]:
        """The drugs that the text names; one without a node where the graph has none of them.

        >>> names = DrugNames({"metoprolol": (7, "Metoprolol"), "potassium": (8, "Potassium")})
        >>> names.of("Metoprolol Tartrate 5 mg/5 mL"), names.of("Potassium Phosphate")
        ([Named(name='metoprolol', node_index=7)], [Named(name='potassium phosphate', node_index=None)])
        """
        readings = list(dict.fromkeys(plain for part in _parts(written) if (plain := _plain(part))))
        for plain in readings:
            if found := self._whole(plain):
                return found
        for part in _parts(written):
            pieces = [
                piece for piece in JOINTS.split(part) if (plain := _plain(piece)) and is_drug(piece) and is_drug(plain)
            ]
            drugs = list(dict.fromkeys(one for piece in pieces for one in self._piece(piece)))
            if any(one.node_index is not None for one in drugs):
                return drugs
        if not readings:
            return []
        return self._in_english(readings[0]) or [Named(readings[0][:LONGEST].strip(), None)]

    def _piece(self, piece: str) -> list[Named]:
        """The drugs of a part of a combination; its name without a node if the graph has none."""
        words = [plain for word in piece.split("-") if (plain := _plain(word))]
        each = [self._whole(word) or [Named(word, None)] for word in words]
        begins = any(drugs[0].node_index is None and len(drugs[0].name) <= PREFIX for drugs in each[:-1])
        if begins or any(word in _words("of a name") for written in words for word in written.split()):
            each = []
        return self._whole(_plain(piece)) or [one for drugs in each for one in drugs] or [Named(_plain(piece), None)]

    def _whole(self, plain: str) -> list[Named]:
        """The drugs of a name without form and strength; none if the graph has none."""
        words = plain.split()
        while words:
            name = " ".join(words)
            for known in ((name,), _aliases().get(name, ())):
                if any(one in self.nodes for one in known):
                    return [self._named(one) for one in known]
            if words[-1] not in _words("salt") or len(words) == 1 or set(words[:-1]) <= _words("cation"):
                return []
            words = words[:-1]
        return []

    def _in_english(self, plain: str) -> list[Named]:
        """The drug from whose name or alias this one differs by accents and, if of one word, its ending; none if two would do.

        Only a whole name is read so: what a hyphen or bracket joins may be part of a chemical's name ("piperazin-1-yl").
        """
        bare = "".join(sign for sign in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(sign))
        ending = ENDING.fullmatch(bare)
        forms = dict.fromkeys((bare, ending[1], f"{ending[1]}e") if ending else (bare,))
        found = {tuple(drugs) for form in forms for drugs in [self._whole(form)] if drugs}
        return list(found.pop()) if len(found) == 1 else []

    def _named(self, name: str) -> Named:
        node, own = self.nodes.get(name, (None, name))
        return Named(own.lower(), node)


def is_drug(written: str) -> bool:
    """Whether the name is that of a drug at all.

    >>> [is_drug(name) for name in ("0.9% Sodium Chloride", "NaCl 0.9%", "D5 1/2NS", "Heparin Flush (10 units/ml)", "Heparin")]
    [False, False, False, False, True]
    """
    return not _matches("not_drugs.txt", written)


def is_local(written: str, route: str | None) -> bool:
    """Whether it acts where it is put, or stays in a line.

    >>> is_local("Prednisolone Acetate 1% Ophth. Susp.", None), is_local("Tobramycin", "BOTH EYES"), is_local("Prednisone", "PO")
    (True, True, False)
    """
    return _matches("local_use.txt", written) or (route or "").strip().lower() in _words("local route")


def build(graph: KnowledgeGraph) -> DrugNames:
    """The names of the graph's drugs that have an edge to a disease."""
    edges = graph.edges()
    rows = [row for row, kind in enumerate(edges.node_type) if kind == DRUG]
    return DrugNames({normal(edges.name[row]): (int(edges.node_index[row]), edges.name[row]) for row in reversed(rows)})


def _parts(written: str) -> list[str]:
    """The text outside brackets, and then what stands in each of them."""
    text = " ".join(written.lower().split())
    return [BRACKETS.sub(" ", text), *(match[1] for match in BRACKETS.finditer(text))]


def _plain(part: str) -> str:
    """The words of a name without strengths and forms."""
    listed = WORDS.findall(STRENGTH.sub(" ", part))
    return " ".join(word for word in listed if word not in _words("form") and not word.isdigit())


def _matches(file: str, written: str) -> bool:
    text = " ".join(written.lower().split())
    return any(pattern.search(text) for pattern in _patterns(file))


@cache
def _patterns(file: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(line) for line in _lines(file))


def _lines(file: str) -> Iterator[str]:
    lines = (HERE / file).read_text("utf-8").splitlines()
    return (line for line in lines if line and not line.startswith("#"))


@cache
def _words(kind: str) -> frozenset[str]:
    rows = word_lists.read(HERE / "drug_words.csv", "drug_words.csv", ("word", "kind"))
    return frozenset(row["word"] for row in rows if row["kind"] == kind)


@cache
def _aliases() -> Mapping[str, tuple[str, ...]]:
    rows = word_lists.read(HERE / "drug_names.csv", "drug_names.csv", ("name", "drugs"))
    return {row["name"]: tuple(normal(drug) for drug in row["drugs"].split(";")) for row in rows}
