"""Corruptions of what is only remembered: damaged, it is made anew and said so, or refused where it was paid for."""

import sqlite3
from pathlib import Path

from tests.faults.corruption import Corruption
from tests.faults.damage import Damage, emptied, halved, missing, record, written

INDEX = "data/cache/kg"


def of_index(name: str, damage: Damage) -> Damage:
    """The file ``name`` of the one index there is."""

    def whole(path: Path) -> None:
        (folder,) = (one for one in path.iterdir() if one.is_dir())
        damage(folder / name)

    return whole


def other_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE answers (a, b)")
    connection.close()


KINDS: dict[str, Damage] = {"halved": halved, "emptied": emptied, "missing": missing, "text": written("x")}
CORRUPTIONS = [
    *(
        Corruption(INDEX, f"{name} {kind}", of_index(name, damage), "preprocess")
        for name in ("diseases.arrow", "edges.arrow", "index.json")
        for kind, damage in KINDS.items()
    ),
    Corruption(INDEX, "index.json deep nesting", of_index("index.json", written("[" * 100_000)), "preprocess"),
    Corruption(INDEX, "index.json of wrong type", of_index("index.json", written("[1]")), "preprocess"),
    *(Corruption(f"{INDEX}/hashes.json", kind, damage, "preprocess") for kind, damage in KINDS.items()),
    Corruption(f"{INDEX}/hashes.json", "wrong top-level type", written("[1]"), "preprocess"),
    Corruption(f"{INDEX}/hashes.json", "other entries", written('{"a": 1, "b": [[1, 2], 3]}'), "preprocess"),
    Corruption(f"{INDEX}/hashes.json", "deep nesting", written("[" * 100_000), "preprocess"),
    Corruption(
        f"{INDEX}/hashes.json",
        "other hashes",
        record(lambda value: {path: [stamp, "0" * 64] for path, (stamp, _) in value.items()}),
        "preprocess",
    ),
    Corruption("data/cache/llm.sqlite", "no database", written("x" * 5000), "preprocess", config="llm.toml"),
    Corruption("data/cache/llm.sqlite", "another table", other_table, "preprocess", config="llm.toml"),
    Corruption("data/cache/llm.sqlite", "a folder", lambda path: path.mkdir(), "preprocess", config="llm.toml"),
]
