"""Plugs of other installed packages: imports them by name, and records the version and hash of their code."""

import dataclasses
import hashlib
import importlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from emerge_ehr.fields import UserError


def is_name(name: str) -> bool:
    """Whether ``name`` is a module in a package, as ``package.module``; the names of our own plugs have no dot.

    >>> is_name("my_package.my_plug"), is_name("gru"), is_name("../my_plug")
    (True, False, False)
    """
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def load(name: str, where: str, there: str) -> ModuleType:
    """Import the plug's module; ``where`` opens every error message, ``there`` lists the plugs there are.

    Raises:
        UserError: there is no such module, it needs a module that is not installed, or it is not a plug.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if f"{name}.".startswith(f"{missing}."):
            raise UserError(f"{where}: no module '{missing}' is installed here; {there}") from None
        raise UserError(f"{where}: the plug's module needs '{missing}', which is not installed here") from None
    if not dataclasses.is_dataclass(getattr(module, "Options", None)) or not callable(getattr(module, "build", None)):
        raise UserError(
            f"{where}: this module is no plug: a plug has a dataclass Options and a function build; {there}"
        )
    return module


def record(names: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """For each plug the version of the distribution that installed it (None if unknown) and the hash of its code."""
    installed = importlib.metadata.packages_distributions()
    return {name: {"version": _version(name, installed), "sha256": code_hash(name)} for name in names}


def code_hash(name: str) -> str:
    """The SHA-256 hash of the plug's file, or of all Python files if the plug is a package."""
    spec = find_spec(name)
    assert spec is not None, name
    if spec.submodule_search_locations is None:
        files = {"": Path(str(spec.origin))}
    else:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        files = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    hashes = [f"{key} {hashlib.sha256(path.read_bytes()).hexdigest()}" for key, path in sorted(files.items())]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def folder(name: str) -> Path:
    """The folder of the package that holds the plug, to be copied to machines on which it is not installed."""
    spec = find_spec(name.partition(".")[0])
    assert spec is not None and spec.submodule_search_locations is not None, name
    return Path(next(iter(spec.submodule_search_locations)))


def _version(name: str, installed: Mapping[str, Iterable[str]]) -> str | None:
    names = sorted(set(installed.get(name.partition(".")[0], ())))
    return ", ".join(f"{distribution} {importlib.metadata.version(distribution)}" for distribution in names) or None
