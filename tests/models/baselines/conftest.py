from collections.abc import Iterator

import pytest
import torch

from emerge_ehr.models import input_table
from emerge_ehr.models.baselines import Estimator
from emerge_ehr.models.batch import Batch

HOURS, FEATURES, NOTE, SUMMARY = 8, 3, 5, 4


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Arrays this small are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted(count: int, seed: int) -> Batch:
    """Label 0 follows the last hours of feature 0 and the note's first component, label 1 the opposite; some are undefined.

    Values are forward-filled from measured hours as preprocess leaves them; lengths 5 to 8; one patient in six has no note.
    """
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(count, generator=generator)
    noise = torch.randn(count, HOURS, FEATURES, generator=generator)
    drift = torch.linspace(-1, 1, HOURS)[None, :, None] * torch.tensor([1.0, 0.0, 0.0])
    value = 0.3 * noise + 1.5 * signal[:, None, None] * drift
    length = torch.randint(5, HOURS + 1, (count,), generator=generator)
    mask = (torch.rand(count, HOURS, FEATURES, generator=generator) < torch.tensor([0.9, 0.6, 0.2])).float()
    mask = mask * (torch.arange(HOURS) < length[:, None])[..., None]
    hour = torch.where(mask > 0, torch.arange(HOURS)[None, :, None], -1).cummax(dim=1).values
    filled = torch.where(hour >= 0, value.gather(1, hour.clamp(min=0)), 0.0)
    note = torch.randn(count, NOTE, generator=generator)
    note[:, 0] = signal + 0.3 * note[:, 0]
    has_note, has_summary = (torch.rand(2, count, generator=generator) > 1 / 6).float()
    positive = (signal > 0).float()
    return Batch(
        ehr=filled * (torch.arange(HOURS) < length[:, None])[..., None],
        ehr_mask=mask,
        ehr_length=length,
        static=torch.randn(count, 2, generator=generator),
        note_embedding=note * has_note[:, None],
        note_mask=has_note,
        summary_embedding=torch.randn(count, SUMMARY, generator=generator) * has_summary[:, None],
        summary_mask=has_summary,
        note_tokens=torch.zeros(count, 0, NOTE),
        note_tokens_mask=torch.zeros(count, 0),
        summary_tokens=torch.zeros(count, 0, SUMMARY),
        summary_tokens_mask=torch.zeros(count, 0),
        label=torch.stack([positive, 1 - positive], dim=1),
        label_mask=torch.stack([torch.ones(count), (torch.arange(count) % 5 > 0).float()], dim=1),
    )


def fit_on_tables(estimator: Estimator, train: Batch, validation: Batch) -> None:
    tables = [input_table.of_batch(patients, estimator.reads) for patients in (train, validation)]
    estimator.fit(train, tables[0], validation, tables[1])


@pytest.fixture(scope="session")
def train() -> Batch:
    return planted(240, seed=0)


@pytest.fixture(scope="session")
def validation() -> Batch:
    return planted(80, seed=1)


@pytest.fixture(scope="session")
def test_patients() -> Batch:
    return planted(200, seed=2)
