"""Fills frozen dataclasses from TOML, strictly: an unknown key, a wrong type or a bad choice is a ``UserError``.

The message names the key and, where there is one, the nearest right key.
"""

import dataclasses
import datetime
import difflib
import functools
import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import TypeAdapter, ValidationError

Positive = Annotated[int, Gt(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Name = Annotated[str, MinLen(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]

T = TypeVar("T")


class UserError(Exception):
    """A mistake the user can mend: one line saying what was expected, what came, where, and what to do."""


def message(error: UserError | OSError) -> str:
    """The line that tells the user about ``error``."""
    if isinstance(error, UserError):
        return str(error)
    where = error.filename or "an output without a name, such as the terminal or a pipe"
    return f"{where}: {error.strerror or error}; check the disk, the path and its permissions"


def printable(text: str) -> str:
    """The text on one line, with escapes for what a terminal would obey or cannot show.

    A message may quote a file, and so may hold anything.

    >>> printable("no column 'a'\\nit has: \\x1b[2J")
    "no column 'a'\\\\nit has: \\\\x1b[2J"
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def plural(count: int, one: str, more: str = "") -> str:
    """A count and the noun of what is counted, in the plural where needed; ``more`` is the plural if it does not end in s.

    >>> plural(1, "row"), plural(2, "row"), plural(2, "note carries", "notes carry")
    ('1 row', '2 rows', '2 notes carry')
    """
    return f"{count} {one if count == 1 else more or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """As in a sentence.

    >>> listed(["vital signs and labs", "notes", "a summary"])
    'vital signs and labs, notes and a summary'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@dataclass(frozen=True)
class Component:
    """The plug chosen for a socket: the module's name and its options, checked when the plug's ``Options`` are filled."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def parse(shape: type[T], raw: Mapping[str, Any], where: str) -> T:
    """Fill the dataclass ``shape`` from ``raw``, strictly; ``where`` opens every error message.

    Raises:
        UserError: an unknown or missing key, a wrong type, a value out of its range.
    """
    infinite = [key for key, value in _leaves(raw) if isinstance(value, float) and not math.isfinite(value)]
    if infinite:
        raise UserError(f"{where}: {infinite[0]} must be a finite number")
    dated = [key for key, value in _leaves(raw) if isinstance(value, datetime.date | datetime.time)]
    if dated:
        raise UserError(f"{where}: {dated[0]} is a date or time; set text in quotes, or a number")
    nested = _components_nested(shape, raw)
    _refuse_unknown(shape, nested, where, "")
    try:
        filled: T = _adapter(cast(Hashable, shape)).validate_json(json.dumps(nested, default=str), strict=True)
        return filled
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("missing", "missing_argument"):
            raise UserError(f"{where}: key '{key}' is missing; give it a value") from None
        raise UserError(f"{where}: {key} = {repr(first['input'])[:80]}: {first['msg'].lower()}") from None


def refuse_repeated(values: Sequence[object], key: str) -> None:
    """Check that no value of the config's list ``key`` stands twice.

    Raises:
        UserError: one does.
    """
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise UserError(f"{key} = {list(values)}: {repeated[0]!r} stands twice; remove one")


def to_dict(value: Any) -> Any:
    """A dataclass as plain JSON values, for manifests."""
    return _adapter(cast(Hashable, type(value))).dump_python(value, mode="json")


def plain(kind: Any) -> Any:
    """The type of a field without what is annotated to it.

    >>> plain(Annotated[int, Gt(0)])
    <class 'int'>
    """
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@functools.cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    """What fills ``shape``: pydantic takes a hundredth of a second to make it, and a stage reads the same options many times."""
    return TypeAdapter(shape)


def _leaves(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, each with its dotted key; each item of a list by itself."""
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield from ((f"{prefix}{key}", item) for item in (value if isinstance(value, list) else [value]))


def _components_nested(shape: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with each component as ``{name, options: {a, b}}``; TOML has ``{name, a, b}``, or the name alone.

    A path alone is a list of one where a list of paths is wanted.
    """
    nested = dict(raw)
    for spec in dataclasses.fields(shape):
        table = nested.get(spec.name)
        kind = plain(spec.type)
        if kind == tuple[Path, ...] and isinstance(table, str):  # one file needs no brackets
            nested[spec.name] = [table]
        is_component = kind in (Component, Component | None)
        if is_component and isinstance(table, str):
            nested[spec.name] = {"name": table}
        if not isinstance(table, dict):
            continue
        if is_component:
            default = spec.default.name if isinstance(spec.default, Component) else None
            name = table.get("name", default)
            options = {key: value for key, value in table.items() if key != "name"}
            nested[spec.name] = {**({} if name is None else {"name": name}), "options": options}
        elif dataclasses.is_dataclass(kind):
            nested[spec.name] = _components_nested(kind, table)
        elif shape_of_each := _named_tables(kind):
            nested[spec.name] = {
                key: _components_nested(shape_of_each, inner) if isinstance(inner, dict) else inner
                for key, inner in table.items()
            }
    return nested


def _named_tables(kind: Any) -> Any:
    """The dataclass of each table where a field holds tables by names of the user's; None for another field.

    >>> _named_tables(dict[str, Component]) is Component, _named_tables(Mapping[str, str])
    (True, None)
    """
    of_each = get_args(kind)[1] if get_origin(kind) in (dict, Mapping) else None
    return of_each if dataclasses.is_dataclass(of_each) else None


def _refuse_unknown(shape: Any, raw: Mapping[str, Any], where: str, prefix: str) -> None:
    known = {spec.name: plain(spec.type) for spec in dataclasses.fields(shape)}
    for key, value in raw.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean '{prefix}{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            raise UserError(f"{where}: unknown key '{prefix}{key}'; {hint}")
        if dataclasses.is_dataclass(known[key]) and known[key] is not Component and isinstance(value, dict):
            _refuse_unknown(known[key], value, where, f"{prefix}{key}.")
        if (of_each := _named_tables(known[key])) and isinstance(value, dict):
            for name, table in value.items():
                if isinstance(table, dict):
                    _refuse_unknown(of_each, table, where, f"{prefix}{key}.{name}.")
