"""Writes the answers of many patients as text, block by block, on as many cores as there are.

A block is computed by one process in one thread, with the same patients whichever process does it: neither the number of
processes nor that of threads changes a byte. Language models take all cores, or a GPU, by themselves, and the endpoints of others
set the pace: runs that use one stay in this process.
"""

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from emerge_ehr import components
from emerge_ehr.compute import beside
from emerge_ehr.compute.forms import Pickled
from emerge_ehr.compute.work import Work
from emerge_ehr.prediction import answers
from emerge_ehr.prediction.predictor import BLOCK, Predictor
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import spreadsheet
from emerge_ehr.storage.dataset import ARRAYS

MOST = 8  # processes, unless the user asks for more: each holds the model and the knowledge graph
MUCH = {True: 2 * BLOCK, False: 4 * BLOCK}  # patients, with or without explanations, from which a second process pays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """The run that is asked, whether to ``explain`` its answers, and whether to write the ``evidence`` they rest on."""

    ready: Predictor
    explain: bool
    evidence: bool


@dataclass(frozen=True)
class Written:
    """The answers of a block of patients: the ``rows`` of the table and the ``lines`` of evidence, if asked for, as text.

    ``first``: each patient's risk of the first label. ``highest`` [K]: the patient at highest risk of each label, and the risk.
    ``failures``: of how many patients a language model gave no entities or no summary. ``lacking``: how many lack each modality.
    """

    patients: int
    rows: str
    lines: str
    first: dict[str, float]
    highest: list[tuple[str, float]]
    failures: int
    lacking: Counter[str]


def answered(
    ready: Predictor, tables: CheckedTables, *, explain: bool, evidence: bool, workers: int
) -> Generator[Written]:
    """The answers of the patients, ordered by ``patient_id``. ``workers``: the number of processes; 0: one per core, where there
    is much to do. Close the iterator to end them.

    Raises:
        UserError: a process died.
    """
    patients = tables.cohort.height
    blocks = (new_patients.part(tables, at, BLOCK) for at in range(0, patients, BLOCK))
    work = Work("predict", Asked(ready, explain, evidence), answer, Pickled(), Pickled(), remedy="Set fewer --workers")
    helpers = _helpers(ready, patients, explain=explain, workers=workers)
    if helpers:
        work = dataclasses.replace(work, tool=Asked(_without_patients(ready), explain, evidence))
        log.info("predict: %d processes", helpers + 1)
    done = 0
    with closing(beside.answers(work, blocks, helpers)) as found:
        for written in found:
            yield written
            done += written.patients
            if patients > BLOCK:
                log.info("predicted %d of %d patients", done, patients)


def answer(asked: Asked, blocks: Sequence[CheckedTables]) -> list[Written]:
    """The answers of each block, by this process."""
    with nullcontext() if _takes_all_cores(asked.ready) else _one_thread():
        return [_written(asked, block) for block in blocks]


def _written(asked: Asked, block: CheckedTables) -> Written:
    ready, modalities = asked.ready, asked.ready.trained.reads
    rows, lines, first = list[str](), list[str](), dict[str, float]()
    highest = [("", -1.0)] * len(ready.outcomes)
    failures, lacking = 0, Counter[str]()
    for one in ready.answers(block, explain=asked.explain, audit=asked.evidence):
        rows += [spreadsheet.line(row) for row in answers.rows(one, ready, modalities)]
        if asked.evidence:
            lines.append(json.dumps(answers.as_json(one, ready), ensure_ascii=False, allow_nan=False) + "\n")
        first[one.patient_id] = float(one.risk[0])
        failures += bool(one.record.failures)
        lacking.update(one.lacking)
        own = [(one.patient_id, risk) for risk in one.risk.tolist()]
        highest = [higher(*pair) for pair in zip(highest, own, strict=True)]
    return Written(block.cohort.height, "".join(rows), "".join(lines), first, highest, failures, lacking)


def higher(first: tuple[str, float], second: tuple[str, float]) -> tuple[str, float]:
    """The patient at higher risk; of equals the first.

    >>> higher(("1", 0.5), ("2", 0.5))
    ('1', 0.5)
    """
    return max(first, second, key=lambda candidate: candidate[1])


def _helpers(ready: Predictor, patients: int, *, explain: bool, workers: int) -> int:
    """The number of processes beside this one."""
    if _takes_all_cores(ready):
        return 0
    chosen = workers or (min(beside.cores(), MOST) if patients >= MUCH[explain] else 1)
    return max(0, min(chosen, -(-patients // BLOCK)) - 1)


def _takes_all_cores(ready: Predictor) -> bool:
    """Whether the run uses a language model."""
    config = ready.trained.config
    chosen = {
        "embedding": config.embedding,
        "linking.similarity": config.linking.similarity,
        "entities": config.entities,
        "summary": config.summary,
    }
    return not all(components.is_light(socket, plug) for socket, plug in chosen.items())


def _without_patients(ready: Predictor) -> Predictor:
    """The run without the patients whom it learned from, of whom other processes need none."""
    data = ready.trained.dataset
    nobody = dataclasses.replace(data, **{name: getattr(data, name)[:0] for name in ARRAYS})
    return dataclasses.replace(ready, trained=dataclasses.replace(ready.trained, dataset=nobody))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let this process compute in one thread: the last digits of a what-if depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
