"""Shifts the EHR by the text through a multimodal adaptation gate (equations and source: ``gate.py``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from annotated_types import Gt
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality
from emerge_ehr.models.gate import AdaptationGate


@dataclass(frozen=True)
class Options:
    """``beta``: the shift is at most ``beta`` times as long as the EHR's vector."""

    pieces: ClassVar[bool] = False
    beta: Annotated[float, Gt(0)] = 1.0


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """A gate for vectors of ``hidden_size``."""
    return Mag(hidden_size, options.beta)


@final
class Mag(nn.Module):
    """The adaptation gate with z = EHR and a = text."""

    def __init__(self, hidden_size: int, beta: float) -> None:
        super().__init__()
        self.gate = AdaptationGate(hidden_size, beta)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        fused: Tensor = self.gate(modalities["ehr"].representation, modalities["text"].representation)
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> None:
        """None, since nothing attends."""
