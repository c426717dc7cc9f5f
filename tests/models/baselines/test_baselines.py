"""The contract of the socket, over every plug."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emerge_ehr import components
from emerge_ehr.config import Training
from emerge_ehr.evaluation import metrics
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models import input_table
from emerge_ehr.models.baselines import Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.training import devices, loop, objective
from tests.models.baselines.conftest import fit_on_tables

ALL_INPUTS = ("ehr", "note", "summary")
# every plug with its defaults, and the plain methods with all inputs of EMERGE
CHOSEN = {name: Component(name) for name in components.names("baseline")} | {
    f"{name} of all inputs": Component(name, {"modalities": ALL_INPUTS})
    for name in ("logistic_regression", "gradient_boosting")
}
NAMES = list(CHOSEN)
SIZES = Sizes(hours=8, features=3, note_width=5, summary_width=4, labels=2)
LOOP = Training(batch_size=60, patience=50, learning_rate=1e-2, accelerator="cpu")


def has_width(name: str) -> bool:
    return "hidden_size" in vars(components.options("baseline", CHOSEN[name]))


def make(name: str, **options: Any) -> Any:
    small = {"hidden_size": 16} if has_width(name) else {}
    chosen = Component(CHOSEN[name].name, {**small, **CHOSEN[name].options, **options})
    torch.manual_seed(1)
    return components.build("baseline", chosen, sizes=SIZES, seed=1)


NEURAL = [name for name in NAMES if isinstance(make(name), nn.Module)]


def logits(model: Any, batch: Batch) -> Tensor:
    if isinstance(model, nn.Module):
        return loop.predict(model, batch, batch_size=500)
    found: Tensor = model.logits(input_table.of_batch(batch, model.reads))
    return found


def learned(name: str, train: Batch, validation: Batch, epochs: int = 12) -> Any:
    model = make(name)
    if isinstance(model, nn.Module):
        settings = dataclasses.replace(LOOP, max_epochs=epochs)
        with devices.deterministic(1, accelerator="cpu", on_gpu=False):
            loop.fit(model, train, validation, settings, seed=1, fabric=devices.fabric(settings))
    else:
        fit_on_tables(model, train, validation)
    return model


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest, train: Batch, validation: Batch) -> tuple[str, Any]:
    return request.param, learned(request.param, train, validation)


def test_one_finite_logit_a_patient_and_label(fitted: tuple[str, Any], test_patients: Batch) -> None:
    found = logits(fitted[1], test_patients)
    assert found.shape == (200, 2) and found.dtype == torch.float32
    assert found.isfinite().all()


def test_a_planted_signal_is_learned(fitted: tuple[str, Any], test_patients: Batch) -> None:
    found = logits(fitted[1], test_patients).double()
    for column in range(2):
        score = metrics.point(metrics.auroc, test_patients.label[:, column].double().numpy(), found[:, column].numpy())
        assert score is not None and score > 0.8, (fitted[0], column, score)


def test_hours_after_the_length_change_nothing(fitted: tuple[str, Any], test_patients: Batch) -> None:
    outside = (torch.arange(8) >= test_patients.ehr_length[:, None])[..., None]
    noisy = dataclasses.replace(
        test_patients, ehr=test_patients.ehr + 100 * outside, ehr_mask=(test_patients.ehr_mask + outside).clamp(max=1)
    )
    assert torch.equal(logits(fitted[1], noisy), logits(fitted[1], test_patients))


def test_changing_one_patient_changes_no_other(fitted: tuple[str, Any], test_patients: Batch) -> None:
    ehr, note = test_patients.ehr.clone(), test_patients.note_embedding.clone()
    chosen = int(test_patients.note_mask.argmax())
    ehr[chosen] += 3 * test_patients.ehr_mask[chosen]
    note[chosen] += 3
    changed = dataclasses.replace(test_patients, ehr=ehr, note_embedding=note)
    same = (logits(fitted[1], changed) == logits(fitted[1], test_patients)).all(dim=1)
    assert not same[chosen] and int(same.sum()) == 199


def test_a_patient_gets_the_same_logits_alone(fitted: tuple[str, Any], test_patients: Batch) -> None:
    alone = torch.cat([logits(fitted[1], test_patients.select(torch.tensor([row]))) for row in range(5)])
    torch.testing.assert_close(alone, logits(fitted[1], test_patients)[:5], rtol=1e-4, atol=1e-5)


def test_only_the_inputs_it_says_it_reads_matter(fitted: tuple[str, Any], test_patients: Batch) -> None:
    name, model = fitted
    before = logits(model, test_patients)
    other_note = dataclasses.replace(test_patients, note_embedding=test_patients.note_embedding + 1)
    other_summary = dataclasses.replace(test_patients, summary_embedding=test_patients.summary_embedding + 1)
    other_hours = dataclasses.replace(test_patients, ehr=test_patients.ehr + test_patients.ehr_mask)
    reads = components.options("baseline", CHOSEN[name]).reads
    for modality, changed in (("ehr", other_hours), ("note", other_note), ("summary", other_summary)):
        assert torch.equal(logits(model, changed), before) == (modality not in reads), modality


def test_the_embedding_of_a_missing_note_changes_nothing(fitted: tuple[str, Any], test_patients: Batch) -> None:
    lacking = 100 * (1 - test_patients.note_mask[:, None])
    noisy = dataclasses.replace(test_patients, note_embedding=test_patients.note_embedding + lacking)
    assert torch.equal(logits(fitted[1], noisy), logits(fitted[1], test_patients))


@pytest.mark.parametrize("name", NAMES)
def test_undefined_labels_are_not_read(name: str, train: Batch, validation: Batch) -> None:
    flipped = dataclasses.replace(train, label=torch.where(train.label_mask > 0, train.label, 1 - train.label))
    one, other = (learned(name, patients, validation, epochs=1) for patients in (train, flipped))
    assert torch.equal(logits(one, validation), logits(other, validation))


def test_saved_and_loaded_it_gives_the_same_logits(
    fitted: tuple[str, Any], test_patients: Batch, tmp_path: Path
) -> None:
    name, model = fitted
    fresh = make(name)
    if isinstance(model, nn.Module):
        from safetensors.torch import load_file, save_file

        save_file(model.state_dict(), tmp_path / "best.safetensors")
        fresh.load_state_dict(load_file(tmp_path / "best.safetensors"))
    else:
        model.save(tmp_path)
        assert not [path for path in tmp_path.iterdir() if path.suffix not in (".safetensors", ".txt", ".json")]
        fresh.load(tmp_path)
    assert torch.equal(logits(fresh, test_patients), logits(model, test_patients))


@pytest.mark.parametrize("name", NEURAL)
def test_every_parameter_gets_a_gradient(name: str, train: Batch) -> None:
    model = make(name)
    model.train()
    patients = train.select(torch.arange(60))
    model(patients)  # fills the memory of a model that has one
    model(patients).square().sum().backward()
    idle = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
def test_a_label_of_one_class_or_of_nobody_gives_finite_logits(name: str, train: Batch, validation: Batch) -> None:
    label, mask = train.label.clone(), train.label_mask.clone()
    label[:, 0], mask[:, 1] = 1, 0
    odd = dataclasses.replace(train, label=label, label_mask=mask)
    model = make(name)
    if isinstance(model, nn.Module):
        assert objective.summed_loss(model(odd), odd.label, odd.label_mask, None).isfinite()
        return
    nobody = dataclasses.replace(validation, label_mask=torch.zeros_like(validation.label_mask))
    fit_on_tables(model, odd, nobody)
    assert logits(model, train).isfinite().all()
    assert (logits(model, train)[:, 0] > 3).all() and (logits(model, train)[:, 1] == 0).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEURAL])
def test_a_split_with_no_defined_validation_label_still_fits(name: str, train: Batch, validation: Batch) -> None:
    model = make(name)
    fit_on_tables(model, train, dataclasses.replace(validation, label_mask=torch.zeros_like(validation.label_mask)))
    score = metrics.point(
        metrics.auroc, train.label[:, 0].double().numpy(), logits(model, train)[:, 0].double().numpy()
    )
    assert score is not None and score > 0.8


@pytest.mark.parametrize("name", [name for name in NAMES if has_width(name)])
def test_a_width_that_no_number_of_heads_divides_serves_or_is_the_users_mistake(name: str, train: Batch) -> None:
    try:
        model = make(name, hidden_size=13)
    except UserError as error:
        assert "hidden_size" in str(error) and name in str(error)
    else:
        assert logits(model, train).isfinite().all()


@pytest.mark.parametrize("name", [name for name in NAMES if has_width(name)])
def test_a_wrong_option_is_refused_with_the_nearest_right_one(name: str) -> None:
    with pytest.raises(UserError, match="did you mean 'hidden_size'"):
        make(name, hiden_size=8)


@pytest.mark.parametrize("name", NEURAL)
def test_it_trains_in_bfloat16(name: str, train: Batch, validation: Batch) -> None:
    settings = dataclasses.replace(LOOP, max_epochs=1, precision="bf16-mixed")
    model = make(name)
    loop.fit(model, train, validation, settings, seed=1, fabric=devices.fabric(settings))
    assert logits(model, validation).isfinite().all()
