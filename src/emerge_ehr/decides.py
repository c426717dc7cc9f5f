"""What a setting decides, stated at the setting: ``window_hours: Annotated[int, Gt(0), TABLES] = 48``.

A setting decides the first of the products below that another value of it would change, and so all that is made from this
product. Whoever needs to know which settings matter (to refuse stale files, to share artefacts between runs, to resume a
run) derives it from these statements.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from emerge_ehr.fields import Component, plain, to_dict

Product = Literal["tables", "artefacts", "training", "ending", "evaluation", "report"]
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Decides:
    """``first``: the first product that the setting changes; None: no result.

    ``compared``: a later stage refuses what was made with another value. False: it looks elsewhere, as a folder's name says
    nothing of the files in it. ``recorded``: the run's ``config.json`` has it. ``of``: the parts of the product that it changes;
    a method that reads none of them trains the same whatever the value.
    """

    first: Product | None
    compared: bool = True
    recorded: bool = True
    of: tuple[Literal["patients", "ehr", "note", "summary", "pieces"], ...] = (
        "patients",
        "ehr",
        "note",
        "summary",
        "pieces",
    )


TABLES = Decides("tables")
PATIENTS = Decides("tables", of=("patients",))  # who is in the tables, not what is known of them
ARTEFACTS = Decides("artefacts")
TEXTS = Decides("artefacts", of=("note", "summary"))
SUMMARIES = Decides("artefacts", of=("summary",))
PIECES = Decides("artefacts", of=("pieces",))
TRAINING = Decides("training")  # every epoch
ENDING = Decides("ending")  # after which epoch training ends: a run that was stopped may go on with another value
EVALUATION = Decides("evaluation")  # what a run reports of the trained model
REPORT = Decides("report")
NOTHING = Decides(None)  # where files come from and go to, who may be asked, and how patiently
WORK = Decides(None, recorded=False)  # which runs are made, by whom and how fast


def statements(shape: type[Any]) -> Mapping[str, Decides]:
    """Every setting of a dataclass by its dotted key, with what it decides. A section that states it does so for all its keys.

    Raises:
        TypeError: a setting states nothing, or two things.
    """
    found: dict[str, Decides] = {}
    for spec in dataclasses.fields(shape):
        kind = plain(spec.type)
        own = [part for part in get_args(spec.type)[1:] if isinstance(part, Decides)] if _annotated(spec.type) else []
        if not own and _is_section(kind):
            found |= {f"{spec.name}.{key}": said for key, said in statements(kind).items()}
        elif len(own) != 1:
            raise TypeError(
                f"{shape.__name__}.{spec.name} must state once what it decides: Annotated[..., TABLES] or another"
            )
        elif _is_section(kind):
            _refuse_second_statement(shape, spec.name, kind)
            found |= {f"{spec.name}.{inner.name}": own[0] for inner in dataclasses.fields(kind)}
        else:
            found[spec.name] = own[0]
    return found


def keys(shape: type[Any], *products: Product, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """The settings, or those ``among`` them, that decide one of these products first."""
    said = statements(shape)
    return tuple(key for key in (said if among is None else among) if said[key].first in products)


def settings(config: Any, wanted: Callable[[Decides], bool]) -> dict[str, Any]:
    """The values of the settings whose statement is ``wanted``, as JSON, in the sections of the config."""
    record, chosen = to_dict(config), dict[str, Any]()
    for key, said in statements(type(config)).items():
        section, _, inner = key.partition(".")
        if wanted(said) and inner:
            chosen.setdefault(section, {})[inner] = record[section][inner]
        elif wanted(said):
            chosen[section] = record[section]
    return chosen


def compared(config: Any, *products: Product) -> dict[str, Any]:
    """What a later stage compares of the settings that decide one of these products first."""
    return settings(config, lambda said: said.first in products and said.compared)


def with_defaults(config: Settings, where: Callable[[Decides], bool]) -> Settings:
    """The config with the default of every setting whose statement is one of ``where``, if it has a default."""
    result: Any = config
    for key, said in statements(type(config)).items():
        section, _, inner = key.partition(".")
        if where(said) and inner:
            part = getattr(result, section)
            result = dataclasses.replace(result, **{section: _with_default(part, inner)})
        elif where(said):
            result = _with_default(result, section)
    return result  # type: ignore[no-any-return]


def _with_default(holder: Any, name: str) -> Any:
    (spec,) = (spec for spec in dataclasses.fields(holder) if spec.name == name)
    if spec.default is not dataclasses.MISSING:
        return dataclasses.replace(holder, **{name: spec.default})
    if spec.default_factory is not dataclasses.MISSING:
        return dataclasses.replace(holder, **{name: spec.default_factory()})
    return holder


def _annotated(kind: Any) -> bool:
    return get_origin(kind) is Annotated


def _is_section(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and kind is not Component


def _refuse_second_statement(shape: type[Any], section: str, kind: Any) -> None:
    for spec in dataclasses.fields(kind):
        if _annotated(spec.type) and any(isinstance(part, Decides) for part in get_args(spec.type)):
            raise TypeError(f"{shape.__name__}.{section} states what its keys decide, and {spec.name} does so itself")
