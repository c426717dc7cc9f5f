"""Where the sources keep the signals of a list: the items in its columns ``mimic``, ``mimic3`` and ``eicu``.

A cell holds ``table:item`` or ``table:item [unit]``, separated by ``;``. The unit is that of values whose row states none. Items
left of ``>>`` count before those right of it where both have a value at one time, as an arterial line counts before a cuff.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emerge_ehr.fields import UserError
from emerge_ehr.signals import signals, table, unit_forms
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import Row
from emerge_ehr.signals.unit_forms import SAME, Factors

# column -> the tables that its items may be in
MIMIC = ("chart", "lab", "output", "input", "procedure")
EICU = (
    "patient",
    "vitalPeriodic",
    "vitalAperiodic",
    "lab",
    "nurseCharting",
    "respiratoryCharting",
    "respiratoryCare",
    "treatment",
)
TABLES: Mapping[str, tuple[str, ...]] = {"mimic": MIMIC, "mimic3": MIMIC, "eicu": EICU}
LASTING = ("input", "procedure", "respiratoryCare", "treatment")  # what lasts for a while, rather than being measured
WRITTEN = re.compile(r"(\w+):\s*(.*?)(?:\s*\[([^\[\]]*)\])?")
RATE = re.compile(r"^(?!beats|breaths|mm/).*/(?:min|h|hr|hour)$")  # how the units of rates end
LARGEST_ID = 2**31 - 1
RANKS = 10  # the ranks that values of one time may have: 0 to 9


@dataclass(frozen=True)
class Item:
    """``name`` in ``table`` holds the signal ``code``; of several values at one time those of the lowest ``rank`` count.

    ``factors``: the scale and offset of a value whose row states no unit.
    """

    code: str
    table: str
    name: str
    factors: Factors = SAME
    rank: int = 0


@dataclass(frozen=True)
class Wanted:
    """The signals of a list and where a source has them."""

    signals: tuple[Signal, ...]
    items: tuple[Item, ...]

    def of(self, table: str) -> "Wanted":
        """The same signals, with the items of one table."""
        return Wanted(self.signals, tuple(item for item in self.items if item.table == table))

    def ranked(self) -> Iterator[tuple[Item, int]]:
        """Each item with its rank; of what is added up a number of its own, as two items may have the same value at one time."""
        summed = {signal.name for signal in self.signals if signal.hour == "sum"}
        yield from ((item, place if item.code in summed else item.rank) for place, item in enumerate(self.items))


def wanted(chosen: str, *columns: str) -> Wanted:
    """The signals of a list, and their items in the ``columns`` of a source.

    Raises:
        UserError: the list cannot be read.
    """
    return Wanted(signals.read(chosen), read(chosen, *columns))


def read(chosen: str, *columns: str) -> tuple[Item, ...]:
    """The items of the list's signals in these columns.

    Raises:
        UserError: as ``table.rows``; or an item cannot be read, or stands for two signals.
    """
    first: dict[tuple[str, str], str] = {}
    items = []
    for row in table.rows(chosen):
        for item in (item for column in columns for item in _of_cell(row, column)):
            # an infusion may stand for its rate, and for whether any is given
            key = (item.table, item.name.lower() + (f" {item.code}" if item.table in LASTING else ""))
            if key in first:
                raise UserError(
                    f"{row.where}: item '{item.table}:{item.name}' of {item.code} stands twice, first for {first[key]}; an item "
                    "belongs to one signal"
                )
            first[key] = item.code
            items.append(item)
    return tuple(items)


def _of_cell(row: Row, column: str) -> Iterator[Item]:
    code = row.cells["name"]
    for rank, group in enumerate(row.cells[column].split(">>") if row.cells[column] else ()):
        for text in group.split(";"):
            found = WRITTEN.fullmatch(text.strip())
            if found is None or found[1] not in TABLES[column] or not found[2]:
                raise UserError(
                    f"{row.where}: {column} item '{text.strip()}' of {code} is not table:item; the tables are "
                    f"{', '.join(TABLES[column])}"
                )
            name = found[2] if column == "eicu" else _itemid(row, column, found[1], found[2])
            if rank >= RANKS:
                raise UserError(f"{row.where}: {column} of {code} has more than {RANKS} groups of items; join some")
            _refuse_unlike(row, found[1], column)
            yield Item(code, found[1], name, _factors(row, found[3], text.strip()), rank)


def _itemid(row: Row, column: str, kept_in: str, text: str) -> str:
    """The itemid as it is usually written, so that one item is one."""
    if not (text.isascii() and text.isdigit()) or int(text) > LARGEST_ID:
        raise UserError(
            f"{row.where}: {column} item '{kept_in}:{text}' of {row.cells['name']}: an itemid is a whole number up to "
            f"{LARGEST_ID}"
        )
    return str(int(text))


def _refuse_unlike(row: Row, kept_in: str, column: str) -> None:
    """Refuse what lasts in a signal that it can give no values of.

    Raises:
        UserError: it would be summed, which gives no amount; or a rate or a period has no unit that says what its values are.
    """
    code, unit = row.cells["name"], row.cells["unit"]
    if kept_in not in LASTING or kept_in == "treatment":  # an entry of which is of one time
        return
    if row.cells["hour"] == "sum":
        raise UserError(
            f"{row.where}: hour of {code} is sum, but items in '{kept_in}' last for a while, and have a rate or none; a sum of "
            "rates is no amount: write max"
        )
    if column != "eicu" and not unit_forms.FLAG.fullmatch(unit) and (kept_in == "procedure" or not RATE.search(unit)):
        rates = (
            ""
            if kept_in == "procedure"
            else f", or that of a rate: {', '.join(filter(RATE.search, unit_forms.FAMILIES))}"
        )
        raise UserError(
            f"{row.where}: unit '{unit}' of {code} does not fit items in '{kept_in}', which last for a while; write what the "
            f"numbers mean ('0 no, 1 yes'){rates}"
        )


def _factors(row: Row, unit: str | None, text: str) -> Factors:
    """What makes a value in the item's ``unit`` one of the signal."""
    if unit is None:
        return SAME
    cells = row.cells
    known = unit_forms.forms(cells["unit"], float(cells["molar_mass"] or 0), int(float(cells["charge"] or 0))) or {}
    spelt = "".join(unit.lower().split())
    if spelt not in known:
        raise UserError(
            f"{row.where}: unit '{unit}' of item '{text}' is not one that {cells['name']} ({cells['unit'] or 'no unit'}) is "
            f"converted from: {', '.join(sorted(known)) or 'none'}"
        )
    return known[spelt]
