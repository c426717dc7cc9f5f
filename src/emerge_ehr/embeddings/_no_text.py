"""Takes the place of an encoder for a kind of text that no training patient has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.storage.artefacts import write_json

NAME = "none"


@final
@dataclass(frozen=True)
class NoText:
    """Encodes every text as a zero vector of width 1; masks say that the text is absent."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, 1]`` zeros."""
        return np.zeros((len(texts), 1), dtype=np.float32)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, 1]`` zeros."""
        return self.encode(texts)

    def remember(self, texts: Sequence[str]) -> None:
        """Does nothing."""

    def split(self, text: str) -> list[str]:
        """No pieces."""
        return []

    def save(self, folder: Path, name: str) -> None:
        """Write ``<name>.json``, which only names this encoder."""
        write_json(folder / f"{name}.json", {"encoder": NAME})

    def description(self) -> dict[str, Any]:
        """Name and width."""
        return {"name": NAME, "width": 1}


def load(folder: Path, name: str, *, cache_dir: Path) -> NoText:
    """The encoder; nothing is read, as it has learned nothing."""
    return NoText()
