import pytest
import torch

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.models.text_fusion import BOTH, adaptive, add, concat, mag

PRESENT = torch.tensor([[True, True], [True, False], [False, True], [False, False]])


def texts() -> torch.Tensor:
    """Four patients' note and summary."""
    return torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))


def test_concat_is_one_linear_layer_on_the_texts_side_by_side() -> None:
    plug = concat.build(concat.Options(), texts=2, hidden_size=3)
    note, summary = texts().unbind(1)
    expected = torch.cat([note, summary], dim=1) @ plug.projection.weight.T + plug.projection.bias
    torch.testing.assert_close(plug(texts(), PRESENT), expected)


def test_adaptive_mixes_the_texts_that_a_patient_has() -> None:
    torch.manual_seed(0)
    plug = adaptive.build(adaptive.Options(), texts=2, hidden_size=3)
    given = texts()
    with torch.no_grad():
        found = plug(given, PRESENT)
        share = torch.softmax(given.flatten(1) @ plug.gate.weight.T + plug.gate.bias, dim=1)
    mixed = (share[..., None] * given).sum(dim=1)
    torch.testing.assert_close(found, torch.stack([mixed[0], given[1, 0], given[2, 1], mixed[3]]))


def test_add_is_the_sum() -> None:
    plug = add.build(add.Options(), texts=2, hidden_size=3)
    assert torch.equal(plug(texts(), PRESENT), texts()[:, 0] + texts()[:, 1])


def test_mag_shifts_the_note_by_the_summary() -> None:
    plug = mag.build(mag.Options(beta=0.5), texts=2, hidden_size=3)
    assert torch.equal(plug(texts(), PRESENT), plug.gate(texts()[:, 0], texts()[:, 1]))
    assert plug.gate.beta == 0.5


@pytest.mark.parametrize("name", components.names("model.text_fusion"))
def test_one_vector_a_patient_and_a_fusion_of_one_text_gives_that_text_back(name: str) -> None:
    reads = components.options("model.text_fusion", Component(name)).reads
    assert reads and set(reads) <= set(BOTH)
    given, present = texts()[:, : len(reads)], PRESENT[:, : len(reads)]
    plug = components.build("model.text_fusion", Component(name), texts=len(reads), hidden_size=3)
    fused = plug(given, present)
    assert fused.shape == (4, 3) and fused.isfinite().all()
    if len(reads) == 1:
        assert torch.equal(fused, given[:, 0]) and not list(plug.parameters())
