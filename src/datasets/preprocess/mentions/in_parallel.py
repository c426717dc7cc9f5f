"""One function over many texts, in this process or in several; the answers come in order and do not depend on their number."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

WORTH = 100_000_000  # characters below which starting processes costs more than it saves
BLOCK = 500_000  # characters, about, that are answered at a time

_state: dict[str, Any] = {}  # in a worker process: what was prepared, and the function


def in_parallel(
    texts: Sequence[str],
    prepared: Any,
    answer: Callable[[Any, Sequence[str]], Sequence[Any]],
    workers: int,
    anew: tuple[Callable[[Any], Any], Any],
) -> Iterator[Any]:
    """The answer to every text: ``answer(prepared, some texts)`` for a block of them at a time.

    ``workers`` 0: one a core where there is much text, else none. A process makes its own ``prepared`` as ``anew[0](anew[1])``.
    Processes are spawned, not forked: forking a process that runs threads (Polars, PyTorch) can hang.
    """
    if workers == 0:
        workers = (os.cpu_count() or 1) if sum(map(len, texts)) >= WORTH else 1
    blocks = list(_blocks(texts))
    if workers == 1 or len(blocks) < 2:
        for block in blocks:
            yield from answer(prepared, block)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (anew, answer))
    try:
        for answers in pool.map(_answer, blocks):
            yield from answers
    finally:
        pool.shutdown(cancel_futures=True)


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _begin(anew: tuple[Callable[[Any], Any], Any], answer: Callable[[Any, Sequence[str]], Sequence[Any]]) -> None:
    _state.update(prepared=anew[0](anew[1]), answer=answer)


def _answer(texts: list[str]) -> Sequence[Any]:
    answers: Sequence[Any] = _state["answer"](_state["prepared"], texts)
    return answers
