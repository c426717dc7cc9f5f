"""Shifts the note by the summary through a multimodal adaptation gate (equations and source: ``gate.py``)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from annotated_types import Gt
from torch import Tensor, nn

from emerge_ehr.models.gate import AdaptationGate
from emerge_ehr.models.text_fusion import BOTH, TextFusion


@dataclass(frozen=True)
class Options:
    """``beta``: the shift is at most ``beta`` times as long as the note's vector."""

    reads: ClassVar[tuple[str, ...]] = BOTH
    beta: Annotated[float, Gt(0)] = 1.0


def build(options: Options, *, texts: int, hidden_size: int) -> TextFusion:
    """A gate for two texts, each a vector of ``hidden_size``; ``texts`` is 2."""
    return Mag(hidden_size, options.beta)


@final
class Mag(nn.Module):
    """The adaptation gate with z = note and a = summary."""

    def __init__(self, hidden_size: int, beta: float) -> None:
        super().__init__()
        self.gate = AdaptationGate(hidden_size, beta)

    def forward(self, texts: Tensor, present: Tensor) -> Tensor:
        """Texts [N,2,H], present [N,2] -> [N,H]; a learned vector takes the place of an absent text."""
        fused: Tensor = self.gate(texts[:, 0], texts[:, 1])
        return fused
