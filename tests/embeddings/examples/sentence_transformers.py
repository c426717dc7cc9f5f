"""A tiny sentence encoder."""

from pathlib import Path
from typing import Any


def options(models: Path) -> dict[str, Any]:
    return {"model": str(models / "sentence")}
