"""The house rules that a machine can check: the ladder of imports, plugs, and that every config loads."""

import ast
import dataclasses
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import get_type_hints

import pytest

from emerge_ehr import components
from emerge_ehr.comparison import grid, points
from emerge_ehr.config import Config, load
from emerge_ehr.decides import statements
from emerge_ehr.tuning import search
from tests.other_values import value
from tests.places import ROOT

PACKAGE = ROOT / "src" / "emerge_ehr"
# The rooms from the ground up; those on one floor do not know each other.
FLOORS = [
    {"fields", "memory", "progress"},
    {"torchrun", "decides", "presets", "external", "evaluation"},
    {"config"},
    {"components", "storage", "signals"},
    {"fetch", "models"},
    {"datasets"},
    {"privacy", "graphs"},
    {"compute", "llm"},
    {"embeddings"},
    {"rag"},
    {"preprocess"},
    {"training"},
    {"audit", "prediction", "comparison"},
    {"transfer", "export", "tuning"},
    {"report"},
    {"stages"},
    {"command_line", "interface"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LARGEST_ROOM = 0.23  # share of the lines; that of rag, which reads notes and graph


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "emerge_ehr":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emerge_ehr."):
            rooms.add(str(node.module).split(".")[1])
    return rooms - {room_of(path)}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_floors_below_it(path: Path) -> None:
    assert all(FLOOR[other] < FLOOR[room_of(path)] for other in imported_rooms(path)), imported_rooms(path)


def test_no_room_holds_more_than_a_fifth_of_the_lines() -> None:
    lines = Counter[str]()
    for path in MODULES:
        lines[room_of(path)] += len(path.read_text("utf-8").splitlines())
    (room, most), total = lines.most_common(1)[0], lines.total()
    assert most <= LARGEST_ROOM * total, f"{room} holds {most} of {total} lines"


def test_the_source_folder_holds_the_package_and_the_entry_point_alone() -> None:
    """``python src/main.py`` puts it first on the path: anything else in it would shadow a library of that name."""
    assert {path.name for path in (ROOT / "src").iterdir() if path.name != "__pycache__"} == {"emerge_ehr", "main.py"}


GRIDS = sorted(ROOT.glob("configs/benchmark/*.toml"))
SEARCHES = sorted(ROOT.glob("configs/tune/*.toml"))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.glob("configs/**/*.toml")) if path not in (*GRIDS, *SEARCHES)]
    + sorted(ROOT.glob("tests/configs/*.toml")),
    ids=str,
)
def test_every_config_loads_and_its_plugs_take_their_options(path: Path) -> None:
    components.check(load(path), tuple(components.SOCKETS))


@pytest.mark.parametrize("path", GRIDS, ids=str)
def test_every_grid_loads_and_each_of_its_points_is_a_valid_config(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # a grid's base is relative to the current folder
    assert len(points.points(grid.load(path), path)) > 1


@pytest.mark.parametrize("path", SEARCHES, ids=str)
def test_every_search_loads_and_each_end_of_its_ranges_is_a_valid_config(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = search.load(path)
    for end in (0, -1):
        values = {key: (of.choices or (of.low, of.high))[end] for key, of in found.tune.items()}
        assert search.config_of(found, values, str(path))  # type: ignore[arg-type]


@pytest.mark.parametrize("socket", components.SOCKETS)
def test_every_module_of_a_socket_is_a_plug(socket: str) -> None:
    for name in components.names(socket):
        plug = components.plug(socket, name)
        assert dataclasses.is_dataclass(plug.Options) and callable(plug.build), name


@pytest.mark.parametrize("socket", [key for key in components.SOCKETS if key == "baseline" or key.startswith("model.")])
def test_a_plugs_build_is_annotated_with_a_protocol_of_its_socket(socket: str) -> None:
    """So the type checker holds the plug to it."""
    for name in components.names(socket):
        made = get_type_hints(components.plug(socket, name).build)["return"]
        assert getattr(made, "_is_protocol", False) and made.__module__ == components.SOCKETS[socket], name


def test_no_test_folder_is_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_direct_dependency_is_pinned_and_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    extras = [item for group in project["project"]["optional-dependencies"].values() for item in group]
    for requirement in [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["test"]]:
        name, pin, _ = requirement.partition("==")
        assert pin and name in reasons, requirement


def uncommented(reference: Path) -> str:
    """The reference config with its commented keys as keys; the file of notes that it names as an example is not there."""
    lines = (line for line in reference.read_text().splitlines() if "`python" not in line and "notes_file" not in line)
    return "\n".join(line[2:] if line.startswith("# ") and " = " in line else line for line in lines)


def test_the_reference_config_shows_every_key_with_its_default(tmp_path: Path) -> None:
    reference, spelled = ROOT / "configs" / "mimic4_demo.toml", tmp_path / "all.toml"
    spelled.write_text(uncommented(reference))
    short, full, shown = load(reference), load(spelled), tomllib.loads(spelled.read_text())
    for key in statements(Config):
        section, _, inner = key.partition(".")
        default = value(short, key)
        if default is None:  # which TOML cannot say: the key is named in words
            assert re.search(rf"\b{inner or section}\b", reference.read_text()), key
            continue
        assert section in shown and (not inner or inner in shown[section]), f"{reference} does not show {key}"
        if key in components.SOCKETS:
            assert value(full, key).name == default.name
            assert components.options(key, value(full, key)) == components.options(key, default), key
        else:
            assert value(full, key) == default, key
