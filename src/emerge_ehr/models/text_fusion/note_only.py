"""The note alone: the same model as without the other text in ``model.modalities``."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from emerge_ehr.models.text_fusion import TextFusion


@dataclass(frozen=True)
class Options:
    """None."""

    reads: ClassVar[tuple[str, ...]] = ("note",)


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """The note; ``texts`` is 1."""
    return NoteOnly()


@final
class NoteOnly(nn.Module):
    """h_note."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,1,H], present [N,1] -> [N,H]."""
        return texts[:, 0]
