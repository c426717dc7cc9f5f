"""Faults of PrimeKG's two files, read by stage preprocess."""

from tests.faults.bad_input.any_file import ANY_CSV, ANY_FILE
from tests.faults.bad_input.damage import cell, changed, column, renamed, rows, swapped_with, without
from tests.faults.bad_input.fault import SAME, Cases, faults, handled, refused

DISEASE_FEATURES: Cases = {
    "index as text": (cell("node_index", "one"), refused("node_index 'one' is not a whole number")),
    "index as float": (column("node_index", lambda v: v + ".0"), refused("node_index '0.0' is not a whole number")),
    "index negative": (cell("node_index", "-1"), refused("node_index '-1' is not a whole number")),
    "index empty": (cell("node_index", ""), refused("node_index is empty")),
    "index huge": (
        cell("node_index", "9" * 30),
        refused("node_index '999999999999999999999999999999' is not a whole number"),
    ),
    "column missing": (without("mondo_name"), refused("no column 'mondo_name'")),
    "column renamed": (renamed("node_index", "index"), refused("no column 'node_index'")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"disease", b"dis\xe9ase", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "names empty": (column("mondo_name", lambda v: ""), SAME),
    "index of another type": (
        cell("node_index", "189"),
        refused("node_index 189 is of type effect/phenotype in kg.csv"),
    ),
    "swapped with the other": (swapped_with("kg.csv"), refused("no column 'relation'", names="kg/kg.csv")),
    "every row twice": (rows(lambda t: [*t, *t[1:]]), SAME),
    "control characters in a name": (cell("mondo_name", "heart\x1b[31m failure"), SAME),
}
KG: Cases = {
    "index as text": (cell("x_index", "one"), refused("x_index 'one' is not a whole number")),
    "index as float": (column("x_index", lambda v: v + ".0"), refused("x_index '0.0' is not a whole number")),
    "index empty": (cell("y_index", ""), refused("y_index is empty")),
    "type empty": (cell("x_type", ""), refused("x_type is empty")),
    "no disease": (
        changed(lambda t: t.replace(b"disease", b"illness")),
        refused("no row has x_type or y_type 'disease'"),
    ),
    "two types for an index": (cell("x_type", "drug"), SAME),
    "column missing": (without("relation"), refused("no column 'relation'")),
    "column renamed": (renamed("display_relation", "shown"), refused("no column 'display_relation'")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"disease", b"dis\xe9ase", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "every row twice": (rows(lambda t: [*t, *t[1:]]), SAME),
    "rows in another order": (rows(lambda t: [t[0], *t[:0:-1]]), SAME),
    "NUL in a field": (cell("y_name", "a\x00b"), SAME),
    "relation empty": (cell("relation", ""), refused("relation is empty")),
}
FAULTS = [
    *faults(
        "preprocess",
        "kg/disease_features.csv",
        ANY_CSV | ANY_FILE | DISEASE_FEATURES,
        {
            "wrong delimiter": refused("no column 'node_index'"),
            "tabs for commas": SAME,
            "UTF-16": refused("not a readable text file: 'utf-8' codec can't decode byte"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 18 fields"),
            "header only": handled("diseases have no definitions"),
            "no header": refused("no column 'node_index'"),
            "header twice": refused("node_index 'node_index' is not a whole number"),
            "duplicated column": refused("two columns are named 'node_index'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 18 fields"),
            "binary": refused("no column 'node_index'"),
            "emptied": refused("empty, or its first line is"),
        },
    ),
    *faults(
        "preprocess",
        "kg/kg.csv",
        ANY_CSV | ANY_FILE | KG,
        {
            "wrong delimiter": refused("no column 'relation'"),
            "tabs for commas": SAME,
            "UTF-16": refused("not a readable text file: 'utf-8' codec can't decode byte"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 12 fields"),
            "header only": refused("no row has x_type or y_type 'disease'"),
            "no header": refused("no column 'relation'"),
            "header twice": SAME,
            "duplicated column": refused("two columns are named 'relation'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 12 fields"),
            "binary": refused("no column 'relation'"),
            "emptied": refused("empty, or its first line is"),
        },
    ),
]
