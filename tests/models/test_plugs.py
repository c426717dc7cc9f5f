import torch
from torch import Tensor

from src.models.fusion import Modality, cross_attention
from src.models.series import gru
from src.models.text_fusion import adaptive, concat


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


def test_the_gru_follows_its_equations_and_stops_at_the_length() -> None:
    torch.manual_seed(0)
    plug = gru.build(gru.Options(), input_size=3, hidden_size=4, heads=2, dropout=0.5)
    values, length = torch.randn(3, 5, 3), torch.tensor([5, 2, 0])
    with torch.no_grad():
        states, last = plug(values, length)
        for row, hours in enumerate(length.tolist()):
            expected = plain_gru(plug.cells, values[row, :hours])
            for hour in range(5):
                torch.testing.assert_close(states[row, hour], expected[hour] if hour < hours else torch.zeros(4))
            torch.testing.assert_close(last[row], expected[-1] if hours else torch.zeros(4))


def plain_attention(weights: torch.nn.MultiheadAttention, query: Tensor, tokens: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v, head by head, one patient: query [H], the tokens present [L,H] and the learned one."""
    query_weight, key_weight, value_weight = weights.in_proj_weight.chunk(3)
    query_bias, key_bias, value_bias = weights.in_proj_bias.chunk(3)
    projected = query_weight @ query + query_bias
    keys = torch.cat([tokens @ key_weight.T + key_bias, weights.bias_k[0]])
    values = torch.cat([tokens @ value_weight.T + value_bias, weights.bias_v[0]])
    heads = []
    for part in torch.arange(weights.embed_dim).chunk(weights.num_heads):
        attention = torch.softmax(keys[:, part] @ projected[part] / weights.head_dim**0.5, dim=0)
        heads.append(attention @ values[:, part])
    return weights.out_proj(torch.cat(heads))


def test_the_cross_attention_follows_its_equations_also_where_a_side_is_missing() -> None:
    torch.manual_seed(0)
    plug = cross_attention.build(
        cross_attention.Options(), modalities=("ehr", "text"), hidden_size=8, heads=2, dropout=0.5
    )
    torch.nn.init.normal_(plug.text_to_ehr.in_proj_bias)
    torch.nn.init.normal_(plug.ehr_to_text.in_proj_bias)
    hours = torch.arange(5) < torch.tensor([[5], [2], [0]])
    ehr = Modality(torch.randn(3, 8), torch.randn(3, 5, 8), hours)
    text = Modality(
        torch.randn(3, 8), torch.randn(3, 2, 8), torch.tensor([[True, True], [False, True], [False, False]])
    )
    with torch.no_grad():
        found = plug({"ehr": ehr, "text": text})
        for row in range(3):
            from_ehr = plain_attention(plug.text_to_ehr, text.representation[row], ehr.tokens[row, ehr.present[row]])
            from_text = plain_attention(plug.ehr_to_text, ehr.representation[row], text.tokens[row, text.present[row]])
            torch.testing.assert_close(found[row], plug.projection(torch.cat([from_ehr, from_text])))


def test_concat_is_one_linear_layer_on_the_texts_side_by_side() -> None:
    plug = concat.build(concat.Options(), texts=2, hidden_size=3)
    note, summary = torch.randn(4, 3), torch.randn(4, 3)
    expected = torch.cat([note, summary], dim=1) @ plug.projection.weight.T + plug.projection.bias
    torch.testing.assert_close(plug(torch.stack([note, summary], dim=1), torch.ones(4, 2, dtype=torch.bool)), expected)


def test_adaptive_mixes_the_texts_that_a_patient_has() -> None:
    torch.manual_seed(0)
    plug = adaptive.build(adaptive.Options(), texts=2, hidden_size=3)
    texts = torch.randn(4, 2, 3)
    present = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    with torch.no_grad():
        found = plug(texts, present)
        share = torch.softmax(plug.gate(texts.flatten(1)), dim=1)
    mixed = (share[..., None] * texts).sum(dim=1)
    torch.testing.assert_close(found, torch.stack([mixed[0], texts[1, 0], texts[2, 1], mixed[3]]))
