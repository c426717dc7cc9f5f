"""Every family's vectors against a forward pass written out here; long documents, instructions, what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from emerge_ehr.embeddings import huggingface, sentence_transformers
from emerge_ehr.embeddings.huggingface import HuggingFace, Options
from emerge_ehr.fields import UserError

FAMILIES = ["longformer", "modernbert", "qwen3", "xlm_roberta"]
TEXTS = [
    "acute kidney failure",
    "sepsis",
    "the patient was admitted with fever, cough and hypotension; blood cultures grew bacteria",
    "congestive heart failure, chronic obstructive pulmonary disease and diabetes mellitus " * 2,
    "pneumonia in the left lung",
]


def built(folder: Path, cache: Path, **options: Any) -> HuggingFace:
    return huggingface.build(Options(str(folder), **options), cache_dir=cache)


def plain(folder: Path, text: str, pooling: str, global_first: bool = True) -> NDArray[np.float32]:
    """One text, no padding, as the library's documentation would have it."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)["input_ids"]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if folder.name == "longformer" and global_first:
        inputs["global_attention_mask"] = torch.tensor([[1] + [0] * (ids.shape[1] - 1)])
    with torch.no_grad():
        states = model(**inputs).last_hidden_state[0]
    return {"cls": states[0], "mean": states.mean(dim=0), "last_token": states[-1]}[pooling].numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["cls", "mean", "last_token"])
def test_vectors_equal_a_plain_forward_pass_of_each_text_alone(
    tiny_models: Path, tmp_path: Path, family: str, pooling: str
) -> None:
    vectors = built(tiny_models / family, tmp_path, pooling=pooling).encode(TEXTS)
    for row, text in zip(vectors, TEXTS, strict=True):
        assert np.abs(row - plain(tiny_models / family, text, pooling)).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_order_nor_batch_mates_change_a_vector(tiny_models: Path, tmp_path: Path, family: str) -> None:
    pooling = "last_token" if family == "qwen3" else "cls"
    together = built(tiny_models / family, tmp_path / "a", pooling=pooling).encode(TEXTS)
    reversed_ = built(tiny_models / family, tmp_path / "b", pooling=pooling).encode(TEXTS[::-1])
    alone = built(tiny_models / family, tmp_path / "c", pooling=pooling, batch_tokens=1).encode(TEXTS)
    assert np.abs(together - reversed_[::-1]).max() < 1e-5 and np.abs(together - alone).max() < 1e-5
    assert min(np.abs(together[0] - other).max() for other in together[1:]) > 1e-2


def test_longformers_first_token_attends_to_the_whole_text(tiny_models: Path, tmp_path: Path) -> None:
    vectors = built(tiny_models / "longformer", tmp_path).encode([TEXTS[3]])[0]
    assert np.abs(vectors - plain(tiny_models / "longformer", TEXTS[3], "cls", global_first=False)).max() > 1e-2


def test_a_cut_off_text_is_its_beginning_and_chunks_are_the_weighted_mean(tiny_models: Path, tmp_path: Path) -> None:
    folder, text = tiny_models / "modernbert", TEXTS[2]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 14
    model = AutoModel.from_pretrained(folder).eval()

    def forward(content: list[int]) -> NDArray[np.float32]:
        with torch.no_grad():
            states = model(torch.tensor([[0, *content, 1]])).last_hidden_state[0]
        return states.mean(dim=0).numpy()

    options: dict[str, Any] = {"pooling": "mean", "max_tokens": 9}
    cut = built(folder, tmp_path, **options).encode([text, "sepsis"])
    assert np.abs(cut[0] - forward(ids[:7])).max() < 1e-5
    chunks = [ids[at : at + 7] for at in range(0, len(ids), 7)]
    mean = sum(len(chunk) * forward(chunk) for chunk in chunks) / len(ids)
    vectors = built(folder, tmp_path, long_documents="chunks", **options).encode([text, "sepsis"])
    assert np.abs(vectors[0] - mean).max() < 1e-5
    assert np.abs(vectors[1] - cut[1]).max() < 1e-6
    unit = built(folder, tmp_path, long_documents="chunks", normalize=True, **options).encode([text])[0]
    assert np.abs(unit - mean / np.linalg.norm(mean)).max() < 1e-5


def test_an_instruction_stands_before_queries_and_not_before_documents(tiny_models: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"pooling": "last_token", "normalize": True}
    asking = built(tiny_models / "qwen3", tmp_path, query_instruction="Name the disease", **options)
    bare = built(tiny_models / "qwen3", tmp_path, **options)
    assert np.array_equal(asking.encode(["sepsis"]), bare.encode(["sepsis"]))
    written_out = bare.encode(["Instruct: Name the disease\nQuery:sepsis"])
    assert np.abs(asking.encode_queries(["sepsis"]) - written_out).max() < 1e-6
    assert np.abs(asking.encode_queries(["sepsis"]) - bare.encode_queries(["sepsis"])).max() > 1e-2


