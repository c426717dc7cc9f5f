"""Somebody's methods, each with a mistake, as plugs of an installed package: ``install`` puts it where Python finds packages."""

from pathlib import Path

PACKAGE = "careless_plugs"
PLUG = '''
"""Made for a test."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch


@dataclass(frozen=True)
class Options:
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    return Careless(sizes)


class Careless(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear = nn.Linear(sizes.features + sizes.labels, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        mean, none = batch.ehr.mean(dim=1), torch.zeros_like(batch.label)
        {forward}
'''
FORWARDS = {
    "of_the_batch": "logits = self.linear(torch.cat([mean, none], dim=1)); return logits - logits.mean(dim=0)",
    "of_the_outcome": "return self.linear(torch.cat([mean, 5 * batch.label], dim=1))",
    "of_nothing": "return self.linear(torch.cat([0 * mean, none], dim=1))",
}


def install(site: Path) -> None:
    """Write the package, and the record of its installation, into ``site``."""
    folder = site / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, forward in FORWARDS.items():
        (folder / f"{name}.py").write_text(PLUG.replace("{forward}", forward).lstrip())
    record = site / f"{PACKAGE}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: careless-plugs\nVersion: 1.0\n")
    (record / "top_level.txt").write_text(f"{PACKAGE}\n")
