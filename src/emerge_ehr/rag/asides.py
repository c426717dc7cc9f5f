"""What a summary tells of the notes beside the patient's nodes: findings that the graph has no disease for, diseases for which
there was no place, and what the notes deny, only consider, or say of relatives."""

import re
from collections.abc import Collection, Mapping, Sequence

from emerge_ehr.rag.entities import Entity, Extraction, Status
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.ranking.places import Places, quote

NO_FINDING = re.compile(r"\?$|\d|\bother\b|^personal history|\ballerg", re.IGNORECASE)
MOST_WORDS = 6  # of a finding that the graph does not have
# Alone, these words say too little: of what is not said.
_INCOMPLETE = (
    "stenosis ischemia ischaemia infarction hematoma haematoma thrombosis embolism neoplasm tumor tumour malignancy abscess"
    " hernia palsy paralysis dysfunction"
)
INCOMPLETE = frozenset(_INCOMPLETE.split())


def asides(
    entities: Sequence[Entity], told: Collection[str], unlinked: Sequence[Entity], notes: str, parts: Places
) -> dict[Status, tuple[str, ...]]:
    """By status, in the words of the first such mention, what ``entities`` and the candidates ``unlinked`` name beside the
    diseases that are ``told`` (normal forms of names); of the patient's own those come first that stand in an assessment or a
    list of diagnoses.
    """
    own = {normal(entity.name) for entity in entities if entity.linked}
    present = {normal(entity.name) for entity in entities if entity.status == "present"}
    words: dict[Status, dict[str, tuple[int, str]]] = {}
    for entity in [*unlinked, *entities]:
        name = normal(entity.name)
        if entity.linked and name not in told:
            status: Status = "present" if name in present else entity.status
            said = (-parts.weight(entity.start), quote(notes, entity.start, entity.end))
            words.setdefault(status, {}).setdefault(name, said)
        elif not entity.linked and name not in own:
            words.setdefault(entity.status, {}).setdefault(name, (0, entity.surface))
    return {
        status: tuple(surface for _, surface in sorted(said.values(), key=lambda one: one[0]))
        for status, said in words.items()
    }


def told(linked: Mapping[str, tuple[int, float, str]], left_out: Collection[int]) -> set[str]:
    """The names of which a summary tells the node: those ``linked``, unless there was no place for it (``left_out``)."""
    return {name for name, (node, _, _) in linked.items() if node not in left_out}


def unlinked(raw: Extraction, settled: Extraction) -> tuple[Entity, ...]:
    """The candidates of the patient that touch no mention, without long titles, questions of forms and words without an organ."""
    taken = [(entity.start, entity.end) for entity in settled.entities]
    return tuple(
        entity
        for entity in raw.candidates
        if entity.linked
        and not NO_FINDING.search(entity.surface)
        and len(entity.surface.split()) <= MOST_WORDS
        and entity.surface.lower() not in INCOMPLETE
        and not any(entity.start < end and start < entity.end for start, end in taken)
    )
