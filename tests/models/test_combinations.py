"""Every combination that the config can name takes a training step; and the ways in which a step is run."""

from itertools import combinations
from typing import Any

import pytest
import torch

from emerge_ehr import components
from emerge_ehr.config import Model
from emerge_ehr.fields import Component
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge, build

SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(("ehr", "note", "summary"), size)]


def make(**settings: Any) -> Emerge:
    torch.manual_seed(1)
    model = Model(hidden_size=8, heads=2, **settings)
    return build(model, features=3, statics=2, text_widths={"note": 5, "summary": 4}, labels=2)


def allowed(text_fusion: str, modalities: tuple[str, ...]) -> bool:
    reads = components.options("model.text_fusion", Component(text_fusion)).reads
    return modalities == ("ehr",) or not set(reads).isdisjoint(modalities)


@pytest.mark.parametrize("fusion", components.names("model.fusion"))
@pytest.mark.parametrize("series", components.names("model.series"))
def test_every_combination_takes_a_step_down_a_finite_loss(patients: Batch, series: str, fusion: str) -> None:
    label = torch.cat([patients.label, 1 - patients.label], dim=1)
    parts = {"series": Component(series), "fusion": Component(fusion)}
    for text_fusion in components.names("model.text_fusion"):
        for number, subset in enumerate(subset for subset in SUBSETS if allowed(text_fusion, subset)):
            turn = {"static": number % 2 > 0, "head": "separate" if number % 3 else "shared"}
            model = make(**parts, text_fusion=Component(text_fusion), modalities=subset, **turn)
            optimizer = torch.optim.SGD(model.eval().parameters(), lr=1e-3)
            losses = []
            for _ in range(2):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(model(patients), label)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            assert losses[1] < losses[0] < 10, (text_fusion, subset)


ONE_BY_ONE = [
    *({"series": Component(name)} for name in components.names("model.series")),
    *({"text_fusion": Component(name)} for name in components.names("model.text_fusion")),
    *({"fusion": Component(name)} for name in components.names("model.fusion")),
    {"head": "separate"},
    {"static": True},
]


@pytest.mark.parametrize("settings", ONE_BY_ONE, ids=str)
def test_bfloat16_autocast_gives_nearly_the_same_and_finite_gradients(patients: Batch, settings: Any) -> None:
    model = make(**settings).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(patients)
    torch.testing.assert_close(found.float(), model(patients), atol=0.05, rtol=0)
    found.float().square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


WITHOUT_RECURRENT_LAYERS = [  # PyTorch's break the graph
    name
    for name in components.names("model.series")
    if not any(isinstance(part, torch.nn.RNNBase) for part in make(series=Component(name)).modules())
]


@pytest.mark.parametrize("fusion", components.names("model.fusion"))
@pytest.mark.parametrize("series", WITHOUT_RECURRENT_LAYERS)
def test_the_forward_pass_is_one_graph_for_the_compiler(patients: Batch, series: str, fusion: str) -> None:
    model = make(series=Component(series), fusion=Component(fusion), static=True, head="separate").eval()
    torch.compiler.reset()  # it compiles the same code for so many models only
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(patients), model(patients))
