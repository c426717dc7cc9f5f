import dataclasses

import pytest
import torch

from emerge_ehr.models import window_statistics
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_statistics_of_one_changed_feature_are_those_of_the_whole_window(patients: Batch, dtype: torch.dtype) -> None:
    known = window_statistics.of_batch(patients, dtype)
    value, mask = patients.ehr.clone(), patients.ehr_mask.clone()
    column = torch.arange(len(patients)) % value.shape[2]
    for n, feature in enumerate(column.tolist()):
        value[n, :, feature] = 2 * value[n, :, feature].flip(0) + 1
        mask[n, :, feature] = mask[n, :, feature].flip(0)
    changed = dataclasses.replace(patients, ehr=value, ehr_mask=mask)
    found = window_statistics.with_other_column(changed, column, known)
    torch.testing.assert_close(found, window_statistics.of_batch(changed, dtype), equal_nan=True)
    assert not torch.equal(found.nan_to_num(), known.nan_to_num())
