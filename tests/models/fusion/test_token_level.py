import dataclasses
import math

import pytest
import torch
from torch import Tensor

from emerge_ehr.config import Model
from emerge_ehr.fields import Component
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge, build
from emerge_ehr.models.fusion import Modality, token_level
from emerge_ehr.models.transformer import Block


def plain_norm(weights: torch.nn.LayerNorm | None, value: Tensor) -> Tensor:
    standard = (value - value.mean()) / torch.sqrt(value.var(unbiased=False) + 1e-5)
    return standard if weights is None else standard * weights.weight + weights.bias


def plain_block(block: Block, tokens: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The pre-norm layer of one patient, token by token, head by head; and the attention, mean over the heads."""
    size = len(tokens[0])
    width, heads, mean = size // block.heads, [[] for _ in tokens], torch.zeros(len(tokens), len(tokens))
    joined = [
        block.query_key_value.weight @ plain_norm(block.attention_norm, token) + block.query_key_value.bias
        for token in tokens
    ]
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        for i, one in enumerate(joined):
            scores = [one[:size][part] @ other[size : 2 * size][part] / math.sqrt(width) for other in joined]
            share = torch.stack(scores).softmax(dim=0)
            mean[i] += share / block.heads
            heads[i].append(sum(s * other[2 * size :][part] for s, other in zip(share, joined, strict=True)))
    after = []
    norm, first, _, second = block.feed_forward
    for token, found in zip(tokens, heads, strict=True):
        middle = token + block.output.weight @ torch.cat(found) + block.output.bias
        inner = first.weight @ plain_norm(norm, middle) + first.bias
        gelu = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        after.append(middle + second.weight @ gelu + second.bias)
    return after, mean


def plain_position(place: int, size: int) -> Tensor:
    angles = [place / 10_000 ** (2 * (i // 2) / size) for i in range(size)]
    return torch.tensor([math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(angles)])


def plain_fusion(plug: token_level.TokenLevel, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """One patient's present tokens by modality -> representation, rollout over them."""
    row = [plug.class_token]
    for name, found in tokens.items():
        row += [plain_norm(None, x) + plug.kinds[name] + plain_position(i, len(x)) for i, x in enumerate(found)]
    reach = torch.eye(len(row))
    for block in plug.blocks:
        row, share = plain_block(block, row)
        reach = (share / 2 + torch.eye(len(row)) / 2) @ reach
    return plain_norm(plug.norm, row[0]), reach[0, 1:] / reach[0, 1:].sum()


def make_plug() -> token_level.TokenLevel:
    torch.manual_seed(0)
    options = token_level.Options(layers=2)
    names = ("ehr", "note", "summary")
    return token_level.build(options, modalities=names, hidden_size=8, heads=2, dropout=0.5).eval()


def modalities() -> dict[str, Modality]:
    """Three patients: everything, some of it, nothing."""
    torch.manual_seed(1)
    lengths = {"ehr": [5, 2, 0], "note": [2, 1, 0], "summary": [3, 0, 0]}
    return {
        name: Modality(
            torch.randn(3, 8), torch.randn(3, max(length), 8), torch.arange(max(length)) < torch.tensor(length)[:, None]
        )
        for name, length in lengths.items()
    }


def test_the_fusion_and_its_rollout_follow_their_equations_on_the_tokens_that_are_present() -> None:
    plug, given = make_plug(), modalities()
    with torch.no_grad():
        found, attention = plug(given), plug.attention(given)
        for row in range(3):
            present = {name: one.tokens[row, one.present[row]] for name, one in given.items()}
            expected, rollout = plain_fusion(plug, present)
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)
            counted = torch.cat([attention[name][row, one.present[row]] for name, one in given.items()])
            torch.testing.assert_close(counted, rollout, atol=1e-5, rtol=1e-5)


