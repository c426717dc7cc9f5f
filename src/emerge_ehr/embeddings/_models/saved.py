"""A pretrained encoder beside the artefacts: its options, and the identity of the model that they were used with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from emerge_ehr.embeddings._models import model_files
from emerge_ehr.embeddings._models.model_files import ModelFiles
from emerge_ehr.fields import parse, to_dict
from emerge_ehr.storage.artefacts import read_json, write_json


class OfFiles(Protocol):
    """An encoder whose model was read from ``files``."""

    @property
    def files(self) -> ModelFiles:
        """Where the model lies, and who it is."""


Encoder = TypeVar("Encoder", bound=OfFiles)
Options = TypeVar("Options")


def save(path: Path, plug: str, files: ModelFiles, options: Any) -> None:
    """What ``load`` reads; ``plug`` is the encoder's name."""
    write_json(path, {"encoder": plug, "identity": files.identity, "options": to_dict(options)})


def load(path: Path, shape: type[Options], build: Callable[[Options], Encoder]) -> Encoder:
    """The encoder that was saved at ``path``, built anew.

    Raises:
        UserError: the model has changed since.
    """
    record = read_json(path, "preprocess")
    built = build(parse(shape, record["options"], str(path)))
    model_files.require_same(built.files, record["identity"], path)
    return built
