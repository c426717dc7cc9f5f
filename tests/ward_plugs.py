"""A package of somebody else's plugs, one for every socket: ``install`` puts it where Python finds installed packages.

Some are written here; the others hand out a plug of ours under their own name, as an adaptation of it would begin.
"""

from pathlib import Path

from emerge_ehr import components

PACKAGE = "ward_plugs"
VERSION = "1.2"

SERIES = '''
"""The running mean of the hours so far."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emerge_ehr.models.recurrent import until
from emerge_ehr.models.series import Series


@dataclass(frozen=True)
class Options:
    """``gain``: what the mean is multiplied with."""

    gain: float = 1.0


def build(options: Options, *, input_size: int, hidden_size: int) -> Series:
    return RunningMean(options.gain, input_size, hidden_size)


class RunningMean(nn.Module):
    def __init__(self, gain: float, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gain = gain
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        hours = torch.arange(1, values.shape[1] + 1, device=values.device)
        return until(self.linear(self.gain * values.cumsum(dim=1) / hours[:, None]), length)
'''

FUSION = '''
"""The mean of all tokens, the pieces of texts among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    pieces: ClassVar[bool] = True


def build(options: Options, *, hidden_size: int) -> Fusion:
    return Mean(hidden_size)


class Mean(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        tokens = torch.cat([one.tokens for one in modalities.values()], dim=1)
        present = torch.cat([one.present for one in modalities.values()], dim=1)[..., None]
        return self.linear((tokens * present).sum(dim=1) / present.sum(dim=1).clamp(min=1))

    def attention(self, modalities: Mapping[str, Modality]) -> None:
        return None
'''

BASELINE = '''
"""A linear model of the last hour."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import values_and_mask
from emerge_ehr.models.recurrent import until


@dataclass(frozen=True)
class Options:
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes) -> Network:
    return LastHour(sizes)


class LastHour(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * sizes.features, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        return self.linear(until(values_and_mask(batch), batch.ehr_length)[1])
'''

EMBEDDING = '''
"""How often each letter stands in a text. A package: the letters are in a file of their own."""

import json
from dataclasses import dataclass

import numpy as np

from emerge_ehr.embeddings import TextEncoder
from ward_plugs.letters.alphabet import LETTERS


@dataclass(frozen=True)
class Options:
    scale: float = 1.0


@dataclass(frozen=True)
class Letters:
    scale: float

    def fit(self, texts):
        return self

    def encode(self, texts):
        counts = [[text.lower().count(letter) / max(len(text), 1) for letter in LETTERS] for text in texts]
        return self.scale * np.array(counts, np.float32).reshape(len(texts), len(LETTERS))

    encode_queries = encode

    def remember(self, texts):
        pass

    def split(self, text):
        return [part for part in text.split(". ") if part]

    def save(self, folder, name):
        saved = {"encoder": "ward_plugs.letters", "scale": self.scale}
        (folder / f"{name}.json").write_text(json.dumps(saved), encoding="utf-8")

    def description(self):
        return {"name": "ward_plugs.letters", "width": len(LETTERS)}


def build(options: Options) -> TextEncoder:
    return Letters(options.scale)


def download(options: Options, *, offline: bool) -> None:
    """Nothing."""


def load(folder, name, *, cache_dir):
    return Letters(json.loads((folder / f"{name}.json").read_text("utf-8"))["scale"])
'''

ENTITIES = '''
"""Two diseases, found by their very names."""

import re
from dataclasses import dataclass

from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction

NAMES = re.compile("pneumonia|sepsis")


@dataclass(frozen=True)
class Options:
    """None."""


class Words:
    def extract(self, texts):
        return [Extraction(tuple(map(_entity, NAMES.finditer(text))), "ward_plugs.words") for text in texts]


def _entity(match):
    return Entity(match[0], match[0], *match.span(), "present")


def build(options: Options) -> EntityExtractor:
    return Words()
'''

WRITTEN = {
    "model.series": ("running_mean.py", SERIES),
    "model.fusion": ("mean.py", FUSION),
    "baseline": ("last_hour.py", BASELINE),
    "embedding": ("letters/__init__.py", EMBEDDING),
    "entities": ("words.py", ENTITIES),
}
HANDED_OUT = {
    "source": "synthetic",
    "task": "mortality",
    "knowledge_graph": "primekg",
    "linking.similarity": "character_ngrams",
    "retrieval": "sample",
    "summary": "template",
    "model.text_fusion": "adaptive",
}


def name_of(socket: str) -> str:
    """What a config calls the package's plug of a socket."""
    if socket in WRITTEN:
        return f"{PACKAGE}.{WRITTEN[socket][0].removesuffix('/__init__.py').removesuffix('.py')}"
    return f"{PACKAGE}.own_{socket.replace('.', '_')}"


def install(site: Path) -> Path:
    """The package and the record of its installation, in ``site``. Returns the package's folder."""
    folder = site / PACKAGE
    (folder / "letters").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "letters" / "alphabet.py").write_text('LETTERS = "aeiourstln"\n')
    for file, text in WRITTEN.values():
        (folder / file).write_text(text.lstrip())
    for socket, name in HANDED_OUT.items():
        module = f"{components.SOCKETS[socket]}.{name}"
        functions = "Options, build, download" if socket == "linking.similarity" else "Options, build"
        (folder / f"{name_of(socket).partition('.')[2]}.py").write_text(f"from {module} import {functions}\n")
    (folder / "no_plug.py").write_text("Options = 3\n")
    (folder / "lacks_a_library.py").write_text("import no_such_library\n")
    record = site / f"{PACKAGE}-{VERSION}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ward-plugs\nVersion: {VERSION}\n")
    (record / "top_level.txt").write_text(f"{PACKAGE}\n")
    return folder
