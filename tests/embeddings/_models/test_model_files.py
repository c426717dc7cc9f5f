"""How models are named, found and refused; the hub is a stand-in."""

import importlib.util
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from emerge_ehr.embeddings._models import model_files
from emerge_ehr.fields import UserError

COMMIT = "5617a9f61b028005a4858fdac845db406aefb181"


def test_a_hub_name_needs_a_commit() -> None:
    for revision in (None, "main", "v1.0", COMMIT[:12]):
        with pytest.raises(UserError, match=r"needs revision = its commit .*branches move") as caught:
            model_files.locate("BAAI/bge-m3", revision, "encoder x")
        assert "\n" not in str(caught.value)


def test_what_is_neither_folder_nor_hub_name_and_a_folder_with_a_commit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder on this disk nor a hub name"):
        model_files.locate("/no/such/model", None, "encoder x")
    with pytest.raises(UserError, match="revision is for hub names"):
        model_files.locate(str(tmp_path), COMMIT, "encoder x")


def test_a_folder_is_known_by_its_contents_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "vocab.txt").write_text("word")
        (tmp_path / name / "model.safetensors").write_bytes(b"w")
        (tmp_path / name / "README.md").write_text(name)
    first = model_files.locate(str(tmp_path / "a"), None, "x").identity
    assert first == model_files.locate(str(tmp_path / "b"), None, "x").identity and first.startswith("sha256:")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"v")
    assert first != model_files.locate(str(tmp_path / "b"), None, "x").identity


def test_a_folder_without_a_tokenizer_is_refused_for_a_made_up_one_knows_no_word(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"w")
    with pytest.raises(UserError, match="holds no tokenizer"):
        model_files.locate(str(tmp_path), None, "x")


def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str]) -> list[dict[str, Any]]:
    """A hub with one model of these files; the calls it gets."""
    calls: list[dict[str, Any]] = []
    folder = tmp_path / "hub"

    def snapshot_download(model: str, **options: Any) -> str:
        calls.append(options)
        if options.get("local_files_only"):
            if not folder.is_dir():
                raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
            return str(folder)
        folder.mkdir(exist_ok=True)
        for name in files:
            if any(Path(name).match(pattern) for pattern in options["allow_patterns"]):
                (folder / name).write_text("{}")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_download_brings_safetensors_or_else_the_pickle_and_locate_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    calls = hub(tmp_path, monkeypatch, ["config.json", "tokenizer.json", weights, "optimizer.pt", "tf_model.h5"])
    model_files.download("BAAI/bge-m3", COMMIT, False, "x")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == sorted(
        ["config.json", "tokenizer.json", weights]
    )
    assert model_files.locate("BAAI/bge-m3", COMMIT, "x").identity == f"BAAI/bge-m3@{COMMIT}"
    assert all(call["revision"] == COMMIT for call in calls)
    assert all("onnx/*" in call["ignore_patterns"] for call in calls)


def test_offline_only_the_disk_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub(tmp_path, monkeypatch, ["config.json"])
    with pytest.raises(UserError, match=r"'BAAI/bge-m3' at 5617\w+ is not on this disk, .*; run --stage download"):
        model_files.download("BAAI/bge-m3", COMMIT, True, "x")
    assert [call["local_files_only"] for call in calls] == [True]


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("Got: ConnectError: no route\nPlease check")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        UserError, match="could not fetch model 'a/b' from the hub: Got: ConnectError: no route"
    ) as caught:
        model_files.download("a/b", COMMIT, False, "x")
    assert "\n" not in str(caught.value)


def test_a_model_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(tmp_path, monkeypatch, ["config.json", "model.onnx"])
    with pytest.raises(UserError, match=r"holds neither \*.safetensors nor"):
        model_files.download("a/b", COMMIT, False, "x")


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the library transformers: uv sync --extra lm"):
        model_files.require_library("transformers", "encoder huggingface")


def test_a_copy_in_the_hub_librarys_own_cache_is_found_and_an_interrupted_one_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--BAAI--bge-m3" / "snapshots" / COMMIT
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "1_Pooling/config.json"):
        (folder / name).write_text("{}")
    listing = [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "pytorch_model.bin",
        "onnx/config.json",
        "a.png",
    ]
    entry = TreeCacheEntry(size=2, blob_id="0" * 40, lfs_sha256=None, lfs_size=None, xet_hash=None)
    write_tree_cache(str(folder.parents[1]), COMMIT, dict.fromkeys(listing, entry))
    with pytest.raises(UserError, match="is not on this disk, or not all of it"):
        model_files.locate("BAAI/bge-m3", COMMIT, "x")
    (folder / "pytorch_model.bin").write_text("weights")
    assert model_files.locate("BAAI/bge-m3", COMMIT, "x").folder.resolve() == folder.resolve()
