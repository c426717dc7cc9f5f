"""SOCKET EntityExtractor: disease mentions in text, with their context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["present", "negated", "family", "hypothetical"]


@dataclass(frozen=True)
class Entity:
    """A mention: ``text[start:end] == surface``, literally. ``name`` is what to look up in the graph."""

    surface: str
    name: str
    start: int
    end: int
    status: Status


@dataclass(frozen=True)
class Extraction:
    """What one text gave. ``backend`` is the plug that did it (a fallback if not the one configured); ``failure`` says why the
    one configured could not: the entities are then the fallback's, or none, and the next run tries again."""

    entities: tuple[Entity, ...]
    backend: str
    failure: str | None = None


class EntityExtractor(Protocol):
    """Finds disease mentions."""

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """For each text its mentions in order of position, not overlapping."""
