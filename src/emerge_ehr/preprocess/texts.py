"""Embeds texts as the models read them: as a whole, and in pieces for token-level fusion.

Dimensions: N patients, C pieces, D width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.embeddings import FittedEncoder
from emerge_ehr.preprocess import tokens

Arrays = dict[str, NDArray[np.float32]]


def whole(name: str, encoder: FittedEncoder, texts: Sequence[str]) -> Arrays:
    """Embed whole texts: ``<name>_embedding [N, D]`` and ``<name>_mask [N]``, 1 where there is a text."""
    present = np.array([bool(text) for text in texts], dtype=np.float32)
    return {f"{name}_embedding": encoder.encode(texts), f"{name}_mask": present}


def in_pieces(name: str, encoder: FittedEncoder, texts: Sequence[str], limit: int, least: int) -> Arrays:
    """Embed the texts' pieces in memory: ``<name>_tokens [N, C, D]`` and ``<name>_tokens_mask [N, C]``.

    C is the largest number of pieces of a text, but at least ``least``.
    """
    pieces = tokens.pieces(encoder, texts, limit)
    present = tokens.mask(pieces, least)
    embedded = np.zeros((*present.shape, encoder.encode([]).shape[1]), dtype=np.float32)
    tokens.fill(embedded, encoder, pieces, present > 0)
    return {f"{name}_tokens": embedded, f"{name}_tokens_mask": present}
