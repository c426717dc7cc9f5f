"""The file of a search: a base config, and the keys that are tuned with their ranges (docs/tuning.md)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, MinLen

from emerge_ehr import presets
from emerge_ehr.comparison.grid import DECIDED
from emerge_ehr.comparison.points import merged
from emerge_ehr.config import Config, fill, read_toml, refuse_path
from emerge_ehr.fields import Positive, Seed, UserError, parse

if TYPE_CHECKING:
    from optuna import Trial

OTHER_PATIENTS = "decides which patients there are, or what is asked of them, so that scores could not be compared"
NO_MODEL = "decides where data lie or come from, and nothing of the model"
REFUSED = {  # keys, and tables of a config, that are not tuned -> why
    **dict.fromkeys(("source", "task", "cohort", "split", "dataset", "sparsity"), OTHER_PATIENTS),
    **dict.fromkeys(("paths", "download", "tables", "offline", "credentialed"), NO_MODEL),
    "seed": "decides the split and all that is drawn, so that scores could not be compared",
}
MEMBERS = "training.members"

Value = str | int | float | bool
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """The values of a key: one of ``choices``, or a number from ``low`` to ``high``, both among them.

    A number is whole where both ends are. ``log``: drawn evenly in its logarithm; ``step``: only ``low`` plus multiples of it.
    """

    choices: tuple[Value, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None


@dataclass(frozen=True)
class Search:
    """A search. ``name``: that of its folder in ``runs/``; by default the file's, without its ending. ``base``: the config to
    tune; ``settings``: config keys for all trials. ``tune``: dotted key -> its range. ``trials``: how many at most, those of
    earlier calls among them. ``metric``: of patients whom no member that judges them was trained on, mean over the labels.
    ``workers``: processes at a time. ``prune``: whether a trial is stopped whose members so far are worse than the median of
    earlier trials'. ``seed``: of the sampler; a trial is trained with the base's.
    """

    base: Path
    tune: Annotated[Mapping[str, Range], MinLen(1)]
    name: str = ""
    settings: Settings = field(default_factory=dict)
    trials: Positive = 50
    metric: Literal["log_loss", "auroc", "auprc"] = "log_loss"
    workers: Annotated[int, Ge(1)] = 1
    prune: bool = True
    seed: Seed = 42


def load(path: Path) -> Search:
    """Read the search at ``path``.

    Raises:
        UserError: the file is missing, or does not fit ``Search``; the message names the key.
    """
    raw = read_toml(path)
    search = parse(Search, {**raw, "name": raw.get("name", path.stem)}, str(path))
    refuse_path(search.name, f"{path}: name", "give the search such a `name`")
    for key, values in search.tune.items():
        _refuse_range(values, f"{path}: tune.'{key}'")
        if why := DECIDED.get(key):
            raise UserError(f"{path}: tune.'{key}' cannot be tuned: {why}; remove it")
        if why := REFUSED.get(key.partition(".")[0]):
            raise UserError(f"{path}: tune.'{key}' {why}; remove it")
        if key == MEMBERS and 1 in (values.choices or (values.low,)):
            raise UserError(
                f"{path}: tune.'{key}': a single member judges other patients than several do (docs/tuning.md), so that scores "
                "could not be compared; begin at 2"
            )
    return search


def refuse_impossible(search: Search, path: Path) -> None:
    """Refuse values that no trial could have, before any is begun: ends of a range and choices, each by itself.

    What goes together with what is left to the trials.

    Raises:
        UserError: the base cannot be read, a key is unknown, or a value has another type or is out of the key's range.
    """
    for key, values in search.tune.items():
        for value in values.choices or (values.low, values.high):
            assert value is not None, "_refuse_range has refused a range without ends"
            parse(Config, presets.applied(raw_config(search, {key: value})), f"{path}: tune.'{key}'")


def _refuse_range(values: Range, where: str) -> None:
    if values.choices:
        if (
            len(set(values.choices)) < 2
            or values.low is not None
            or values.high is not None
            or values.log
            or values.step
        ):
            raise UserError(f"{where}: give two choices or more and nothing else, or `low` and `high`")
        return
    if values.low is None or values.high is None:
        raise UserError(f"{where}: give `choices`, or `low` and `high`")
    if not (math.isfinite(values.low) and math.isfinite(values.high) and values.low < values.high):
        raise UserError(f"{where}: low = {values.low} must be below high = {values.high}, both finite")
    if values.log and (values.low <= 0 or values.step):
        raise UserError(f"{where}: with `log`, `low` must be above 0 and there is no `step`")
    if values.step is not None and not 0 < values.step <= values.high - values.low:
        raise UserError(f"{where}: step = {values.step} must lie above 0 and within the range")


def suggest(trial: "Trial", search: Search) -> dict[str, Value]:
    """The values of the keys for a trial."""
    return {key: _suggested(trial, key, values) for key, values in search.tune.items()}


def _suggested(trial: "Trial", key: str, values: Range) -> Value:
    if values.choices:
        chosen = trial.suggest_categorical(key, list(values.choices))
        assert chosen is not None
        return chosen
    low, high, step = values.low, values.high, values.step
    if isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int)):
        return trial.suggest_int(key, low, high, step=step or 1, log=values.log)
    return trial.suggest_float(key, float(low or 0.0), float(high or 0.0), step=step, log=values.log)


def raw_config(search: Search, values: Mapping[str, Value]) -> dict[str, Any]:
    """The base's TOML with the settings of the search, and then with these ``values``."""
    raw = merged(read_toml(search.base), search.settings)
    for key, value in values.items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        raw = merged(raw, nested)
    return raw


def config_of(search: Search, values: Mapping[str, Value], where: str) -> Config:
    """The config of a trial.

    Raises:
        UserError: the values do not make a valid config.
    """
    return fill(raw_config(search, values), where)
