from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.models.series import tcn, transformer

EVERY_SERIES = pytest.mark.parametrize("name", components.names("model.series"))
LENGTH = torch.tensor([5, 2, 0])


def make(name: str) -> Any:
    torch.manual_seed(0)
    context = {"input_size": 3, "hidden_size": 4, "heads": 2, "dropout": 0.5}
    return components.build("model.series", Component(name), **context).eval()


def values() -> Tensor:
    return torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1))


def plain_gru(weights: torch.nn.GRU, values: Tensor) -> list[Tensor]:
    """The equations of Cho et al. 2014 as PyTorch documents them, one patient [T,I], hour by hour."""
    state, states = torch.zeros(weights.hidden_size), []
    for value in values:
        reset_in, update_in, new_in = (weights.weight_ih_l0 @ value + weights.bias_ih_l0).chunk(3)
        reset_state, update_state, new_state = (weights.weight_hh_l0 @ state + weights.bias_hh_l0).chunk(3)
        reset, update = torch.sigmoid(reset_in + reset_state), torch.sigmoid(update_in + update_state)
        state = (1 - update) * torch.tanh(new_in + reset * new_state) + update * state
        states.append(state)
    return states


def plain_lstm(weights: torch.nn.LSTM, values: Tensor) -> list[Tensor]:
    """i, f, o = sigmoid(...), c = f c + i tanh(...), h = o tanh(c)."""
    state, cell, states = torch.zeros(weights.hidden_size), torch.zeros(weights.hidden_size), []
    for value in values:
        sums = weights.weight_ih_l0 @ value + weights.bias_ih_l0 + weights.weight_hh_l0 @ state + weights.bias_hh_l0
        enter, forget, new, out = sums.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        state = torch.sigmoid(out) * torch.tanh(cell)
        states.append(state)
    return states


def plain_rnn(weights: torch.nn.RNN, values: Tensor) -> list[Tensor]:
    """h = tanh(W x + b + U h + c)."""
    state, states = torch.zeros(weights.hidden_size), []
    for value in values:
        state = torch.tanh(
            weights.weight_ih_l0 @ value + weights.bias_ih_l0 + weights.weight_hh_l0 @ state + weights.bias_hh_l0
        )
        states.append(state)
    return states


@pytest.mark.parametrize(("name", "plain"), [("gru", plain_gru), ("lstm", plain_lstm), ("rnn", plain_rnn)])
def test_a_recurrent_encoder_follows_its_equations_and_stops_at_the_length(
    name: str, plain: Callable[[Any, Tensor], list[Tensor]]
) -> None:
    plug = make(name)
    with torch.no_grad():
        states, last = plug(values(), LENGTH)
        for row, hours in enumerate(LENGTH.tolist()):
            expected = plain(plug.cells, values()[row, :hours])
            for hour in range(5):
                torch.testing.assert_close(states[row, hour], expected[hour] if hour < hours else torch.zeros(4))
            torch.testing.assert_close(last[row], expected[-1] if hours else torch.zeros(4))


def test_the_transformer_is_pytorchs_pre_norm_encoder_with_a_causal_mask() -> None:
    plug = make("transformer")
    assert isinstance(plug, transformer.Transformer)
    places = torch.arange(5.0)[:, None]
    sinusoids = torch.cat([places.sin(), places.cos(), (places / 100).sin(), (places / 100).cos()], dim=1)
    for row, hours in enumerate([5, 2]):
        given = values()[row : row + 1, :hours]
        with torch.no_grad():
            expected = plug.projection(given) + sinusoids[:hours]
            for block in plug.blocks:
                expected = peer(block)(expected, torch.nn.Transformer.generate_square_subsequent_mask(hours))
            expected = plug.norm(expected)
            states, last = plug(values(), LENGTH)
        torch.testing.assert_close(states[row, :hours], expected[0])
        torch.testing.assert_close(last[row], expected[0, -1])


