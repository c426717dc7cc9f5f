"""Runs texts through a model in batches: sorted by length, halved where memory runs out, stored as soon as finished.

The same texts make the same batches, whatever is stored already, and a batch is stored as a whole. So a run that was killed and
started again ends with the same bytes as one that was not killed, and a second run computes nothing. A text's vector depends on
the other texts in its batch only by rounding (padding is masked), and once stored it no longer changes.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.forms import Arrays, Json
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.embeddings._models.embedding_store import EmbeddingStore, key
from emerge_ehr.fields import UserError
from emerge_ehr.progress import bar

log = logging.getLogger(__name__)
T = TypeVar("T")
Vectors = NDArray[np.float32]
CHARACTERS_PER_TOKEN = 4  # about, in English; a batch is planned before its texts are cut into tokens
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
MOST_TEXTS = 128  # in a batch: of short texts, more are no faster on a CPU, and a killed run would lose more
READ_ROWS = 4096  # vectors read from the store at a time
Batch = tuple[str, list[str]]  # the prefix put before each text, and the texts


@dataclass(frozen=True)
class Batches:
    """``compute(texts, prefix)`` gives ``[n, D]``; ``pool`` decides where it runs. ``tokens``: the most in a batch, padding
    included; ``longest``: the most tokens of a text that the model reads, None if unknown."""

    compute: Callable[[Sequence[str], str], Vectors]
    pool: Pool
    store: EmbeddingStore
    tokens: int
    longest: int | None

    def encode(self, texts: Sequence[str], prefix: str, precision: str) -> Vectors:
        """``[N, D]``: a row per text, zero for a text of white space only.

        Raises:
            UserError: as ``remember``.
        """
        self.remember(texts, prefix, precision)
        result = np.zeros((len(texts), self.store.width), dtype=np.float32)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        for at in range(0, len(rows), READ_ROWS):
            block = rows[at : at + READ_ROWS]
            result[block] = self.store.read([key(prefix, texts[row]) for row in block])
        return result

    def remember(self, texts: Sequence[str], prefix: str, precision: str) -> None:
        """Compute and store the vectors that are not stored yet.

        Raises:
            UserError: the model gives NaN or infinity, or one text alone does not fit into memory.
        """
        distinct = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
        with bar(title="embedding", unit="text", total=len(distinct)) as shown:
            batches = [missing for batch in self._plan(distinct) if (missing := self._missing(batch, prefix))]
            shown.update(len(distinct) - sum(map(len, batches)))
            work = Work(
                "embedding", self.compute, _compute, Json[Batch](Batch), Arrays(), piece=1, kept=False, model=True
            )
            computed = self.pool.map(work, [(prefix, batch) for batch in batches], much=False)
            for batch, vectors in zip(batches, computed, strict=True):
                _require_finite(vectors, precision)
                self.store.write([key(prefix, text) for text in batch], vectors)
                shown.update(len(batch))

    def _missing(self, batch: Sequence[str], prefix: str) -> list[str]:
        stored = self.store.known([key(prefix, text) for text in batch])
        return [text for text in batch if key(prefix, text) not in stored]

    def _plan(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """The texts, given from longest to shortest, in batches: each of as many as fit into ``tokens`` when padded to the length
        of the batch's first text."""
        at = 0
        while at < len(texts):
            estimated = min(len(texts[at]) // CHARACTERS_PER_TOKEN + 2, self.longest or self.tokens)
            size = min(max(1, self.tokens // estimated), MOST_TEXTS)
            yield texts[at : at + size]
            at += size


def _compute(
    compute: Callable[[Sequence[str], str], Vectors], batches: Sequence[tuple[str, Sequence[str]]]
) -> list[Vectors]:
    return [compute(texts, prefix) for prefix, texts in batches]


def backing_off(items: Sequence[T], compute: Callable[[Sequence[T]], Vectors]) -> Vectors:
    """``compute(items)``, ``[n, D]``; where memory runs out, computed for halves of the items, and for halves of these.

    Raises:
        UserError: one item alone does not fit.
    """
    try:
        return compute(items)
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in OUT_OF_MEMORY):
            raise
        if len(items) == 1:
            raise UserError(
                'embedding: one text does not fit into memory; lower max_tokens, or use device = "cpu"'
            ) from None
    _free()
    half = len(items) // 2
    log.info("out of memory with %d texts at a time; continuing with %d", len(items), half)
    return np.concatenate([backing_off(items[:half], compute), backing_off(items[half:], compute)])


def _require_finite(vectors: Vectors, precision: str) -> None:
    if not np.isfinite(vectors).all():
        raise UserError(
            f'embedding: the model gives NaN or infinity in precision {precision}; set precision = "float32"'
        )


def _free() -> None:
    """Return memory that PyTorch has reserved to the GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
