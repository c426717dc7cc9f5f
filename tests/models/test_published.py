"""The preset "published" against a re-statement of the original model's equations, without the libraries that it is made of."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emerge_ehr import config, presets
from emerge_ehr.fields import UserError
from emerge_ehr.models import emerge
from emerge_ehr.models.batch import Batch

Weights = dict[str, NDArray[np.float64]]
HOURS, FEATURES, NOTE, SUMMARY = 5, 3, 6, 4
RAW = {
    "dataset": "d",
    "run_name": "r",
    "paths": {"raw_dir": "raw", "kg_dir": "kg"},
    "source": "mimic4",
    "method": {"preset": "published"},
}


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def gru(weights: Weights, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last state over the hours [T,I] of one patient."""
    w_in, w_state = weights["ehr.series.cells.weight_ih_l0"], weights["ehr.series.cells.weight_hh_l0"]
    b_in, b_state = weights["ehr.series.cells.bias_ih_l0"], weights["ehr.series.cells.bias_hh_l0"]
    state = np.zeros(w_state.shape[1])
    for hour in values:
        of_hour, of_state = np.split(w_in @ hour + b_in, 3), np.split(w_state @ state + b_state, 3)
        reset, update = (sigmoid(a + b) for a, b in zip(of_hour[:2], of_state[:2], strict=True))
        new = np.tanh(of_hour[2] + reset * of_state[2])
        state = (1 - update) * new + update * state
    return state


def linear(weights: Weights, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def attend_to_one(weights: Weights, name: str, other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Attention to a single key, whose weight is 1: the projected value, projected once more."""
    value = weights[f"{name}.in_proj_weight"][-len(other) :] @ other + weights[f"{name}.in_proj_bias"][-len(other) :]
    return linear(weights, f"{name}.out_proj", value)


def published(weights: Weights, batch: Batch, n: int) -> NDArray[np.float64]:
    """The probability of each label for one patient."""
    ehr = gru(weights, torch.cat([batch.ehr[n], batch.ehr_mask[n]], dim=1).numpy().astype(float))
    texts = [
        linear(
            weights, f"texts.projections.{name}.linear", getattr(batch, f"{name}_embedding")[n].numpy().astype(float)
        )
        for name in ("note", "summary")
    ]
    text = linear(weights, "texts.text_fusion.projection", np.concatenate(texts))
    read = np.stack(
        [attend_to_one(weights, "fusion.text_to_ehr", ehr), attend_to_one(weights, "fusion.ehr_to_text", text)]
    )
    scores = read @ linear(weights, "fusion.query", read.mean(axis=0))
    shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    fused = shares @ read
    activated = np.array([x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in fused])
    return sigmoid(linear(weights, "head.3", linear(weights, "head.1", activated)))


def test_the_forward_pass_is_that_of_the_original_equations() -> None:
    settings = config.fill(RAW, "test").model
    torch.manual_seed(3)
    model = emerge.build(
        settings, features=FEATURES, statics=3, text_widths={"note": NOTE, "summary": SUMMARY}, labels=2
    ).eval()
    for parameter in model.parameters():  # PyTorch starts some biases at zero, where a mistake would not show
        torch.nn.init.normal_(parameter, std=0.3)
    patients, one = 4, torch.ones(4)
    batch = Batch(
        ehr=torch.randn(patients, HOURS, FEATURES),
        ehr_mask=torch.randint(0, 2, (patients, HOURS, FEATURES)).float(),
        ehr_length=torch.full((patients,), HOURS),
        static=torch.zeros(patients, 3),
        note_embedding=torch.randn(patients, NOTE),
        note_mask=one,
        summary_embedding=torch.randn(patients, SUMMARY),
        summary_mask=one,
        note_tokens=torch.zeros(patients, 0, NOTE),
        note_tokens_mask=torch.zeros(patients, 0),
        summary_tokens=torch.zeros(patients, 0, SUMMARY),
        summary_tokens_mask=torch.zeros(patients, 0),
        label=torch.zeros(patients, 2),
        label_mask=torch.ones(patients, 2),
    )
    weights = {name: value.detach().numpy().astype(float) for name, value in model.named_parameters()}
    with torch.no_grad():
        found = torch.sigmoid(model(batch)).numpy()
    expected = np.stack([published(weights, batch, n) for n in range(patients)])
    assert np.abs(found - expected).max() < 1e-6
    model.train()  # of the network only the head has dropout
    dropouts = {name for name, part in model.named_modules() if isinstance(part, torch.nn.Dropout) and part.p > 0}
    assert dropouts == {"head.2"}


def test_the_preset_gives_defaults_and_the_configs_own_settings_count_more() -> None:
    filled = config.fill({**RAW, "training": {"max_epochs": 3}, "model": {"fusion": "mag"}}, "test")
    assert filled.training.learning_rate == 1e-4 and filled.training.selection == "auroc"
    assert filled.training.max_epochs == 3 and filled.model.fusion.name == "mag"
    assert filled.model.text_fusion.name == "concat" and filled.model.experts == () and filled.training.members == 1
    ours = config.fill({key: value for key, value in RAW.items() if key != "method"}, "test")
    assert ours.training.learning_rate == 1e-3 and ours.model.relevance


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"method\.preset = 'publishd'"):
        config.fill({**RAW, "method": {"preset": "publishd"}}, "test")
    assert set(presets.PRESETS) == {"published"}
