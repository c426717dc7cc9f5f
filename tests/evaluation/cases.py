"""Random patients for tests of metrics."""

import numpy as np


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """2 to 60 patients of both classes; scores distinct, with some ties, with many, or all the same."""
    generator = np.random.default_rng(seed)
    patients = int(generator.integers(2, 60))
    label = (generator.random(patients) < generator.uniform(0.1, 0.9)).astype(np.float64)
    label[:2] = 0, 1
    score = generator.random(patients)
    score = (score, score.round(2), score.round(1), np.full(patients, 0.5))[seed % 4]
    return label, score, float(generator.choice([*score, 0.5, 2.0]))
