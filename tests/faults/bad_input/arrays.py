"""Faults of the arrays that preprocess wrote; artefacts.py says what reads them."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.bad_input.damage import (
    Damage,
    emptied,
    halved,
    missing,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, handled, refused

Arrays = dict[str, np.ndarray]


class Bomb:
    """Its pickle, when read, writes the file ``executed``."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def arrays(edit: Callable[[Arrays], Arrays | None]) -> Damage:
    """The arrays of an npz; ``edit`` changes them in place or gives others."""

    def damage(path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            before = dict(file)
        after = edit(before)
        with path.open("wb") as file:
            np.savez(file, **(before if after is None else after))

    return damage


def setting(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """One array of an npz."""
    return arrays(lambda before: {**before, name: edit(before[name])})


def drop(name: str) -> Damage:
    """An array of an npz left out."""
    return arrays(lambda before: {other: array for other, array in before.items() if other != name})


def poke(array: np.ndarray, value: float) -> np.ndarray:
    """A copy whose first number is another."""
    array = array.copy()
    array.reshape(-1)[0] = value
    return array


def saved(array: np.ndarray) -> Damage:
    """Another array in an npy."""

    def damage(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=True)

    return damage


def zipped(members: dict[str, bytes]) -> Damage:
    """Another archive."""

    def damage(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return damage


bomb = saved(np.array([Bomb()], dtype=object))
ARRAYS: Cases = {
    "halved": (halved, refused("changed since --stage preprocess wrote it together with its record")),
}
FORGED_ARRAYS: Cases = {
    "halved": (halved, refused("not a readable npz")),
    "emptied": (emptied, refused("not a readable npz")),
    "text": (written("no npz"), refused("not a readable npz")),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(Bomb())), refused("not a readable npz")),
    "npy of objects": (bomb, refused("not a readable npz")),
    "pickled objects": (
        arrays(lambda a: a.update(ehr=np.array([Bomb()] * len(a["ehr"]), dtype=object))),
        refused("not a readable npz"),
    ),
    "zip of other members": (zipped({"a.txt": b"hello"}), refused("not a readable npz")),
    "zip climbing out": (zipped({"../../evil.npy": b"x"}), refused("not a readable npz")),
    "member that is no npy": (zipped({"ehr.npy": b"garbage"}), refused("not a readable npz")),
    "member cut off": (zipped({"ehr.npy": b"\x93NUMPY\x01\x00"}), refused("not a readable npz")),
    "header bomb": (
        zipped({"ehr.npy": b"\x93NUMPY\x02\x00" + (60000).to_bytes(4, "little") + b"(" * 60000}),
        refused("not a readable npz"),
    ),
    "huge shape": (
        zipped(
            {
                "ehr.npy": b"\x93NUMPY\x01\x00v\x00"
                + b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }".ljust(117)
                + b"\n"
            }
        ),
        refused("not a readable npz"),
    ),
    "array missing": (drop("label"), refused("no array 'label'")),
    "array too many": (arrays(lambda a: a.update(more=np.zeros(3))), SAME),
    "wrong dimensions": (setting("ehr", lambda a: a[0]), refused("ehr has 2 dimensions, not 3")),
    "rows missing": (setting("label", lambda a: a[1:]), refused("label has 77 rows, patient_id 78")),
    "NaN": (setting("ehr", lambda a: poke(a, np.nan)), refused("ehr holds NaN or infinity")),
    "infinity": (setting("note_embedding", lambda a: poke(a, np.inf)), refused("note_embedding holds NaN or infinity")),
    "float64": (setting("ehr", lambda a: a.astype(np.float64)), refused("ehr holds float64, not float32")),
    "integers": (setting("ehr", lambda a: a.astype(np.int32)), refused("ehr holds int32, not float32")),
    "texts for numbers": (setting("ehr", lambda a: a.astype(str)), refused("ehr holds <U32, not float32")),
    "complex numbers": (
        setting("static", lambda a: a.astype(complex)),
        refused("static holds complex128, not float32"),
    ),
    "label not 0 or 1": (setting("label", lambda a: poke(a, 2)), refused("label holds values other than 0 and 1")),
    "labels of one class": (setting("label", lambda a: a * 0), handled("its metrics are undefined")),
    "length 0": (
        setting("ehr_length", lambda a: poke(a, 0)),
        refused("ehr_length must lie between 1 and 48 hours, not 0 and 48"),
    ),
    "length beyond the hours": (
        setting("ehr_length", lambda a: poke(a, 999)),
        refused("ehr_length must lie between 1 and 48 hours, not 48 and 999"),
    ),
    "negative length": (
        setting("ehr_length", lambda a: poke(a, -3)),
        refused("ehr_length must lie between 1 and 48 hours, not -3 and 48"),
    ),
    "mask not 0 or 1": (
        setting("note_mask", lambda a: poke(a, 7)),
        refused("note_mask holds values other than 0 and 1"),
    ),
    "negative mask": (setting("ehr_mask", lambda a: poke(a, -1)), refused("ehr_mask holds values other than 0 and 1")),
    "masks of other shape": (
        setting("ehr_mask", lambda a: a[:, :5]),
        refused("Batch.ehr_mask: expected [N T F] = [51, 48, 17], got [51, 5, 17]"),
    ),
    "no hours": (
        arrays(lambda a: a.update(ehr=a["ehr"][:, :0], ehr_mask=a["ehr_mask"][:, :0])),
        refused("ehr is empty: 78 patients, 0 hours, 17 features"),
    ),
    "patient twice": (
        setting("patient_id", lambda a: np.concatenate([a[:1], a[:-1]])),
        refused("patient_id names a patient twice"),
    ),
    "patients as numbers": (
        setting("patient_id", lambda a: a.astype(np.int64)),
        refused("patient_id holds int64, not str_"),
    ),
    "no patients": (
        arrays(lambda a: {k: v[:0] for k, v in a.items()}),
        refused("note_tokens has 78 rows, patient_id 0", names="processed/note_tokens.npy"),
    ),
    # only somebody who also forges the record of checksums gets it this far
    "huge numbers": (
        setting("ehr", lambda a: poke(a, 1e38)),
        refused("ehr holds values of more than 1e+20 standard deviations"),
    ),
    "scalar patient": (setting("patient_id", lambda a: np.array("x")), refused("ehr has 78 rows, patient_id 1")),
}
FORGED_TOKENS: Cases = {
    "pickled objects": (bomb, refused("not a readable npy")),
    "halved": (halved, refused("not a readable npy")),
    "missing": (missing, refused("missing")),
    "text": (written("x"), refused("not a readable npy")),
    "other shape": (saved(np.zeros((3, 2), np.float32)), refused("note_tokens has 2 dimensions, not 3")),
    "integers": (saved(np.zeros((78, 2, 5), np.int64)), refused("note_tokens holds int64, not float32")),
}
