"""Calibrated risks: on whom the maps are fitted, what goes by them, and what is told where they say little."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from emerge_ehr.config import Calibration, Config
from emerge_ehr.evaluation import calibration, metrics
from emerge_ehr.evaluation.recalibration import Logistic
from emerge_ehr.fields import UserError
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import calibrated, inputs, loop, members, train, trained
from emerge_ehr.training.methods import FittedMethod
from emerge_ehr.training.results import Predictions
from tests.evaluation.test_recalibration import venn_abers_by_hand
from tests.run_records import record_files
from tests.training.conftest import WIDTH

Prepare = Callable[..., Config]
Array = np.ndarray[Any, np.dtype[np.float64]]


def noisy(prepare: Prepare, patients: int, count: int, **training: Any) -> Config:
    """A run of weighted classes, whose risks are far too high."""
    generator = np.random.default_rng(1)
    risk = generator.normal(size=patients)
    outcome = generator.random(patients) < expit(1.5 * risk - 1.5)
    note = generator.normal(size=(patients, WIDTH))
    note[:, 0] += 2 * risk
    config = prepare(
        patients=patients, label=outcome.astype(np.float32)[:, None], note_embedding=note.astype(np.float32)
    )
    chosen = {"members": count, "class_weights": "balanced", "bootstrap_resamples": 5, **training}
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **chosen))


def by(config: Config, method: Any) -> Config:
    """The same run, calibrated, in a folder of its own."""
    return dataclasses.replace(config, run_name=method, calibration=Calibration(method=method))


def rows(config: Config, split: str) -> pl.DataFrame:
    return pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == split)


def values(config: Config) -> tuple[dict[str, Any], dict[str, float]]:
    """metrics.json, and the values of the test split."""
    found = json.loads((config.run_dir / "metrics.json").read_text())
    return found, {name: one["value"] for name, one in found["splits"]["test"]["mortality"]["metrics"].items()}


def expected(method: str, label: Array, risk: Array, new: Array) -> Array:
    if method == "platt":
        model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(logit(risk)[:, None], label)
        return model.predict_proba(logit(new)[:, None])[:, 1]  # type: ignore[no-any-return]
    if method == "isotonic":
        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(risk, label)
        return model.predict(new)  # type: ignore[no-any-return]
    return np.array([venn_abers_by_hand(label, risk, one) for one in new])


def test_the_risks_of_a_single_member_go_by_a_map_fitted_on_validation_and_thresholds_by_these(
    prepared: Prepare,
) -> None:
    plain = noisy(prepared, 600, 1)
    train.run(plain)
    before, told_before = rows(plain, "test"), values(plain)[1]
    fitted_on = rows(plain, "val")
    label, risk = fitted_on["y_true"].to_numpy().astype(float), fitted_on["y_prob"].to_numpy()
    assert abs(told_before["calibration_intercept"]) > 0.6
    for method in ("platt", "isotonic", "venn_abers"):
        config = by(plain, method)
        train.run(config)
        found, told = values(config)
        after = rows(config, "test")["y_prob"].to_numpy()
        np.testing.assert_allclose(after, expected(method, label, risk, before["y_prob"].to_numpy()), atol=1e-5)
        assert abs(told["calibration_intercept"]) < 0.5 and told["ece"] < told_before["ece"] / 1.5
        seen = rows(config, "val")
        cut = metrics.best_threshold(label, seen["y_prob"].to_numpy())
        assert found["thresholds"]["mortality"]["value"] == cut
        about = found["calibration"]["labels"]["mortality"]
        assert (about["patients"], about["positives"]) == (len(label), label.sum())
        assert about["test_before"]["ece"] == told_before["ece"]
        run = trained.load(config.run_dir)
        batch = inputs.mapped(run.dataset, "test").whole()
        np.testing.assert_allclose(run.probability(batch)[:, 0], after, atol=1e-6)
    assert not (plain.run_dir / "checkpoints" / "calibration.json").exists()


def test_with_members_the_map_is_fitted_on_everybody_by_the_member_that_was_not_trained_on_them(
    prepared: Prepare,
) -> None:
    plain = noisy(prepared, 150, 3)
    config = by(plain, "platt")
    train.run(plain)
    train.run(config)
    run, dataset = trained.load(config.run_dir), load_dataset(config.processed_dir)
    batches = [inputs.mapped(dataset, name).whole() for name in ("train", "val")]
    label = torch.cat([batch.label for batch in batches])[:, 0].numpy()
    fold = members.folds([*dataset.split["train"], *dataset.split["val"]], label, 3, config.seed)
    each = [torch.cat([loop.predict(one, batch, 32) for batch in batches])[:, 0] for one in run.members]  # type: ignore[arg-type]
    outside = torch.stack(each).double().numpy()[fold, np.arange(len(fold))]
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(outside[:, None], label)
    about = values(config)[0]["calibration"]["labels"]["mortality"]
    assert about["patients"] == len(label)
    assert about["map"] == pytest.approx({"slope": model.coef_[0, 0], "intercept": model.intercept_[0]}, abs=1e-3)
    found = Logistic(about["map"]["intercept"], about["map"]["slope"])
    for split in ("val", "test"):
        before, after = (rows(one, split)["y_prob"].to_numpy() for one in (plain, config))
        np.testing.assert_allclose(after, found.apply(before), atol=1e-6)


def test_a_run_from_before_there_were_maps_is_read_and_one_whose_maps_are_damaged_is_refused(prepared: Prepare) -> None:
    plain = noisy(prepared, 60, 1)
    config = by(plain, "platt")
    train.run(plain)
    train.run(config)
    path = plain.run_dir / "config.json"
    record = json.loads(path.read_text())
    assert record.pop("calibration")["method"] == "none"
    path.write_text(json.dumps(record))
    record_files(plain.run_dir)
    run = trained.load(plain.run_dir)
    batch = inputs.mapped(run.dataset, "test").whole()
    np.testing.assert_allclose(run.probability(batch)[:, 0], rows(plain, "test")["y_prob"], atol=1e-6)
    (config.run_dir / "checkpoints" / "calibration.json").write_text('{"mortality": {"kind": "logistic", "slope": 1}}')
    record_files(config.run_dir)
    with pytest.raises(UserError, match=r"calibration\.json: does not hold what recalibrates.*run --stage train again"):
        trained.load(config.run_dir)


def test_few_patients_with_the_outcome_to_calibrate_on_are_told_and_none_leave_risks_as_they_are(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    label = np.zeros((60, 1), np.float32)
    label[[*range(0, 36, 3), 37, 41, 43, *range(50, 60, 3)]] = 1
    config = by(noisy(prepared, 60, 1), "isotonic")
    config = dataclasses.replace(prepared_again(config, label), run_name="few")
    train.run(config)
    line = "mortality: only 3 of the 12 patients to calibrate on have it; what calibrates the risks is mostly chance"
    assert line in values(config)[0]["warnings"] and line in caplog.messages
    label[36:48] = 0
    train.run(prepared_again(config, label))
    found, _ = values(config)
    assert "mortality: risks are not calibrated, as the 12 patients to calibrate on are all alike" in found["warnings"]
    assert found["calibration"]["labels"]["mortality"]["map"] is None
    uncalibrated = by(prepared_again(config, label), "none")
    train.run(uncalibrated)
    assert rows(uncalibrated, "test").equals(rows(config, "test"))


def prepared_again(config: Config, label: Any) -> Config:
    """The config for the same artefacts with other outcomes."""
    from emerge_ehr.storage.dataset import write_dataset

    path = Path("processed/emerge_dataset.npz")
    arrays = dict(np.load(path))
    write_dataset(path, {**arrays, "label": label})
    return config


def judged(label: Array, risk: Array, split: str = "val") -> Predictions:
    ids = [f"{split}{n}" for n in range(len(label))]
    return Predictions(split, ids, ["death"], label[:, None], np.ones((len(label), 1), bool), risk[:, None])


FITTED = FittedMethod(lambda patients: torch.zeros(0), lambda folder: None, [], {}, [])


def test_risks_that_are_too_extreme_get_a_slope_of_one_among_others(prepared: Prepare) -> None:
    config = by(prepared(), "platt")
    generator = np.random.default_rng(3)
    true = generator.normal(-1, 1, 8000)
    label = (generator.random(8000) < expit(true)).astype(float)
    parts = [judged(label[:4000], expit(2 * true[:4000])), judged(label[4000:], expit(2 * true[4000:]), "test")]
    done = calibrated.fit(config, FITTED, [parts[0]], parts[1], ())
    test = done.predictions[1]
    slopes = [float(calibration.Calibration(*one.known(0)).slope(np.ones((1, 4000)))[0]) for one in (parts[1], test)]
    assert slopes[0] < 0.6 and abs(slopes[1] - 1) < 0.1 and not done.warnings
    before = done.fitted.selection["calibration"]["labels"]["death"]["test_before"]
    assert before["calibration_slope"] == pytest.approx(slopes[0])
    validation, of_folds = calibrated.fit(config, FITTED, [parts[0]], parts[1], [config]).predictions
    assert of_folds is parts[1] and validation is not parts[0]  # whoever a fold tested has gone by the fold's own map
    turned = judged(label[:4000], expit(-true[:4000]))
    done = calibrated.fit(config, FITTED, [turned], parts[1], ())
    assert (done.predictions[1].probability == parts[1].probability).all()
    assert "those with higher risks have it less often" in done.warnings[0]
