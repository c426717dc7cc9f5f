import dataclasses
from itertools import combinations
from typing import Any, get_args

import pytest
import torch

from emerge_ehr import components
from emerge_ehr.config import Model
from emerge_ehr.fields import Component
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge, build

NAMES = ("ehr", "note", "summary")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(NAMES, size)]
TEXTS = ("note_embedding", "summary_embedding", "note_tokens", "summary_tokens")
TEXT_MASKS = ("note_mask", "summary_mask", "note_tokens_mask", "summary_tokens_mask")
SOCKETS = ("series", "text_fusion", "fusion")
# the defaults, then each plug beside the others' defaults; every combination takes a step in test_combinations.py
PARTS: list[dict[str, Component]] = [
    {},
    *({socket: Component(name)} for socket in SOCKETS for name in components.names(f"model.{socket}")),
]
EVERY_MODEL = pytest.mark.parametrize(
    "parts", PARTS, ids=lambda parts: "-".join(f"{socket}={part.name}" for socket, part in parts.items()) or "default"
)


def contradicts(parts: dict[str, Component], modalities: tuple[str, ...]) -> bool:
    """A text fusion of one text alone, where that is not among the texts: refused by config.load."""
    only = parts.get("text_fusion", Component("")).name.removesuffix("_only")
    texts = {"note", "summary"} & set(modalities)
    return only in NAMES and bool(texts) and only not in texts


EVERY_MODEL_AND_SUBSET = pytest.mark.parametrize(
    ("parts", "modalities"),
    [(parts, subset) for parts in PARTS for subset in SUBSETS if not contradicts(parts, subset)],
    ids=lambda value: (
        "+".join(value) if isinstance(value, tuple) else "-".join(f"{s}={p.name}" for s, p in value.items())
    ),
)


def make(modalities: Any = NAMES, parts: Any = PARTS[0], labels: int = 1) -> Emerge:
    torch.manual_seed(1)
    settings = Model(hidden_size=8, heads=2, modalities=modalities, **parts)
    return build(settings, features=3, statics=2, text_widths={"note": 5, "summary": 4}, labels=labels).eval()


def logits(model: Emerge, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model(batch)


@EVERY_MODEL_AND_SUBSET
def test_one_logit_a_patient_and_label(patients: Batch, parts: Any, modalities: Any) -> None:
    found = logits(make(modalities, parts, labels=2), patients)
    assert found.shape == (7, 2)
    assert found.isfinite().all()


@EVERY_MODEL_AND_SUBSET
def test_every_parameter_gets_a_gradient(patients: Batch, parts: Any, modalities: Any) -> None:
    model = make(modalities, parts)
    model(patients).square().sum().backward()
    idle = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


@EVERY_MODEL
def test_hours_after_the_length_change_nothing(patients: Batch, parts: Any) -> None:
    model = make(parts=parts)
    outside = (torch.arange(6) >= patients.ehr_length[:, None])[..., None]
    noisy = dataclasses.replace(patients, ehr=patients.ehr + 100 * outside, ehr_mask=patients.ehr_mask + 100 * outside)
    assert torch.equal(logits(model, noisy), logits(model, patients))


@EVERY_MODEL
def test_an_hour_before_the_length_matters(patients: Batch, parts: Any) -> None:
    model = make(parts=parts)
    ehr = patients.ehr.clone()
    ehr[:, 0] += 1
    assert (logits(model, dataclasses.replace(patients, ehr=ehr)) != logits(model, patients)).all()


@EVERY_MODEL_AND_SUBSET
def test_the_embedding_of_a_missing_text_changes_nothing(patients: Batch, parts: Any, modalities: Any) -> None:
    model = make(modalities, parts)
    noise = {
        name: getattr(patients, name) + 100 * (1 - mask[..., None])
        for name, mask in (
            ("note_embedding", patients.note_mask),
            ("summary_embedding", patients.summary_mask),
            ("note_tokens", patients.note_tokens_mask),
            ("summary_tokens", patients.summary_tokens_mask),
        )
    }
    assert torch.equal(logits(model, dataclasses.replace(patients, **noise)), logits(model, patients))


@EVERY_MODEL
def test_a_missing_text_is_not_an_embedding_of_zeros(patients: Batch, parts: Any) -> None:
    model = make(parts=parts)
    zeros = {name: torch.zeros_like(value) for name, value in vars(patients).items() if name in TEXTS}
    masks = {name: torch.ones_like(value) for name, value in vars(patients).items() if name in TEXT_MASKS}
    present = dataclasses.replace(patients, **zeros, **masks)
    absent = dataclasses.replace(patients, **zeros, **{name: 0 * mask for name, mask in masks.items()})
    assert (logits(model, absent) != logits(model, present)).all()


@EVERY_MODEL
def test_changing_one_patient_changes_no_other(patients: Batch, parts: Any) -> None:
    model = make(parts=parts)
    names = ("ehr", "note_embedding", "note_tokens")
    values = {name: getattr(patients, name).clone() for name in names}
    for value in values.values():
        value[3] += 5
    changed = logits(model, dataclasses.replace(patients, **values))
    same = (changed == logits(model, patients))[:, 0]
    assert same.tolist() == [True, True, True, False, True, True, True]


@EVERY_MODEL
def test_a_patient_gets_the_same_logit_alone_as_in_a_batch(patients: Batch, parts: Any) -> None:
    model = make(parts=parts)
    alone = torch.cat([logits(model, patients.select(torch.tensor([row]))) for row in range(7)])
    torch.testing.assert_close(alone, logits(model, patients))


def test_an_unused_modality_adds_no_part_and_no_influence(patients: Batch) -> None:
    model = make(("ehr", "note"))
    assert not any("summary" in name for name, _ in model.named_parameters())
    noisy = dataclasses.replace(patients, summary_embedding=patients.summary_embedding + 1)
    assert torch.equal(logits(model, noisy), logits(model, patients))


@pytest.mark.parametrize("fusion", components.names("model.fusion"))
@pytest.mark.parametrize("text", ["note", "summary"])
def test_a_text_fusion_of_one_text_is_the_model_without_the_other(patients: Batch, text: str, fusion: str) -> None:
    only = make(NAMES, {"text_fusion": Component(f"{text}_only"), "fusion": Component(fusion)})
    without = make(("ehr", text), {"fusion": Component(fusion)})
    assert torch.equal(logits(only, patients), logits(without, patients))


def test_a_text_fusion_of_a_text_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="text_fusion reads"):
        make(("ehr", "note"), {"text_fusion": Component("summary_only")})


