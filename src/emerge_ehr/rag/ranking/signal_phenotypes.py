"""Reads and checks the table of the phenotypes that an abnormal signal shows."""

from collections.abc import Mapping
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.rag import word_lists

BUILT_IN = Path(__file__).with_suffix(".csv")
COLUMNS = ("signal", "direction", "phenotype")


def read(path: Path) -> Mapping[tuple[str, str], list[str]]:
    """(signal, direction) -> names of phenotypes. A graph may lack some of them, as ontologies rename phenotypes.

    Raises:
        UserError: the file cannot be read, or is not such a table.
    """
    shown: dict[tuple[str, str], list[str]] = {}
    for number, row in enumerate(word_lists.read(path, "retrieval.phenotypes_file", COLUMNS), 2):
        if row["direction"] not in ("high", "low"):
            raise UserError(f"{path} row {number}: direction {row['direction']!r} is neither high nor low")
        shown.setdefault((row["signal"], row["direction"]), []).append(row["phenotype"])
    return shown
