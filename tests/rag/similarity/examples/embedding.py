"""With a tiny sentence encoder."""

from pathlib import Path
from typing import Any


def options(models: Path) -> dict[str, Any]:
    return {"encoder": {"name": "sentence_transformers", "model": str(models / "sentence")}}
