"""Another value for any setting, made from its type: so that a test covers a new setting from its first minute."""

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.fields import Component, plain


def value(config: Config, key: str) -> Any:
    """Of the setting with this dotted key."""
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def changed(config: Config, key: str) -> Config:
    """The config with another value for the setting ``key``; the others as they were, whether or not they go with it."""
    section, _, inner = key.partition(".")
    if inner:
        part = getattr(config, section)
        return dataclasses.replace(config, **{section: _replaced(part, inner, key)})
    return _replaced(config, section, key)  # type: ignore[no-any-return]


def _replaced(holder: Any, name: str, key: str) -> Any:
    (spec,) = (spec for spec in dataclasses.fields(holder) if spec.name == name)
    now = getattr(holder, name)
    if key in components.SOCKETS:
        other: Any = Component(
            next((plug for plug in components.names(key) if now is None or plug != now.name), "other")
        )
    else:
        other = another(spec.type, now)
    assert other != now
    return dataclasses.replace(holder, **{name: other})


def another(kind: Any, now: Any) -> Any:  # noqa: PLR0911
    """A value of the type that is not ``now``."""
    kind = plain(kind)
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return another(next(part for part in get_args(kind) if part is not type(None)), now)
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != now)
    if get_origin(kind) is tuple:
        return now[:-1] if now else (another(get_args(kind)[0], None),)
    if get_origin(kind) is Mapping:
        return {"other": 1}
    if kind is bool:
        return not now
    if kind in (int, float):
        return kind(now or 0) + 1
    assert kind in (str, Path), kind
    return kind("other")
