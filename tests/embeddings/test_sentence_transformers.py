"""Sentence encoders: the library's own answer, the model's prompts, what is cut off."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from emerge_ehr.embeddings import sentence_transformers
from emerge_ehr.embeddings.sentence_transformers import Options, SentenceEncoder
from emerge_ehr.fields import UserError

TEXTS = ["acute kidney failure", "sepsis", "heart failure and diabetes mellitus " * 3]


def built(models: Path, cache: Path, **options: Any) -> SentenceEncoder:
    return sentence_transformers.build(Options(str(models / "sentence"), **options), cache_dir=cache)


def test_vectors_are_the_librarys(tiny_models: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(tiny_models / "sentence"), device="cpu")
    encoder = built(tiny_models, tmp_path)
    for text, row in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        assert np.abs(model.encode(text) - row).max() < 1e-5
    assert np.allclose(np.linalg.norm(encoder.encode(TEXTS), axis=1), 1, atol=1e-5)


def test_queries_get_the_models_prompt_or_the_instruction(tiny_models: Path, tmp_path: Path) -> None:
    encoder = built(tiny_models, tmp_path)
    assert np.allclose(encoder.encode_queries(["sepsis"]), encoder.encode(["find: sepsis"]), atol=1e-5)
    assert not np.allclose(encoder.encode_queries(["sepsis"]), encoder.encode(["sepsis"]), atol=1e-2)
    asking = built(tiny_models, tmp_path, query_instruction="Name it")
    expected = encoder.encode(["Instruct: Name it\nQuery:sepsis"])
    assert np.allclose(asking.encode_queries(["sepsis"]), expected, atol=1e-5)


def test_what_is_beyond_max_tokens_is_not_read(tiny_models: Path, tmp_path: Path) -> None:
    short = built(tiny_models, tmp_path, max_tokens=6)
    first, second = short.encode(["acute kidney failure and sepsis", "acute kidney failure and pneumonia"])
    assert np.allclose(first, second, atol=1e-5)
    assert not np.allclose(*built(tiny_models, tmp_path).encode(["acute kidney failure and sepsis", "acute kidney"]))
    with pytest.raises(UserError, match="max_tokens = 1000: this model reads 3 to 64"):
        built(tiny_models, tmp_path, max_tokens=1000).encode(["sepsis"])


def test_out_of_memory_halves_the_batch(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = built(tiny_models, tmp_path / "a").encode(TEXTS)
    encode = SentenceTransformer.encode

    def small(self: SentenceTransformer, texts: list[str], **options: Any) -> Any:
        if len(texts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", small)
    assert np.allclose(built(tiny_models, tmp_path / "b").encode(TEXTS), expected, atol=1e-5)
