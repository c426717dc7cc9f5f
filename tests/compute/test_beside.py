"""Pieces are done by this process and helpers beside it: in order, a few ahead, and nobody is left behind."""

import os
from collections.abc import Callable, Generator, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr.compute import beside
from emerge_ehr.compute.forms import Pickled
from emerge_ehr.compute.work import Work
from emerge_ehr.fields import UserError
from tests.compute import beside_works


def answers(
    folder: Path, function: Callable[..., Any], pieces: Iterator[int], helpers: int
) -> Generator[tuple[int, int]]:
    work = Work("predict", (os.getpid(), folder), function, Pickled(), Pickled(), remedy="Set fewer --workers")
    return beside.answers(work, pieces, helpers)


def test_answers_come_in_order_whoever_gave_them_and_a_few_pieces_ahead(tmp_path: Path) -> None:
    drawn = 0

    def pieces() -> Iterator[int]:
        nonlocal drawn
        for item in range(40):
            drawn += 1
            yield item

    found = []
    for taken, answer in enumerate(answers(tmp_path, beside_works.squares, pieces(), 1), 1):
        found.append(answer)

        assert drawn - taken <= 2 * beside.AHEAD
    assert [square for square, _ in found] == [item**2 for item in range(40)]
    assert len({who for _, who in found}) == 2 and not active_children()


def test_without_helpers_this_process_does_everything(tmp_path: Path) -> None:
    (tmp_path / "helped").touch()
    found = list(answers(tmp_path, beside_works.squares, iter(range(5)), 0))
    assert found == [(item**2, os.getpid()) for item in range(5)]
    assert not list(answers(tmp_path, beside_works.squares, iter(()), 0))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (beside_works.refused, "item: not a number; mend it"),
        (
            beside_works.deadly,
            "predict: a worker process died; out of memory? Set fewer --workers, and run the stage again",
        ),
    ],
)
def test_what_ends_a_helper_ends_the_work_in_one_line(tmp_path: Path, function: Callable[..., Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        list(answers(tmp_path, function, iter(range(40)), 1))
    assert str(refused.value) == words and not active_children()


def test_who_stops_early_leaves_no_process_behind(tmp_path: Path) -> None:
    found = answers(tmp_path, beside_works.squares, iter(range(10**9)), 1)
    assert next(found)[0] == 0
    found.close()
    assert not active_children()


def test_only_the_cores_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert beside.cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert beside.cores() == os.cpu_count()
