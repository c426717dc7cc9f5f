"""Embeds each text's pieces for token-level fusion, and writes them to disk in blocks, since they may be larger than memory.

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
    """Each text's first pieces, at most ``limit`` of them."""
    return [encoder.split(text)[:limit] for text in texts] if limit else [[] for _ in texts]


def mask(found: Sequence[Sequence[str]], least: int = 0) -> NDArray[np.float32]:
    """``[N, C]``: 1 where there is a piece; C is the largest number of pieces, but at least ``least``.

    >>> mask([["a", "b"], []])
    array([[1., 1.],
           [0., 0.]], dtype=float32)
    """
    most = max(least, max(map(len, found), default=0))
    present = [np.arange(most) < len(text_pieces) for text_pieces in found]
    return np.array(present, dtype=np.float32).reshape(len(found), most)


def write(path: Path, encoder: FittedEncoder, found: Sequence[Sequence[str]]) -> None:
    """Write the pieces' embeddings ``[N, C, D]`` into the ``.npy`` file at ``path``; they are zero where there is no piece."""
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
    """Write the pieces' embeddings into ``tokens [N, C, D]``, which is all zero, where ``present [N, C]`` says there is one."""
    encoder.remember([piece for text_pieces in found for piece in text_pieces])
    for at in range(0, len(found), BLOCK):
        block = slice(at, at + BLOCK)
        tokens[block][present[block]] = encoder.encode([piece for text_pieces in found[block] for piece in text_pieces])
