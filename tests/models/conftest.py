import pytest
import torch

from emerge_ehr.models.batch import Batch

PATIENTS, HOURS, FEATURES, NOTE, SUMMARY, STATIC = 7, 6, 3, 5, 4, 2


@pytest.fixture
def patients() -> Batch:
    """Seven patients: lengths 1 to 6, patients 0 and 1 without note, 0 and 2 without summary."""
    generator = torch.Generator().manual_seed(0)
    length = torch.tensor([6, 5, 4, 3, 2, 1, 6])
    inside = (torch.arange(HOURS) < length[:, None])[..., None]
    values = torch.randn(PATIENTS, HOURS, FEATURES, generator=generator)
    return Batch(
        ehr=values * inside,
        ehr_mask=(values > 0).float() * inside,
        ehr_length=length,
        static=torch.randn(PATIENTS, STATIC, generator=torch.Generator().manual_seed(9)),
        note_embedding=torch.randn(PATIENTS, NOTE, generator=generator),
        note_mask=torch.tensor([0.0, 0, 1, 1, 1, 1, 1]),
        summary_embedding=torch.randn(PATIENTS, SUMMARY, generator=generator),
        summary_mask=torch.tensor([0.0, 1, 0, 1, 1, 1, 1]),
        note_tokens=torch.randn(PATIENTS, 3, NOTE, generator=generator),
        note_tokens_mask=torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]),
        summary_tokens=torch.randn(PATIENTS, 2, SUMMARY, generator=generator),
        summary_tokens_mask=torch.tensor([[0.0, 0], [1, 1], [0, 0], [1, 0], [1, 1], [1, 0], [1, 1]]),
        label=torch.tensor([[0.0], [1], [0], [1], [0], [1], [0]]),
        label_mask=torch.ones(7, 1),
    )
