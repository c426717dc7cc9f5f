"""Faults of what a stopped run left to be resumed, and of a finished run that is asked to resume."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.arrays import Bomb
from tests.faults.bad_input.damage import (
    Damage,
    halved,
    record,
    written,
)
from tests.faults.bad_input.fault import Cases, faults, refused, some

EPOCH = "stopped/.training/epoch-000002"
HEADER_BOMB = (2**62).to_bytes(8, "little") + b"{}"
LONG_HEADER = (90_000_000).to_bytes(8, "little") + b"{" * 100
OVERLAPPING = b'{"a":{"dtype":"F32","shape":[99999999],"data_offsets":[0,16]}}'


def weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)

    return damage


def first(tensors: dict[str, torch.Tensor]) -> str:
    return sorted(tensors)[0]


def another_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors[first(tensors)] = torch.zeros(3, 3, 3)


def not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors[first(tensors)] = torch.full_like(tensors[first(tensors)], float("nan"))


def whole_numbers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[first(tensors)] = tensors[first(tensors)].long()


def replaced_by_state(path: Path) -> None:
    shutil.copyfile(path.with_name("last_state.safetensors"), path)


WEIGHTS: Cases = {
    "halved": (halved, refused("damaged", names="stopped/.training/epoch-000002")),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "torch pickle": (
        lambda path: torch.save({"a": Bomb()}, path),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "header bomb": (written(HEADER_BOMB), refused("damaged", names="stopped/.training/epoch-000002")),
    "header longer than the file": (written(LONG_HEADER), refused("damaged", names="stopped/.training/epoch-000002")),
    "header with wrong offsets": (
        written(len(OVERLAPPING).to_bytes(8, "little") + OVERLAPPING + bytes(16)),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "tensor missing": (weights(lambda tensors: tensors.pop(first(tensors))), refused("damaged")),
    "tensor too many": (weights(lambda tensors: tensors.update(more=torch.zeros(1))), refused("damaged")),
    "another shape": (weights(another_shape), refused("damaged")),
    "NaN": (weights(not_a_number), refused("damaged")),
    "whole numbers": (weights(whole_numbers), refused("damaged")),
    "swapped with the state": (replaced_by_state, refused("damaged")),
}
STATE: Cases = {
    "halved": (halved, refused("damaged", names="stopped/.training/epoch-000002")),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "header bomb": (written(HEADER_BOMB), refused("damaged", names="stopped/.training/epoch-000002")),
    "weights for the state": (
        lambda path: shutil.copyfile(path.with_name("last.safetensors"), path) and None,
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
}
PROGRESS: Cases = {
    "halved": (halved, refused("damaged", names="stopped/.training/epoch-000002")),
    "wrong top-level type": (written("[]"), refused("damaged", names="stopped/.training/epoch-000002")),
    "deep nesting": (written("[" * 100_000), refused("damaged", names="stopped/.training/epoch-000002")),
    "of another run": (
        record(lambda value: value.update(fingerprint="0")),
        refused("left by a run with other settings, data or library versions", names="stopped/.training/epoch-000002"),
    ),
    "history missing": (
        record(lambda value: value.pop("history") and None),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "history of wrong type": (
        record(lambda value: value.update(history=3)),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "history empty": (
        record(lambda value: value.update(history=[])),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "history of other columns": (
        record(lambda value: value["history"][0].update(more=1)),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "losses as text": (
        record(lambda value: [row.update(val_loss="low") for row in value["history"]] and None),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "best epoch beyond the history": (
        record(lambda value: value.update(best_epoch=99)),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
    "best epoch as text": (
        record(lambda value: value.update(best_epoch="two")),
        refused("damaged", names="stopped/.training/epoch-000002"),
    ),
}
FINISHED: Cases = {
    "halved": (halved, refused("not JSON")),
    "wrong top-level type": (written("[]"), refused("not a record of --stage train")),
    "deep nesting": (written("[" * 100_000), refused("not JSON")),
    "of another run": (
        record(lambda value: value.update(fingerprint="0")),
        refused("holds a finished run of other settings, data or library versions", names="run"),
    ),
}
FAULTS = [
    *faults(
        "train",
        "stopped/.training/epoch-000002/last.safetensors",
        some(ANY_FILE, "emptied", "missing", "a folder") | WEIGHTS,
        {
            "emptied": refused("damaged", names="stopped/.training/epoch-000002"),
            "missing": refused("damaged"),
            "a folder": refused("damaged", names="stopped/.training/epoch-000002"),
        },
        config="stopped.toml",
        options=("--resume",),
    ),
    *faults(
        "train",
        "stopped/.training/epoch-000002/best.safetensors",
        some(ANY_FILE, "emptied", "missing", "a folder")
        | some(
            WEIGHTS,
            "halved",
            "pickle",
            "torch pickle",
            "header bomb",
            "header longer than the file",
            "header with wrong offsets",
            "tensor missing",
            "tensor too many",
            "another shape",
            "NaN",
            "whole numbers",
        ),
        {
            "emptied": refused("damaged", names="stopped/.training/epoch-000002"),
            "missing": refused("damaged"),
            "a folder": refused("damaged", names="stopped/.training/epoch-000002"),
        },
        config="stopped.toml",
        options=("--resume",),
    ),
    *faults(
        "train",
        "stopped/.training/epoch-000002/last_state.safetensors",
        some(ANY_FILE, "missing") | STATE,
        {
            "missing": refused("damaged"),
        },
        config="stopped.toml",
        options=("--resume",),
    ),
    *faults(
        "train",
        "stopped/.training/epoch-000002/progress.json",
        some(ANY_FILE, "missing") | PROGRESS,
        {
            "missing": refused("damaged"),
        },
        config="stopped.toml",
        options=("--resume",),
    ),
    *faults("train", "run/manifest.json", FINISHED, options=("--resume",)),
    *faults(
        "train",
        "run/metrics.json",
        some(FINISHED, "halved", "wrong top-level type", "deep nesting"),
        {
            "wrong top-level type": refused("not the metrics of a run"),
        },
        options=("--resume",),
    ),
]
