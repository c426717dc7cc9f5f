"""Reads a list of signals: a CSV with a row per signal, ours (``benchmark.csv``, ``wide.csv``) or a user's own.

A row that has a name and nothing else stands for our signal of that name. ``docs/signals.md`` tells of the columns.
"""

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emerge_ehr.fields import UserError

COLUMNS = (
    *("name", "label", "unit", "molar_mass", "charge", "plausible_low", "plausible_high", "reference_low"),
    *("reference_high", "hour", "score", "percent", "sum_of", "high_shows", "low_shows", "mimic", "mimic3", "eicu"),
)
BENCHMARK, WIDE = "benchmark", "wide"
OURS = {name: Path(__file__).with_name(f"{name}.csv") for name in (BENCHMARK, WIDE)}


@dataclass(frozen=True)
class Row:
    """``cells`` has every column, blank where it is empty; ``where`` opens messages about the row."""

    where: str
    cells: Mapping[str, str]


def path(chosen: str) -> Path:
    """The file of a list that a config names: one of ours, or the path of a user's own."""
    return OURS.get(chosen, Path(chosen))


def own_file(chosen: str) -> list[Path]:
    """The file of a user's own list; none for one of ours."""
    return [] if chosen in OURS else [Path(chosen)]


def rows(chosen: str) -> list[Row]:
    """The rows of the list, each signal once.

    Raises:
        UserError: the file cannot be read; a column is unknown or a name stands twice.
    """
    file = path(chosen)
    if chosen not in OURS and not file.is_file():
        raise UserError(
            f"[source] signals = '{chosen}' is neither {' nor '.join(OURS)} nor a file; give the path of a CSV"
        )
    first: dict[str, int] = {}
    found = []
    for number, cells in _read(file):
        name, where = cells["name"], f"{file} row {number}"
        if not name:
            raise UserError(f"{where}: name is empty; give the signal a name")
        if name in first:
            raise UserError(f"{where}: name '{name}' stands twice, first in row {first[name]}; remove one of the rows")
        first[name] = number
        described = any(text for column, text in cells.items() if column != "name")
        if not described and name not in _ours():
            raise UserError(f"{where}: '{name}' is none of our signals{_near(name, _ours())}; fill the other columns")
        found.append(Row(where, cells if described else _ours()[name]))
    if not found:
        raise UserError(f"{file}: holds no signal; give it a row for each")
    return found


def _read(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The number of each row and its cells, without blanks around them."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            lines = csv.reader(opened, strict=True)
            header = [name.strip() for name in next(lines, [])]
            _check_header(file, header)
            read = [(lines.line_num, line) for line in lines if any(cell.strip() for cell in line)]
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check [source] signals") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a CSV in UTF-8: {error}; save it as one") from None
    for number, line in read:
        if len(line) != len(header):
            raise UserError(f"{file} row {number}: {len(line)} fields, the header has {len(header)}; mend that row")
    empty = dict.fromkeys(COLUMNS, "")
    return [(number, empty | dict(zip(header, map(str.strip, line), strict=True))) for number, line in read]


def _check_header(file: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            raise UserError(
                f"{file}: unknown column '{name}'{_near(name, COLUMNS)}; known columns: {', '.join(COLUMNS)}"
            )
        if header.count(name) > 1:
            raise UserError(f"{file}: column '{name}' stands twice; remove one")
    if "name" not in header:
        raise UserError(f"{file}: has no column 'name'; known columns: {', '.join(COLUMNS)}")


def _near(name: str, known: "Mapping[str, object] | tuple[str, ...]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


@cache
def _ours() -> dict[str, dict[str, str]]:
    """The cells of each of our signals, from the list that describes it."""
    read = [cells for file in OURS.values() for _, cells in _read(file)]
    return {cells["name"]: cells for cells in reversed(read) if cells["label"]}
