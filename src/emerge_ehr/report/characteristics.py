"""Table 1 of a paper: who the samples are, over all of them and in each split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import subgroups
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import attribute_title, count, number, percent
from emerge_ehr.storage.dataset import load_patients
from emerge_ehr.training.inputs import SPLITS, rows_of

MOST = 8  # groups of an attribute that have a row of their own


@dataclass(frozen=True)
class Characteristic:
    """A row of the table. ``title`` is empty for a further group of the characteristic above."""

    title: str
    group: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Characteristics:
    """The table: the names of its columns and its rows."""

    columns: tuple[str, ...]
    rows: tuple[Characteristic, ...]


def characteristics(material: Material, sample: str) -> Characteristics:
    """The table of a run; ``sample``: what a sample is called. In cross-validation everyone is in the test split, and a single
    column says who they are."""
    dataset = material.trained.dataset
    splits = {"all": np.arange(len(dataset.patient_id))}
    if not material.metrics.get("folds"):
        splits |= {title: rows_of(dataset, name) for name, title in SPLITS.items()}
    table = load_patients(material.config.processed_dir, dataset.patient_id)
    return Characteristics(tuple(splits), tuple(_rows(material, table, list(splits.values()), sample)))


def _rows(
    material: Material, table: pl.DataFrame | None, parts: Sequence[NDArray[np.int64]], sample: str
) -> Iterator[Characteristic]:
    dataset = material.trained.dataset
    yield Characteristic(f"{sample}s", "", tuple(count(len(rows)) for rows in parts))
    if table is not None:
        yield Characteristic("persons", "", tuple(count(table["subject_id"].gather(rows).n_unique()) for rows in parts))
        yield Characteristic("age, years", "median (quartiles)", _quartiles(table["age"], parts))
        yield from _groups(table, parts)
    hours = dataset.ehr_length * material.config.cohort.bin_hours
    yield Characteristic("hours observed", "median (quartiles)", _quartiles(pl.Series(hours), parts))
    label, defined = material.trained.reported.outcomes(dataset.label, dataset.label_mask)
    for of in material.labels:
        cells = [_share(label[rows, of.column], defined[rows, of.column]) for rows in parts]
        yield Characteristic(of.title, "yes", tuple(cells))


def _groups(table: pl.DataFrame, parts: Sequence[NDArray[np.int64]]) -> Iterator[Characteristic]:
    """The rows of sex, ethnicity, unit and what else subgroups are formed by; age has a row of its own."""
    for attribute, groups in subgroups.groups(table).items():
        if attribute == "age":
            continue
        names, sizes = np.unique(groups, return_counts=True)
        order = names[np.argsort(-sizes, kind="stable")].tolist()
        shown = [name for name in order if name != subgroups.UNKNOWN][:MOST]
        rest = [name for name in order if name not in (*shown, subgroups.UNKNOWN)]
        wanted = [(name, [name]) for name in shown]
        wanted += [(f"{len(rest)} others", rest)] if rest else []
        wanted += [("not known", [subgroups.UNKNOWN])] if subgroups.UNKNOWN in order else []
        for n, (name, members) in enumerate(wanted):
            cells = tuple(_share(np.isin(groups[rows], members), np.ones(len(rows), bool)) for rows in parts)
            yield Characteristic(attribute_title(attribute).lower() if n == 0 else "", name, cells)


def _quartiles(values: pl.Series, parts: Sequence[NDArray[np.int64]]) -> tuple[str, ...]:
    """The median and the quartiles of each part; how many values are missing, if any."""
    cells = []
    for rows in parts:
        own = values.gather(rows)
        known = own.drop_nulls().to_numpy()
        low, middle, high = (
            (number(float(value)) for value in np.percentile(known, [25, 50, 75])) if len(known) else "–––"
        )
        missing = f"; {count(own.null_count())} not known" if own.null_count() else ""
        cells.append(f"{middle} ({low}–{high}){missing}" if len(known) else "not known")
    return tuple(cells)


def _share(value: NDArray[np.generic], known: NDArray[np.generic]) -> str:
    """How many have the value, and their share of those for whom it is known."""
    there = np.asarray(known, dtype=bool)
    positive = int(np.asarray(value, dtype=bool)[there].sum())
    if not there.any():
        return "not known"
    of = f" of {count(int(there.sum()))}" if not there.all() else ""
    return f"{count(positive)}{of} ({percent(positive / int(there.sum()))})"