def test_static_features_count_when_they_are_asked_for(patients: Batch) -> None:
    older = dataclasses.replace(patients, static=patients.static + 1)
    assert torch.equal(logits(make(), older), logits(make(), patients))
    reading = make(parts={"static": True})
    assert (logits(reading, older) != logits(reading, patients)).all()
    with torch.no_grad():  # h + W s + b, and then the head
        representation = reading.fuse(reading.read(patients))
        assert reading.static is not None
        shift = patients.static @ reading.static.weight.T + reading.static.bias
        torch.testing.assert_close(logits(reading, patients), reading.head(representation + shift))


def test_static_features_change_no_other_initial_weight() -> None:
    with_static, without = make(parts={"static": True}).state_dict(), make().state_dict()
    assert with_static.keys() - without.keys() == {"static.weight", "static.bias"}
    assert all(torch.equal(with_static[name], value) for name, value in without.items())


def test_where_the_cross_attention_looked_is_read_by_hour_and_by_text(patients: Batch) -> None:
    attention = make().attention(patients)
    assert attention is not None
    assert {name: tuple(weights.shape) for name, weights in attention.items()} == {"ehr": (7, 6), "text": (7, 3)}
    inside = torch.arange(6) < patients.ehr_length[:, None]
    assert ((attention["ehr"] > 0) == inside).all()
    for weights in attention.values():
        assert (weights.sum(dim=1) < 1).all()  # the rest is the learned key's


def test_where_the_token_level_fusion_looked_is_read_by_hour_and_by_piece(patients: Batch) -> None:
    attention = make(parts={"fusion": Component("token_level")}).attention(patients)
    assert attention is not None
    assert {name: tuple(weights.shape) for name, weights in attention.items()} == {
        "ehr": (7, 6),
        "note": (7, 3),
        "summary": (7, 2),
    }
    modality = torch.stack([weights.sum(dim=1) for weights in attention.values()], dim=1)
    torch.testing.assert_close(modality.sum(dim=1), torch.ones(7))
    assert not modality[0, 1:].any()  # this patient has no text


def test_a_model_of_one_modality_has_no_attention_to_read(patients: Batch) -> None:
    assert make(("ehr",)).attention(patients) is None


def test_the_modalities_of_the_config_are_the_ones_tested() -> None:
    annotation = Model.__dataclass_fields__["modalities"].type
    assert set(get_args(get_args(annotation)[0])) == set(NAMES)
