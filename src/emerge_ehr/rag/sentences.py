"""Cuts the graph's texts at the end of a sentence."""

import re
from functools import lru_cache

END = re.compile(
    r"(?<![A-Z])(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bspp)(?<!\bvs)(?<!\bca)[.!?][\"')\]]?(?=\s+[A-Z(\"'0-9]|\s*$)"
)
SOURCE = re.compile(
    r"\s*\((?:CDISC|NCI|NCI Thesaurus|MeSH|SNOMED CT|adapted from [^()]*|from [^()]*)\)\.?\s*(?=$|[A-Z])"
)
FORMULA = re.compile(r"[^.]*(?:\"|\b(?:\w+_\w+|(?:has )?material basis in|has symptom)\b)[^.]*(?:\.|$)")
OBSOLETE = re.compile(r"^obsolete\b[.:\s]*", re.IGNORECASE)


@lru_cache(100_000)  # many patients share a disease
def whole(text: str, characters: int) -> str:
    """As many whole sentences, from the first on, as have at most so many ``characters`` together; without "obsolete" in front.

    A last sentence without a full stop is whole if the text ends with a letter, a digit or a bracket.

    >>> whole("OBSOLETE. An infection of the lung. It is treated with antibiotics.", 40)
    'An infection of the lung.'
    >>> whole("Endless, endless", 5), whole("cleft palate", 20)
    ('', 'cleft palate')
    """
    current = current_name(text.strip())
    ends = [match.end() for match in END.finditer(current)]
    if current and (current[-1].isalnum() or current[-1] in ")]"):
        ends.append(len(current))
    return current[: max((end for end in ends if end <= characters), default=0)]


@lru_cache(100_000)
def readable(text: str) -> str:
    """A definition without the sentences that an ontology writes as formulas or that quote, and without the source at its end.

    >>> readable("A tumour of the lung. (CDISC)"), readable("An infection that has_material_basis_in Bacteria. It is rare.")
    ('A tumour of the lung.', 'It is rare.')
    """
    # One stretch of it, as what stands apart in the definition is not quoted as if it stood together.
    plain = next((part for part in FORMULA.split(text) if part.strip()), "")
    return SOURCE.sub(" ", plain).strip()


def current_name(name: str) -> str:
    """A name or text without the word "obsolete" in front: an old name still means the disease.

    >>> current_name("obsolete hyperuricemia")
    'hyperuricemia'
    """
    return OBSOLETE.sub("", name)
