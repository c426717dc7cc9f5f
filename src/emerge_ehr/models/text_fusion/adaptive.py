"""A gate chooses for each patient how much each text counts.

In the original code ``adaptive`` is one learned number for all patients; here it is a function of the texts.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.models.text_fusion import BOTH, TextFusion


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    reads: ClassVar[tuple[str, ...]] = BOTH


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """A fusion of so many ``texts``, each a vector of ``hidden_size``."""
    return Adaptive(texts, hidden_size)


@final
class Adaptive(nn.Module):
    """sum_m a_m h_m with a = softmax(W [h_1; ...; h_M] + b) over the texts the patient has."""

    def __init__(self, texts: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(texts * hidden_size, texts)

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] -> [N,H]; with no text at all, a mix of the learned "absent" vectors."""
        open_to = present | ~present.any(dim=1, keepdim=True)
        scores = self.gate(texts.flatten(1)).masked_fill(~open_to, -torch.inf)
        fused: Tensor = (scores.softmax(dim=1)[..., None] * texts).sum(dim=1)
        return fused
