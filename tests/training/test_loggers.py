"""What the experiment trackers are told, read back with their own readers."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.training import train

Prepare = Callable[..., Config]


def tracked(config: Config, name: str) -> list[dict[str, str]]:
    """Train with one tracker; the rows of history.csv."""
    train.run(dataclasses.replace(config, training=dataclasses.replace(config.training, loggers=(name,))))
    with (config.run_dir / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tensorboard_holds_the_history_and_the_final_metrics(prepared: Prepare) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tracking' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = prepared()
    history = tracked(config, "tensorboard")
    events = EventAccumulator(str(config.run_dir / "tensorboard")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert losses == [(int(row["epoch"]), pytest.approx(float(row["val_loss"]), rel=1e-6)) for row in history]
    assert "test/mortality/auroc" in events.Tags()["scalars"]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_the_history_the_settings_and_the_final_metrics(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", Path("tracked").absolute().as_uri())
    history = tracked(prepared(), "mlflow")
    client = MlflowClient()
    run = client.search_runs([client.get_experiment_by_name("toy").experiment_id])[0]
    losses = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "val_loss")]
    assert losses == [(int(row["epoch"]), pytest.approx(float(row["val_loss"]))) for row in history]
    assert run.data.params["training.learning_rate"] == "0.005" and run.info.status == "FINISHED"
    assert "test/mortality/auroc" in run.data.metrics


def test_mlflow_without_a_server_is_one_line(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        tracked(prepared(), "mlflow")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("server", ["nonsense://x", "file:///nowhere"])
def test_a_server_that_mlflow_cannot_use_is_one_line(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        tracked(prepared(), "mlflow")
