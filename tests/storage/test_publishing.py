"""A set of files appears complete or not at all."""

from pathlib import Path

import pytest

from emerge_ehr.storage import artefacts, publishing
from tests.storage.killed import killed_while_it_writes


def test_files_appear_together_and_a_failure_leaves_the_old_ones(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with publishing.publish(folder) as new:
        (new / "sub").mkdir()
        (new / "a").write_text("1")
        (new / "sub" / "b").write_text("1")
    with pytest.raises(ZeroDivisionError), publishing.publish(folder) as new:
        (new / "a").write_text("2")
        raise ZeroDivisionError
    assert (folder / "a").read_text() == "1" and (folder / "sub" / "b").read_text() == "1"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "sub"]


def test_a_failure_in_a_new_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), publishing.publish(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


def test_a_killed_writer_leaves_nothing_that_looks_complete_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    killed_while_it_writes(f"publishing.publish(Path({str(folder)!r}))", "(new / 'a')")
    assert not (folder / "a").exists()
    with publishing.publish(folder) as new:
        (new / "a").write_text("whole")
    assert [path.name for path in folder.iterdir()] == ["a"] and (folder / "a").read_text() == "whole"


def test_a_kill_between_renames_is_finished_by_who_opens_the_folder_and_not_by_reading(tmp_path: Path) -> None:
    left = tmp_path / publishing.PUBLISHING
    left.mkdir()
    (left / "x.json").write_text('{"new": 1}')
    (tmp_path / "x.json").write_text('{"old": 1}')
    assert artefacts.read_json(tmp_path / "x.json", "train") == {"old": 1} and left.is_dir()
    publishing.finish_interrupted(tmp_path)
    assert artefacts.read_json(tmp_path / "x.json", "train") == {"new": 1} and not left.exists()
