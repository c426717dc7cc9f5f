"""Corruptions of what a stopped run left to be resumed, and of a finished run that is asked to resume."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.faults.corruption import Corruption
from tests.faults.damage import Damage, a_folder, emptied, halved, missing, record, written
from tests.faults.of_artefacts import Bomb

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


WEIGHTS: dict[str, Damage] = {
    "halved": halved,
    "emptied": emptied,
    "missing": missing,
    "a folder": a_folder,
    "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "torch pickle": lambda path: torch.save({"a": Bomb()}, path),
    "header bomb": written(HEADER_BOMB),
    "header longer than the file": written(LONG_HEADER),
    "header with wrong offsets": written(len(OVERLAPPING).to_bytes(8, "little") + OVERLAPPING + bytes(16)),
    "tensor missing": weights(lambda tensors: tensors.pop(first(tensors))),
    "tensor too many": weights(lambda tensors: tensors.update(more=torch.zeros(1))),
    "another shape": weights(another_shape),
    "NaN": weights(not_a_number),
    "whole numbers": weights(whole_numbers),
    "swapped with the state": replaced_by_state,
}
PROGRESS: dict[str, Damage] = {
    "halved": halved,
    "missing": missing,
    "wrong top-level type": written("[]"),
    "deep nesting": written("[" * 100_000),
    "of another run": record(lambda value: value.update(fingerprint="0")),
    "history missing": record(lambda value: value.pop("history") and None),
    "history of wrong type": record(lambda value: value.update(history=3)),
    "history empty": record(lambda value: value.update(history=[])),
    "history of other columns": record(lambda value: value["history"][0].update(more=1)),
    "losses as text": record(lambda value: [row.update(val_loss="low") for row in value["history"]] and None),
    "best epoch beyond the history": record(lambda value: value.update(best_epoch=99)),
    "best epoch as text": record(lambda value: value.update(best_epoch="two")),
}
FINISHED: dict[str, Damage] = {
    "halved": halved,
    "wrong top-level type": written("[]"),
    "deep nesting": written("[" * 100_000),
    "of another run": record(lambda value: value.update(fingerprint="0")),
}
CORRUPTIONS = [
    *(
        Corruption(f"{EPOCH}/{name}.safetensors", kind, damage, "train", config="stopped.toml", options=("--resume",))
        for name in ("last", "best")
        for kind, damage in WEIGHTS.items()
        if name == "last" or kind != "swapped with the state"
    ),
    *(
        Corruption(f"{EPOCH}/last_state.safetensors", kind, WEIGHTS[kind], "train", config="stopped.toml", options=("--resume",))
        for kind in ("halved", "missing", "pickle", "header bomb")
    ),
    Corruption(f"{EPOCH}/last_state.safetensors", "weights for the state",
               lambda path: shutil.copyfile(path.with_name("last.safetensors"), path) and None,
               "train", config="stopped.toml", options=("--resume",)),
    *(
        Corruption(f"{EPOCH}/progress.json", kind, damage, "train", config="stopped.toml", options=("--resume",))
        for kind, damage in PROGRESS.items()
    ),
    *(Corruption("run/manifest.json", kind, damage, "train", options=("--resume",)) for kind, damage in FINISHED.items()),
    *(
        Corruption("run/metrics.json", kind, FINISHED[kind], "train", options=("--resume",))
        for kind in ("halved", "wrong top-level type", "deep nesting")
    ),
]  # fmt: skip