def peer(block: Any) -> torch.nn.TransformerEncoderLayer:
    """PyTorch's layer with the weights of ours; in training mode, where it has no other path, without dropout."""
    layer = torch.nn.TransformerEncoderLayer(
        4, 2, dim_feedforward=16, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    norm, first, _, second = block.feed_forward
    layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = (
        block.query_key_value.weight,
        block.query_key_value.bias,
    )
    layer.self_attn.out_proj, layer.norm1, layer.norm2 = block.output, block.attention_norm, norm
    layer.linear1, layer.linear2 = first, second
    return layer


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "levels"), [(2, 3), (3, 2)])
def test_the_tcn_sees_its_receptive_field_and_nothing_later(kernel: int, levels: int) -> None:
    torch.manual_seed(0)
    context = {"input_size": 6, "hidden_size": 16, "heads": 1, "dropout": 0.5}
    plug = tcn.build(tcn.Options(levels=levels, kernel=kernel), **context).eval()
    field, hours = 1 + 2 * (kernel - 1) * (2**levels - 1), 40
    values = torch.randn(1, hours, 6)
    before, _ = plug(values, torch.tensor([hours]))
    for changed in (0, 7, 25):
        other = values.clone()
        other[:, changed] += 5
        differs = (plug(other, torch.tensor([hours]))[0] != before).any(dim=2)[0]
        assert not differs[:changed].any() and not differs[changed + field :].any()
        assert differs[changed] and (changed + field > hours or differs[changed + field - 1])


@torch.no_grad()
def test_a_tcn_block_follows_its_equations() -> None:
    torch.manual_seed(0)
    block = tcn.TemporalBlock(2, 3, kernel=3, dilation=2, dropout=0.5).eval()
    hours = torch.randn(1, 2, 9)

    def convolved(layer: torch.nn.Conv1d, given: Tensor) -> Tensor:
        direction, size = layer.parametrizations.weight.original1, layer.parametrizations.weight.original0
        weight = size * direction / direction.flatten(1).norm(dim=1)[:, None, None]
        result = torch.zeros(weight.shape[0], given.shape[1])
        for hour in range(given.shape[1]):
            result[:, hour] = layer.bias
            for tap in range(3):
                if (source := hour - 2 * (2 - tap)) >= 0:
                    result[:, hour] += weight[:, :, tap] @ given[:, source]
        return result.clamp(min=0)

    inner = convolved(block.second, convolved(block.first, hours[0]))
    skipped = block.residual.weight[:, :, 0] @ hours[0] + block.residual.bias[:, None]
    torch.testing.assert_close(block(hours)[0], (inner + skipped).clamp(min=0))


@EVERY_SERIES
def test_a_later_hour_changes_no_earlier_state(name: str) -> None:
    plug, later = make(name), values()
    later[:, 3:] += 10
    with torch.no_grad():
        before, after = plug(values(), LENGTH)[0], plug(later, LENGTH)[0]
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert (after[0, 3:] != before[0, 3:]).any(dim=1).all()


@EVERY_SERIES
def test_padding_changes_nothing_and_no_hours_are_zeros(name: str) -> None:
    plug = make(name)
    padded = torch.cat([values(), torch.full((3, 4, 3), 100.0)], dim=1)
    with torch.no_grad():
        (states, last), (more, same) = plug(values(), LENGTH), plug(padded, LENGTH)
    torch.testing.assert_close(more[:, :5], states)
    torch.testing.assert_close(same, last)
    assert not more[:, 5:].any() and not states[1, 2:].any() and not last[2].any()


@EVERY_SERIES
def test_the_order_of_the_hours_matters(name: str) -> None:
    plug = make(name)
    with torch.no_grad():
        assert not torch.allclose(plug(values().flip(1), LENGTH)[1][0], plug(values(), LENGTH)[1][0])


@EVERY_SERIES
def test_a_window_longer_than_any_before_is_read_too(name: str) -> None:
    states, last = make(name)(torch.randn(2, 300, 3), torch.tensor([300, 7]))
    assert states.isfinite().all() and last.shape == (2, 4)
