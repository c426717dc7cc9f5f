"""Socket: fusions of the texts into one representation.

A plug's ``build(options, *, texts, hidden_size)`` makes a ``TextFusion``, a ``torch.nn.Module``. ``Options.reads`` names the
texts that it reads; other texts are not part of the model. A fusion that reads a single text returns that text. A fusion of
several texts is not built where only one of them is in ``model.modalities``, since there is nothing to fuse.
"""

from typing import Protocol

from torch import Tensor

BOTH = ("note", "summary")


class TextFusion(Protocol):
    """Fuses the M texts of a patient, of which the note comes before the summary."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] bool -> [N,H]; an absent text arrives as the learned vector for "absent"."""
        ...

    def __call__(self, texts: Tensor, present: Tensor) -> Tensor:
        """``forward``, as modules of torch are called."""
        ...
