"""Several hospitals as one: the records of other sources, each a site, of which one model is trained.

Ids begin with the site's name (``mimic3-200001``), so that no two sites share a person, an admission or a stay. The column
``site`` of ``static.csv`` says whose a stay is; it makes subgroups, and is no input of the model. Cohort, task and window are the
config's, the same for all.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.fields import Component, Seed, UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage.schema import SITE

IDS = ("patient_id", "subject_id", "hadm_id", "stay_id")


@dataclass(frozen=True)
class Site:
    """One hospital. ``raw_dir``: its folder, seen from ``paths.raw_dir`` unless it is absolute; ``seed``: of a source that
    generates its records, if it shall be another than the config's.
    """

    source: Component
    raw_dir: Path
    seed: Seed | None = None


@dataclass(frozen=True)
class Options:
    """``sites``: name -> hospital.

    ``shared_persons``: true lets sites hold records of the same persons under different ids, as MIMIC-III and MIMIC-IV do, so
    that a person may be in two splits; a warning says so, and is recorded.
    """

    sites: dict[str, Site]
    shared_persons: bool = False


@final
@dataclass(frozen=True)
class Pooled:
    """``sites``: name -> the source of that hospital."""

    sites: Mapping[str, Source]
    shared: tuple[str, ...]  # a warning of sites that may share persons, if it is allowed

    @property
    def one_calendar(self) -> bool:
        """Whether it holds at every site."""
        return all(source.one_calendar for source in self.sites.values())

    @property
    def population(self) -> str:
        """None in common."""
        return ""

    def is_open(self) -> bool:
        """Whether all sites are."""
        return all(source.is_open() for source in self.sites.values())

    def open_files(self) -> frozenset[str]:
        """Those of all sites."""
        return frozenset[str]().union(*(source.open_files() for source in self.sites.values()))

    def download(self, settings: Download, offline: bool) -> None:
        """Download each site's files."""
        for source in self.sites.values():
            source.download(settings, offline)

    def inputs(self) -> list[Path]:
        """Those of all sites."""
        return [path for source in self.sites.values() for path in source.inputs()]

    def stays(self) -> Extract:
        """The stays of all sites, with the column ``site``."""
        tables, counts, warnings, dated = [], dict[str, int](), list(self.shared), []
        for name, source in self.sites.items():
            found = source.stays()
            tables.append(_named(found.table, name).with_columns(pl.lit(name).alias(SITE)))
            counts |= _of_site(found.counts, name)
            warnings += [f"{name}: {warning}" for warning in found.warnings]
            dated += [f"{name}: {column}" for column in found.dated]
        return Extract(pl.concat(tables, how="diagonal"), counts, tuple(warnings), tuple(dated))

    def signals(self) -> tuple[Signal, ...]:
        """Those of all sites, in the order in which they are met.

        Raises:
            UserError: two sites mean different things by one code.
        """
        met: dict[str, tuple[str, Signal]] = {}
        for name, source in self.sites.items():
            for signal in source.signals():
                first, known = met.setdefault(signal.name, (name, signal))
                if known != signal:
                    raise UserError(
                        f"[source.sites] '{signal.name}' is not the same at {first} and {name} (unit '{known.unit}' and "
                        f"'{signal.unit}', or its range or kind differs); give both sites the same unit, or the code another name"
                    )
        return tuple(signal for _, signal in met.values())

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Those of each site, of its own samples."""
        return [
            dataclasses.replace(events, table=f"{name}: {events.table or events.path.name}")
            for name, source in self.sites.items()
            for events in source.measurements(_own(cohort, name), match)
        ]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Those of each site, of its own samples."""
        found = {name: source.notes(_own(cohort, name)) for name, source in self.sites.items()}
        counts = [_of_site(notes.counts, name) for name, notes in found.items()]
        return Notes(
            pl.concat([_named(notes.table, name) for name, notes in found.items()]),
            {reason: count for of_site in counts for reason, count in of_site.items()},
            tuple(f"{name}: {warning}" for name, notes in found.items() for warning in notes.warnings),
            any(notes.after_window for notes in found.values()),
        )

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Those of all sites.

        Raises:
            UserError: a site has no such records.
        """
        return pl.concat(
            [_named(self._record(name, source, kind), name) for name, source in self.sites.items()], how="diagonal"
        )

    def _record(self, name: str, source: Source, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        try:
            return source.records(kind)
        except UserError as error:
            raise UserError(f"[source.sites.{name}] {error}") from None


def _named(table: pl.DataFrame, site: str) -> pl.DataFrame:
    """The table with ids that begin with the site's name."""
    ids = [name for name in IDS if name in table.columns]
    return table.with_columns(
        pl.concat_str(pl.lit(f"{site}-"), pl.col(name).cast(pl.String)).alias(name) for name in ids
    )


def _own(cohort: pl.DataFrame, site: str) -> pl.DataFrame:
    """The site's samples, with the ids that the site knows."""
    own = cohort.filter(pl.col("patient_id").str.starts_with(f"{site}-"))
    ids = [name for name in IDS if name in own.columns]
    return own.with_columns(pl.col(name).str.strip_prefix(f"{site}-") for name in ids)


def _of_site(counts: Mapping[str, int], site: str) -> dict[str, int]:
    return {f"{reason} ({site})": count for reason, count in counts.items()}


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int, label_codes: tuple[str, ...] = ()) -> Source:
    """Build the sources of all sites.

    Raises:
        UserError: there is one site alone or its name cannot begin an id, or two sites may hold the same persons.
    """
    if len(options.sites) < 2:
        raise UserError("[source.sites] has fewer than two sites; name each hospital, or choose its own source instead")
    sites: dict[str, Source] = {}
    for name, site in options.sites.items():
        if not re.fullmatch(r"\w+", name):
            raise UserError(
                f"[source.sites] '{name}': a site's name consists of letters, digits and _, as ids begin with it"
            )
        if site.source.options.get("treatments"):
            raise UserError(
                f"[source.sites.{name}] treatments: pooled sites are read without treatments; leave the key out"
            )
        of_site = site.seed if site.seed is not None else seed
        context = {"raw_dir": raw_dir / site.raw_dir, "kg_dir": kg_dir, "seed": of_site, "label_codes": label_codes}
        sites[name] = components.build("source", site.source, **context)
    return Pooled(sites, _shared(sites, allowed=options.shared_persons))


def _shared(sites: Mapping[str, Source], *, allowed: bool) -> tuple[str, ...]:
    """The warning of sites whose persons may be the same.

    Raises:
        UserError: there are such sites, and they are not allowed.
    """
    populations = {name: source.population for name, source in sites.items()}
    held = Counter(population for population in populations.values() if population)
    several = next((population for population, count in held.items() if count > 1), None)
    if several is None:
        return ()
    names = " and ".join(name for name, population in populations.items() if population == several)
    told = f"[source.sites] {names} hold persons of {several}, who may be in both under different ids, and so in two splits"
    if not allowed:
        raise UserError(
            f"{told}; of MIMIC-III take its CareVue subset (project = 'mimic3-carevue'), or set source.shared_persons = true"
        )
    return (told,)
