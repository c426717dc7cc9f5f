"""Faults of what is only remembered: damaged, it is made again with a word about it, or refused where it was paid for."""

import sqlite3
from pathlib import Path

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.damage import (
    Damage,
    emptied,
    halved,
    missing,
    record,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, refused, some

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


INDEX: Cases = {
    "diseases.arrow halved": (of_index("diseases.arrow", halved), SAME),
    "diseases.arrow emptied": (of_index("diseases.arrow", emptied), SAME),
    "diseases.arrow missing": (of_index("diseases.arrow", missing), SAME),
    "diseases.arrow text": (of_index("diseases.arrow", written("x")), SAME),
    "edges.arrow halved": (of_index("edges.arrow", halved), SAME),
    "edges.arrow emptied": (of_index("edges.arrow", emptied), SAME),
    "edges.arrow missing": (of_index("edges.arrow", missing), SAME),
    "edges.arrow text": (of_index("edges.arrow", written("x")), SAME),
    "index.json halved": (of_index("index.json", halved), SAME),
    "index.json emptied": (of_index("index.json", emptied), SAME),
    "index.json missing": (of_index("index.json", missing), SAME),
    "index.json text": (of_index("index.json", written("x")), SAME),
    "index.json deep nesting": (of_index("index.json", written("[" * 100_000)), SAME),
    "index.json of wrong type": (of_index("index.json", written("[1]")), SAME),
}
HASHES: Cases = {
    "halved": (halved, SAME),
    "text": (written("x"), SAME),
    "wrong top-level type": (written("[1]"), SAME),
    "other entries": (written('{"a": 1, "b": [[1, 2], 3]}'), SAME),
    "deep nesting": (written("[" * 100_000), SAME),
    "other hashes": (record(lambda value: {path: [stamp, "0" * 64] for path, (stamp, _) in value.items()}), SAME),
}
ANSWERS: Cases = {
    "no database": (written("x" * 5000), refused("not a usable cache")),
    "another table": (other_table, refused("no such column: content")),
    "a folder": (lambda path: path.mkdir(), refused("unable to open database file")),
}
FAULTS = [
    *faults("preprocess", "data/cache/kg", INDEX),
    *faults(
        "preprocess",
        "data/cache/kg/hashes.json",
        some(ANY_FILE, "emptied", "missing") | HASHES,
        {
            "emptied": SAME,
            "missing": SAME,
        },
    ),
    *faults("preprocess", "data/cache/llm.sqlite", ANSWERS, config="llm.toml"),
]
