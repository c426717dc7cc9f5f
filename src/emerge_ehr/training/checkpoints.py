"""Checkpoints: weights that any tool can read, and beside them everything that training needs to go on as if never stopped.

``best`` and ``last`` each have ``<name>.safetensors`` (the weights) and ``<name>_state.safetensors`` (optimiser, schedule and
random states: their tensors, and everything else as JSON in the header). Neither can execute code, and equal states give equal
bytes. While training runs, they are kept in ``.training/`` of the run folder: a folder per epoch, which gets its name when it is
complete.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line, naming, parse_json, write_json

Weights = dict[str, Tensor]
PROGRESS = "progress.json"
HEADER = "state"


@dataclass(frozen=True)
class Epoch:
    """A row of the history; a metric is its mean over the labels that have both classes, None if no label has."""

    epoch: int
    train_loss: float
    val_loss: float
    val_auprc: float | None
    val_auroc: float | None
    learning_rate: float


HISTORY = ("member", *(spec.name for spec in fields(Epoch)))  # the columns of history.csv; members count from 1


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    ``random``: the states of the generators that dropout draws from, an entry per process; ``shuffle``: the state of the one that
    shuffles the patients.
    """

    weights: Weights
    optimiser: dict[str, Any]
    scheduler: dict[str, Any]
    random: Sequence[dict[str, Tensor]]
    shuffle: Tensor


@dataclass(frozen=True)
class Progress:
    """A run so far: the row of every epoch, and the states after the best epoch and after the last."""

    history: Sequence[Epoch]
    best_epoch: int
    best: Checkpoint
    last: Checkpoint

    @property
    def best_row(self) -> Epoch:
        """The best epoch's row of the history."""
        return self.history[self.best_epoch - 1]


def save(folder: Path, progress: Progress) -> None:
    """Write the files of ``best`` and ``last`` into ``folder``."""
    for name, checkpoint in (("best", progress.best), ("last", progress.last)):
        (folder / f"{name}.safetensors").write_bytes(to_bytes(checkpoint.weights))
        tensors: Weights = {}
        state = {key: value for key, value in vars(checkpoint).items() if key != "weights"}
        text = json.dumps(_without_tensors(state, tensors))
        (folder / f"{name}_state.safetensors").write_bytes(to_bytes(tensors, {HEADER: text}))


def keep(folder: Path, progress: Progress, fingerprint: str) -> None:
    """Write the state after an epoch into ``folder``, where it replaces that of the epoch before."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "incoming"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    rows = [asdict(row) for row in progress.history]
    with naming(folder):
        save(aside, progress)
        write_json(aside / PROGRESS, {"fingerprint": fingerprint, "best_epoch": progress.best_epoch, "history": rows})
    earlier = _kept(folder)
    aside.rename(folder / f"epoch-{len(rows):06d}")
    for old in earlier:
        shutil.rmtree(old)


def forget(folder: Path) -> None:
    """Remove what ``keep`` left in ``folder``, but not the folder itself, which may be locked."""
    for path in [*_kept(folder), folder / "incoming"]:
        shutil.rmtree(path, ignore_errors=True)


def resume(folder: Path, fingerprint: str) -> Progress | None:
    """Read what ``keep`` left in ``folder``; None if there is nothing.

    Raises:
        UserError: a run with other settings or data left it, or it is damaged.
    """
    kept = _kept(folder)
    if not kept:
        return None
    try:
        record = parse_json((kept[-1] / PROGRESS).read_text("utf-8"))
        if record["fingerprint"] != fingerprint:
            raise UserError(
                f"{kept[-1]}: left by a run with other settings, data or library versions; train without --resume to start over"
            )
        TypeAdapter(list[Epoch]).validate_python(record["history"])
        history = [Epoch(**row) for row in record["history"]]
        best = record["best_epoch"]
        if not isinstance(best, int) or not 1 <= best <= len(history):
            raise ValueError(f"best_epoch {best!r} is not one of its {len(history)} epochs")
        return Progress(history, best, _load(kept[-1], "best"), _load(kept[-1], "last"))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,  # RecursionError is a subclass
        SafetensorError,
    ) as error:
        raise UserError(f"{kept[-1]}: damaged ({first_line(error)}); train without --resume to start over") from None


def refuse_unfit(folder: Path, progress: Progress, network: nn.Module) -> None:
    """Check that the weights that ``keep`` left in ``folder`` are those of ``network``.

    Raises:
        UserError: a weight has another name, shape or type.
    """
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    for kind, checkpoint in (("best", progress.best), ("last", progress.last)):
        kept = {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.weights.items()}
        different = sorted(name for name in expected.keys() | kept.keys() if expected.get(name) != kept.get(name))
        if different:
            raise UserError(
                f"{_kept(folder)[-1]}: damaged ({kind}.safetensors: {different[0]} is not that of this model); "
                "train without --resume to start over"
            )


def _load(folder: Path, name: str) -> Checkpoint:
    with safe_open(folder / f"{name}_state.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        state = _with_tensors(json.loads(file.metadata()[HEADER]), tensors)
    weights = load_file(folder / f"{name}.safetensors")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ValueError(f"{name}.safetensors holds NaN or infinity")
    return Checkpoint(weights, **state)


def _without_tensors(value: Any, tensors: Weights) -> Any:
    """``value`` as JSON, with its tensors moved into ``tensors``; dictionaries become lists of pairs, since keys may be numbers.

    >>> _without_tensors({0: [1.5, None]}, {})
    {'pairs': [[0, [1.5, None]]]}
    """
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, dict):
        return {"pairs": [[key, _without_tensors(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_tensors(item, tensors) for item in value]
    return value


def _with_tensors(value: Any, tensors: Weights) -> Any:
    """The inverse of ``_without_tensors``."""
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    if isinstance(value, dict) and "tensor" in value:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        return {key: _with_tensors(item, tensors) for key, item in value["pairs"]}
    return value


def is_kept(folder: Path) -> bool:
    """Whether ``folder``, or the folder of a member in it, holds a state from which training can resume."""
    return bool(_kept(folder)) or any(folder.glob("member_*/epoch-*"))


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"))
