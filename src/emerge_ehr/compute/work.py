"""Work that is done in pieces, which is one function applied to many items; and the interface of the pools that do it.

The size of the pieces, the number of workers and where they run change no byte of an answer. So a computation over all items at
once (statistics, SVD, the set of names) is not a ``Work``: the caller does it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Tool = TypeVar("Tool")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
T = TypeVar("T")


class Form(Protocol[Answer]):
    """How values are turned into bytes, for other processes and for the disk; equal values give equal bytes."""

    def to_bytes(self, values: Sequence[Answer]) -> bytes:
        """The values as bytes."""

    def from_bytes(self, data: bytes) -> list[Answer]:
        """The values again.

        Raises:
            ValueError: the bytes are damaged.
        """


@dataclass(frozen=True)
class Work(Generic[Tool, Item, Answer]):
    """``answer(tool, items)`` gives an answer to each item, which does not depend on the other items; a module's function.

    ``tool`` holds what is expensive to make, such as an automaton or a model; it is pickled for other processes. ``piece``: the
    number of items done together; None: the pool's default. ``kept``: whether finished pieces are kept on disk until all are
    done. ``model``: whether the tool is a model, which runs on a GPU if there is one, otherwise on all of PyTorch's threads.
    ``remedy``: what the user can do if a worker runs out of memory.
    """

    name: str
    tool: Tool
    answer: Callable[[Tool, Sequence[Item]], Sequence[Answer]]
    items: Form[Item]
    answers: Form[Answer]
    piece: int | None = None
    kept: bool = True
    model: bool = False
    remedy: str = "Lower compute.workers or compute.partition_patients"


class Pool(Protocol):
    """Does work, in this process or in others."""

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. ``much``: there is so much to do that starting processes on this machine pays.

        Raises:
            UserError: a worker died, or several in turn where they are replaced; or what ``work.answer`` raises.
        """

    def where_models_run(self, ask: Callable[[], T]) -> T:
        """The result of ``ask()`` in a process that runs models, which may have other devices than this one.

        Raises:
            UserError: what ``ask`` raises; or that process was promised a GPU and has none.
        """
