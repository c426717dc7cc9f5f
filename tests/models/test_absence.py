"""Patients who lack a modality, and those who are made to in training."""

import dataclasses

import pytest
import torch

from emerge_ehr import components
from emerge_ehr.config import Model
from emerge_ehr.fields import Component
from emerge_ehr.models import absence
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge, build

ALL = ("ehr", "note", "summary")


def make(**settings: object) -> Emerge:
    torch.manual_seed(1)
    model = Model(hidden_size=8, heads=2, **settings)  # type: ignore[arg-type]
    return build(model, features=3, statics=2, text_widths={"note": 5, "summary": 4}, labels=1).eval()


def lacking(batch: Batch, *modalities: str) -> Batch:
    fields = [field for name in modalities for field in absence.MASKS[name]]
    return dataclasses.replace(batch, **{field: torch.zeros_like(getattr(batch, field)) for field in fields})


@pytest.mark.parametrize("relevance", [False, True])
@pytest.mark.parametrize("fusion", components.names("model.fusion"))
def test_without_any_measurement_the_values_do_not_matter(patients: Batch, fusion: str, relevance: bool) -> None:
    model, unmeasured = make(fusion=Component(fusion), relevance=relevance), lacking(patients, "ehr")
    others = dataclasses.replace(unmeasured, ehr=unmeasured.ehr + 3)
    assert torch.equal(model(others), model(unmeasured))
    assert (model(unmeasured) != model(patients)).sum() >= 6


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_each_modality_is_left_out_as_often_as_asked_and_nobody_is_left_without_any(share: float) -> None:
    torch.manual_seed(0)
    count = 4000
    batch = Batch(
        ehr=torch.ones(count, 2, 1),
        ehr_mask=torch.ones(count, 2, 1),
        ehr_length=torch.full((count,), 2),
        static=torch.zeros(count, 1),
        note_embedding=torch.ones(count, 3),
        note_mask=(torch.arange(count) % 2).float(),  # half of them have no note
        summary_embedding=torch.ones(count, 3),
        summary_mask=torch.ones(count),
        note_tokens=torch.ones(count, 2, 3),
        note_tokens_mask=torch.ones(count, 2),
        summary_tokens=torch.ones(count, 2, 3),
        summary_tokens_mask=torch.ones(count, 2),
        label=torch.zeros(count, 1),
        label_mask=torch.ones(count, 1),
    )
    dropped = absence.drop(batch, ALL, share)
    has = torch.stack([dropped.ehr_mask.flatten(1).any(1), dropped.note_mask > 0, dropped.summary_mask > 0], dim=1)
    assert has.any(dim=1).all()
    assert torch.equal(dropped.summary_tokens_mask[:, 0] > 0, has[:, 2])
    three = batch.note_mask > 0
    # one who would lack all three keeps them
    for column in range(3):
        assert abs((~has[three, column]).double().mean() - (share - share**3)) < 0.03
    assert abs((~has[~three, 0]).double().mean() - (share - share**2)) < 0.03


def test_in_training_alone_modalities_are_left_out(patients: Batch) -> None:
    model = make(modality_dropout=0.5, dropout=0.0, text_dropout=0.0)
    assert torch.equal(model(patients), make(dropout=0.0, text_dropout=0.0)(patients))
    torch.manual_seed(0)
    assert not torch.equal(model.train()(patients), model.eval()(patients))


def test_a_single_modality_is_never_left_out(patients: Batch) -> None:
    model = make(modalities=("note",), modality_dropout=0.9, dropout=0.0, text_dropout=0.0)
    assert torch.equal(model.train()(patients), model.eval()(patients))
