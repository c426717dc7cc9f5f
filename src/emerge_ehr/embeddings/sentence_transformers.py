"""A frozen sentence encoder of the Sentence Transformers library, pooled and normalised as its authors published it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.embeddings import FittedEncoder, TextEncoder
from emerge_ehr.embeddings._models import model_files, pieces, pooling, saved
from emerge_ehr.embeddings._models.batches import Batches, backing_off
from emerge_ehr.embeddings._models.embedding_store import open_store
from emerge_ehr.embeddings._models.model_files import ModelFiles
from emerge_ehr.embeddings._models.precision import Device, Placement, Precision, choose_in
from emerge_ehr.fields import Positive, UserError
from emerge_ehr.storage.artefacts import first_line, read_json

WHERE = "encoder sentence_transformers"
CONFIG = "config.json"
PROMPTS = "config_sentence_transformers.json"
MODULES = "modules.json"
# The modules that a model may consist of. The model's file names classes, and the library would import any class of its package.
KNOWN_MODULES = re.compile(r"sentence_transformers\.[\w.]+\.(Transformer|Pooling|Normalize|Dense|LayerNorm)")


@dataclass(frozen=True)
class Options:
    """``model``: a local folder, or a hub name with ``revision``, its commit. ``max_tokens``: by default the model's own limit.

    Longer texts are cut off. ``query_instruction``: the task of queries in words, instead of the model's own query prompt.
    ``batch_tokens``: the most tokens at a time, padding included. ``chunk_tokens``: the tokens of a piece in token-level fusion,
    by default as many as the model reads.
    """

    model: str
    revision: str | None = None
    max_tokens: Positive | None = None
    query_instruction: str | None = None
    batch_tokens: Positive = 16_384
    chunk_tokens: Positive | None = None
    precision: Precision = "auto"
    device: Device = "auto"


@final
@dataclass(frozen=True)
class SentenceEncoder:
    """Reads the model from ``files`` when it is first needed."""

    options: Options
    files: ModelFiles
    placement: Placement
    cache_dir: Path
    pool: Pool

    def __reduce__(self) -> tuple[type["SentenceEncoder"], tuple[Options, ModelFiles, Placement, Path, Pool]]:
        """Pickle without the model: another process reads its own, and computes alone."""
        return SentenceEncoder, (self.options, self.files, self.placement, self.cache_dir, LOCAL)

    def fit(self, texts: Sequence[str]) -> "SentenceEncoder":
        """The encoder itself: the model stays as published."""
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``; the model's own prompt for documents, if it has one, is put before each text."""
        return self._batches.encode(texts, self._document, self.placement.precision)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``; the instruction, or the model's own prompt for queries, is put before each text."""
        instruction = self.options.query_instruction
        prompt = pooling.instructed(instruction) if instruction else self._prompts.get("query", "")
        return self._batches.encode(texts, prompt, self.placement.precision)

    def remember(self, texts: Sequence[str]) -> None:
        """Compute and store the vectors that ``encode`` will return."""
        self._batches.remember(texts, self._document, self.placement.precision)

    def split(self, text: str) -> list[str]:
        """The text in pieces of ``chunk_tokens`` tokens, or of as many as the model reads."""
        tokenizer = self._model.tokenizer
        room = self._model.max_seq_length - tokenizer.num_special_tokens_to_add()
        return pieces.split(tokenizer, text, self.options.chunk_tokens or room)

    def save(self, folder: Path, name: str) -> None:
        """``<name>.json``: the options, and the identity of the model they were used with."""
        saved.save(folder / f"{name}.json", "sentence_transformers", self.files, self.options)

    def description(self) -> dict[str, Any]:
        """Name, width, model and everything else that decides the vectors."""
        return {"name": "sentence_transformers", "width": self._batches.store.width, **self._decisive()}

    def _decisive(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "model": self.files.identity,
            "max_tokens": self.options.max_tokens,
            "precision": self.placement.precision,
            "transformers": version("transformers"),
            "sentence-transformers": version("sentence-transformers"),
        }

    @cached_property
    def _prompts(self) -> dict[str, str]:
        path = self.files.folder / PROMPTS
        prompts = read_json(path, "download").get("prompts") if path.is_file() else None
        return prompts or {}

    @property
    def _document(self) -> str:
        return self._prompts.get("document", "")

    @cached_property
    def _batches(self) -> Batches:
        width = int(self._model.get_embedding_dimension())
        store = open_store(self.cache_dir, {"plug": "sentence_transformers", **self._decisive()}, width)
        return Batches(self._compute, self.pool, store, self.options.batch_tokens, self._model.max_seq_length)

    @cached_property
    def _model(self) -> Any:
        """The library's model, in evaluation mode.

        Raises:
            UserError: it cannot be read, or reads fewer tokens than ``max_tokens``.
        """
        from sentence_transformers import SentenceTransformer

        with pooling.quiet():
            try:
                model = SentenceTransformer(
                    str(self.files.folder),
                    device=self.placement.device_here(),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"dtype": self.placement.dtype(), "weights_only": True},
                )
            except model_files.UNREADABLE as error:
                raise UserError(
                    f"{WHERE}: {self.files.folder}: the model cannot be read: {first_line(error)}"
                ) from None
        special = model.tokenizer.num_special_tokens_to_add()
        model.max_seq_length = pieces.limit(model.max_seq_length, self.options.max_tokens, special, WHERE)
        return model.eval()

    def _compute(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """``[n, D]``: the texts in one batch, or in smaller ones where memory runs out."""

        def run(batch: Sequence[str]) -> NDArray[np.float32]:
            vectors = self._model.encode(list(batch), prompt=prompt, batch_size=len(batch), show_progress_bar=False)
            return np.asarray(vectors, dtype=np.float32)

        return backing_off(texts, run)


def download(options: Options, offline: bool) -> None:
    """Fetch the model's files, or, offline, check that they are there."""
    model_files.download(options.model, options.revision, offline, WHERE)


def build(options: Options, *, cache_dir: Path, pool: Pool = LOCAL) -> TextEncoder:
    """The encoder, whose vectors are kept under ``cache_dir``.

    Raises:
        UserError: the library or the model is missing, or the model consists of code that we do not run.
    """
    return _encoder(options, cache_dir, pool)


def _encoder(options: Options, cache_dir: Path, pool: Pool) -> SentenceEncoder:
    model_files.require_library("sentence_transformers", WHERE)
    files = model_files.locate(options.model, options.revision, WHERE)
    _require_room(files.folder, _known_modules(files.folder))
    return SentenceEncoder(options, files, choose_in(pool, options.device, options.precision), cache_dir, pool)


def _known_modules(folder: Path) -> list[PurePath]:
    """Where the model's modules are in its folder, which must be the library's usual ones; none where they are not listed.

    Raises:
        UserError: it has other modules, or files outside its folder.
    """
    if not (folder / MODULES).is_file():
        return []
    modules = read_json(folder / MODULES, "download")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise UserError(f"{WHERE}: {folder / MODULES}: does not list the model's modules")
    paths = list[PurePath]()
    for module in modules:
        kind, path = str(module.get("type")), PurePath(str(module.get("path", "")))
        if not KNOWN_MODULES.fullmatch(kind) or path.is_absolute() or ".." in path.parts:
            raise UserError(f"{WHERE}: {folder / MODULES}: module {kind!r} at {str(path)!r} is code of others; refused")
        paths.append(path)
    return paths


def _require_room(folder: Path, modules: Sequence[PurePath]) -> None:
    """Check that the transformer, the first module, has an embedding for each of its tokens, before the model is read."""
    first = folder / modules[0] if modules else folder
    if (first / CONFIG).is_file():
        rows = read_json(first / CONFIG, "download").get("vocab_size")
        if isinstance(rows, int):
            pooling.require_room(pooling.read_tokenizer(first, WHERE), rows, first, WHERE)


def load(folder: Path, name: str, *, cache_dir: Path) -> FittedEncoder:
    """The encoder that ``save`` wrote.

    Raises:
        UserError: the model has changed since.
    """
    return saved.load(folder / f"{name}.json", Options, partial(_encoder, cache_dir=cache_dir, pool=LOCAL))
