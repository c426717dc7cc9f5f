"""Corruptions of what stage download finds: the record of a generated hospital, and files that should be there offline."""

import shutil

from tests.faults.corruption import Corruption
from tests.faults.damage import Damage, a_folder, emptied, halved, missing, record, written

RECORD: dict[str, Damage] = {
    "halved": halved,
    "emptied": emptied,
    "missing": missing,
    "wrong top-level type": written("[]"),
    "deep nesting": written("[" * 100_000),
    "of other options": record(lambda value: value.update(stays=7)),
    "files of wrong type": record(lambda value: value.update(files=3)),
}
FILES: dict[str, Damage] = {"halved": halved, "emptied": emptied, "missing": missing, "text": written("x")}
CORRUPTIONS = [
    *(Corruption("raw/generated.json", kind, damage, "download", config="synthetic.toml") for kind, damage in RECORD.items()),
    *(Corruption("raw/icu/icustays.csv.gz", kind, damage, "download", config="synthetic.toml") for kind, damage in FILES.items()),
    *(Corruption("kg/kg.csv", kind, damage, "download", config="synthetic.toml") for kind, damage in FILES.items()),
    *(
        Corruption("raw/generated.json", f"{kind}, at convert", RECORD[kind], "convert", config="synthetic.toml")
        for kind in ("halved", "missing", "of other options", "deep nesting")
    ),
    Corruption("raw/hosp/patients.csv.gz", "missing, a credentialed copy", missing, "download"),
    Corruption("raw/icu", "a folder missing", shutil.rmtree, "download"),
    Corruption("raw/note/notes.csv.gz", "missing, a credentialed copy", a_folder, "convert"),
]  # fmt: skip
