"""Corruptions of what preprocess wrote: as they lie, and with the record of checksums forged to fit."""

import hashlib
import json
import pickle
import zipfile

import numpy as np

from tests.faults.corruption import Corruption
from tests.faults.damage import (
    FILES,
    LINES,
    a_folder,
    a_link_to_itself,
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


class Bomb:
    def __reduce__(self):
        return (open, ("executed", "w"))


def signed(damage, record_name="metadata.json", key="artefacts"):
    def whole(path):
        damage(path)
        folder = path.parent if (path.parent / record_name).exists() else path.parent.parent
        rec = folder / record_name
        v = json.loads(rec.read_text())
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            v[key][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        rec.write_text(json.dumps(v))

    return whole


def arrays(edit):
    def damage(path):
        with np.load(path, allow_pickle=False) as f:
            a = dict(f)
        b = edit(a)
        a = a if b is None else b
        with path.open("wb") as f:
            np.savez(f, **a)

    return damage


def setting(name, edit):
    def e(a):
        a[name] = edit(a[name])

    return arrays(e)


def signed_for(name, kind, damage, stage="train"):
    return Corruption(f"processed/{name}", kind, signed(damage), stage)


def unsigned(name, kind, damage, stage="train"):
    return Corruption(f"processed/{name}", kind + " (unsigned)", damage, stage)


def poke(a, v):
    a = a.copy()
    a.reshape(-1)[0] = v
    return a


Z = "emerge_dataset.npz"
M = "metadata.json"
SP = "split.json"


def saved(array):
    def d(p):
        with p.open("wb") as f:
            np.save(f, array, allow_pickle=True)

    return d


bomb = saved(np.array([Bomb()], dtype=object))


def drop(n):
    def e(a):
        del a[n]

    return arrays(e)


def j(kind, text, name, **k):
    return signed_for(name, kind, written(text), **k)


def zipped(members):
    def d(p):
        with zipfile.ZipFile(p, "w") as z:
            for n, b in members.items():
                z.writestr(n, b)

    return d


def upd(**kw):
    return record(lambda v: v.update(kw))


CORRUPTIONS = [
    *[
        unsigned(Z, k, d)
        for k, d in {
            "halved": halved,
            "emptied": emptied,
            "missing": missing,
            "a folder": a_folder,
            "a link to itself": a_link_to_itself,
        }.items()
    ],
    unsigned(SP, "swapped splits", record(lambda v: v.update(train=v["test"], test=v["train"]))),
    unsigned("rag_records.csv", "emptied", emptied),
    unsigned("fitted/statistics.npz", "halved", halved),
    unsigned("patients.csv", "missing", missing),
    signed_for(Z, "halved", halved),
    signed_for(Z, "emptied", emptied),
    signed_for(Z, "text", written("no npz")),
    signed_for(Z, "pickle", lambda p: p.write_bytes(pickle.dumps(Bomb()))),
    signed_for(Z, "npy of objects", bomb),
    signed_for(Z, "pickled objects", arrays(lambda a: a.update(ehr=np.array([Bomb()] * len(a["ehr"]), dtype=object)))),
    signed_for(Z, "zip of other members", zipped({"a.txt": b"hello"})),
    signed_for(Z, "zip climbing out", zipped({"../../evil.npy": b"x"})),
    signed_for(Z, "member that is no npy", zipped({"ehr.npy": b"garbage"})),
    signed_for(Z, "member cut off", zipped({"ehr.npy": b"\x93NUMPY\x01\x00"})),
    signed_for(
        Z, "header bomb", zipped({"ehr.npy": b"\x93NUMPY\x02\x00" + (60000).to_bytes(4, "little") + b"(" * 60000})
    ),
    signed_for(
        Z,
        "huge shape",
        zipped(
            {
                "ehr.npy": b"\x93NUMPY\x01\x00v\x00"
                + b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }".ljust(117)
                + b"\n"
            }
        ),
    ),
    signed_for(Z, "array missing", drop("label")),
    signed_for(Z, "array too many", arrays(lambda a: a.update(more=np.zeros(3)))),
    signed_for(Z, "wrong dimensions", setting("ehr", lambda a: a[0])),
    signed_for(Z, "rows missing", setting("label", lambda a: a[1:])),
    signed_for(Z, "NaN", setting("ehr", lambda a: poke(a, np.nan))),
    signed_for(Z, "infinity", setting("note_embedding", lambda a: poke(a, np.inf))),
    signed_for(Z, "float64", setting("ehr", lambda a: a.astype(np.float64))),
    signed_for(Z, "integers", setting("ehr", lambda a: a.astype(np.int32))),
    signed_for(Z, "texts for numbers", setting("ehr", lambda a: a.astype(str))),
    signed_for(Z, "complex numbers", setting("static", lambda a: a.astype(complex))),
    signed_for(Z, "label not 0 or 1", setting("label", lambda a: poke(a, 2))),
    signed_for(Z, "labels of one class", setting("label", lambda a: a * 0)),
    signed_for(Z, "length 0", setting("ehr_length", lambda a: poke(a, 0))),
    signed_for(Z, "length beyond the hours", setting("ehr_length", lambda a: poke(a, 999))),
    signed_for(Z, "negative length", setting("ehr_length", lambda a: poke(a, -3))),
    signed_for(Z, "mask not 0 or 1", setting("note_mask", lambda a: poke(a, 7))),
    signed_for(Z, "negative mask", setting("ehr_mask", lambda a: poke(a, -1))),
    signed_for(Z, "masks of other shape", setting("ehr_mask", lambda a: a[:, :5])),
    signed_for(Z, "no hours", arrays(lambda a: a.update(ehr=a["ehr"][:, :0], ehr_mask=a["ehr_mask"][:, :0]))),
    signed_for(Z, "patient twice", setting("patient_id", lambda a: np.concatenate([a[:1], a[:-1]]))),
    signed_for(Z, "patients as numbers", setting("patient_id", lambda a: a.astype(np.int64))),
    signed_for(Z, "no patients", arrays(lambda a: {k: v[:0] for k, v in a.items()})),
    signed_for(Z, "huge numbers", setting("ehr", lambda a: poke(a, 1e38))),
    signed_for(Z, "scalar patient", setting("patient_id", lambda a: np.array("x"))),
    signed_for("note_tokens.npy", "pickled objects", bomb),
    signed_for("note_tokens.npy", "halved", halved),
    signed_for("note_tokens.npy", "missing", missing),
    signed_for("note_tokens.npy", "text", written("x")),
    signed_for("note_tokens.npy", "other shape", saved(np.zeros((3, 2), np.float32))),
    signed_for("note_tokens.npy", "integers", saved(np.zeros((78, 2, 5), np.int64))),
    *[
        unsigned(M, k, d)
        for k, d in {
            **dict(FILES.items()),
            "halved": halved,
            "binary": written(bytes(range(256))),
            "wrong top-level type": written("[1]"),
            "null": written("null"),
            "NaN": changed(lambda t: t.replace(b'"seed": 42', b'"seed": NaN')),
            "deep nesting": written("[" * 100000),
            "deep object": written('{"a":' * 50000 + "1" + "}" * 50000),
            "huge number": changed(lambda t: t.replace(b'"seed": 42', b'"seed": 1e999')),
            "huge integer": changed(lambda t: t.replace(b'"seed": 42', b'"seed": ' + b"9" * 5000)),
            "key twice": changed(lambda t: t.replace(b'"task": "mortality"', b'"task": "los", "task": "mortality"')),
            "task twice": changed(lambda t: t.replace(b'"task": "mortality"', b'"task": "mortality", "task": "los"')),
            "byte order mark": changed(lambda t: b"\xef\xbb\xbf" + t),
            "another task": upd(task="los"),
            "another dataset": upd(dataset="x"),
            "task missing": record(lambda v: v.pop("task") and None),
            "settings of wrong type": upd(settings=[1]),
            "settings unknown": upd(settings={"zzz": 1}),
            "settings of another config": record(lambda v: v["settings"]["cohort"].update(min_age=3)),
            "label names missing": record(lambda v: v.pop("label_names") and None),
            "label names of wrong type": upd(label_names=3),
            "label names not texts": upd(label_names=[3]),
            "artefacts of wrong type": upd(artefacts=[1]),
            "artefacts empty": upd(artefacts={}),
            "artefacts climbing out": upd(artefacts={"../own/label.csv": "0"}),
            "artefacts not hashes": upd(artefacts={"split.json": 5}),
            "warnings of wrong type": upd(warnings=5),
            "warnings not texts": upd(warnings=[{"a": 1}]),
            "features missing": record(lambda v: v.pop("features") and None),
        }.items()
    ],
    *[
        signed_for(SP, k, d)
        for k, d in {
            "halved": halved,
            "emptied": emptied,
            "wrong top-level type": written("[]"),
            "part missing": record(lambda v: v.pop("val") and None),
            "part empty": upd(val=[]),
            "part of wrong type": upd(val="abc"),
            "part an object": upd(val={"a": 1}),
            "ids as numbers": record(lambda v: v.update(val=[int(x) for x in v["val"]])),
            "ids as float": record(lambda v: v.update(val=[float(x) for x in v["val"]])),
            "ids nested": upd(val=[["x"]]),
            "ids null": upd(val=[None]),
            "patient unknown": record(lambda v: v["val"].append("zz")),
            "patient twice": record(lambda v: v["val"].append(v["val"][0])),
            "patient in two splits": record(lambda v: v["val"].append(v["train"][0])),
            "patients left out": record(lambda v: v.update(train=v["train"][:10])),
            "deep nesting": written("[" * 100000),
        }.items()
    ],
    *[
        signed_for("patients.csv", k, d)
        for k, d in {
            "halved": halved,
            "emptied": emptied,
            "header only": LINES["header only"],
            "missing": missing,
            "age as text": cell("age", "x"),
            "patient lost": rows(lambda t: [t[0], *t[2:]]),
            "duplicate id": rows(lambda t: [*t, t[1]]),
            "sex as word": cell("sex", "female"),
            "NUL bytes at the end": LINES["NUL bytes at the end"],
        }.items()
    ],
    *[
        signed_for("rag_records.csv", k, d, "audit")
        for k, d in {
            "halved": halved,
            "emptied": emptied,
            "header only": LINES["header only"],
            "no JSON": cell("nodes", "[{"),
            "JSON of wrong type": cell("nodes", "3"),
            "nodes not objects": cell("nodes", "[3]"),
            "deep nesting": cell("nodes", "[" * 100000),
            "column missing": without("nodes"),
            "patient lost": rows(lambda t: [t[0], *t[2:]]),
            "rows in another order": rows(lambda t: [t[0], *t[:0:-1]]),
            "NUL in a field": cell("summary", "a\x00b"),
            "missing": missing,
            "NaN": cell("faithfulness", "NaN"),
            "triples too short": cell("triples", "[[1]]"),
            "triples not lists": cell("triples", "[5]"),
        }.items()
    ],
    *[
        signed_for("fitted/statistics.npz", k, d, "audit")
        for k, d in {
            "halved": halved,
            "missing": missing,
            "pickled objects": bomb,
            "other numbers": setting("mean", lambda a: a + 1),
            "NaN": setting("mean", lambda a: poke(a, np.nan)),
            "array missing": drop("mean"),
            "other shape": setting("std", lambda a: a[1:]),
            "texts": setting("mean", lambda a: a.astype(str)),
        }.items()
    ],
    *[
        signed_for("fitted/note_encoder.json", k, d, "audit")
        for k, d in {
            "halved": halved,
            "missing": missing,
            "wrong top-level type": written("3"),
            "terms missing": record(lambda v: v.pop("terms") and None),
            "other terms": record(lambda v: v["terms"].reverse()),
        }.items()
    ],
    *[
        signed_for("fitted/note_encoder.npz", k, d, "audit")
        for k, d in {
            "halved": halved,
            "missing": missing,
            "pickled objects": bomb,
            "other numbers": setting("idf", lambda a: a + 1),
            "array missing": drop("idf"),
        }.items()
    ],
]
