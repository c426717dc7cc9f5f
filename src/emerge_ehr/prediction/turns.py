"""Requests wait here for the model, which takes many at a time: tables and model cost as much for one patient as for twenty.

One thread computes, because graph and auditor share what they have looked up. A request whose client has gone is passed over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import answers, requests
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.requests import Asked
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.preprocess.inputs.tables import CheckedTables

AT_A_TIME = 64  # patients in one turn; a request of more has several turns
MOST_WAITING = 512  # patients; further requests are refused

Answered = tuple[list[dict[str, Any]], list[str]]  # an entry per patient, in the order of the request; warnings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A request. ``answer`` will hold its predictions, and warnings of its tables."""

    asked: Asked
    explain: bool
    answer: asyncio.Future[Answered]

    @property
    def patients(self) -> int:
        """How many patients it names."""
        return len(self.asked.patients)


@dataclass(frozen=True)
class Part:
    """Requests whose ``tables`` were made together, or one request and why it is refused."""

    requests: Sequence[Waiting]
    tables: CheckedTables | UserError

    def in_order(self) -> CheckedTables:
        """The tables with the patients in the order of the requests."""
        assert isinstance(self.tables, CheckedTables)
        if len(self.requests) > 1:  # whose ids are numbers in that order
            return self.tables
        row = {name: n for n, name in enumerate(self.tables.cohort["patient_id"].to_list())}
        wanted = [row[patient.patient_id] for patient in self.requests[0].asked.patients]
        return new_patients.of_rows(self.tables, np.array(wanted))


class Turns:
    """The queue of a run, in one event loop."""

    def __init__(self, run: Predictor) -> None:
        self.run = run
        self.queue: deque[Waiting] = deque()
        self.thread = ThreadPoolExecutor(1, "model")
        self.worker: asyncio.Task[None] | None = None

    @property
    def patients(self) -> int:
        """How many wait."""
        return sum(entry.patients for entry in self.queue)

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return self.patients >= MOST_WAITING

    def enter(self, asked: Asked, *, explain: bool) -> asyncio.Future[Answered]:
        """Wait for a turn. Who cancels what is returned is passed over; it raises ``UserError`` where the patients do not fit."""
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self.queue.append(Waiting(asked, explain, answer))
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self._work())
        return answer

    async def _work(self) -> None:
        """Compute until nobody waits."""
        loop = asyncio.get_running_loop()
        while turn := self._next():
            try:
                found = await loop.run_in_executor(self.thread, self._compute, turn)
            except Exception as error:
                log.exception("a turn of %d requests failed", len(turn))
                found = [error] * len(turn)
            for entry, answer in zip(turn, found, strict=True):
                if entry.answer.done():  # its client has gone
                    continue
                if isinstance(answer, Exception):
                    entry.answer.set_exception(answer)
                else:
                    entry.answer.set_result(answer)

    def _next(self) -> list[Waiting]:
        """The requests of the next turn: the first, and those after it that ask for the same and fit in beside it."""
        turn: list[Waiting] = []
        later: deque[Waiting] = deque()
        while self.queue:
            entry = self.queue.popleft()
            if entry.answer.done():
                continue
            fits = sum(one.patients for one in turn) + entry.patients <= AT_A_TIME
            (turn if not turn or (fits and entry.explain == turn[0].explain) else later).append(entry)
        self.queue = later
        return turn

    def _compute(self, turn: Sequence[Waiting]) -> list[Answered | Exception]:
        """The answer to each request, or why there is none."""
        parts = list(self._parts(turn))
        read = [part for part in parts if isinstance(part.tables, CheckedTables)]
        predictions = iter(self._predictions(read))
        found: list[Answered | Exception] = []
        for part in parts:
            for entry in part.requests:
                if isinstance(part.tables, CheckedTables):
                    found.append((list(islice(predictions, entry.patients)), part.tables.warnings))
                else:
                    found.append(part.tables)
        return found

    def _parts(self, turn: Sequence[Waiting]) -> Iterator[Part]:
        """The tables of the requests, in their order, as many together as there is nothing to say of.

        A warning, or a refusal, is for the request that it is of.
        """
        if len(turn) == 1:
            yield self._alone(turn[0])
            return
        tables = None
        if all(any(patient.notes for patient in entry.asked.patients) for entry in turn):
            with suppress(UserError):
                tables = requests.tables(requests.numbered([entry.asked for entry in turn]), self.run.expected)
        if tables is not None and not tables.warnings:
            yield Part(turn, tables)
            return
        for half in (turn[: len(turn) // 2], turn[len(turn) // 2 :]):
            yield from self._parts(half)

    def _alone(self, entry: Waiting) -> Part:
        try:
            return Part([entry], requests.tables(entry.asked, self.run.expected))
        except UserError as error:
            return Part([entry], error)

    def _predictions(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        """An entry per patient, in the order of the requests; fewer where all clients have gone meanwhile."""
        if not parts:
            return []
        waiting = [entry for part in parts for entry in part.requests]
        names = [patient.patient_id for entry in waiting for patient in entry.asked.patients]
        tables = new_patients.together([part.in_order() for part in parts])
        found: list[dict[str, Any]] = []
        for at in range(0, len(names), AT_A_TIME):
            if all(entry.answer.done() for entry in waiting):
                break
            part = new_patients.part(tables, at, AT_A_TIME)
            for name, answer in zip(names[at:], self.run.answers(part, explain=waiting[0].explain), strict=False):
                found.append(answers.as_json(replace(answer, patient_id=name), self.run))
        return found
