"""Work done by Ray: a Ray Data pipeline over the pieces, through a pool of actors that each hold the tool.

A worker that dies is replaced and its piece done again. Finished pieces are kept as they arrive (``kept.py``), so the loss
of this process costs those under way and no other.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emerge_ehr.compute.cluster import machines
from emerge_ehr.compute.kept import Kept, key_of
from emerge_ehr.compute.local import LOCAL, cut, died
from emerge_ehr.compute.work import Answer, Item, T, Tool, Work
from emerge_ehr.config import Compute
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

log = logging.getLogger(__name__)
AT_ONCE = 1 << 30  # bytes of items handed to Ray at a time: they lie in this process and in the object store
ATTEMPTS = 4  # at a piece whose worker dies
Row = dict[str, Any]


@dataclass(frozen=True)
class OnRay:
    """In a Ray that this process has joined."""

    compute: Compute
    kept: Kept

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. A single piece is done here, if it needs no GPU: no worker is worth its start."""
        pieces = cut(items, work.piece or self.compute.partition_patients)
        if len(pieces) < 2 and not self._gpus(work.model):
            yield from LOCAL.map(work, items, much=False)
            return
        here = self._here(work, pieces)
        if here:
            log.info("%s: %d of %d pieces are here from a run that was stopped", work.name, len(here), len(pieces))
        arriving = self._arriving(work, pieces, [number for number in range(len(pieces)) if number not in here])
        waiting = dict[int, list[Answer]]()
        for number, piece in enumerate(pieces):
            while number not in here and number not in waiting:
                arrived, answers = next(arriving)
                waiting[arrived] = answers
            yield from waiting.pop(number) if number in waiting else self._found(work, here[number], piece)

    def where_models_run(self, ask: Callable[[], T]) -> T:
        """In a worker like those that models are given to."""
        import ray

        gpus = self._gpus(model=True)
        machines(gpus)
        try:
            task: Any = ray.remote(num_gpus=gpus)(_asked)
            answer: T = ray.get(task.remote(ask, gpus))
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        return answer

    def _here(self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]]) -> dict[int, str]:
        """The pieces that are kept, each with its key; their answers are read when their turn comes."""
        kept = self.kept.of(work)
        keys = ((number, key_of(work.items.to_bytes(piece))) for number, piece in enumerate(pieces if kept else ()))
        return {number: key for number, key in keys if key in kept}

    def _found(self, work: Work[Tool, Item, Answer], key: str, piece: Sequence[Item]) -> Sequence[Answer]:
        """The answers to a kept piece; one that is damaged is done again, here."""
        answers = self.kept.find(work, key, len(piece))
        return work.answer(work.tool, piece) if answers is None else answers

    def _arriving(
        self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]], numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[Answer]]]:
        """The answers to pieces as they are finished, each kept before it is told."""
        waiting = ((number, work.items.to_bytes(pieces[number])) for number in numbers)
        while sent := _as_many_as_fit(waiting):
            keys = {number: key_of(data) for number, data in sent.items()}
            for row in self._pipeline(work, sent):
                if row["failure"]:
                    raise UserError(row["failure"])
                if work.kept:
                    self.kept.put(work, keys[row["number"]], row["answers"])
                yield row["number"], work.answers.from_bytes(row["answers"])

    def _pipeline(self, work: Work[Tool, Item, Answer], sent: Mapping[int, bytes]) -> Iterator[Row]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is raised, it logs too
        tool = ray.put(work)  # once, whatever the number of actors
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        counter: Any = ray.remote(num_cpus=0)(Attempts)
        attempts = counter.options(scheduling_strategy=here).remote()
        rows = [{"number": number, "items": data} for number, data in sent.items()]
        needs, actors = self._room(work.model, len(rows))
        pieces = ray.data.from_items(rows, override_num_blocks=len(rows))
        answered = pieces.map_batches(
            Worker,
            fn_constructor_args=(tool, attempts, _threads() if work.model else 1),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            **needs,
        )
        try:
            yield from answered.iter_rows()
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            raise UserError(
                f"{work.name}: Ray gave up: {first_line(error)}; run the stage again: finished pieces are kept"
            ) from None

    def _room(self, model: bool, pieces: int) -> tuple[dict[str, Any], int]:
        """What an actor reserves, and the number of actors: as many as the machines have room for, if not told otherwise."""
        gpus = self._gpus(model)
        there = machines(gpus)
        needs: dict[str, Any]
        if gpus:
            needs, room = {"num_gpus": gpus}, sum(int(one.gpus / gpus) for one in there)
        else:  # no more than a machine has, else no actor ever starts; a model uses its threads all the same
            cpus = max(1, min(_threads() if model else 1, max(one.cpus for one in there)))
            needs, room = {"num_cpus": cpus}, sum(one.cpus // cpus for one in there)
        return needs, max(1, min(self.compute.workers or room, room, pieces))

    def _gpus(self, model: bool) -> float:
        return self.compute.gpus_per_worker if model else 0.0


class Attempts:
    """In an actor on the driver's machine: how often each piece was begun. Of itself Ray does one that kills its worker, as by
    taking all memory, for ever; and a bound of Ray's own on retries is soon used up where a machine is lost."""

    def __init__(self) -> None:
        self.begun = Counter[int]()

    def begin(self, number: int) -> int:
        """Another attempt at this piece; how many there were with it."""
        self.begun[number] += 1
        return self.begun[number]


class Worker:
    """In an actor: the tool, and what it is asked. A mistake of the user comes back as a row, for it ends the run in one line."""

    def __init__(self, work: Any, attempts: Any, threads: int) -> None:
        """``work``: where Ray holds it; ``attempts``: the actor that counts them."""
        import ray

        self.work: Work[Any, Any, Any] = ray.get(work)
        self.attempts = attempts
        if self.work.model:
            import torch

            torch.set_num_threads(threads)  # the last digits depend on their number

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """One piece."""
        import ray

        (number,), (items,) = batch["number"], batch["items"]
        answers, failure = b"", ""
        try:
            if ray.get(self.attempts.begin.remote(int(number))) > ATTEMPTS:
                raise died(self.work.name)
            answers = self.work.answers.to_bytes(self.work.answer(self.work.tool, self.work.items.from_bytes(items)))
        except UserError as error:
            failure = str(error)
        return {"number": [int(number)], "answers": [answers], "failure": [failure]}


def _asked(ask: Callable[[], T], gpus: float) -> T:
    """In a worker: the answer."""
    import torch

    if gpus and not torch.cuda.is_available():
        raise UserError(
            f"compute.gpus_per_worker = {gpus:g}, but PyTorch finds no GPU in a worker on {socket.gethostname()}; install its "
            "CUDA build there, or set it to 0"
        )
    return ask()


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
