"""A text as the models read it: as a whole, and in pieces for token-level fusion.

Dimensions: N patients, C pieces, D width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.embeddings import FittedEncoder
from emerge_ehr.preprocess import tokens

Arrays = dict[str, NDArray[np.float32]]


def whole(name: str, encoder: FittedEncoder, texts: Sequence[str]) -> Arrays:
    """``<name>_embedding [N, D]`` and ``<name>_mask [N]``, 1 where there is a text."""
    present = np.array([bool(text) for text in texts], dtype=np.float32)
    return {f"{name}_embedding": encoder.encode(texts), f"{name}_mask": present}


def in_pieces(name: str, encoder: FittedEncoder, texts: Sequence[str], limit: int, least: int) -> Arrays:
    """``<name>_tokens [N, C, D]`` and ``<name>_tokens_mask [N, C]`` in memory; C is ``least`` or the most pieces of a text."""
    found = tokens.pieces(encoder, texts, limit)
    present = tokens.mask(found, least)
    embedded = np.zeros((*present.shape, encoder.encode([]).shape[1]), dtype=np.float32)
    tokens.fill(embedded, encoder, found, present > 0)
    return {f"{name}_tokens": embedded, f"{name}_tokens_mask": present}
