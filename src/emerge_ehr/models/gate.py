"""The multimodal adaptation gate, which both ``mag`` plugs share (Rahman et al. 2020, doi 10.18653/v1/2020.acl-main.214).

A main vector z is shifted by another vector a, through a gate and at most in proportion to the length of z:

    g = ReLU(W_g [z; a] + b_g)                    the gate
    h = g * (W_a a + b_a)                         the displacement
    alpha = min(beta ||z|| / ||h||, 1)            keeps the displacement from outweighing z
    fused = LayerNorm(z + alpha h)

The gate applies to the bias b_a too, as in the authors' code. The paper shifts words by vision and sound; with a single other
modality its sum over two gates has this one term. The layers that follow have the dropout that the paper puts behind the norm.
"""

from typing import final

import torch
from torch import Tensor, nn


@final
class AdaptationGate(nn.Module):
    """Shifts a main vector by another one; the equations are above."""

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
