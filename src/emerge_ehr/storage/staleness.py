"""Notices artefacts that no longer fit what they were made from: inputs changed since, or code that would make others."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.storage import known_hashes

MEMORY = "hashes.json"  # in the cache folder: gigabytes are hashed again only when they were touched


def refuse_other_format(path: Path, record: Mapping[str, Any], expected: int, stage: str) -> None:
    """``record``, read from ``path``, names the format that its stage had when it wrote.

    Raises:
        UserError: it is not this version's.
    """
    if record.get("format") != expected:
        raise UserError(f"{path}: made by another version of this program; run --stage {stage} again")


def other_settings(recorded: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys of either that the other has not, or has with another value.

    >>> other_settings({"split": 0.7, "old": 1}, {"split": 0.7, "linking": 2})
    ['linking', 'old']
    """
    return [
        f"{prefix}{key}"
        for key in (*now, *(recorded.keys() - now))
        if key not in recorded or recorded[key] != now.get(key)
    ]


def refuse_changed_inputs(paths: Iterable[Path], recorded: Mapping[str, str], cache_dir: Path, stage: str) -> None:
    """Of the files ``paths`` those that ``recorded`` (end of the path -> SHA-256) knows are still as ``stage`` read them.

    Raises:
        UserError: one is not.
    """
    for path in paths:
        was = [known for name, known in recorded.items() if path.as_posix().endswith(f"/{name}")]
        if was and _hash(path.absolute(), cache_dir / MEMORY) not in was:
            raise UserError(f"{path}: changed since --stage {stage} read it; run --stage {stage} again")


def refuse_added_inputs(paths: Iterable[Path], recorded: Mapping[str, str], stage: str) -> None:
    """Raises:
    UserError: one of ``paths`` is not among what ``stage`` read.
    """
    for path in paths:
        if not any(path.absolute().as_posix().endswith(f"/{name}") for name in recorded):
            raise UserError(f"{path}: not there when --stage {stage} was run; run --stage {stage} again")


def refuse_other_parts(there: Sequence[Path], parts: str, recorded: Iterable[str], stage: str) -> None:
    """Of a table that may lie in a folder ``parts``: those ``there`` now are those that are ``recorded`` (end of the path).

    Raises:
        UserError: one was added or removed since.
    """
    known = {Path(name).name for name in recorded if Path(name).parent.name == parts}
    now = {path.name for path in there if path.parent.name == parts}
    if there and (other := sorted(known ^ now)):
        where = there[0].parent if now else there[0].parent / parts
        what = "added" if other[0] in now else "removed"
        raise UserError(f"{where / other[0]}: {what} since --stage {stage} was run; run --stage {stage} again")


def _hash(path: Path, memory: Path) -> str:
    known = known_hashes.recall(memory, [path]) or known_hashes.hashing(memory, [path])()
    return known[0]
