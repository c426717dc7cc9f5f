"""Work done by Ray: a Ray Data pipeline over the pieces, through a pool of actors that each hold the tool.

A worker that dies is replaced and its piece done again. Finished pieces are kept as they arrive (``kept.py``), so the loss
of this process costs those under way and no other.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.config import Compute
from src.datasets.compute.cluster import resources
from src.datasets.compute.kept import Kept
from src.datasets.compute.local import LOCAL, cut
from src.datasets.compute.work import Answer, Item, Tool, Work
from src.fields import UserError

log = logging.getLogger(__name__)
AT_ONCE = 1 << 30  # bytes of items handed to Ray at a time; the object store need not hold more
Row = dict[str, Any]


@dataclass(frozen=True)
class OnRay:
    """In a Ray that this process has joined."""

    compute: Compute
    kept: Kept

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. A single piece is done here: no worker is worth its start."""
        pieces = cut(items, work.piece or self.compute.partition_patients)
        if len(pieces) < 2:
            yield from LOCAL.map(work, items, much=False)
            return
        sent = [work.items.to_bytes(piece) for piece in pieces]
        known = self._known(work, pieces, sent)
        if known:
            log.info("%s: %d of %d pieces are here from a run that was stopped", work.name, len(known), len(pieces))
        arriving = self._arriving(work, sent, [number for number in range(len(pieces)) if number not in known])
        waiting = dict(known)
        for number in range(len(pieces)):
            while number not in waiting:
                arrived, answers = next(arriving)
                waiting[arrived] = answers
            yield from waiting.pop(number)

    def _known(
        self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]], sent: Sequence[bytes]
    ) -> dict[int, list[Answer]]:
        if not work.kept:
            return {}
        found = {number: self.kept.find(work, data, len(pieces[number])) for number, data in enumerate(sent)}
        return {number: answers for number, answers in found.items() if answers is not None}

    def _arriving(
        self, work: Work[Tool, Item, Answer], sent: Sequence[bytes], numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[Answer]]]:
        """The answers to pieces as they are finished, each kept before it is told."""
        waiting = iter(numbers)
        while some := _as_many_as_fit(waiting, sent):
            for row in self._pipeline(work, {number: sent[number] for number in some}):
                if row["failure"]:
                    raise UserError(row["failure"])
                if work.kept:
                    self.kept.put(work, sent[row["number"]], row["answers"])
                yield row["number"], work.answers.from_bytes(row["answers"])

    def _pipeline(self, work: Work[Tool, Item, Answer], sent: Mapping[int, bytes]) -> Iterator[Row]:
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        tool = ray.put(work)  # once, whatever the number of actors
        rows = [{"number": number, "items": data} for number, data in sent.items()]
        cpus, gpus, actors = self._resources(work, len(rows))
        pieces = ray.data.from_items(rows, override_num_blocks=len(rows))
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
        answered = pieces.map_batches(
            Worker,
            fn_constructor_args=(tool, _threads() if work.model else 1),
            batch_size=1,
            compute=pool,
            num_cpus=cpus,
            num_gpus=gpus or None,
        )
        yield from answered.iter_rows()

    def _resources(self, work: Work[Tool, Item, Answer], pieces: int) -> tuple[int, float, int]:
        """CPUs and GPUs of an actor, and the number of actors: as many as the cluster has room for, if not told otherwise."""
        gpus = self.compute.gpus_per_worker if work.model else 0.0
        cpus = _threads() if work.model and not gpus else 1
        found = resources(gpus)
        room = found.get("GPU", 0) / gpus if gpus else found.get("CPU", 1) / cpus
        return cpus, gpus, max(1, min(self.compute.workers or int(room), int(room), pieces))


class Worker:
    """In an actor: the tool, and what it is asked. A mistake of the user comes back as a row, for it ends the run in one line."""

    def __init__(self, work: Any, threads: int) -> None:
        """``work``: where Ray holds it."""
        import ray

        self.work: Work[Any, Any, Any] = ray.get(work)
        if self.work.model:
            import torch

            torch.set_num_threads(threads)  # the last digits depend on their number

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """One piece."""
        (number,), (items,) = batch["number"], batch["items"]
        answers, failure = b"", ""
        try:
            answers = self.work.answers.to_bytes(self.work.answer(self.work.tool, self.work.items.from_bytes(items)))
        except UserError as error:
            failure = str(error)
        return {"number": [int(number)], "answers": [answers], "failure": [failure]}


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _as_many_as_fit(numbers: Iterator[int], sent: Sequence[bytes]) -> list[int]:
    """The next pieces, up to about ``AT_ONCE`` bytes of them."""
    some, size = [], 0
    for number in numbers:
        some.append(number)
        size += len(sent[number])
        if size >= AT_ONCE:
            break
    return some
