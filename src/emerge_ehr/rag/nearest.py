"""Exact nearest rows by inner product, computed in blocks, so that memory stays bounded for any number of queries and names.

Q queries, M names, D dimensions; every row has length one or zero. Scores within ``TIE`` of the best count as equal, and the
first of these names wins: rounding depends on how rows fall into blocks, and must not decide between equally similar names.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TIE = np.float32(1e-6)
BLOCK_SCORES = 2**24  # scores held at a time: 64 MiB


def dense_nearest(
    queries: NDArray[np.float32], names: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """``[Q, D]``, ``[M, D]`` -> position of the nearest name ``[Q]`` and its score ``[Q]``."""
    position, score = np.empty(len(queries), dtype=np.int64), np.empty(len(queries), dtype=np.float32)
    rows = max(1, BLOCK_SCORES // len(names))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        scores = queries[block] @ names.T
        score[block] = scores.max(axis=1)
        position[block] = np.argmax(scores >= score[block, None] - TIE, axis=1)
    return position, score


def sparse_nearest(queries: Any, names: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """``dense_nearest`` for sparse rows ``[Q, D]``, ``[M, D]`` without negative values.

    A query that shares no column with any name gets name 0 with score 0.
    """
    position, score = np.zeros(queries.shape[0], dtype=np.int64), np.zeros(queries.shape[0], dtype=np.float32)
    columns = names.T.tocsr()
    rows = max(1, BLOCK_SCORES // names.shape[0])
    for start in range(0, queries.shape[0], rows):
        scores = queries[start : start + rows] @ columns
        filled = np.flatnonzero(np.diff(scores.indptr))
        if not filled.size:
            continue
        begin, length = scores.indptr[filled], np.diff(scores.indptr)[filled]
        best = np.maximum.reduceat(scores.data, begin)
        near = scores.data >= np.repeat(best - TIE, length)
        first = np.minimum.reduceat(np.where(near, scores.indices, names.shape[0]), begin)
        position[start + filled], score[start + filled] = first, best
    return position, score
