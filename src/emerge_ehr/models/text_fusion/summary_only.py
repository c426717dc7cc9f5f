"""The summary alone: the same model as without the other text in ``model.modalities``."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from emerge_ehr.models.text_fusion import TextFusion


@dataclass(frozen=True)
class Options:
    """None."""

    reads: ClassVar[tuple[str, ...]] = ("summary",)


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """The summary; ``texts`` is 1."""
    return SummaryOnly()


@final
class SummaryOnly(nn.Module):
    """h_summary."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,1,H], present [N,1] -> [N,H]."""
        return texts[:, 0]
