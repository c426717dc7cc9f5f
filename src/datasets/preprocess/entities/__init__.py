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


class EntityExtractor(Protocol):
    """Finds disease mentions."""

    def extract(self, text: str) -> Sequence[Entity]:
        """Mentions in order of position, not overlapping."""
