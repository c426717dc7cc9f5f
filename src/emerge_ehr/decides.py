"""What a setting decides, stated at the setting: ``window_hours: Annotated[int, Gt(0), TABLES] = 48``.

The products below are made one after the other. A setting decides the first product that another value of the setting would
change, and with it everything that is made from this product. Code that needs to know which settings matter (to refuse stale
files, to share artefacts between runs, to resume a run) derives it from these statements.
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
    """``first``: the first product that the setting changes; None if it changes no result.

    ``compared``: whether a later stage refuses files that were made with another value of the setting. It is False where the
    value says nothing of the content: a folder's name does not tell which files are in it, so their checksums are compared.
    ``recorded``: whether the run's ``config.json`` holds the setting. ``of``: the parts of the product that the setting changes;
    a method that reads none of them trains the same model whatever the value is.
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
PATIENTS = Decides("tables", of=("patients",))  # which patients are in the tables, not what the tables say of them
ARTEFACTS = Decides("artefacts")
TEXTS = Decides("artefacts", of=("note", "summary"))
BINS = Decides("artefacts", of=("ehr", "summary"))  # the series, and the hours and extremes that a summary states of it
SUMMARIES = Decides("artefacts", of=("summary",))
PIECES = Decides("artefacts", of=("pieces",))
TRAINING = Decides("training")  # changes every epoch
ENDING = Decides("ending")  # after which epoch training ends: a run that was stopped may be resumed with another value
EVALUATION = Decides("evaluation")  # what a run reports of the trained model
REPORT = Decides("report")
NOTHING = Decides(None)  # where files lie, which servers may be asked, how long to wait for them
WORK = Decides(None, recorded=False)  # which runs are made, on which machines and how fast


def statements(shape: type[Any]) -> Mapping[str, Decides]:
    """Map the dotted key of every setting of a dataclass to what it decides. A section's statement holds for all its keys.

    Raises:
        TypeError: a setting has no statement, or two.
    """
    decisions: dict[str, Decides] = {}
    for spec in dataclasses.fields(shape):
        kind = plain(spec.type)
        stated = (
            [part for part in get_args(spec.type)[1:] if isinstance(part, Decides)] if _annotated(spec.type) else []
        )
        if not stated and _is_section(kind):
            decisions |= {f"{spec.name}.{key}": decision for key, decision in statements(kind).items()}
        elif len(stated) != 1:
            raise TypeError(
                f"{shape.__name__}.{spec.name} must state once what it decides, as in Annotated[..., TABLES]"
            )
        elif _is_section(kind):
            _refuse_second_statement(shape, spec.name, kind)
            decisions |= {f"{spec.name}.{inner.name}": stated[0] for inner in dataclasses.fields(kind)}
        else:
            decisions[spec.name] = stated[0]
    return decisions


def keys(shape: type[Any], *products: Product, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """The keys of the settings (or of those in ``among``) whose first product is one of ``products``."""
    decisions = statements(shape)
    return tuple(key for key in (decisions if among is None else among) if decisions[key].first in products)


def settings(config: Any, wanted: Callable[[Decides], bool]) -> dict[str, Any]:
    """The values, as JSON, of the settings whose statement is ``wanted``, nested in the config's sections."""
    record, chosen = to_dict(config), dict[str, Any]()
    for key, decision in statements(type(config)).items():
        section, _, inner = key.partition(".")
        if wanted(decision) and inner:
            chosen.setdefault(section, {})[inner] = record[section][inner]
        elif wanted(decision):
            chosen[section] = record[section]
    return chosen


def compared(config: Any, *products: Product) -> dict[str, Any]:
    """The values that a later stage compares: of the settings whose first product is one of ``products``."""
    return settings(config, lambda decision: decision.first in products and decision.compared)


def with_defaults(config: Settings, where: Callable[[Decides], bool]) -> Settings:
    """The config with every setting whose statement satisfies ``where`` set to its default, if it has one."""
    result: Any = config
    for key, decision in statements(type(config)).items():
        section, _, inner = key.partition(".")
        if where(decision) and inner:
            part = getattr(result, section)
            result = dataclasses.replace(result, **{section: _with_default(part, inner)})
        elif where(decision):
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
