"""Socket: fusions of several modalities into one vector.

A plug's ``build(options, *, modalities, hidden_size, heads, dropout)`` makes a ``Fusion``, a ``torch.nn.Module``.
``Options.pieces`` says what it fuses. False: the modalities ``ehr`` and ``text``, the latter from ``text_fusion``. True: any of
``ehr``, ``note`` and ``summary``, the texts as their pieces (token level).
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Modality(NamedTuple):
    """A modality of N patients: one representation each, and L tokens to attend to.

    The tokens are hours, pieces of a text, or texts and their fusion.
    """

    representation: Tensor  # [N,H]
    tokens: Tensor  # [N,L,H]
    present: Tensor  # [N,L] bool: whether the hour is before the patient's length, or the patient has the text or piece
    whose: Tensor | None = (
        None  # [N]: the row of tokens and present for each of N, where several share one; else its own
    )

    def select(self, index: Tensor) -> "Modality":
        """The patients at ``index`` [n], in that order."""
        if self.whose is not None:
            distinct, whose = torch.unique(self.whose[index], return_inverse=True)
            return Modality(self.representation[index], self.tokens[distinct], self.present[distinct], whose)
        return Modality(self.representation[index], self.tokens[index], self.present[index])

    def shared(self, index: Tensor) -> "Modality":
        """As ``select``, for many rows of few patients: their tokens are not copied."""
        return Modality(self.representation[index], self.tokens, self.present, index)

    def apart(self) -> "Modality":
        """The same with tokens for each of N."""
        if self.whose is None:
            return self
        return Modality(self.representation, self.tokens[self.whose], self.present[self.whose])


class Fusion(Protocol):
    """Fuses the modalities that it was built for; a token that is not present must not change anything.

    One that has a true attribute ``reads_shared`` minds ``Modality.whose``; others get modalities without it.
    """

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """Modalities by name -> [N,H]."""
        ...

    def __call__(self, modalities: Mapping[str, Modality]) -> Tensor:
        """``forward``, as modules of torch are called."""
        ...

    def attention(self, modalities: Mapping[str, Modality]) -> dict[str, Tensor] | None:
        """How much each token counted: modality -> [N,L], 0 where not present; None where nothing attends."""
        ...
