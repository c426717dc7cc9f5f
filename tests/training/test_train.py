import csv
import dataclasses
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from emerge_ehr.config import Config, Model
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import objective, train

Prepare = Callable[..., Config]
FILES = [
    "checkpoints/best.safetensors",
    "checkpoints/best_state.safetensors",
    "checkpoints/last.safetensors",
    "checkpoints/last_state.safetensors",
    "config.json",
    "history.csv",
    "manifest.json",
    "metrics.json",
    "plain_predictions.csv",
    "predictions.csv",
    "subgroups.csv",
]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(config: Config) -> Any:
    return json.loads((config.run_dir / "metrics.json").read_text(encoding="utf-8"))


def test_training_twice_writes_the_same_bytes(prepared: Prepare) -> None:
    config = prepared()
    train.run(config)
    first = contents(config.run_dir)
    torch.rand(3)  # whatever was drawn before must not matter
    train.run(config)
    assert sorted(first) == FILES
    assert contents(config.run_dir) == first


def test_another_seed_gives_another_model(prepared: Prepare) -> None:
    config = prepared()
    train.run(config)
    first = contents(config.run_dir)
    train.run(dataclasses.replace(config, seed=7))
    assert contents(config.run_dir)["checkpoints/best.safetensors"] != first["checkpoints/best.safetensors"]


def test_nothing_written_names_a_folder_outside_the_project(prepared: Prepare, tmp_path: Path) -> None:
    config = prepared()
    train.run(config)
    assert not any(str(tmp_path).encode() in content for content in contents(config.run_dir).values())


@pytest.mark.parametrize("text_fusion", ["concat", "adaptive"])
def test_a_planted_signal_is_learned(prepared: Prepare, text_fusion: str) -> None:
    config = prepared(patients=400, max_epochs=15)
    model = dataclasses.replace(config.model, text_fusion=Component(text_fusion))
    train.run(dataclasses.replace(config, model=model))
    assert report(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] > 0.8


def test_shuffled_labels_cannot_be_learned(prepared: Prepare) -> None:
    label = np.random.default_rng(1).integers(0, 2, (600, 1)).astype(np.float32)
    config = prepared(patients=600, label=label)
    train.run(config)
    assert report(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] == pytest.approx(0.5, abs=0.15)


def test_the_predictions_give_the_reported_metrics(prepared: Prepare) -> None:
    config = prepared()
    train.run(config)
    dataset = load_dataset(config.processed_dir)
    label = dict(zip(dataset.patient_id.tolist(), dataset.label[:, 0], strict=True))
    rows = read(config.run_dir / "predictions.csv")
    assert [row["patient_id"] for row in rows] == [*dataset.split["val"], *dataset.split["test"]]
    assert {row["label_code"] for row in rows} == {"mortality"}
    for split in ("val", "test"):
        part = [row for row in rows if row["split"] == split]
        truth, probability = [int(row["y_true"]) for row in part], [float(row["y_prob"]) for row in part]
        assert truth == [label[row["patient_id"]] for row in part]
        found = report(config)["splits"][split]["mortality"]
        assert (found["patients"], found["positives"]) == (len(part), sum(truth))
        assert found["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, probability), rel=0, abs=1e-12)


def selecting(config: Config, selection: Any) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, selection=selection))


@pytest.mark.parametrize(
    ("selection", "said"), [("loss", "lowest validation loss"), ("auprc", "highest validation AUPRC")]
)
def test_the_best_epoch_is_the_one_that_validation_selects(prepared: Prepare, selection: str, said: str) -> None:
    config = selecting(prepared(patients=100, max_epochs=12), selection)
    train.run(config)
    history, found = read(config.run_dir / "history.csv"), report(config)
    losses, auprcs = ([float(row[name]) for row in history] for name in ("val_loss", "val_auprc"))
    best, auprc = found["best_epoch"] - 1, found["splits"]["val"]["mortality"]["metrics"]["auprc"]["value"]
    if selection == "loss":
        assert losses[best] == min(losses)
    else:
        assert losses[best] == min(loss for loss, score in zip(losses, auprcs, strict=True) if score == max(auprcs))
    assert len(history) in (found["best_epoch"] + config.training.patience, config.training.max_epochs)
    assert auprcs[best] == pytest.approx(auprc, abs=1e-12)
    assert found["selection"] == said


