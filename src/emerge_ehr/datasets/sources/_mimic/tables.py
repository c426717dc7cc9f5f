"""Which tables of MIMIC a list of signals needs beside those that are always read, and what is lost where one is not there."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from emerge_ehr.datasets.sources._raw.raw_csv import look
from emerge_ehr.fields import listed
from emerge_ehr.signals.items import Wanted

# table of an item -> its file in MIMIC-III and IV
FILES: Mapping[str, tuple[str, str]] = {
    "output": ("OUTPUTEVENTS", "outputevents"),
    "input": ("INPUTEVENTS_MV", "inputevents"),
    "procedure": ("PROCEDUREEVENTS_MV", "procedureevents"),
}
MIMIC3, MIMIC4 = 0, 1


def needed(wanted: Wanted, version: int) -> dict[str, str]:
    """Table of an item -> its file, of the tables that the wanted items are in."""
    return {table: files[version] for table, files in FILES.items() if wanted.of(table).items}


def present(wanted: Wanted, version: int, folder: Path) -> dict[str, Path]:
    """As ``needed``, the files that are there."""
    return {table: path for table, name in needed(wanted, version).items() if (path := look(folder, name))}


def lacking(wanted: Wanted, version: int, folder: Path) -> Iterator[str]:
    """Warnings of files that are not there, and of signals for which this source has no item."""
    there = present(wanted, version, folder)
    for table, name in needed(wanted, version).items():
        if table not in there:
            codes = sorted({item.code for item in wanted.of(table).items})
            yield f"{folder / name}.csv.gz is missing: without {listed(codes)}"
    mapped = {item.code for item in wanted.items}
    if absent := [signal.name for signal in wanted.signals if signal.name not in mapped and not signal.sum_of]:
        yield f"the list of signals names no item of this source for {listed(absent)}"
