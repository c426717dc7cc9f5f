"""MLflow: numbers and settings to the server that the environment's ``MLFLOW_TRACKING_URI`` names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from src.fields import UserError
from src.training.checkpoints import Epoch
from src.training.loggers import flat, numbers


@final
@dataclass(frozen=True)
class MLflow:
    """One run."""

    client: Any
    run_id: str

    def epoch(self, row: Epoch) -> None:
        """One metric a number, at the epoch's step."""
        for name, value in numbers(row).items():
            self.client.log_metric(self.run_id, name, value, step=row.epoch)

    def close(self, metrics: Mapping[str, float]) -> None:
        """The final metrics; the run is marked as finished."""
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value)
        self.client.set_terminated(self.run_id)


def build(run_dir: Path, run_name: str, settings: Mapping[str, Any]) -> MLflow:
    """A new run of the experiment named like the dataset, with the config as parameters.

    Raises:
        UserError: no server is named.
    """
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        raise UserError(
            "training.loggers: mlflow needs the environment variable MLFLOW_TRACKING_URI, e.g. http://127.0.0.1:5000"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # what is trained here is nobody else's business
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server)
    name = str(settings["dataset"])
    experiment = client.get_experiment_by_name(name)
    identifier = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(identifier, run_name=run_name)
    for key, value in flat(settings).items():
        client.log_param(run.info.run_id, key, value[:500])
    return MLflow(client, run.info.run_id)
