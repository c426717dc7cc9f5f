"""Blocked exact search against a loop over all pairs."""

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from emerge_ehr.rag import nearest


def by_loop(queries: NDArray[np.float32], names: NDArray[np.float32]) -> list[tuple[int, float]]:
    result = []
    for query in queries:
        best, at = -np.inf, 0
        for position, name in enumerate(names):
            score = float(np.dot(query.astype(np.float64), name.astype(np.float64)))
            if score > best + 1e-6:
                best, at = score, position
        result.append((at, best))
    return result


def rows(count: int, seed: int, sparse: bool) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(count, 24))
    if sparse:
        made = np.abs(made) * (generator.random(made.shape) < 0.2)
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    return made.astype(np.float32)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("block", [64, 1000, 2**24])
def test_nearest_equals_a_loop_over_all_pairs(monkeypatch: pytest.MonkeyPatch, sparse: bool, block: int) -> None:
    monkeypatch.setattr(nearest, "BLOCK_SCORES", block)
    names, queries = rows(57, 0, sparse), rows(83, 1, sparse)
    names[[20, 40, 50]] = names[3]  # names of one meaning: the first counts
    queries[:4] = names[[50, 40, 20, 3]]
    queries[5] = 0
    if sparse:
        result = nearest.sparse_nearest(scipy.sparse.csr_matrix(queries), scipy.sparse.csr_matrix(names))
    else:
        result = nearest.dense_nearest(queries, names)
    expected = by_loop(queries, names)
    assert result[0].tolist() == [position for position, _ in expected] and result[0][:4].tolist() == [3] * 4
    assert np.allclose(result[1], [score for _, score in expected], atol=1e-5)


def test_nothing_in_common_scores_zero() -> None:
    names, queries = scipy.sparse.csr_matrix(np.eye(3)[:2]), scipy.sparse.csr_matrix(np.eye(3)[2:])
    position, score = nearest.sparse_nearest(queries, names)
    assert position.tolist() == [0] and score.tolist() == [0]
