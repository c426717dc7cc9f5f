import torch

from emerge_ehr.models.text_fusion import adaptive, add, concat, mag, note_only, summary_only

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


def test_the_only_text_is_the_representation() -> None:
    for module in (note_only, summary_only):
        plug = module.build(module.Options(), texts=1, hidden_size=3)
        assert torch.equal(plug(texts()[:, :1], PRESENT[:, :1]), texts()[:, 0])
