"""Faults of what stage download finds: the record of a generated hospital, and files that should be there offline."""

import shutil

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.damage import (
    a_folder,
    halved,
    missing,
    record,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, refused, some

RECORD: Cases = {
    "halved": (halved, SAME),
    "wrong top-level type": (written("[]"), SAME),
    "deep nesting": (written("[" * 100_000), SAME),
    "of other options": (record(lambda value: value.update(stays=7)), SAME),
    "files of wrong type": (record(lambda value: value.update(files=3)), SAME),
}
FILES: Cases = {
    "halved": (halved, SAME),
    "text": (written("x"), SAME),
}
CREDENTIALED: Cases = {
    "missing, a credentialed copy": (missing, refused("missing")),
}
FOLDER: Cases = {
    "a folder missing": (shutil.rmtree, refused("holds generated.json, hosp, note, risk.csv")),
}
NOTES: Cases = {
    "missing, a credentialed copy": (a_folder, refused("missing")),
}
FAULTS = [
    *faults(
        "download",
        "raw/generated.json",
        some(ANY_FILE, "emptied", "missing") | RECORD,
        {
            "emptied": SAME,
            "missing": SAME,
        },
        config="synthetic.toml",
    ),
    *faults(
        "download",
        "raw/icu/icustays.csv.gz",
        some(ANY_FILE, "emptied", "missing") | FILES,
        {
            "emptied": SAME,
            "missing": SAME,
        },
        config="synthetic.toml",
    ),
    *faults(
        "download",
        "kg/kg.csv",
        some(ANY_FILE, "emptied", "missing") | FILES,
        {
            "emptied": SAME,
            "missing": SAME,
        },
        config="synthetic.toml",
    ),
    *faults(
        "convert",
        "raw/generated.json",
        some(ANY_FILE, "missing") | some(RECORD, "halved", "of other options", "deep nesting"),
        {
            "missing": refused("not generated with stays 90, seed 42, generator 1", names="raw"),
            "halved": refused("not generated with stays 90, seed 42, generator 1", names="raw"),
            "of other options": refused("not generated with stays 90, seed 42, generator 1", names="raw"),
            "deep nesting": refused("not generated with stays 90, seed 42, generator 1", names="raw"),
        },
        config="synthetic.toml",
    ),
    *faults("download", "raw/hosp/patients.csv.gz", CREDENTIALED),
    *faults("download", "raw/icu", FOLDER),
    *faults("convert", "raw/note/notes.csv.gz", NOTES),
]
