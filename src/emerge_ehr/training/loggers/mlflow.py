"""MLflow: sends metrics and settings to the server in the environment variable ``MLFLOW_TRACKING_URI``.

If the server is lost during training, a warning is logged and training goes on.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.training.checkpoints import Epoch
from emerge_ehr.training.loggers import flat, numbers

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class MLflow:
    """A run on an MLflow server."""

    client: Any
    run_id: str

    def epoch(self, row: Epoch) -> None:
        """Log each number of the epoch as a metric, at the epoch's step."""
        with _warning():
            for name, value in numbers(row).items():
                self.client.log_metric(self.run_id, name, value, step=row.epoch)

    def abandon(self) -> None:
        """Mark the run as failed."""
        with _warning():
            self.client.set_terminated(self.run_id, "FAILED")

    def close(self, metrics: Mapping[str, float]) -> None:
        """Log the final metrics and mark the run as finished."""
        with _warning():
            for name, value in metrics.items():
                self.client.log_metric(self.run_id, name, value)
            self.client.set_terminated(self.run_id)


@contextmanager
def _warning() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        logger.warning("mlflow: %s", first_line(error))


def build(run_dir: Path, run_name: str, settings: Mapping[str, Any]) -> MLflow:
    """A new run of the experiment that has the dataset's name, with the config as parameters.

    Raises:
        UserError: no server is named, or it does not answer.
    """
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        raise UserError(
            "training.loggers: mlflow needs the environment variable MLFLOW_TRACKING_URI, e.g. http://127.0.0.1:5000"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody else has to know what is trained here
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default is to wait minutes for a dead server
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return _begin(MlflowClient, server, run_name, settings)
    except MlflowException as error:
        raise UserError(f"training.loggers: mlflow at MLFLOW_TRACKING_URI = {server}: {first_line(error)}") from None


def _begin(connect: Callable[[str], Any], server: str, run_name: str, settings: Mapping[str, Any]) -> MLflow:
    client = connect(server)
    name = str(settings["dataset"])
    experiment = client.get_experiment_by_name(name)
    identifier = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(identifier, run_name=run_name)
    for key, value in flat(settings).items():
        client.log_param(run.info.run_id, key, value[:500])
    return MLflow(client, run.info.run_id)
