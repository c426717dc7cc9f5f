"""A frozen transformer of the Hugging Face library: the last layer's states, pooled to one vector per text.

Published use of the models named in ``configs/``: Clinical-Longformer (Li et al. 2023, arXiv 2201.11838) reads 4,096 tokens,
and its first token attends to all of them (Beltagy et al. 2020, arXiv 2004.05150); BGE-M3 (arXiv 2402.03216) takes the first
token's state, ModernBERT (arXiv 2412.13663) the first's or the mean, both up to 8,192 tokens; Qwen3-Embedding
(arXiv 2506.05176) takes the last token's state and puts an instruction before queries, not before documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.embeddings import FittedEncoder, TextEncoder
from emerge_ehr.embeddings._models import model_files, pieces, pooling, saved
from emerge_ehr.embeddings._models.batches import Batches
from emerge_ehr.embeddings._models.embedding_store import open_store
from emerge_ehr.embeddings._models.model_files import ModelFiles
from emerge_ehr.embeddings._models.precision import Device, Placement, Precision, choose_in
from emerge_ehr.fields import Positive

WHERE = "encoder huggingface"


@dataclass(frozen=True)
class Options:
    """``model``: a local folder, or a hub name with ``revision``, its commit. ``max_tokens``: by default the model's own limit.

    ``long_documents``: longer texts are cut off, or read in windows of ``max_tokens`` whose vectors are averaged, weighted by
    their number of tokens. ``query_instruction``: the task of queries, in words. ``normalize``: scale vectors to length one.
    ``batch_tokens``: the most tokens at a time, padding included. ``chunk_tokens``: the tokens of a piece in token-level fusion.
    """

    model: str
    revision: str | None = None
    pooling: Literal["cls", "mean", "last_token"] = "cls"
    max_tokens: Positive | None = None
    long_documents: Literal["truncate", "chunks"] = "truncate"
    query_instruction: str | None = None
    normalize: bool = False
    batch_tokens: Positive = 16_384
    chunk_tokens: Positive = 256
    precision: Precision = "auto"
    device: Device = "auto"


@final
@dataclass(frozen=True)
class HuggingFace:
    """Reads tokenizer and model from ``files`` when they are first needed; the model is not, where all vectors are stored."""

    options: Options
    files: ModelFiles
    placement: Placement
    cache_dir: Path
    pool: Pool

    def __reduce__(self) -> tuple[type["HuggingFace"], tuple[Options, ModelFiles, Placement, Path, Pool]]:
        """Pickle without the model: another process reads its own, and computes alone."""
        return HuggingFace, (self.options, self.files, self.placement, self.cache_dir, LOCAL)

    def fit(self, texts: Sequence[str]) -> "HuggingFace":
        """The encoder itself: the model stays as published."""
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``."""
        return self._batches.encode(texts, "", self.placement.precision)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``, with the instruction, where there is one, in the form Qwen3-Embedding was trained with."""
        return self._batches.encode(texts, pooling.instructed(self.options.query_instruction), self.placement.precision)

    def remember(self, texts: Sequence[str]) -> None:
        """Compute and store the vectors that ``encode`` will return."""
        self._batches.remember(texts, "", self.placement.precision)

    def split(self, text: str) -> list[str]:
        """The text in pieces of ``chunk_tokens`` tokens."""
        return pieces.split(self._tokenizer, text, self.options.chunk_tokens)

    def save(self, folder: Path, name: str) -> None:
        """``<name>.json``: the options, and the identity of the model they were used with."""
        saved.save(folder / f"{name}.json", "huggingface", self.files, self.options)

    def description(self) -> dict[str, Any]:
        """Name, width, model and everything else that decides the vectors."""
        return {"name": "huggingface", "width": self._batches.store.width, **self._decisive()}

    def _decisive(self) -> dict[str, Any]:
        from transformers import __version__

        chosen = ("pooling", "long_documents", "normalize")
        return {
            "model": self.files.identity,
            **{name: getattr(self.options, name) for name in chosen},
            "max_tokens": self._limit,
            "precision": self.placement.precision,
            "transformers": __version__,
        }

    @cached_property
    def _batches(self) -> Batches:
        store = open_store(self.cache_dir, {"plug": "huggingface", **self._decisive()}, int(self._config.hidden_size))
        return Batches(self._compute, self.pool, store, self.options.batch_tokens, self._limit)

    @cached_property
    def _config(self) -> Any:
        return pooling.read_config(self.files.folder, WHERE)

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = pooling.read_tokenizer(self.files.folder, WHERE)
        pooling.require_room(tokenizer, int(self._config.vocab_size), self.files.folder, WHERE)
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        return pooling.read_model(self.files.folder, self.placement, WHERE)

    @cached_property
    def _limit(self) -> int:
        own = pieces.longest_input(self._config, self._tokenizer)
        return pieces.limit(own, self.options.max_tokens, self._tokenizer.num_special_tokens_to_add(), WHERE)

    def _compute(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        """``[n, D]``: windows of the texts, in batches; then the weighted mean of each text's windows."""
        windows = pooling.windows(self._tokenizer, [prefix + text for text in texts], self._limit)
        if self.options.long_documents == "truncate":
            windows = windows.first_of_each()
        with pooling.quiet():  # Longformer logs that it pads
            vectors = pooling.states(self._model, self._tokenizer, windows.tokens, self.options.pooling, self._at_once)
        return pooling.mean_of_windows(vectors, windows, self.options.normalize)

    @property
    def _at_once(self) -> int:
        return max(self.options.batch_tokens, self._limit)


def download(options: Options, offline: bool) -> None:
    """Fetch the model's files, or, offline, check that they are there."""
    model_files.download(options.model, options.revision, offline, WHERE)


def build(options: Options, *, cache_dir: Path, pool: Pool = LOCAL) -> TextEncoder:
    """The encoder, whose vectors are kept under ``cache_dir``.

    Raises:
        UserError: the library or the model is missing, or an option does not fit the model.
    """
    return _encoder(options, cache_dir, pool)


def _encoder(options: Options, cache_dir: Path, pool: Pool) -> HuggingFace:
    model_files.require_library("transformers", WHERE)
    files = model_files.locate(options.model, options.revision, WHERE)
    built = HuggingFace(options, files, choose_in(pool, options.device, options.precision), cache_dir, pool)
    built.description()  # reads configuration and tokenizer, so that a mistake shows before any work
    return built


def load(folder: Path, name: str, *, cache_dir: Path) -> FittedEncoder:
    """The encoder that ``save`` wrote.

    Raises:
        UserError: the model has changed since.
    """
    return saved.load(folder / f"{name}.json", Options, partial(_encoder, cache_dir=cache_dir, pool=LOCAL))
