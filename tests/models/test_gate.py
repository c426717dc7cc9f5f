import numpy as np
import torch

from emerge_ehr.models.gate import AdaptationGate


def plain_gate(gate: AdaptationGate, main: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """Rahman et al. 2020, equations 1 to 4, one patient in NumPy; and alpha."""
    weights = {name: value.detach().double().numpy() for name, value in gate.state_dict().items()}
    opened = np.maximum(weights["gate.weight"] @ np.concatenate([main, other]) + weights["gate.bias"], 0)
    shift = opened * (weights["displacement.weight"] @ other + weights["displacement.bias"])
    length = np.sqrt((shift**2).sum())
    alpha = min(gate.beta * np.sqrt((main**2).sum()) / length, 1.0) if length else 1.0
    moved = main + alpha * shift
    standard = (moved - moved.mean()) / np.sqrt(moved.var() + 1e-5)
    return standard * weights["norm.weight"] + weights["norm.bias"], alpha


def test_the_gate_follows_its_equations_with_the_shift_free_and_bounded() -> None:
    torch.manual_seed(0)
    gate = AdaptationGate(4, beta=0.3)
    main, other = torch.randn(6, 4), torch.randn(6, 4)
    other[3:] *= 20
    expected = [plain_gate(gate, a.double().numpy(), b.double().numpy()) for a, b in zip(main, other, strict=True)]
    found = gate(main, other).detach().double().numpy()
    np.testing.assert_allclose(found, [fused for fused, _ in expected], atol=1e-5)
    alphas = [alpha for _, alpha in expected]
    assert min(alphas) < 1 == max(alphas)  # both cases were tried


def test_a_closed_gate_leaves_the_main_vector_and_finite_gradients() -> None:
    gate = AdaptationGate(4, beta=1.0)
    with torch.no_grad():
        gate.gate.bias.fill_(-100)
    main = torch.randn(3, 4, requires_grad=True)
    found = gate(main, torch.randn(3, 4))
    torch.testing.assert_close(found, gate.norm(main))
    found.square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in (main, *gate.parameters()))
