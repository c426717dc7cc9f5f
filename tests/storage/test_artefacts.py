"""Single files appear complete or not at all; arrays come back as they were."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import read_arrays, write_dataset
from emerge_ehr.storage.mapped_arrays import map_array, map_arrays
from tests.storage.killed import killed_while_it_writes


def test_two_writers_of_one_file_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with artefacts.replacing(path) as first:
        first.write_text("first")
        with artefacts.replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_of_a_file_left_goes_with_the_next_one(tmp_path: Path) -> None:
    killed_while_it_writes(f"artefacts.replacing(Path({str(tmp_path / 'x.json')!r}))", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["half"]
    with artefacts.replacing(tmp_path / "x.json") as aside:
        aside.write_text("whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_arrays_come_back_and_pickles_are_refused(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "p": np.array(["x", "yy"])}
    write_dataset(tmp_path / "d.npz", arrays)
    found = read_arrays(tmp_path / "d.npz", "preprocess")
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    np.savez(tmp_path / "evil.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(UserError, match="not a readable npz"):
        read_arrays(tmp_path / "evil.npz", "preprocess")
    (tmp_path / "d.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:50])
    with pytest.raises(UserError, match="not a readable npz"):
        read_arrays(tmp_path / "d.npz", "preprocess")


def test_the_arrays_of_an_npz_are_mapped_where_they_stand(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "by_columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((2, 0), np.float32),
        "p": np.array(["x", "yy"]),
    }
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    found = map_arrays(path, "preprocess")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype
        assert array.size == 0 or (not found[name].flags.writeable and not found[name].flags.owndata)


@pytest.mark.parametrize("damage", ["compressed", "a byte changed", "cut off", "more bytes than its shape has"])
def test_an_npz_that_cannot_be_mapped_is_refused(damage: str, tmp_path: Path) -> None:
    path, array = tmp_path / "d.npz", np.arange(60, dtype=np.float32)
    (np.savez_compressed if damage == "compressed" else np.savez)(path, a=array)
    whole = path.read_bytes()
    if damage == "a byte changed":
        at = whole.index(array[30:33].tobytes())
        path.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    elif damage == "cut off":
        path.write_bytes(whole[:-100])
    elif damage.startswith("more"):
        content = io.BytesIO()
        np.save(content, array)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", content.getvalue() + b"1234")
    with pytest.raises(UserError, match=r"d.npz: not a readable npz .*; run --stage preprocess again"):
        map_arrays(path, "preprocess")


def test_arrays_larger_than_memory_stand_beside_the_npz_and_are_mapped(tmp_path: Path) -> None:
    tokens = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {"a": np.ones(2, np.float32), "note_tokens": tokens, "summary_tokens": np.zeros((2, 0, 4), np.float32)}
    write_dataset(tmp_path / "d.npz", arrays)
    assert list(read_arrays(tmp_path / "d.npz", "preprocess")) == ["a"]
    mapped = map_array(tmp_path / "note_tokens.npy", "preprocess")
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, tokens) and not mapped.flags.writeable
    assert map_array(tmp_path / "summary_tokens.npy", "preprocess").shape == (2, 0, 4)
    (tmp_path / "note_tokens.npy").write_bytes((tmp_path / "note_tokens.npy").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"note_tokens.npy: not a readable npy"):
        map_array(tmp_path / "note_tokens.npy", "preprocess")
    np.save(tmp_path / "evil.npy", np.array([{"x": 1}], dtype=object))
    with pytest.raises(UserError, match="not a readable npy"):
        map_array(tmp_path / "evil.npy", "preprocess")
    with pytest.raises(UserError, match="missing; run --stage preprocess first"):
        map_array(tmp_path / "none.npy", "preprocess")
