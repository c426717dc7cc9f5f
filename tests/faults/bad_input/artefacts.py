"""Faults of what preprocess wrote: as they lie, and with the recorded checksum forged to fit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.arrays import ARRAYS, FORGED_ARRAYS, FORGED_TOKENS, bomb, drop, poke, setting
from tests.faults.bad_input.damage import (
    Damage,
    cell,
    changed,
    emptied,
    halved,
    missing,
    record,
    rows,
    without,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, refused, some


def signed(damage: Damage) -> Damage:
    """``damage``, after which the record holds the checksum of the damaged file."""

    def whole(path: Path) -> None:
        damage(path)
        folder = path.parent if (path.parent / "metadata.json").exists() else path.parent.parent
        metadata = json.loads((folder / "metadata.json").read_text())
        if path.is_file():
            metadata["artefacts"][path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "metadata.json").write_text(json.dumps(metadata))

    return whole


def updated(**values: Any) -> Damage:
    """Other values in a JSON file."""
    return record(lambda before: before.update(values))


def forged(cases: Cases) -> Cases:
    """The same damages, each with the file's recorded checksum made to fit, so that only the content can give it away."""
    return {f"{kind}, checksum forged": (signed(damage), outcome) for kind, (damage, outcome) in cases.items()}


SPLIT: Cases = {
    "swapped splits": (
        record(lambda v: v.update(train=v["test"], test=v["train"])),
        refused("changed since --stage preprocess wrote it together with its record"),
    ),
}
STATISTICS: Cases = {
    "halved": (halved, refused("changed since --stage preprocess wrote it together with its record")),
}
METADATA: Cases = {
    "halved": (halved, refused("not JSON")),
    "binary": (written(bytes(range(256))), refused("not JSON")),
    "wrong top-level type": (written("[1]"), refused("not the metadata of a dataset")),
    "null": (written("null"), refused("not the metadata of a dataset")),
    "NaN": (changed(lambda t: t.replace(b'"seed": 42', b'"seed": NaN')), refused("not JSON")),
    "deep nesting": (written("[" * 100000), refused("not JSON")),
    "deep object": (written('{"a":' * 50000 + "1" + "}" * 50000), refused("not JSON")),
    "huge number": (changed(lambda t: t.replace(b'"seed": 42', b'"seed": 1e999')), refused("not JSON")),
    "huge integer": (changed(lambda t: t.replace(b'"seed": 42', b'"seed": ' + b"9" * 5000)), refused("not JSON")),
    "key twice": (
        changed(lambda t: t.replace(b'"task": "mortality"', b'"task": "los", "task": "mortality"')),
        refused("not JSON"),
    ),
    "task twice": (
        changed(lambda t: t.replace(b'"task": "mortality"', b'"task": "mortality", "task": "los"')),
        refused("not JSON"),
    ),
    "byte order mark": (changed(lambda t: b"\xef\xbb\xbf" + t), refused("not JSON")),
    "another task": (updated(task="los"), refused("made for task 'los', the config says 'mortality'")),
    "another dataset": (updated(dataset="x"), refused("made of dataset 'x', the config says 'mimic4'")),
    "task missing": (
        record(lambda v: v.pop("task") and None),
        refused("made for task 'None', the config says 'mortality'"),
    ),
    "settings of wrong type": (updated(settings=[1]), refused("settings is not what preprocess writes there")),
    "settings unknown": (updated(settings={"zzz": 1}), refused("settings is not what preprocess writes there")),
    "settings of another config": (
        record(lambda v: v["settings"]["cohort"].update(min_age=3)),
        refused("made with other [cohort] settings than this config's"),
    ),
    "label names missing": (
        record(lambda v: v.pop("label_names") and None),
        refused("label_names must name the columns of label"),
    ),
    "label names of wrong type": (updated(label_names=3), refused("label_names is not what preprocess writes there")),
    "label names not texts": (updated(label_names=[3]), refused("label_names is not what preprocess writes there")),
    "artefacts of wrong type": (updated(artefacts=[1]), refused("artefacts is not what preprocess writes there")),
    "artefacts empty": (updated(artefacts={}), SAME),
    "artefacts climbing out": (
        updated(artefacts={"../own/label.csv": "0"}),
        refused("its record names '../own/label.csv', which is not a file of it", names="processed"),
    ),
    "artefacts not hashes": (
        updated(artefacts={"split.json": 5}),
        refused("artefacts is not what preprocess writes there"),
    ),
    "warnings of wrong type": (updated(warnings=5), refused("warnings is not what preprocess writes there")),
    "warnings not texts": (updated(warnings=[{"a": 1}]), refused("warnings is not what preprocess writes there")),
    "features missing": (record(lambda v: v.pop("features") and None), SAME),
}
FORGED_SPLIT: Cases = {
    "halved": (halved, refused("not JSON")),
    "emptied": (emptied, refused("not JSON")),
    "wrong top-level type": (written("[]"), refused("does not list train, val and test")),
    "part missing": (record(lambda v: v.pop("val") and None), refused("does not list train, val and test")),
    "part empty": (updated(val=[]), refused("no patient in 'val'")),
    "part of wrong type": (updated(val="abc"), refused("does not list train, val and test")),
    "part an object": (updated(val={"a": 1}), refused("does not list train, val and test")),
    "ids as numbers": (
        record(lambda v: v.update(val=[int(x) for x in v["val"]])),
        refused("a patient is in two splits, or an id is not text"),
    ),
    "ids as float": (
        record(lambda v: v.update(val=[float(x) for x in v["val"]])),
        refused("a patient is in two splits, or an id is not text"),
    ),
    "ids nested": (updated(val=[["x"]]), refused("a patient is in two splits, or an id is not text")),
    "ids null": (updated(val=[None]), refused("a patient is in two splits, or an id is not text")),
    "patient unknown": (record(lambda v: v["val"].append("zz")), refused("patient 'zz' is not in emerge_dataset.npz")),
    "patient twice": (
        record(lambda v: v["val"].append(v["val"][0])),
        refused("a patient is in two splits, or an id is not text"),
    ),
    "patient in two splits": (
        record(lambda v: v["val"].append(v["train"][0])),
        refused("a patient is in two splits, or an id is not text"),
    ),
    "patients left out": (
        record(lambda v: v.update(train=v["train"][:10])),
        refused("patient '30000603' of emerge_dataset.npz is in no split, nor are 40 mo"),
    ),
    "deep nesting": (written("[" * 100000), refused("not JSON")),
}
FORGED_PATIENTS: Cases = {
    "halved": (halved, refused("cut off: its last line has no end and fewer than 6 fields")),
    "emptied": (emptied, refused("not a readable CSV: empty CSV")),
    "header only": (rows(lambda table: table[:1]), refused("no row for patient_id '30000017'")),
    "missing": (missing, refused("missing")),
    "age as text": (cell("age", "x"), refused("age 'x' is not a number")),
    "patient lost": (rows(lambda t: [t[0], *t[2:]]), refused("no row for patient_id '30000017'")),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("patient_id 30000017 stands twice")),
    "sex as word": (cell("sex", "woman"), refused("sex 'woman' is not one of F, M")),
    "NUL bytes at the end": (changed(lambda text: text + b"\0" * 512), refused("cut off")),
}
FORGED_RECORDS: Cases = {
    "halved": (halved, refused("damaged")),
    "emptied": (emptied, refused("damaged")),
    "header only": (rows(lambda table: table[:1]), refused("not one row for each patient, in the order of the arrays")),
    "no JSON": (cell("nodes", "[{"), refused("damaged")),
    "JSON of wrong type": (cell("nodes", "3"), refused("damaged")),
    "nodes not objects": (cell("nodes", "[3]"), refused("damaged")),
    "deep nesting": (cell("nodes", "[" * 100000), refused("damaged")),
    "column missing": (without("nodes"), refused("damaged")),
    "patient lost": (
        rows(lambda t: [t[0], *t[2:]]),
        refused("not one row for each patient, in the order of the arrays"),
    ),
    "rows in another order": (
        rows(lambda t: [t[0], *t[:0:-1]]),
        refused("not one row for each patient, in the order of the arrays"),
    ),
    "NUL in a field": (cell("summary", "a\x00b"), SAME),
    "missing": (missing, refused("missing")),
    "NaN": (cell("faithfulness", "NaN"), refused("damaged")),
    "triples too short": (cell("triples", "[[1]]"), refused("damaged")),
    "triples not lists": (cell("triples", "[5]"), refused("damaged")),
}
FORGED_STATISTICS: Cases = {
    "halved": (halved, refused("not a readable npz")),
    "missing": (missing, refused("missing")),
    "pickled objects": (bomb, refused("not a readable npz")),
    "other numbers": (
        setting("mean", lambda a: a + 1),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "NaN": (
        setting("mean", lambda a: poke(a, np.nan)),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "array missing": (drop("mean"), refused("1 of 11 checks failed, first: fitted on training patients only: not wha")),
    "other shape": (
        setting("std", lambda a: a[1:]),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "texts": (
        setting("mean", lambda a: a.astype(str)),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
}
FORGED_ENCODER_JSON: Cases = {
    "halved": (halved, refused("not JSON")),
    "missing": (missing, refused("missing")),
    "wrong top-level type": (
        written("3"),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "terms missing": (
        record(lambda v: v.pop("terms") and None),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "other terms": (
        record(lambda v: v["terms"].reverse()),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
}
FORGED_ENCODER_ARRAYS: Cases = {
    "halved": (halved, refused("not a readable npz")),
    "missing": (missing, refused("missing")),
    "pickled objects": (bomb, refused("not a readable npz")),
    "other numbers": (
        setting("idf", lambda a: a + 1),
        refused("1 of 11 checks failed, first: fitted on training patients only: not wha"),
    ),
    "array missing": (drop("idf"), refused("1 of 11 checks failed, first: fitted on training patients only: not wha")),
}
FAULTS = [
    *faults(
        "train",
        "processed/emerge_dataset.npz",
        ANY_FILE | ARRAYS,
        {
            "emptied": refused("changed since --stage preprocess wrote it together with its record"),
        },
    ),
    *faults("train", "processed/emerge_dataset.npz", forged(FORGED_ARRAYS)),
    *faults("train", "processed/split.json", SPLIT),
    *faults("train", "processed/split.json", forged(FORGED_SPLIT)),
    *faults(
        "train",
        "processed/rag_records.csv",
        some(ANY_FILE, "emptied"),
        {
            "emptied": refused("changed since --stage preprocess wrote it together with its record"),
        },
    ),
    *faults("train", "processed/fitted/statistics.npz", STATISTICS),
    *faults("train", "processed/patients.csv", some(ANY_FILE, "missing")),
    *faults("train", "processed/patients.csv", forged(FORGED_PATIENTS)),
    *faults("train", "processed/note_tokens.npy", forged(FORGED_TOKENS)),
    *faults(
        "train",
        "processed/metadata.json",
        ANY_FILE | METADATA,
        {
            "emptied": refused("not JSON"),
            "a folder": refused("Is a directory"),
            "a link to itself": refused("Too many levels of symbolic links"),
        },
    ),
    *faults("audit", "processed/rag_records.csv", forged(FORGED_RECORDS)),
    *faults("audit", "processed/fitted/statistics.npz", forged(FORGED_STATISTICS)),
    *faults("audit", "processed/fitted/note_encoder.json", forged(FORGED_ENCODER_JSON)),
    *faults("audit", "processed/fitted/note_encoder.npz", forged(FORGED_ENCODER_ARRAYS)),
]
