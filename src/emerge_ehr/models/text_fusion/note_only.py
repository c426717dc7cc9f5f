"""The note alone, which gives the same model as leaving the summary out of ``model.modalities``."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from emerge_ehr.models.text_fusion import TextFusion


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    reads: ClassVar[tuple[str, ...]] = ("note",)


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """A fusion that returns the note; ``texts`` is 1."""
    return NoteOnly()


@final
class NoteOnly(nn.Module):
    """Returns h_note, the projected note."""

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,1,H], present [N,1] -> [N,H]."""
        return texts[:, 0]
