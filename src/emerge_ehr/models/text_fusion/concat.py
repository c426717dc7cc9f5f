"""Texts concatenated, then one linear layer: the default of the original code."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from emerge_ehr.models.text_fusion import BOTH, TextFusion


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    reads: ClassVar[tuple[str, ...]] = BOTH


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """A fusion of so many ``texts``, each a vector of ``hidden_size``."""
    return Concat(texts, hidden_size)


@final
class Concat(nn.Module):
    """W [h_note; h_summary] + b."""

    def __init__(self, texts: int, hidden_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(texts * hidden_size, hidden_size)

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] -> [N,H]; a learned vector takes the place of an absent text."""
        fused: Tensor = self.projection(texts.flatten(1))
        return fused
