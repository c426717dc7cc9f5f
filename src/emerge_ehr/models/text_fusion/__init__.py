"""Socket: one text representation from several; ``build(options, *, texts, hidden_size)`` makes a ``TextFusion``, a
``torch.nn.Module``.

``Options.reads`` names the texts that it reads; another one is no part of the model. One that reads a single text gives that
text back. Where ``model.modalities`` leaves one of several that it reads, there is nothing to fuse, and it is not built.
"""

from typing import Protocol

from torch import Tensor

BOTH = ("note", "summary")


class TextFusion(Protocol):
    """Fuses the texts of a patient, M of them, the note before the summary."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] bool -> [N,H]; an absent text arrives as the learned vector for "absent"."""
        ...

    def __call__(self, texts: Tensor, present: Tensor) -> Tensor:
        """``forward``, as modules of torch are called."""
        ...
