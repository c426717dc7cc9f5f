"""Does work by Ray: a Ray Data pipeline over the pieces, with a pool of actors that each hold the tool.

A worker that dies is replaced and its piece done again. Finished pieces are kept as they arrive (``kept.py``), so that if this
process is lost, only the pieces being done are lost with it.
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
AT_ONCE = 1 << 30  # bytes of items handed to Ray at a time: they are in this process's memory and in the object store
ATTEMPTS = 4  # at a piece whose worker dies each time
Row = dict[str, Any]


@dataclass(frozen=True)
class OnRay:
    """The pool of a Ray that this process has joined; ``kept``: the finished pieces on disk."""

    compute: Compute
    kept: Kept

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. A single piece that needs no GPU is done here, as starting a worker does not pay."""
        pieces = cut(items, work.piece or self.compute.partition_patients)
        if len(pieces) < 2 and not self._gpus(work.model):
            yield from LOCAL.map(work, items, much=False)
            return
        finished = self._finished(work, pieces)
        if finished:
            log.info("%s: %d of %d pieces are kept from a run that was stopped", work.name, len(finished), len(pieces))
        arriving = self._arriving(work, pieces, [number for number in range(len(pieces)) if number not in finished])
        waiting = dict[int, list[Answer]]()
        for number, piece in enumerate(pieces):
            while number not in finished and number not in waiting:
                arrived, answers = next(arriving)
                waiting[arrived] = answers
            yield from waiting.pop(number) if number in waiting else self._read_kept(work, finished[number], piece)

    def where_models_run(self, ask: Callable[[], T]) -> T:
        """The result of ``ask()`` in a worker like those that run models."""
        import ray

        gpus = self._gpus(model=True)
        machines(gpus)
        try:
            task: Any = ray.remote(num_gpus=gpus)(_ask_in_worker)
            answer: T = ray.get(task.remote(ask, gpus))
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        return answer

    def _finished(self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]]) -> dict[int, str]:
        """The numbers of the pieces that are kept on disk, each with its key; the answers are read later, in order."""
        kept = self.kept.of(work)
        keys = ((number, key_of(work.items.to_bytes(piece))) for number, piece in enumerate(pieces if kept else ()))
        return {number: key for number, key in keys if key in kept}

    def _read_kept(self, work: Work[Tool, Item, Answer], key: str, piece: Sequence[Item]) -> Sequence[Answer]:
        """The answers to a kept piece; a damaged one is done again, in this process."""
        answers = self.kept.find(work, key, len(piece))
        return work.answer(work.tool, piece) if answers is None else answers

    def _arriving(
        self, work: Work[Tool, Item, Answer], pieces: Sequence[Sequence[Item]], numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[Answer]]]:
        """The number and the answers of each piece as it is finished, after they were put on disk."""
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
        """The rows that ``Worker`` returns for the pieces ``sent``, in the order in which they are finished."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it logs whatever it also raises
        tool = ray.put(work)  # once, for any number of actors
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
                f"{work.name}: Ray gave up: {first_line(error)}; run the stage again (finished pieces are kept)"
            ) from None

    def _room(self, model: bool, pieces: int) -> tuple[dict[str, Any], int]:
        """What an actor reserves, and the number of actors: ``compute.workers``, or as many as the machines have room for."""
        gpus = self._gpus(model)
        usable = machines(gpus)
        needs: dict[str, Any]
        if gpus:
            needs, room = {"num_gpus": gpus}, sum(int(machine.gpus / gpus) for machine in usable)
        else:  # no more than a machine has, or no actor would ever start; a model uses its threads in any case
            cpus = max(1, min(_threads() if model else 1, max(machine.cpus for machine in usable)))
            needs, room = {"num_cpus": cpus}, sum(machine.cpus // cpus for machine in usable)
        return needs, max(1, min(self.compute.workers or room, room, pieces))

    def _gpus(self, model: bool) -> float:
        return self.compute.gpus_per_worker if model else 0.0


class Attempts:
    """An actor on the driver's machine that counts the attempts at each piece.

    Without this count, Ray would repeat forever a piece that kills its worker, for instance by taking all memory. Ray's own bound
    on retries will not do: the loss of a machine uses it up too soon.
    """

    def __init__(self) -> None:
        self.begun = Counter[int]()

    def begin(self, number: int) -> int:
        """Count an attempt at the piece with this number; the number of attempts so far."""
        self.begun[number] += 1
        return self.begun[number]


class Worker:
    """An actor that holds the tool and does pieces. A ``UserError`` comes back in its row, and so ends the run in one line."""

    def __init__(self, work: Any, attempts: Any, threads: int) -> None:
        """``work``: Ray's reference to it; ``attempts``: the actor ``Attempts``; ``threads``: those of PyTorch."""
        import ray

        self.work: Work[Any, Any, Any] = ray.get(work)
        self.attempts = attempts
        if self.work.model:
            import torch

            torch.set_num_threads(threads)  # results differ in the last digits with the number of threads

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Do one piece: a row with its number, and its answers or a failure."""
        import ray

        (number,), (items,) = batch["number"], batch["items"]
        answers, failure = b"", ""
        try:
            if ray.get(self.attempts.begin.remote(int(number))) > ATTEMPTS:
                raise died(self.work)
            answers = self.work.answers.to_bytes(self.work.answer(self.work.tool, self.work.items.from_bytes(items)))
        except UserError as error:
            failure = str(error)
        return {"number": [int(number)], "answers": [answers], "failure": [failure]}


def _ask_in_worker(ask: Callable[[], T], gpus: float) -> T:
    """The result of ``ask()``, in a worker that was promised so many GPUs.

    Raises:
        UserError: PyTorch finds no GPU there; or what ``ask`` raises.
    """
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
    fitting, size = dict[int, bytes](), 0
    for number, data in pieces:
        fitting[number] = data
        size += len(data)
        if size >= AT_ONCE:
            break
    return fitting
