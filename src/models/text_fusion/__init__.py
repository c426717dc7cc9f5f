"""Socket: one text representation from several; ``build(options, *, texts, hidden_size)`` makes a ``TextFusion``."""

from typing import Protocol

from torch import Tensor


class TextFusion(Protocol):
    """Fuses the texts of a patient, M of them (note and summary)."""

    def __call__(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] bool -> [N,H]; an absent text arrives as the learned vector for "absent"."""
        ...
