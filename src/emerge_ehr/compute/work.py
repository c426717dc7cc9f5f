"""What is done in pieces: one function over many items, and who does it.

The pieces' sizes, the number of workers and where they run change no byte of an answer. So what depends on all items at once
(statistics, SVD, which names there are) is no ``Work``: it stays with the one who asks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Tool = TypeVar("Tool")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
T = TypeVar("T")


class Form(Protocol[Answer]):
    """How values travel and are kept: the same value always as the same bytes."""

    def to_bytes(self, values: Sequence[Answer]) -> bytes:
        """The values."""

    def from_bytes(self, data: bytes) -> list[Answer]:
        """The values again.

        Raises:
            ValueError: the bytes are damaged.
        """


@dataclass(frozen=True)
class Work(Generic[Tool, Item, Answer]):
    """``answer(tool, items)`` gives an answer for each item, whatever the other items are; a function of a module.

    ``tool`` holds what is dear to make, an automaton or a model; it is pickled on its way to another process. ``piece``: items
    done together; None: as many as patients are. ``kept``: whether finished pieces are put on disk until all are done.
    ``model``: whether the tool runs on a GPU where there is one, and on all of PyTorch's threads where there is none.
    """

    name: str
    tool: Tool
    answer: Callable[[Tool, Sequence[Item]], Sequence[Answer]]
    items: Form[Item]
    answers: Form[Answer]
    piece: int | None = None
    kept: bool = True
    model: bool = False


class Pool(Protocol):
    """Does work."""

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. ``much``: enough for other processes of this machine to be worth their start.

        Raises:
            UserError: a worker died, again and again where it is replaced; or what an answer raises.
        """

    def where_models_run(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives in a process that runs models: it may have other devices than this one.

        Raises:
            UserError: what ``ask`` raises; or that process was promised a GPU and has none.
        """
