"""SOCKET EntityExtractor: disease mentions in text, with their context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Status = Literal["present", "negated", "family", "hypothetical", "historical"]
# Mentions of these statuses are linked. A past disease is evidence too: most diseases are chronic, and the rest are risk factors.
OF_THE_PATIENT: tuple[Status, ...] = ("present", "historical")


class Entity(NamedTuple):
    """A mention in a text, of which ``text[start:end] == surface`` holds literally; ``name`` is looked up in the graph.

    A tuple, since notes hold thousands of mentions and a frozen dataclass takes three times as long to make.
    """

    surface: str
    name: str
    start: int
    end: int
    status: Status

    @property
    def linked(self) -> bool:
        """Whether the mention is of a disease that the patient has or had."""
        return self.status in OF_THE_PATIENT


@dataclass(frozen=True)
class Extraction:
    """The mentions in one text.

    ``backend`` is the plug that found them: the configured one, or a fallback. ``failure`` says why the configured one could not;
    the entities are then the fallback's, or none, and the next run tries again.

    ``candidates`` may be mentions too, and may hold some of the entities: they count if their names are linked to a disease
    (``rag/mentions/candidates.py``). ``titles``: start and end of those that are the whole of a title or of a short text.

    ``exact``: the plug knows the graph, so that an entity whose name the graph lacks has no fitting disease there. It is then not
    linked to a similar name.
    """

    entities: tuple[Entity, ...]
    backend: str
    failure: str | None = None
    candidates: tuple[Entity, ...] = ()
    titles: frozenset[tuple[int, int]] = frozenset()
    exact: bool = False


class EntityExtractor(Protocol):
    """Finds disease mentions."""

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """For each text its mentions in order of position, without overlap."""
