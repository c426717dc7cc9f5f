import dataclasses

import pytest
import torch

from emerge_ehr.models.batch import Batch


def test_select_keeps_the_rows_of_every_tensor_together(patients: Batch) -> None:
    chosen = patients.select(torch.tensor([4, 1]))
    assert len(chosen) == 2
    for field in dataclasses.fields(Batch):
        assert torch.equal(getattr(chosen, field.name), getattr(patients, field.name)[[4, 1]])


def test_a_tensor_of_another_shape_is_refused_by_name(patients: Batch) -> None:
    with pytest.raises(ValueError, match=r"Batch.ehr_mask: expected \[N T F\]"):
        dataclasses.replace(patients, ehr_mask=patients.ehr_mask[:, :-1])
    with pytest.raises(ValueError, match=r"Batch.label: expected \[N K\]"):
        dataclasses.replace(patients, label=patients.label[:, 0])


def test_a_tensor_of_another_type_is_refused_by_name(patients: Batch) -> None:
    with pytest.raises(ValueError, match=r"Batch\.ehr_length"):
        dataclasses.replace(patients, ehr_length=patients.ehr_length.float())
