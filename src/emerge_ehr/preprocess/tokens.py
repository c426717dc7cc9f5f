"""For token-level fusion: embeddings of each text's pieces, written to disk in blocks, since they may be larger than memory.

Dimensions: N patients, C pieces, D width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from emerge_ehr.embeddings import FittedEncoder

BLOCK = 256  # patients embedded at a time


def pieces(encoder: FittedEncoder, texts: Sequence[str], limit: int) -> list[list[str]]:
    """Each text's first pieces, at most ``limit``."""
    return [encoder.split(text)[:limit] for text in texts] if limit else [[] for _ in texts]


def mask(found: Sequence[Sequence[str]], least: int = 0) -> NDArray[np.float32]:
    """``[N, C]``: 1 where there is a piece; C is the largest number of them, and not below ``least``.

    >>> mask([["a", "b"], []])
    array([[1., 1.],
           [0., 0.]], dtype=float32)
    """
    most = max(least, max(map(len, found), default=0))
    present = [np.arange(most) < len(own) for own in found]
    return np.array(present, dtype=np.float32).reshape(len(found), most)


def write(path: Path, encoder: FittedEncoder, found: Sequence[Sequence[str]]) -> None:
    """``[N, C, D]`` into the ``.npy`` file at ``path``; zero where there is no piece."""
    present = mask(found) > 0
    width = encoder.encode([]).shape[1]
    if not present.size:
        np.save(path, np.zeros((*present.shape, width), dtype=np.float32), allow_pickle=False)
        return
    tokens = open_memmap(path, mode="w+", dtype=np.float32, shape=(*present.shape, width))
    fill(tokens, encoder, found, present)
    tokens.flush()


def fill(
    tokens: NDArray[np.float32], encoder: FittedEncoder, found: Sequence[Sequence[str]], present: NDArray[np.bool_]
) -> None:
    """Put the pieces' embeddings into the zeros of ``tokens [N, C, D]`` where there is one, by ``present [N, C]``."""
    encoder.remember([piece for own in found for piece in own])
    for at in range(0, len(found), BLOCK):
        block = slice(at, at + BLOCK)
        tokens[block][present[block]] = encoder.encode([piece for own in found[block] for piece in own])
