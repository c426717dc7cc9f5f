"""The multimodal adaptation gate, which both ``mag`` plugs share (Rahman et al. 2020, doi 10.18653/v1/2020.acl-main.214).

A main vector z is shifted by what another vector a says, as far as a gate lets it and not further than in proportion to z:

    g = ReLU(W_g [z; a] + b_g)                    the gate
    h = g * (W_a a + b_a)                         the displacement
    alpha = min(beta ||z|| / ||h||, 1)            keeps it from outweighing z
    fused = LayerNorm(z + alpha h)

The bias b_a stands inside the gate, as in the authors' code. The paper shifts words by sight and sound; with a single other
modality its sum over two gates is this one. Its dropout behind the norm is left to the layers that follow.
"""

from typing import final

import torch
from torch import Tensor, nn


@final
class AdaptationGate(nn.Module):
    """A main vector, shifted."""

    def __init__(self, hidden_size: int, beta: float) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * hidden_size, hidden_size)
        self.displacement = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.beta = beta

    def forward(self, main: Tensor, other: Tensor) -> Tensor:
        """Main [N,H], other [N,H] -> [N,H]."""
        shift = self.gate(torch.cat([main, other], dim=1)).relu() * self.displacement(other)
        longest = self.beta * torch.linalg.vector_norm(main, dim=1, keepdim=True)
        length = torch.linalg.vector_norm(shift, dim=1, keepdim=True)
        alpha = (longest / length.clamp(min=1e-6)).clamp(max=1)
        fused: Tensor = self.norm(main + alpha * shift)
        return fused
