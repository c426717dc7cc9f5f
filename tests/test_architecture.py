"""The house rules that a machine can check: the ladder of imports, plugs, and that every config loads."""

import ast
import tomllib
from pathlib import Path

import pytest

from src import components
from src.comparison import grid, points
from src.config import load

ROOT = Path(__file__).resolve().parents[1]
LADDER = [
    "fields",
    "progress",
    "torchrun",
    "config",
    "components",
    "datasets",
    "models",
    "evaluation",
    "audit",
    "training",
    "prediction",
    "report",
    "comparison",
    "main",
]


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "src":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("src."):
            found.add(str(node.module).split(".")[1])
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=str)
def test_a_room_imports_only_from_its_own_rung_or_an_earlier_one(path: Path) -> None:
    room = path.relative_to(ROOT / "src").parts[0].removesuffix(".py")
    if room != "__init__":
        assert all(LADDER.index(other) <= LADDER.index(room) for other in imports(path)), imports(path)


GRIDS = sorted(ROOT.glob("configs/benchmark/*.toml"))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.glob("configs/**/*.toml")) if path not in GRIDS]
    + sorted(ROOT.glob("tests/configs/*.toml")),
    ids=str,
)
def test_every_config_loads_and_its_plugs_take_their_options(path: Path) -> None:
    components.check(load(path), tuple(components.SOCKETS))


@pytest.mark.parametrize("path", GRIDS, ids=str)
def test_every_grid_loads_and_each_of_its_points_is_a_valid_config(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # a grid's base is relative to the current folder
    assert len(points.points(grid.load(path), path)) > 1


@pytest.mark.parametrize("socket", components.SOCKETS)
def test_every_module_of_a_socket_is_a_plug(socket: str) -> None:
    import importlib

    for name in components.names(socket):
        module = importlib.import_module(f"{components.SOCKETS[socket]}.{name}")
        assert hasattr(module, "Options") and callable(module.build), name


def test_no_test_folder_is_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_direct_dependency_is_pinned_and_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    extras = [item for group in project["project"]["optional-dependencies"].values() for item in group]
    for requirement in [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]:
        name, pin, _ = requirement.partition("==")
        assert pin and name in reasons, requirement


def test_commented_defaults_of_the_reference_config_are_the_real_defaults(tmp_path: Path) -> None:
    reference = ROOT / "configs" / "mimic4_demo.toml"
    lines = reference.read_text().splitlines()
    uncommented = [
        line[2:] if line.startswith("# ") and " = " in line and "notes_file" not in line else line for line in lines
    ]
    spelled = tmp_path / "all.toml"
    spelled.write_text("\n".join(line for line in uncommented if "`python" not in line))
    short, full = load(reference), load(spelled)
    for socket in components.SOCKETS:
        left, right = components.chosen_if_any(short, socket), components.chosen_if_any(full, socket)
        if left is None or right is None:
            assert left is right, socket
            continue
        assert left.name == right.name
        assert components.options(socket, left) == components.options(socket, right), socket
    for part in (
        "paths",
        "download",
        "cohort",
        "split",
        "sparsity",
        "abnormal",
        "linking",
        "llm",
        "token_level",
        "training",
        "evaluation",
        "report",
        "seed",
        "task",
        "offline",
    ):
        assert getattr(short, part) == getattr(full, part), part
