import torch

from emerge_ehr.models import heads


def plain(network: torch.nn.Sequential, representation: torch.Tensor) -> torch.Tensor:
    """W_2 (W_1 GELU(x) + b_1) + b_2."""
    _, first, _, second = network
    gelu = representation * 0.5 * (1 + torch.erf(representation / 2**0.5))
    return (gelu @ first.weight.T + first.bias) @ second.weight.T + second.bias


def test_the_shared_head_is_one_network_for_all_labels() -> None:
    head = heads.build("shared", hidden_size=4, labels=3, dropout=0.5).eval()
    given = torch.randn(5, 4)
    assert isinstance(head, torch.nn.Sequential)
    torch.testing.assert_close(head(given), plain(head, given))
    assert head(given).shape == (5, 3)


def test_separate_heads_are_a_network_for_each_label() -> None:
    head = heads.build("separate", hidden_size=4, labels=2, dropout=0.5).eval()
    given = torch.randn(5, 4)
    assert isinstance(head, heads.Separate)
    expected = [plain(network, given) for network in head.networks]
    torch.testing.assert_close(head(given), torch.cat(expected, dim=1))


def test_a_separate_head_learns_from_its_own_label_only() -> None:
    head = heads.build("separate", hidden_size=4, labels=2, dropout=0.0)
    assert isinstance(head, heads.Separate)
    head(torch.randn(5, 4))[:, 0].sum().backward()
    mortality, readmission = head.networks
    assert all(value.grad.any() for value in mortality.parameters())
    assert not any(value.grad is not None and value.grad.any() for value in readmission.parameters())
