"""Experiment trackers beside ``history.csv``; a module here is a tracker, chosen by its name in ``training.loggers``."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from emerge_ehr.fields import UserError
from emerge_ehr.training.checkpoints import Epoch


class Tracker(Protocol):
    """Follows one training run."""

    def epoch(self, row: Epoch) -> None:
        """An epoch has ended."""

    def abandon(self) -> None:
        """Training has failed or was stopped."""

    def close(self, metrics: Mapping[str, float]) -> None:
        """Training has ended; ``metrics`` are those of validation and test, by ``split/label/metric``."""


def build(names: Sequence[str], run_dir: Path, run_name: str, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers; ``settings`` are the resolved config, nested.

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
    """Nested settings by dotted keys.

    >>> flat({"seed": 1, "model": {"heads": 4}})
    {'seed': '1', 'model.heads': '4'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return found


def numbers(row: Epoch) -> dict[str, float]:
    """The defined numbers of an epoch, without its number."""
    return {key: value for key, value in vars(row).items() if key != "epoch" and value is not None}