def test_the_weights_of_a_patient_sum_to_one_over_what_is_present() -> None:
    plug, given = make_plug(), modalities()
    with torch.no_grad():
        attention = plug.attention(given)
    assert list(attention) == ["ehr", "note", "summary"]
    for name, weights in attention.items():
        assert weights.shape == given[name].present.shape
        assert ((weights > 0) == given[name].present).all()
    total = sum(weights.sum(dim=1) for weights in attention.values())
    torch.testing.assert_close(total, torch.tensor([1.0, 1.0, 0.0]))


def token_model(chosen: tuple[str, ...] = ("ehr", "note", "summary")) -> Emerge:
    torch.manual_seed(1)
    settings = Model(hidden_size=8, heads=2, modalities=chosen, fusion=Component("token_level"))  # type: ignore[arg-type]
    return build(settings, features=3, statics=2, text_widths={"note": 5, "summary": 4}, labels=1).eval()


def longer(batch: Batch) -> Batch:
    """The same patients with two more hours and pieces of padding, full of noise."""

    def pad(values: Tensor, noise: float) -> Tensor:
        return torch.cat([values, torch.full_like(values[:, :1], noise).repeat_interleave(2, dim=1)], dim=1)

    names = ("ehr", "ehr_mask", "note_tokens", "summary_tokens")
    padded = {name: pad(getattr(batch, name), 100.0) for name in names}
    masks = {name: pad(getattr(batch, name), 0.0) for name in ("note_tokens_mask", "summary_tokens_mask")}
    return dataclasses.replace(batch, **padded, **masks)


def test_padding_of_hours_and_pieces_changes_nothing(patients: Batch) -> None:
    model = token_model()
    with torch.no_grad():
        torch.testing.assert_close(model(longer(patients)), model(patients))
        before, after = model.attention(patients), model.attention(longer(patients))
    assert before is not None and after is not None
    for name, weights in before.items():
        torch.testing.assert_close(after[name][:, : weights.shape[1]], weights)
        assert not after[name][:, weights.shape[1] :].any()


@pytest.mark.parametrize("name", ["note", "summary"])
def test_a_piece_matters_by_its_content_its_place_and_its_text(patients: Batch, name: str) -> None:
    model, row = token_model(), {"note": 2, "summary": 1}[name]  # a patient with two or more pieces of it
    tokens = getattr(patients, f"{name}_tokens")
    changed, swapped = tokens.clone(), tokens.clone()
    changed[row, 0] += 1
    swapped[row, [0, 1]] = tokens[row, [1, 0]]
    with torch.no_grad():
        before = model(patients)[row]
        assert model(dataclasses.replace(patients, **{f"{name}_tokens": changed}))[row] != before
        assert model(dataclasses.replace(patients, **{f"{name}_tokens": swapped}))[row] != before
        torch.testing.assert_close(
            model(dataclasses.replace(patients, **{f"{name}_embedding": getattr(patients, f"{name}_embedding") + 1}))[
                row
            ],
            before,
        )


def test_hours_note_and_summary_attend_to_each_other(patients: Batch) -> None:
    """The first layer's states of one modality change with another's content."""
    model = token_model()
    assert isinstance(model.fusion, token_level.TokenLevel)

    def states(batch: Batch) -> dict[str, Tensor]:
        tokens, allowed = model.fusion.join(model.read(batch))  # type: ignore[union-attr]
        after = model.fusion.blocks[0](tokens, allowed)[:, 1:]  # type: ignore[union-attr]
        return dict(zip(("ehr", "note", "summary"), after.split([6, 3, 2], dim=1), strict=True))

    with torch.no_grad():
        before = states(patients)
        for name in ("ehr", "note_tokens", "summary_tokens"):
            after = states(dataclasses.replace(patients, **{name: getattr(patients, name) + 1}))
            assert all((after[other][6] != before[other][6]).any() for other in before)


def test_a_fusion_of_a_single_modality_reads_where_it_looked_too(patients: Batch) -> None:
    attention = token_model(("note",)).attention(patients)
    assert attention is not None and list(attention) == ["note"]
    torch.testing.assert_close(attention["note"].sum(dim=1), torch.tensor([0.0, 0, 1, 1, 1, 1, 1]))
