"""From a patient's representation to one logit per label; a label that is not defined for a patient is masked in the loss."""

from typing import Literal, final

import torch
from torch import Tensor, nn

Head = Literal["shared", "separate"]


def build(head: Head, *, hidden_size: int, labels: int, dropout: float) -> nn.Module:
    """A module from a representation [N,H] to logits [N,K].

    ``shared``: one network whose last layer has a row for each label, for one label or many labels of one kind. ``separate``: a
    network for each label, so that the labels share only the representation (hard parameter sharing; Caruana 1997).
    """
    if head == "separate":
        return Separate(hidden_size, labels, dropout)
    return _network(hidden_size, labels, dropout)


@final
class Separate(nn.Module):
    """A network for each of the K labels."""

    def __init__(self, hidden_size: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList([_network(hidden_size, 1, dropout) for _ in range(labels)])

    def forward(self, representation: Tensor) -> Tensor:
        """Representation [N,H] -> logits [N,K]."""
        return torch.cat([network(representation) for network in self.networks], dim=1)


def _network(hidden_size: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.GELU(), nn.Linear(hidden_size, hidden_size), nn.Dropout(dropout), nn.Linear(hidden_size, outputs)
    )
