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
AT_ONCE = 1 << 28  # bytes of items handed to Ray at a time: they lie in this process and in the object store
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
        known = self._known(work, pieces)
        if known:
            log.info("%s: %d of %d pieces are here from a run that was stopped", work.name, len(known), len(pieces))
        arriving = self._arriving(work, pieces, [number for number in range(len(pieces)) if number not in known])
        waiting = dict(known)
        for number in range(len(pieces)):
            while number not in waiting:
                arrived, answers = next(arriving)
                waiting[arrived] = answers
            yield from waiting.pop(number)

    def _known(self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]]) -> dict[int, list[Answer]]:
        if not work.kept or not self.kept.holds(work):
            return {}
        found = ((n, self.kept.find(work, work.items.to_bytes(piece), len(piece))) for n, piece in enumerate(pieces))
        return {number: answers for number, answers in found if answers is not None}

    def _arriving(
        self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]], numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[Answer]]]:
        """The answers to pieces as they are finished, each kept before it is told."""
        waiting = ((number, work.items.to_bytes(pieces[number])) for number in numbers)
        while sent := _as_many_as_fit(waiting):
            for row in self._pipeline(work, sent):
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


def _as_many_as_fit(pieces: Iterator[tuple[int, bytes]]) -> dict[int, bytes]:
    """The next pieces by number, up to about ``AT_ONCE`` bytes of them."""
    some, size = dict[int, bytes](), 0
    for number, data in pieces:
        some[number] = data
        size += len(data)
        if size >= AT_ONCE:
            break
    return some
