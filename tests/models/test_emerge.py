import dataclasses
from itertools import combinations
from typing import Any, get_args

import pytest
import torch

from emerge_ehr import components
from emerge_ehr.config import Model
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge, build

NAMES = ("ehr", "note", "summary")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(NAMES, size)]
TEXTS = ("note_embedding", "summary_embedding", "note_tokens", "summary_tokens")
TEXT_MASKS = ("note_mask", "summary_mask", "note_tokens_mask", "summary_tokens_mask")
SOCKETS = ("series", "text_fusion", "fusion")
# the defaults, then each plug beside the others' defaults; every combination takes a step in test_combinations.py
PARTS: list[dict[str, Any]] = [
    {},
    {"relevance": True},
    {"relevance": True, "fusion": Component("cross_attention", {"residual": True})},
    *({socket: Component(name)} for socket in SOCKETS for name in components.names(f"model.{socket}")),
]


def named(parts: dict[str, Any]) -> str:
    return "-".join(f"{key}={getattr(part, 'name', part)}" for key, part in parts.items())


EVERY_MODEL = pytest.mark.parametrize("parts", PARTS, ids=lambda parts: named(parts) or "default")


def reads(text_fusion: Component) -> tuple[str, ...]:
    found: tuple[str, ...] = components.options("model.text_fusion", text_fusion).reads
    return found


OF_ONE_TEXT = [name for name in components.names("model.text_fusion") if len(reads(Component(name))) == 1]


def contradicts(parts: dict[str, Any], modalities: tuple[str, ...]) -> bool:
    """A text fusion none of whose texts is there: refused before any work."""
    texts = {"note", "summary"} & set(modalities)
    return bool(texts) and texts.isdisjoint(reads(parts.get("text_fusion", Model.text_fusion)))


EVERY_MODEL_AND_SUBSET = pytest.mark.parametrize(
    ("parts", "modalities"),
    [(parts, subset) for parts in PARTS for subset in SUBSETS if not contradicts(parts, subset)],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else named(value),
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
    gradients = {name: value.grad for name, value in model.named_parameters() if not name.endswith(".absent")}
    idle = [name for name, gradient in gradients.items() if gradient is None or not gradient.any()]
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
    ehr, measured = patients.ehr.clone(), patients.ehr_mask.flatten(1).any(dim=1)
    ehr[:, 0] += 1
    changed = (logits(model, dataclasses.replace(patients, ehr=ehr)) != logits(model, patients))[:, 0]
    assert torch.equal(changed, measured) and measured.sum() == 6  # what nobody measured does not count


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
    assert (logits(model, absent) != logits(model, present)).sum() >= 6  # the gate of mag may be closed to a text


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
@pytest.mark.parametrize("text_fusion", OF_ONE_TEXT)
def test_a_text_fusion_of_one_text_is_the_model_without_the_other(
    patients: Batch, text_fusion: str, fusion: str
) -> None:
    only = make(NAMES, {"text_fusion": Component(text_fusion), "fusion": Component(fusion)})
    without = make(("ehr", *reads(Component(text_fusion))), {"fusion": Component(fusion)})
    assert torch.equal(logits(only, patients), logits(without, patients))


@pytest.mark.parametrize("text_fusion", OF_ONE_TEXT)
def test_a_text_fusion_of_a_text_that_is_not_there_is_refused(text_fusion: str) -> None:
    (other,) = {"note", "summary"} - set(reads(Component(text_fusion)))
    with pytest.raises(UserError, match=f"model.text_fusion = '{text_fusion}' needs"):
        make(("ehr", other), {"text_fusion": Component(text_fusion)})


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


@pytest.mark.parametrize("fusion", components.names("model.fusion"))
def test_where_a_fusion_looked_is_read_by_what_it_fused(patients: Batch, fusion: str) -> None:
    attention = make(parts={"fusion": Component(fusion)}).attention(patients)
    pieces = components.options("model.fusion", Component(fusion)).pieces
    inside = torch.arange(6) < patients.ehr_length[:, None]
    present = {"ehr": inside, "note": patients.note_tokens_mask > 0, "summary": patients.summary_tokens_mask > 0}
    if attention is None:
        return
    assert {name: tuple(weights.shape) for name, weights in attention.items()} == (
        {"ehr": (7, 6), "note": (7, 3), "summary": (7, 2)} if pieces else {"ehr": (7, 6), "text": (7, 3)}
    )
    for name in attention.keys() & present.keys():
        assert not attention[name][~present[name]].any()


def test_a_model_of_one_modality_has_no_attention_to_read(patients: Batch) -> None:
    assert make(("ehr",)).attention(patients) is None


def test_the_modalities_of_the_config_are_the_ones_tested() -> None:
    annotation = Model.__dataclass_fields__["modalities"].type
    assert set(get_args(get_args(annotation)[0])) == set(NAMES)
