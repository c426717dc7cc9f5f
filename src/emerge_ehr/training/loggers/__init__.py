"""Experiment trackers beside ``history.csv``: each module here is a tracker, chosen by its name in ``training.loggers``."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from emerge_ehr.fields import UserError
from emerge_ehr.training.checkpoints import Epoch


class Tracker(Protocol):
    """Follows one training run."""

    def epoch(self, row: Epoch) -> None:
        """Record the ``row`` of an epoch that has ended."""

    def abandon(self) -> None:
        """Note that training has failed or was stopped."""

    def close(self, metrics: Mapping[str, float]) -> None:
        """Record the final ``metrics`` of validation and test, by ``split/label/metric``."""


def build(names: Sequence[str], run_dir: Path, run_name: str, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers called ``names``; ``settings`` are the resolved config, nested.

    Raises:
        UserError: a tracker's package is not installed.
    """
    trackers = []
    for name in names:
        try:
            trackers.append(importlib.import_module(f"{__name__}.{name}").build(run_dir, run_name, settings))
        except ModuleNotFoundError as error:
            raise UserError(
                f"training.loggers: {name} needs the package {error.name}; "
                "install the extra 'tracking' (uv sync --extra tracking)"
            ) from None
    return trackers


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one dictionary with dotted keys.

    >>> flat({"seed": 1, "model": {"heads": 4}})
    {'seed': '1', 'model.heads': '4'}
    """
    dotted: dict[str, str] = {}
    for key, value in settings.items():
        dotted |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return dotted


def numbers(row: Epoch) -> dict[str, float]:
    """The losses, scores and learning rate of an epoch by name, without those that are undefined."""
    return {key: value for key, value in vars(row).items() if key != "epoch" and value is not None}
