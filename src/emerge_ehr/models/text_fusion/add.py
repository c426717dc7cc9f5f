"""The sum of the texts."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from emerge_ehr.models.text_fusion import BOTH, TextFusion


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    reads: ClassVar[tuple[str, ...]] = BOTH


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """A sum, which has no parameters."""
    return Add()


@final
class Add(nn.Module):
    """Returns h_note + h_summary, the sum of the projected texts."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,M,H], present [N,M] -> [N,H]; an absent text adds its learned vector."""
        return texts.sum(dim=1)