def test_the_last_checkpoint_differs_from_the_best_when_training_went_on(prepared: Prepare) -> None:
    config = prepared(patients=100, max_epochs=12)
    train.run(config)
    best, last = (load_file(config.run_dir / "checkpoints" / f"{name}.safetensors") for name in ("best", "last"))
    same = all(torch.equal(best[name], last[name]) for name in best)
    assert same == (report(config)["best_epoch"] == report(config)["epochs"])


def test_one_class_falls_back_to_the_validation_loss_and_says_so(
    prepared: Prepare, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = selecting(prepared(label=np.zeros((40, 1), np.float32)), "auprc")
    with caplog.at_level(logging.WARNING):
        train.run(config)
    found = report(config)
    assert found["selection"] == "lowest validation loss"
    assert found["thresholds"]["mortality"] == {"chosen": "0.5, because validation has one class only", "value": 0.5}
    assert found["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] is None
    assert {row["val_auprc"] for row in read(config.run_dir / "history.csv")} == {""}
    assert "validation split: all 8 patients have mortality = 0; its metrics are undefined" in found["warnings"]
    assert "lowest validation loss" in caplog.text
    assert "undefined" in capsys.readouterr().out


def test_the_table_the_warnings_and_the_folder_are_printed(
    prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepared()
    train.run(config)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == [
        *("split", "label", "patients", "positive", "AUROC", "AUPRC", "min(+P,Se)", "F1", "accuracy")
    ]
    assert "warning: the notes are surrogates" in printed
    assert f"run folder: {config.run_dir}" in printed
    told = report(config)["warnings"]
    assert told[0] == "the notes are surrogates" and all(f"warning: {warning}" in printed for warning in told)


def test_a_split_with_few_positives_is_warned_of(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(config)
    splits = report(config)["splits"]
    positives = {name: splits[name]["mortality"]["positives"] for name in ("val", "test")}
    told = [text for text in report(config)["warnings"] if "mostly chance" in text]
    assert 0 < positives["val"] < 10
    assert f"validation split: only {positives['val']} patients have mortality" in told[0]
    assert len(told) == sum(count < 10 for count in positives.values())  # training has more


@pytest.mark.parametrize("modalities", [("ehr",), ("note",), ("ehr", "summary")])
def test_every_choice_of_modalities_trains(prepared: Prepare, modalities: Any) -> None:
    config = dataclasses.replace(prepared(max_epochs=1), model=Model(hidden_size=8, heads=2, modalities=modalities))
    train.run(config)
    assert report(config)["epochs"] == 1


def test_bfloat16_trains(prepared: Prepare) -> None:
    config = prepared(max_epochs=1)
    train.run(dataclasses.replace(config, training=dataclasses.replace(config.training, precision="bf16-mixed")))
    assert report(config)["epochs"] == 1


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("metadata.json", "task", "readmission", "made for task 'readmission'"),
        ("metadata.json", "label_names", [], "label_names"),
        ("split.json", "val", [], "no patient in 'val'"),
    ],
)
def test_artefacts_that_do_not_fit_are_refused(
    prepared: Prepare, file: str, key: str, value: Any, message: str
) -> None:
    config = prepared()
    path = config.processed_dir / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        train.run(config)
    assert not config.run_dir.exists()


def test_token_level_fusion_without_pieces_says_which_setting_makes_them(prepared: Prepare) -> None:
    config = prepared()
    model = dataclasses.replace(config.model, fusion=Component("token_level"))
    with pytest.raises(
        UserError, match=r"note_tokens is empty.*note_chunks in \[token_level\] and run --stage preprocess"
    ):
        train.run(dataclasses.replace(config, model=model))
    model = dataclasses.replace(model, modalities=("ehr",))
    train.run(dataclasses.replace(config, model=model))


def test_token_level_fusion_learns_from_pieces(prepared: Prepare) -> None:
    generator = np.random.default_rng(3)
    label = generator.integers(0, 2, 400).astype(np.float32)
    tokens = generator.normal(size=(400, 3, 5)).astype(np.float32)
    tokens[:, 1, 0] += 4 * label
    pieces = {"note_tokens": tokens, "note_tokens_mask": np.ones((400, 3), np.float32)}
    config = prepared(patients=400, max_epochs=15, label=label[:, None], **pieces)
    model = dataclasses.replace(config.model, fusion=Component("token_level"), modalities=("ehr", "note"))
    train.run(dataclasses.replace(config, model=model))
    assert report(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] > 0.8


def test_static_features_are_learned_from_when_they_are_asked_for(prepared: Prepare) -> None:
    generator = np.random.default_rng(4)
    static = generator.normal(size=(400, 2)).astype(np.float32)
    config = prepared(patients=400, max_epochs=15, static=static, label=(static[:, :1] > 0.5).astype(np.float32))
    found = []
    for asked in (False, True):
        train.run(dataclasses.replace(config, model=dataclasses.replace(config.model, static=asked)))
        found.append(report(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"])
    assert found[0] < 0.7
    assert found[1] > 0.8


def test_a_label_that_is_not_0_or_1_is_refused(prepared: Prepare) -> None:
    with pytest.raises(UserError, match="other than 0 and 1"):
        train.run(prepared(label=np.full((40, 1), 2, np.float32)))


def test_a_loss_that_is_not_finite_stops_training_with_advice(prepared: Prepare) -> None:
    config = prepared()
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=1e30))
    with pytest.raises(UserError, match=r"lower training\.learning_rate"):
        train.run(config)


def test_the_settings_of_torch_are_left_as_they_were(prepared: Prepare) -> None:
    train.run(prepared(max_epochs=1))
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("head", ["shared", "separate"])
def test_a_label_that_is_not_defined_changes_nothing(prepared: Prepare, head: Any) -> None:
    mask = np.ones((60, 2), np.float32)
    mask[::3, 1] = 0
    label = np.random.default_rng(2).integers(0, 2, (60, 2)).astype(np.float32)
    found = []
    for folder, hidden in (("zeros", 0.0), ("ones", 1.0)):
        config = prepared(patients=60, label=np.where(mask > 0, label, hidden).astype(np.float32), label_mask=mask)
        metadata = json.loads((config.processed_dir / "metadata.json").read_text()) | {
            "label_names": ["mortality", "again"]
        }
        (config.processed_dir / "metadata.json").write_text(json.dumps(metadata))
        train.run(dataclasses.replace(config, model=dataclasses.replace(config.model, head=head)))
        rows = read(config.run_dir / "predictions.csv")
        found.append((rows, report(config)["splits"]))
        shutil.move(config.processed_dir, folder)
    assert found[0] == found[1]
    rows, splits = found[0]
    again = [row for row in rows if row["label_code"] == "again" and row["split"] == "test"]
    known = [row for row in again if row["y_true"]]
    assert len(known) == splits["test"]["again"]["patients"] < len(again) == splits["test"]["mortality"]["patients"]


def test_the_loss_is_the_mean_over_the_defined_labels() -> None:
    logits, label = torch.tensor([[0.3, -1.0], [2.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    probability = 1 / (1 + np.exp(-np.array([0.3, 2.0, 0.5])))
    expected = -np.log([probability[0], 1 - probability[1], probability[2]]).mean()
    assert objective.masked_loss(logits, label, mask).item() == pytest.approx(expected, abs=1e-6)
    assert objective.masked_loss(logits, label, torch.zeros(2, 2)).item() == 0


def test_an_accelerator_that_is_not_there_is_one_line(prepared: Prepare) -> None:
    config = prepared()
    absent = "cuda" if not torch.cuda.is_available() else "mps"
    settings = dataclasses.replace(config.training, accelerator=absent)
    with pytest.raises(UserError, match=f"training.accelerator = '{absent}'"):
        train.run(dataclasses.replace(config, training=settings))
