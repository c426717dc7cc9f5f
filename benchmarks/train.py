"""Seconds per epoch on arrays of MIMIC-IV's size, against a plain PyTorch loop and a Lightning Trainer with the same model.

    python benchmarks/train.py --stays 20000 --epochs 3      # the Trainer needs: pip install pytorch-lightning==2.6.6

The loops take turns, after one epoch of warming up, so that a busy machine slows all of them alike; the ratio is that of the
medians. Our loop includes validation, the checkpoint of every epoch and the history. The plain loop only trains and validates.
The arrays are random: only the time means anything.
"""

import argparse
import dataclasses
import logging
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emerge_ehr.config import Model, Training
from emerge_ehr.models import emerge
from emerge_ehr.models.batch import SHAPES, Batch
from emerge_ehr.training import checkpoints, devices, loop
from emerge_ehr.training.objective import masked_loss

HOURS, SIGNALS, WIDTH = 48, 17, 768  # 17 values and 17 masks are 34 channels per hour


def main() -> None:
    """Print one row per loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs of each loop")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    chosen = parser.parse_args()
    settings = Training(
        max_epochs=chosen.epochs + 1, patience=99, accelerator=chosen.accelerator, precision=chosen.precision
    )
    train, validation = arrays(chosen.stays), arrays(chosen.stays // 7)
    names: dict[str, Callable[..., Iterator[float]]] = {"ours": ours, "plain PyTorch loop": plain}
    try:
        import pytorch_lightning  # noqa: F401

        names["Lightning Trainer + DataLoader"] = trainer
    except ModuleNotFoundError:
        print("pytorch-lightning is not installed: the Trainer is left out")
    running = {name: make(train, validation, settings) for name, make in names.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory = []
    for epoch in range(chosen.epochs + 1):
        for name, epochs in running.items():
            taken = next(epochs)
            if epoch:
                seconds[name].append(taken)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    print(
        f"{chosen.stays} stays, {len(validation)} for validation; {torch.get_num_threads()} threads; {settings.precision}"
    )
    own = np.median(seconds["ours"])
    for name, values in seconds.items():
        spread, ratio = f"{min(values):.2f}-{max(values):.2f}", own / np.median(values)
        print(f"{name:<32} {np.median(values):7.2f} s per epoch ({spread})  ours / this {ratio:.2f}")
    print("peak memory after each epoch of all loops, GiB:", *(f"{value:.2f}" for value in memory))


def arrays(stays: int) -> Batch:
    """A batch of ``stays`` random samples."""
    generator = torch.Generator().manual_seed(stays)
    sizes = {"N": stays, "T": HOURS, "F": SIGNALS, "D1": WIDTH, "D2": WIDTH, "K": 1}
    tensors = {}
    for name, dimensions in SHAPES.items():
        shape = [sizes.get(dimension, 0) for dimension in dimensions.split()]
        tensors[name] = torch.randn(shape, generator=generator)
        if name.endswith("mask") or name == "label":
            tensors[name] = (tensors[name] > -1).float()
    tensors["label"] = (torch.rand(stays, 1, generator=generator) < 0.12).float()
    tensors["ehr_length"] = torch.full((stays,), HOURS)
    return Batch(**tensors)


def model() -> torch.nn.Module:
    """EMERGE as published, with the same weights every time."""
    torch.manual_seed(0)
    return emerge.build(Model(), features=SIGNALS, statics=0, text_widths={"note": WIDTH, "summary": WIDTH}, labels=1)


def ours(train: Batch, validation: Batch, settings: Training) -> Iterator[float]:
    """Our loop, one epoch at a time: it resumes from its own state, and the time of resuming counts too."""
    fabric = devices.fabric(settings)
    progress = None
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(settings.max_epochs):
            until_now = dataclasses.replace(settings, max_epochs=epoch + 1)
            start = time.perf_counter()
            progress = loop.fit(
                model(),
                train,
                validation,
                until_now,
                0,
                fabric=fabric,
                resumed=progress,
                after_epoch=lambda now: checkpoints.keep(Path(folder), now, "benchmark"),
            )
            yield time.perf_counter() - start


def plain(train: Batch, validation: Batch, settings: Training) -> Iterator[float]:
    """The same operations without any framework: tensors on the device, batches by index."""
    device = devices.fabric(settings).device
    net = model().to(device)
    train, validation = train.to(device), validation.to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed")
    while True:
        start = time.perf_counter()
        net.train()
        for index in torch.split(torch.randperm(len(train)).to(device), settings.batch_size):
            batch = train.select(index)
            with mixed:
                logits = net(batch)
            loss = masked_loss(logits.float(), batch.label, batch.label_mask)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_clip)
            optimizer.step()
        loop.predict(net, validation, settings.batch_size)
        yield time.perf_counter() - start


def trainer(train: Batch, validation: Batch, settings: Training) -> Iterator[float]:
    """A map-style dataset, default collation and pytorch_lightning.Trainer, as documented; one Trainer per epoch."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, Dataset

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")

    class Patients(Dataset[dict[str, Any]]):
        def __init__(self, patients: Batch) -> None:
            self.patients = patients

        def __len__(self) -> int:
            return len(self.patients)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {name: getattr(self.patients, name)[row] for name in SHAPES}

    class Lit(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def training_step(self, tensors: dict[str, Any], _: int) -> Any:
            batch = Batch(**tensors)
            return masked_loss(self.net(batch).float(), batch.label, batch.label_mask)

        def validation_step(self, tensors: dict[str, Any], _: int) -> None:
            self.net(Batch(**tensors))

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    lit = Lit()
    loaders = [DataLoader(Patients(part), settings.batch_size, shuffle=part is train) for part in (train, validation)]
    while True:
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        run = pl.Trainer(
            max_epochs=1,
            accelerator=settings.accelerator,
            devices=1,
            precision=settings.precision,
            gradient_clip_val=settings.gradient_clip,
            num_sanity_val_steps=0,
            **quiet,
        )
        start = time.perf_counter()
        run.fit(lit, *loaders)
        yield time.perf_counter() - start


if __name__ == "__main__":
    main()
