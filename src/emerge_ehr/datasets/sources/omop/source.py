"""Source for tables of the OMOP common data model 5.4 (and 5.3), of any hospital."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets import dates
from emerge_ehr.datasets.dates import Dates
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._mimic.outcomes import before_death
from emerge_ehr.datasets.sources.omop import concepts, diagnoses, events, notes, persons, visits
from emerge_ehr.datasets.sources.omop.concepts import Meanings
from emerge_ehr.datasets.sources.omop.options import Options
from emerge_ehr.datasets.sources.omop.tables import TEXT, Tables
from emerge_ehr.datasets.sources.omop.visits import Visits
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import SIGNALS, Signal

IDS = ("subject_id", "hadm_id", "stay_id")


@final
@dataclass(frozen=True)
class Omop:
    """The source whose tables are in ``raw_dir``."""

    one_calendar: ClassVar[bool] = True
    population: ClassVar[str] = ""
    options: Options
    raw_dir: Path

    def is_open(self) -> bool:
        """A user's own records never count as open, since their owner is unknown."""
        return False

    def open_files(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def download(self, settings: Download, offline: bool) -> None:
        """Check that the tables are there; nothing is downloaded."""
        self.inputs()

    def inputs(self) -> list[Path]:
        """The files of the tables."""
        self._tables.check()
        return self._tables.paths()

    def stays(self) -> Extract:
        """The ICU stays, or the admissions, each with the person's age, sex and ethnicity."""
        found = self._visits
        admissions = found.admissions.drop("subject_id", "planned")
        stays = found.stays.join(admissions, on="hadm_id", how="left", maintain_order="left")
        stays = stays.join(persons.persons(self._tables), on="subject_id", how="left", maintain_order="left")
        stays = stays.with_columns(persons.age("intime")).sort("subject_id", "intime", "stay_id")
        alone = pl.when(pl.col("hadm_id").is_null()).then(pl.format("icu-{}", "stay_id"))
        stays = stays.with_columns(
            pl.coalesce(alone, pl.col("hadm_id").cast(TEXT)).alias("hadm_id"),
            pl.col("subject_id", "stay_id").cast(TEXT),
            pl.col("admittime bare", "dischtime bare").fill_null(value=False),
        )
        timed = dates.stays_at_day_end(stays.drop("year", "month", "day"))
        warnings = (
            *self._tables.missing(),
            *visits.without_admission(stays),
            *found.warnings,
            *self._dates[0].warnings("measurement"),
            *(self._diagnoses[1] if self._tables.has("condition_occurrence") else ()),
            *timed.warnings,
        )
        counts = {**found.counts, **timed.counts, **events.unmapped(self._tables, self._meanings)}
        return Extract(timed.table, counts, warnings)

    def signals(self) -> tuple[Signal, ...]:
        """The 17 signals of the benchmark."""
        return SIGNALS

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """The 17 signals from ``measurement`` and, where there is one, ``observation``."""
        return [
            events.events(self._tables, name, self._meanings, cohort, match, self._visits.details, self._dates[1])
            for name in events.TABLES
            if self._tables.has(name)
        ]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes from ``note``, or none."""
        summaries = self.options.include_discharge_summaries
        return notes.read(self._tables, cohort, self._visits.details, discharge=summaries)

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Admissions and diagnoses of all persons.

        Raises:
            UserError: ``kind`` is labels, which this source does not have, or there is no table of diagnoses.
        """
        admissions = self._visits.admissions
        if kind == "labels":
            raise UserError("[source] name = 'omop' has no ready-made labels; choose another task")
        if kind == "admissions":
            persons = admissions.group_by("subject_id").agg(pl.col("death").first())
            rows = before_death(admissions.drop("death"), persons).select(*IDS[:2], "admittime", "dischtime", "planned")
            return rows.with_columns(pl.col(*IDS[:2]).cast(TEXT))
        if not self._tables.has("condition_occurrence"):
            raise UserError(f"{self.raw_dir}: no table condition_occurrence, whose codes are the diagnoses")
        return self._diagnoses[0]

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.raw_dir, self.options.schema)

    @cached_property
    def _visits(self) -> Visits:
        return visits.read(self._tables, self.options)

    @cached_property
    def _meanings(self) -> Meanings:
        return concepts.meanings(self._tables, self.options.concepts, self.options.units)

    @cached_property
    def _diagnoses(self) -> tuple[pl.DataFrame, list[str]]:
        return diagnoses.read(self._tables, self._visits.admissions, self.options.icd_version)

    @cached_property
    def _dates(self) -> tuple[Dates, list[int]]:
        """Which concepts have dates rather than times, over all rows."""
        return events.dated(self._tables, self._meanings)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Omop(options, raw_dir)