def test_pieces_are_literal_parts_of_at_most_so_many_tokens(tiny_models: Path, tmp_path: Path) -> None:
    encoder = built(tiny_models / "xlm_roberta", tmp_path, chunk_tokens=5)
    text = "  Pt w/ sepsis\n\nand Crohn’s disease (naïve 37 °C), kidney failure.  "
    pieces = encoder.split(text)
    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "xlm_roberta")
    total = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert all(piece in text and piece == piece.strip() for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert len(pieces) >= total / 5 - 1 and encoder.split(" \n ") == []


def test_a_model_reads_by_default_what_its_positions_allow(tiny_models: Path, tmp_path: Path) -> None:
    for family in FAMILIES:
        assert built(tiny_models / family, tmp_path).description()["max_tokens"] == 64
    with pytest.raises(UserError, match="max_tokens = 65: this model reads 3 to 64"):
        built(tiny_models / "longformer", tmp_path, max_tokens=65)


def test_weights_that_are_missing_damaged_or_pickled_code_are_refused(tiny_models: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "xlm_roberta", folder)
    weights = load_file(folder / "model.safetensors")
    fewer = {name: value for name, value in weights.items() if "layer.1.output" not in name}
    save_file(fewer, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="weights are missing"):
        built(folder, tmp_path).encode(["sepsis"])
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read"):
        built(folder, tmp_path).encode(["sepsis"])
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    same = built(tiny_models / "xlm_roberta", tmp_path / "other").encode(["sepsis"])
    assert np.array_equal(built(folder, tmp_path).encode(["sepsis"]), same)
    torch.save({"a": Path("code")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read"):
        built(folder, tmp_path).encode(["pneumonia"])


def test_numbers_that_are_not_finite_are_refused(tiny_models: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "xlm_roberta", folder)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match='NaN or infinity in precision float32; set precision = "float32"'):
        built(folder, tmp_path).encode(["sepsis"])


def test_out_of_memory_halves_the_batch_and_changes_nothing(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emerge_ehr.embeddings._models import pooling

    expected = built(tiny_models / "xlm_roberta", tmp_path / "a").encode(TEXTS)
    forward = pooling._forward
    sizes = []

    def small(model: Any, pad: int, tokens: Any, kind: Any) -> NDArray[np.float32]:
        sizes.append(len(tokens))
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(model, pad, tokens, kind)

    monkeypatch.setattr(pooling, "_forward", small)
    vectors = built(tiny_models / "xlm_roberta", tmp_path / "b").encode(TEXTS)
    assert np.abs(vectors - expected).max() < 1e-5 and sizes[:2] == [5, 2]
    monkeypatch.setattr(pooling, "_forward", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(UserError, match="one text does not fit into memory"):
        built(tiny_models / "xlm_roberta", tmp_path / "c").encode(TEXTS)
    monkeypatch.setattr(pooling, "_forward", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        built(tiny_models / "xlm_roberta", tmp_path / "c").encode(TEXTS)


def test_nothing_is_asked_of_the_network(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert built(tiny_models / "longformer", tmp_path).encode(["sepsis"]).shape == (1, 32)


def test_an_encoder_saved_with_other_weights_is_not_loaded(tiny_models: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "qwen3", folder)
    built(folder, tmp_path).save(tmp_path, "note_encoder")
    (folder / "model.safetensors").write_bytes((tiny_models / "modernbert" / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"note_encoder.json: was made with model sha256:"):
        huggingface.load(tmp_path, "note_encoder", cache_dir=tmp_path)


def test_bfloat16_gives_nearly_the_same_and_its_own_store(tiny_models: Path, tmp_path: Path) -> None:
    full = built(tiny_models / "xlm_roberta", tmp_path)
    half = dataclasses.replace(full.options, precision="bfloat16")
    rough = huggingface.build(half, cache_dir=tmp_path).encode(TEXTS)
    difference = np.abs(full.encode(TEXTS) - rough).max()
    assert 0 < difference < 0.5


@pytest.mark.parametrize("plug", [huggingface, sentence_transformers], ids=["huggingface", "sentence_transformers"])
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_when_built(
    tiny_models: Path, tmp_path: Path, plug: Any
) -> None:
    name = "xlm_roberta" if plug is huggingface else "sentence"
    folder = tmp_path / "mixed"
    shutil.copytree(tiny_models / name, folder)
    config = next(path for path in folder.rglob("config.json") if "vocab_size" in path.read_text())
    settings = json.loads(config.read_text())
    rows = settings["vocab_size"] - 7
    config.write_text(json.dumps({**settings, "vocab_size": rows}))
    with pytest.raises(UserError, match=rf"the tokenizer has \d+ tokens, the model's embedding {rows} rows"):
        plug.build(plug.Options(str(folder)), cache_dir=tmp_path)
