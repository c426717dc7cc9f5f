"""The store of embeddings: kills, two processes, damage."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr.compute.local import LOCAL
from emerge_ehr.embeddings._models.batches import Batches
from emerge_ehr.embeddings._models.embedding_store import EmbeddingStore, key, open_store
from emerge_ehr.fields import UserError
from tests.places import ROOT

# An encoder that logs every text it computes, and is killed in its third batch if told to.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.embeddings._models.batches import Batches
from emerge_ehr.embeddings._models.embedding_store import open_store
folder, die = Path(sys.argv[1]), sys.argv[2] == "die"
calls = 0
def compute(texts, prefix):
    global calls
    calls += 1
    if die and calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "computed.txt").open("a") as file:
        file.writelines(text + "\\n" for text in texts)
    # like a real model's rounding, the result depends a little on the batch
    return np.array([[len(text), sum(map(ord, text)) + 1e-3 * len(texts)] for text in texts], dtype=np.float32)
texts = ["text " + "x" * (n % 37) + str(n) for n in range(100)]
np.save(folder / f"{sys.argv[2]}.npy", Batches(compute, LOCAL, open_store(folder, {}, 2), 100, None).encode(texts, "", ""))
"""


def run(folder: Path, mode: str) -> int:
    folder.mkdir(exist_ok=True)
    return subprocess.run([sys.executable, "-c", PROGRAM, str(folder), mode], cwd=ROOT, check=False).returncode


def computed(folder: Path) -> list[str]:
    return (folder / "computed.txt").read_text().splitlines()


def test_a_killed_run_keeps_its_batches_and_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    assert run(tmp_path / "killed", "die") == -9
    before = len(computed(tmp_path / "killed"))
    assert before > 0 and run(tmp_path / "killed", "live") == 0
    assert sorted(computed(tmp_path / "killed")) == sorted(set(computed(tmp_path / "killed")))
    assert len(computed(tmp_path / "killed")) == 100
    assert run(tmp_path / "whole", "live") == 0
    assert (tmp_path / "killed" / "live.npy").read_bytes() == (tmp_path / "whole" / "live.npy").read_bytes()
    assert run(tmp_path / "whole", "again") == 0 and len(computed(tmp_path / "whole")) == 100
    assert (tmp_path / "whole" / "again.npy").read_bytes() == (tmp_path / "whole" / "live.npy").read_bytes()


def test_two_processes_at_once_agree(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    both = [subprocess.Popen([*command, mode], cwd=ROOT) for mode in ("one", "two")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()
    assert set(computed(tmp_path)) == {"text " + "x" * (n % 37) + str(n) for n in range(100)}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    store = open_store(tmp_path, {"model": "a"}, 2)
    store.write([key("", "one"), key("", "two")], np.array([[1, 2], [3, 4]], dtype=np.float32))
    return store


def test_vectors_come_back_in_the_order_asked_for_and_the_first_one_stays(store: EmbeddingStore) -> None:
    store.write([key("", "two")], np.array([[9, 9]], dtype=np.float32))
    assert store.read([key("", text) for text in ("two", "one", "two")]).tolist() == [[3, 4], [1, 2], [3, 4]]
    assert store.known([key("", "one"), key("", "three")]) == {key("", "one")}


def test_another_encoder_prefix_or_text_is_another_entry(store: EmbeddingStore, tmp_path: Path) -> None:
    assert open_store(tmp_path, {"model": "b"}, 2).path != store.path != open_store(tmp_path, {"model": "a"}, 3).path
    assert len({key("", "ab"), key("a", "b"), key("ab", ""), key("", "a b")}) == 4


def test_a_damaged_row_is_said_and_forgotten(store: EmbeddingStore, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE vectors SET vector = ? WHERE text = ?", (bytes(8), key("", "one")))
    connection.close()
    assert store.known([key("", "one"), key("", "two")]) == {key("", "two")}
    assert "1 damaged rows" in caplog.text


@pytest.mark.parametrize("damage", [b"not a database at all" * 300, None])
def test_a_damaged_file_is_said_and_begun_anew(
    store: EmbeddingStore, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    content = store.path.read_bytes()
    store.path.write_bytes(damage or content[:4096] + bytes(len(content) - 4096))
    batches = Batches(lambda texts, _: np.ones((len(texts), 2), dtype=np.float32), LOCAL, store, 100, None)
    assert batches.encode(["one", "two"], "", "float32").tolist() == [[1, 1], [1, 1]]
    assert "damaged, moved to" in caplog.text and store.path.with_suffix(".damaged").is_file()


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    store = open_store(tmp_path, {}, 2)
    store.path.mkdir()
    with pytest.raises(UserError, match="unable to open database file"):
        store.known([key("", "one")])
