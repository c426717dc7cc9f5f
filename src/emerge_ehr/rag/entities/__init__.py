"""SOCKET EntityExtractor: disease mentions in text, with their context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["present", "negated", "family", "hypothetical", "historical"]
# What is linked: the patient has the disease or had it. A past disease is evidence too: most are chronic, and the rest are risks.
OF_THE_PATIENT: tuple[Status, ...] = ("present", "historical")


@dataclass(frozen=True, slots=True)
class Entity:
    """A mention: ``text[start:end] == surface``, literally. ``name`` is what to look up in the graph."""

    surface: str
    name: str
    start: int
    end: int
    status: Status

    @property
    def linked(self) -> bool:
        """Whether it speaks of a disease of this patient."""
        return self.status in OF_THE_PATIENT


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
