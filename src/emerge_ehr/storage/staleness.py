"""Notices artefacts that are out of date: their inputs, the settings or the format of the files have changed since."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.storage import known_hashes

MEMORY = "hashes.json"  # in the cache folder; large files are hashed again only after they have changed


def refuse_other_format(path: Path, record: Mapping[str, Any], expected: int, stage: str) -> None:
    """Compare the format number in ``record``, which was read from ``path``, with the number ``expected`` by this version.

    Raises:
        UserError: the numbers differ.
    """
    if record.get("format") != expected:
        raise UserError(f"{path}: made by another version of this program; run --stage {stage} again")


def other_settings(recorded: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys whose values differ between the two, or that only one of them has.

    >>> other_settings({"split": 0.7, "old": 1}, {"split": 0.7, "linking": 2})
    ['linking', 'old']
    """
    return [
        f"{prefix}{key}"
        for key in (*now, *(recorded.keys() - now))
        if key not in recorded or recorded[key] != now.get(key)
    ]


def refuse_changed_inputs(paths: Iterable[Path], recorded: Mapping[str, str], cache_dir: Path, stage: str) -> None:
    """Compare the files ``paths`` with the hashes ``recorded`` by ``stage`` (end of the path -> SHA-256); others are passed over.

    Raises:
        UserError: a file has changed.
    """
    for path in paths:
        hashes = [known for name, known in recorded.items() if path.as_posix().endswith(f"/{name}")]
        if hashes and _hash(path.absolute(), cache_dir / MEMORY) not in hashes:
            raise UserError(f"{path}: changed since --stage {stage} read it; run --stage {stage} again")


def refuse_added_inputs(paths: Iterable[Path], recorded: Mapping[str, str], stage: str) -> None:
    """Check that ``stage`` read all of ``paths``.

    Raises:
        UserError: one of them is not ``recorded``.
    """
    for path in paths:
        if not any(path.absolute().as_posix().endswith(f"/{name}") for name in recorded):
            raise UserError(f"{path}: not there when --stage {stage} was run; run --stage {stage} again")


def refuse_other_parts(there: Sequence[Path], parts: str, recorded: Iterable[str], stage: str) -> None:
    """Compare the files of a table in a folder ``parts`` that are ``there`` now with those ``recorded`` (ends of their paths).

    Raises:
        UserError: a part was added or removed since.
    """
    known = {Path(name).name for name in recorded if Path(name).parent.name == parts}
    now = {path.name for path in there if path.parent.name == parts}
    if there and (other := sorted(known ^ now)):
        where = there[0].parent if now else there[0].parent / parts
        change = "added" if other[0] in now else "removed"
        raise UserError(f"{where / other[0]}: {change} since --stage {stage} was run; run --stage {stage} again")


def _hash(path: Path, memory: Path) -> str:
    known = known_hashes.recall(memory, [path]) or known_hashes.hashing(memory, [path])()
    return known[0]
