"""Every library installed for this project, directly or by another, has one version in pyproject.toml, and it is that one."""

import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DIRECT = [
    *PROJECT["project"]["dependencies"],
    *(one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra),
    *PROJECT["dependency-groups"]["test"],
]
PINNED = [*DIRECT, *PROJECT["tool"]["uv"]["constraint-dependencies"]]
INSTALLED = {canonicalize_name(one.metadata["Name"]): Version(one.version) for one in distributions()}


def pins() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in PINNED:
        requirement = Requirement(line)
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    return found


def brought_along() -> set[str]:
    """The names of what the direct dependencies need on this machine, and of what that needs."""
    pending = [(canonicalize_name(one.name), frozenset(one.extras)) for one in map(Requirement, DIRECT)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        name, extras = pending.pop()
        if (name, extras) not in seen and name in INSTALLED:
            seen.add((name, extras))
            pending += needs(name, extras)
    return {name for name, _ in seen}


def needs(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for one in map(Requirement, distribution(name).requires or []):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(one.name), frozenset(one.extras)


@pytest.mark.parametrize("name", sorted(brought_along()))
def test_what_is_installed_is_pinned_to_its_version(name: str) -> None:
    assert pins().get(name) == {f"=={INSTALLED[name].public}"}


def test_every_pin_is_one_exact_version() -> None:
    groups = PROJECT["dependency-groups"]
    loose = [
        line
        for line in [*PINNED, *groups["supply"], *groups["llama"], *groups["docs"], *groups["aces"]]
        if "==" not in line or "*" in line
    ]
    assert not loose and len(brought_along()) > 50
