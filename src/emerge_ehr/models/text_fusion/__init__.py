"""Socket: one text representation from several; ``build(options, *, texts, hidden_size)`` makes a ``TextFusion``.

``Options.reads`` names the texts that it reads; another one is no part of the model.
"""

from typing import Protocol

from torch import Tensor

BOTH = ("note", "summary")


class TextFusion(Protocol):
    """Fuses the texts of a patient, M of them, in the order of ``reads``."""

    def __call__(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] bool -> [N,H]; an absent text arrives as the learned vector for "absent"."""
        ...
