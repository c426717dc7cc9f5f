"""Whoever computes the answers, and however many processes do: the bytes are those of asking the run patient by patient."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch

from emerge_ehr.config import Config
from emerge_ehr.fields import Component
from emerge_ehr.prediction import answers, predict, predictor, spread
from emerge_ehr.prediction.spread import Written
from emerge_ehr.storage import spreadsheet
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Trained, load

RunOf = Callable[[str], Path]
FEW = 40  # patients in a block, so that the hospital has three


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "BLOCK", FEW)
    monkeypatch.setattr(predictor, "BLOCK", FEW)


def asked(run: Path, tables: Path) -> tuple[str, str]:
    """Both files as the run's answers give them, in this process."""
    ready = predictor.load(run, offline=True)
    modalities = ready.trained.reads
    table = [spreadsheet.line(answers.header(modalities, ready.trained.sets is not None))]
    lines = []
    for one in ready.answers(ready.tables(tables)):
        table += [spreadsheet.line(row) for row in answers.rows(one, ready, modalities)]
        lines.append(json.dumps(answers.as_json(one, ready), ensure_ascii=False) + "\n")
    return "".join(table), "".join(lines)


def files(output: Path) -> tuple[str, str]:
    with output.open(newline="") as file:
        return file.read(), output.with_name("risks.evidence.jsonl").read_text("utf-8")


@pytest.mark.slow
def test_one_and_two_processes_write_the_bytes_that_the_run_answers(
    run_of: RunOf, hospital: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, before = run_of("emerge"), torch.get_num_threads()
    torch.set_num_threads(1)
    expected = asked(run, hospital.table_dir)
    torch.set_num_threads(before)
    caplog.set_level("INFO")
    for workers in (1, 2):
        caplog.clear()
        predict.run(run, hospital.table_dir, tmp_path / "risks.csv", offline=True, workers=workers)
        assert files(tmp_path / "risks.csv") == expected
        assert ("predict: 2 processes" in caplog.messages) == (workers == 2)
    assert not active_children() and torch.get_num_threads() == before


def test_ctrl_c_leaves_no_process_and_no_file(
    run_of: RunOf, hospital: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(found: Iterable[Written], *others: Any) -> list[str]:
        next(iter(found))
        assert len(active_children()) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict.run(run_of("emerge"), hospital.table_dir, tmp_path / "out" / "risks.csv", offline=True, workers=2)
    assert not active_children() and not list((tmp_path / "out").iterdir())


def test_processes_are_as_many_as_there_are_cores_only_where_there_is_much_to_do(
    run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = predictor.load(run_of("emerge"), offline=True)
    monkeypatch.setattr(spread.beside, "cores", lambda: 64)
    much = spread.MUCH[False]
    assert spread._helpers(ready, much - 1, explain=False, workers=0) == 0
    assert spread._helpers(ready, much, explain=False, workers=0) == spread.MOST - 1
    assert spread._helpers(ready, much, explain=False, workers=12) == 11
    assert spread._helpers(ready, FEW + 1, explain=False, workers=12) == 1, "no process without a block"
    model = Component("sentence_transformers", {"model": "any"})
    config = dataclasses.replace(ready.trained.config, embedding=model)
    reads_by_model = dataclasses.replace(ready, trained=dataclasses.replace(ready.trained, config=config))
    assert spread._helpers(reads_by_model, much, explain=False, workers=12) == 0, "a language model takes all cores"


@pytest.mark.parametrize("method", ["emerge", "token_level"])
def test_rows_that_share_a_patients_hours_get_the_logits_of_rows_of_their_own(run_of: RunOf, method: str) -> None:
    trained: Trained = load(run_of(method))
    batch = inputs.mapped(trained.dataset, "test").whole()
    hours = trained.hours(batch)
    assert hours is not None
    index = torch.tensor([3, 0, 3, 3, 1, 0, 5])
    own = trained.of_members(batch.select(index))
    torch.testing.assert_close(trained.of_members(batch.select(index), hours.shared(index)), own)
    part = torch.tensor([6, 1, 1])
    shared = hours.shared(index).select(part)
    torch.testing.assert_close(trained.of_members(batch.select(index[part]), shared), own[:, part])
