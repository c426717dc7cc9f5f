"""Corruptions of PrimeKG's two files."""

from tests.faults.corruption import Corruption
from tests.faults.damage import FILES, LINES, cell, changed, column, renamed, rows, swapped_with, without


def corrupted(name, kind, damage, **k):
    return Corruption(f"kg/{name}.csv", kind, damage, "preprocess")


F, G = "disease_features", "kg"
CORRUPTIONS = [corrupted(n, k, d) for n in (F, G) for k, d in {**LINES, **FILES}.items()] + [
    corrupted(F, "index as text", cell("node_index", "one")),
    corrupted(F, "index as float", column("node_index", lambda v: v + ".0")),
    corrupted(F, "index negative", cell("node_index", "-1")),
    corrupted(F, "index empty", cell("node_index", "")),
    corrupted(F, "index huge", cell("node_index", "9" * 30)),
    corrupted(F, "column missing", without("mondo_name")),
    corrupted(F, "column renamed", renamed("node_index", "index")),
    corrupted(F, "Latin-1 bytes", changed(lambda t: t.replace(b"disease", b"dis\xe9ase", 1))),
    corrupted(F, "names empty", column("mondo_name", lambda v: "")),
    corrupted(F, "index of another type", cell("node_index", "189")),
    corrupted(F, "swapped with the other", swapped_with("kg.csv")),
    corrupted(F, "every row twice", rows(lambda t: [*t, *t[1:]])),
    corrupted(F, "control characters in a name", cell("mondo_name", "heart\x1b[31m failure")),
    corrupted(G, "index as text", cell("x_index", "one")),
    corrupted(G, "index as float", column("x_index", lambda v: v + ".0")),
    corrupted(G, "index empty", cell("y_index", "")),
    corrupted(G, "type empty", cell("x_type", "")),
    corrupted(G, "no disease", changed(lambda t: t.replace(b"disease", b"illness"))),
    corrupted(G, "two types for an index", cell("x_type", "drug")),
    corrupted(G, "column missing", without("relation")),
    corrupted(G, "column renamed", renamed("display_relation", "shown")),
    corrupted(G, "Latin-1 bytes", changed(lambda t: t.replace(b"disease", b"dis\xe9ase", 1))),
    corrupted(G, "every row twice", rows(lambda t: [*t, *t[1:]])),
    corrupted(G, "rows in another order", rows(lambda t: [t[0], *t[:0:-1]])),
    corrupted(G, "NUL in a field", cell("y_name", "a\x00b")),
    corrupted(G, "relation empty", cell("relation", "")),
]
