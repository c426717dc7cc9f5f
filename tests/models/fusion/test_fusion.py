import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.models.fusion import Modality, concat, cross_attention, mag, tensor

BUILD = {"modalities": ("ehr", "text"), "hidden_size": 8, "heads": 2, "dropout": 0.5}


def plain_attention(weights: torch.nn.MultiheadAttention, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q k / sqrt(d)) v, head by head, one patient: query [H], the tokens present [L,H] and the learned one.

    And the softmax, mean over the heads.
    """
    query_weight, key_weight, value_weight = weights.in_proj_weight.chunk(3)
    query_bias, key_bias, value_bias = weights.in_proj_bias.chunk(3)
    projected = query_weight @ query + query_bias
    keys = torch.cat([tokens @ key_weight.T + key_bias, weights.bias_k[0]])
    values = torch.cat([tokens @ value_weight.T + value_bias, weights.bias_v[0]])
    heads, shares = [], []
    for part in torch.arange(weights.embed_dim).chunk(weights.num_heads):
        attention = torch.softmax(keys[:, part] @ projected[part] / weights.head_dim**0.5, dim=0)
        heads.append(attention @ values[:, part])
        shares.append(attention)
    return weights.out_proj(torch.cat(heads)), torch.stack(shares).mean(dim=0)


def sides() -> dict[str, Modality]:
    """Three patients: everything, some of it, nothing."""
    generator = torch.Generator().manual_seed(1)
    hours = torch.arange(5) < torch.tensor([[5], [2], [0]])
    texts = torch.tensor([[True, True], [False, True], [False, False]])
    return {
        name: Modality(
            torch.randn(3, 8, generator=generator), torch.randn(*present.shape, 8, generator=generator), present
        )
        for name, present in (("ehr", hours), ("text", texts))
    }


@pytest.mark.parametrize(("residual", "products"), [(False, False), (True, False), (True, True)])
def test_the_cross_attention_follows_its_equations_also_where_a_side_is_missing(residual: bool, products: bool) -> None:
    torch.manual_seed(0)
    plug = cross_attention.build(cross_attention.Options(residual, products), **BUILD).eval()
    if products:
        torch.nn.init.normal_(plug.products.projection.weight)
    torch.nn.init.normal_(plug.text_to_ehr.in_proj_bias)
    torch.nn.init.normal_(plug.ehr_to_text.in_proj_bias)
    ehr, text = sides().values()
    with torch.no_grad():
        found, weights = plug(sides()), plug.attention(sides())
        for row in range(3):
            from_ehr, hours = plain_attention(
                plug.text_to_ehr, text.representation[row], ehr.tokens[row, ehr.present[row]]
            )
            from_text, texts = plain_attention(
                plug.ehr_to_text, ehr.representation[row], text.tokens[row, text.present[row]]
            )
            if residual:
                from_ehr, from_text = from_ehr + text.representation[row], from_text + ehr.representation[row]
            expected_row = plug.projection(torch.cat([from_ehr, from_text]))
            if products:  # every pair of EHR and texts, of which the first token is their fusion
                told = text.tokens[row, 1:][text.present[row, 1:]]
                factors = [plug.products.ehr(ehr.representation[row]), *map(plug.products.texts, told)]
                pairs = sum((one * other for one, other in itertools.combinations(factors, 2)), torch.zeros(8))
                expected_row = expected_row + plug.products.projection(pairs)
            torch.testing.assert_close(found[row], expected_row)
            for name, expected in (("ehr", hours), ("text", texts)):
                torch.testing.assert_close(weights[name][row, sides()[name].present[row]], expected[:-1])
                assert not weights[name][row, ~sides()[name].present[row]].any()


def test_products_of_modalities_are_learned_where_sums_cannot_tell_them() -> None:
    """The outcome is the sign of the product of what EHR and text say, so that either alone tells nothing."""
    generator = torch.Generator().manual_seed(0)
    ehr, text = (torch.randn(600, 8, generator=generator) for _ in range(2))
    label = (ehr[:, 0] * text[:, 0] > 0).float()
    accuracy = {}
    for products in (False, True):
        torch.manual_seed(1)
        plug = cross_attention.build(cross_attention.Options(products=products), **BUILD)
        head = torch.nn.Linear(8, 1)
        optimiser = torch.optim.AdamW([*plug.parameters(), *head.parameters()], lr=0.01)
        always = torch.ones(600, 1, dtype=torch.bool)
        modalities = {"ehr": Modality(ehr, ehr[:, None], always), "text": Modality(text, text[:, None], always)}
        for _ in range(60):
            logit = head(plug(modalities))[:400, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label[:400])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        called = head(plug(modalities))[400:, 0] > 0
        accuracy[products] = float((called == label[400:].bool()).float().mean())
    assert accuracy[True] > accuracy[False] + 0.1


def test_concat_is_one_linear_layer_on_the_two_side_by_side() -> None:
    plug = concat.build(concat.Options(), **BUILD)
    ehr, text = sides().values()
    given = torch.cat([ehr.representation, text.representation], dim=1)
    torch.testing.assert_close(plug(sides()), given @ plug.projection.weight.T + plug.projection.bias)


def test_mag_shifts_the_ehr_by_the_text() -> None:
    plug = mag.build(mag.Options(beta=0.5), **BUILD)
    ehr, text = sides().values()
    assert torch.equal(plug(sides()), plug.gate(ehr.representation, text.representation))
    assert plug.gate.beta == 0.5


def test_tensor_fusion_is_linear_in_all_products_of_the_two_and_in_each_alone() -> None:
    plug = tensor.build(tensor.Options(width=3), **BUILD)
    weights = {name: value.detach().double().numpy() for name, value in plug.state_dict().items()}
    found = plug(sides()).detach().double().numpy()
    for row in range(3):
        sided = []
        for name in ("ehr", "text"):
            vector = sides()[name].representation[row].double().numpy()
            sided.append([*np.maximum(weights[f"{name}.weight"] @ vector + weights[f"{name}.bias"], 0), 1.0])
        products = [a * b for a in sided[0] for b in sided[1]]
        expected = weights["projection.weight"] @ np.array(products) + weights["projection.bias"]
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_the_weights_of_the_cross_attention_leave_a_share_to_the_learned_key() -> None:
    plug = cross_attention.build(cross_attention.Options(), **BUILD).eval()
    for weights in plug.attention(sides()).values():
        assert (weights.sum(dim=1) < 1).all()


@pytest.mark.parametrize("name", components.names("model.fusion"))
def test_a_fusion_says_how_much_each_token_counted_or_that_it_does_not_attend(name: str) -> None:
    pieces = components.options("model.fusion", Component(name)).pieces
    given = dict(zip(("ehr", "note" if pieces else "text"), sides().values(), strict=True))
    plug = components.build("model.fusion", Component(name), **{**BUILD, "modalities": tuple(given)}).eval()
    fused, attention = plug(given), plug.attention(given)
    assert fused.shape == (3, 8) and fused.isfinite().all()
    for modality, weights in (attention or {}).items():
        assert weights.shape == given[modality].present.shape
        assert not weights[~given[modality].present].any() and (weights >= 0).all()
        assert (weights.sum(dim=1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("name", components.names("model.fusion"))
def test_a_token_that_is_not_present_changes_nothing(name: str) -> None:
    pieces = components.options("model.fusion", Component(name)).pieces
    modalities = dict(zip(("ehr", "note" if pieces else "text"), sides().values(), strict=True))
    noisy = {
        key: side._replace(tokens=torch.where(side.present[..., None], side.tokens, 1e3))
        for key, side in modalities.items()
    }
    fusion = components.build("model.fusion", Component(name), **{**BUILD, "modalities": tuple(modalities)}).eval()
    torch.testing.assert_close(
        fusion(noisy),
        fusion(modalities),
        msg=lambda text: f"fusion '{name}': a token that is not present counts: {text}",
    )
