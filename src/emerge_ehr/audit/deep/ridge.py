"""The quick plain method of the deep audit: ridge regression of 0/1 outcomes, solved at once for many outcomes.

It ranks samples nearly as a logistic regression does, and a hundred shuffled outcomes cost little more than one. Dimensions: N
samples, M others, D columns, L outcomes.
"""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import metrics

Array = NDArray[np.float64]
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # penalties to choose from, per training sample


def scores(columns: Array, outcome: Array, others: Array) -> Array:
    """Fit ``outcome`` [N,L] on ``columns`` [N,D], NaN where missing (taken as the mean) -> scores [M,L] of ``others`` [M,D].

    Each outcome has the penalty of the lowest generalised cross-validation on the N samples (Golub et al. 1979, doi
    10.1080/00401706.1979.10489751), so that the M take no part in anything.

    >>> line = np.arange(8.0)[:, None]
    >>> scores(line, (line > 3).astype(float), line)[:, 0].argsort().tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # so that no digit depends on the number of threads
        mean, scale = _scaling(columns)
        known, wanted = (np.nan_to_num((part - mean) / scale, nan=0.0) for part in (columns, others))
        weights = _weights(known, outcome - outcome.mean(axis=0))
        found: Array = wanted @ weights
        return found


def compressed(columns: Array, width: int) -> Array:
    """The first ``width`` principal components of the standardised ``columns`` [N,D], or all; they do not know any outcome."""
    mean, scale = _scaling(columns)
    known = np.nan_to_num((columns - mean) / scale, nan=0.0)
    _, vectors = np.linalg.eigh(known.T @ known)
    components: Array = known @ vectors[:, ::-1][:, :width]
    return components


def area(label: Array, score: Array) -> float:
    """The AUROC; both classes must occur."""
    found = metrics.point(metrics.auroc, label, score)
    assert found is not None
    return found


def chance(positives: int, negatives: int) -> float:
    """The standard error of the AUROC of scores that know nothing (Mann & Whitney 1947).

    >>> round(chance(10, 90), 3)
    0.097
    """
    return float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def _scaling(columns: Array) -> tuple[Array, Array]:
    known = ~np.isnan(columns)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, columns, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(known, columns - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(scale > 1e-8, scale, 1.0)


def _weights(known: Array, centred: Array) -> Array:
    values, vectors = np.linalg.eigh(known.T @ known)
    values = values.clip(0)[:, None]
    turned = vectors.T @ (known.T @ centred)  # [D,L]
    total = (centred**2).sum(axis=0)
    best, chosen = np.full(centred.shape[1], np.inf), np.zeros_like(turned)
    for strength in STRENGTHS:
        weights = turned / (values + strength * len(known))
        left = total - 2 * (turned * weights).sum(axis=0) + (values * weights**2).sum(axis=0)
        freedom = len(known) - 1 - float((values / (values + strength * len(known))).sum())
        error = left / max(freedom, 1e-8) ** 2
        chosen = np.where(error < best, weights, chosen)
        best = np.minimum(error, best)
    found: Array = vectors @ chosen
    return found
