"""Which passages of the notes moved a patient's risk, as the report shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import passages
from emerge_ehr.prediction.what_if import Told
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.report.material import Material
from emerge_ehr.report.moved import telling, told_of

MOST = 5  # passages shown of a patient
LEAST = 0.005  # change of the risk from which a passage is shown
LONGEST = 240  # characters shown of a passage


@dataclass(frozen=True)
class ShownPassage:
    """A passage without which the risk would be another. ``number``: its place among the ``of`` passages of the notes; ``words``:
    its text, shortened, or None where the report shows no notes; ``diseases``: those that it mentions, by name."""

    number: int
    of: int
    words: str | None
    diseases: tuple[str, ...]
    risk: float
    change: float


def told(
    material: Material, fitted: Fitted | None, batch: Batch, sources: Sequence[Told], own: Tensor
) -> list[tuple[ShownPassage, ...]]:
    """For each patient the passages on whose change of the chosen label's risk the members agree, the greatest first.

    ``own``: the members' logits [M,N,K] of ``batch``.
    """
    column = material.main.column
    base = material.trained.together(own)[:, column].tolist()
    found = passages.without_passages(material.trained, fitted, batch, sources, own)
    shown: list[tuple[ShownPassage, ...]] = []
    for n, (of_patient, source) in enumerate(zip(found, sources, strict=True)):
        names = {node.node_index: node.name for node in source.record.nodes}
        without = {place: told_of(risks, column, base[n]) for place, (_, risks) in enumerate(of_patient)}
        of_note = []
        for place in telling(((place, change, agreed) for place, (_, change, agreed) in without.items()), LEAST)[:MOST]:
            passage, (risk, change, _) = of_patient[place][0], without[place]
            words = shortened((source.notes or "")[passage.start : passage.end]) if material.shows_notes else None
            diseases = _mentioned(source, passage, names)
            of_note.append(ShownPassage(place + 1, len(of_patient), words, diseases, risk, change))
        shown.append(tuple(of_note))
    return shown


def _mentioned(source: Told, passage: passages.Passage, names: Mapping[int, str]) -> tuple[str, ...]:
    inside = (
        names.get(mention.node_index)
        for mention in source.record.entities
        if mention.node_index is not None and passage.holds(mention)
    )
    return tuple(dict.fromkeys(name for name in inside if name))


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text on one line; of a long one the beginning and the end.

    >>> shortened("History of\\nheart failure. "), shortened("a b c d e f g h", longest=10)
    ('History of heart failure.', 'a b … g h')
    """
    words = " ".join(text.split())
    if len(words) <= longest:
        return words
    end = longest // 3
    return f"{words[: longest - end - 3].rstrip()} … {words[-end:].lstrip()}"
