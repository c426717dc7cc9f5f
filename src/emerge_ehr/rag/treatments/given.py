"""What each sample was given, of the rows of ``treatments.csv``: each drug once, infusions first."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

import polars as pl

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.treatments import Given, Kind, drug_names
from emerge_ehr.rag.treatments.drug_names import DrugNames, Named

HOUR = timedelta(hours=1)


@dataclass
class _Drug:
    """A drug of a sample, while its rows are read."""

    named: Named
    kind: Kind
    first: datetime
    written: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class OfSamples:
    """``given``: what each sample was given, in the order that was asked for; ``counts``: for the metadata and the log."""

    given: list[tuple[Given, ...]]
    counts: dict[str, int]


def of_samples(treatments: pl.DataFrame, cohort: pl.DataFrame, graph: KnowledgeGraph) -> OfSamples:
    """What the samples of ``cohort`` (``patient_id, window_start``) were given, in its order.

    ``treatments`` has ``patient_id, start_time, drug, route, kind``.
    """
    first = treatments.group_by("patient_id", "drug", "route", "kind").agg(pl.col("start_time").min())
    ordered = first.sort("patient_id", "start_time", "drug", "route", "kind", nulls_last=True)
    rows: dict[str, list[tuple[datetime, str, str | None, Kind]]] = {}
    for patient, *row in ordered.select("patient_id", "start_time", "drug", "route", "kind").iter_rows():
        rows.setdefault(patient, []).append((row[0], row[1], row[2], row[3]))
    reader = _Reader(drug_names.build(graph))
    starts = cohort.select("patient_id", "window_start").rows()
    given = [_of_sample(rows.get(patient, []), start, reader) for patient, start in starts]
    return OfSamples(given, _counts(given, reader))


class _Reader:
    """Reads the names of drugs, each once, and keeps what became of them."""

    def __init__(self, names: DrugNames) -> None:
        self.names = names
        self.kept = set[tuple[str, str]]()
        self.named = lru_cache(None)(names.of)

    def read(self, written: str, route: str | None) -> Sequence[Named]:
        """The drugs that the name names; none where it is no drug, or acts where it is put."""
        if not drug_names.is_drug(written):
            return self._as("names_of_no_drug", written)
        if drug_names.is_local(written, route):
            return self._as("names_for_local_use", written)
        found = self.named(written)
        linked = any(one.node_index is not None for one in found)
        self._as("drug_names_linked" if linked else "drug_names_not_in_the_graph", written)
        return found

    def _as(self, what: str, written: str) -> Sequence[Named]:
        self.kept.add((what, written))
        return ()


def _of_sample(
    rows: Iterable[tuple[datetime, str, str | None, Kind]], start: datetime, reader: _Reader
) -> tuple[Given, ...]:
    drugs: dict[int | str, _Drug] = {}
    for time, written, route, kind in rows:
        for named in reader.read(written, route):
            key = named.name if named.node_index is None else named.node_index
            drug = drugs.setdefault(key, _Drug(named, kind, time))
            drug.written[written.strip()] = None
            if kind == "infusion":
                drug.kind = kind
    found = [
        Given(one.named.name, one.named.node_index, one.kind, (one.first - start) // HOUR, tuple(one.written))
        for one in drugs.values()
    ]
    return tuple(sorted(found, key=lambda one: (one.kind != "infusion", one.hour, one.name)))


def _counts(given: Sequence[tuple[Given, ...]], reader: _Reader) -> dict[str, int]:
    nodes = {drug.node_index for drugs in given for drug in drugs} - {None}
    return {
        "samples_with_treatments": sum(bool(drugs) for drugs in given),
        "drugs_linked": len(nodes),
        **dict(sorted(Counter(what for what, _ in reader.kept).items())),
    }
