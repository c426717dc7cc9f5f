"""Source for a user's own files in the OneEHR layout. ``raw_dir`` holds ``dynamic.csv`` (or ``.csv.gz``), ``static.csv``,
``label.csv`` and optionally ``cohort.csv`` and ``notes.csv``, with the columns of ``schema.py``, some of which may be missing.

- Every ``patient_id`` is a sample, and also serves as its ``stay_id`` and ``hadm_id``. The person is ``subject_id`` of
  ``cohort.csv``; without the file every sample is a person.
- ``cohort.csv`` gives ICU admission and discharge in ``intime`` and ``outtime``, or else in ``window_start`` and ``window_end``.
  Hospital admission and discharge are ``admittime`` and ``dischtime``, or else the same as the ICU's. Without the file, a record
  lasts from its first measurement to its last, and at the latest until its outcome is known (``records.py``).
- A measurement with a date only counts at the end of that day (``datasets/dates.py``).
- Any code may be in ``dynamic.csv``. If nearly all its values are numbers, it becomes one feature. If they are a few different
  words, each word becomes a feature ``code=word``, 1 or 0. Codes with more different words are left out, with a warning. Units
  are the user's, so the benchmark's ranges do not apply. An empty field, ``NA``, ``null``, ``-`` and the like mean that there is
  no value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._raw import own_ids
from emerge_ehr.datasets.sources._raw.raw_csv import collect, find, look
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.datasets.sources.tables import labels, measured, notes, records, row_units
from emerge_ehr.datasets.sources.tables.facts import static_facts
from emerge_ehr.datasets.sources.tables.fields import parsed, small_table, times_in
from emerge_ehr.datasets.sources.tables.labels import Outcomes
from emerge_ehr.datasets.sources.tables.measured import Survey
from emerge_ehr.datasets.sources.tables.records import ENDS, STAY_TIMES
from emerge_ehr.fields import Positive, UserError, plural
from emerge_ehr.signals import readings
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage import schema, zones
from emerge_ehr.storage.ids import id_text, one_person

LABELLED = "label_time of "  # before the codes of outcomes that have dates, in ``dated``


@dataclass(frozen=True)
class Options:
    """``max_levels``: a code with more different words than this is left out; ``units``: code -> unit, for the summaries, for
    bounds such as "<10 mg/dL", which count in that unit alone, and for rows that state another unit, which are converted.

    ``sexes``: what the codes of the column ``sex`` (or ``gender``) mean, such as {"1" = "M", "0" = "F"}.
    ``treatments``: ``treatments.csv`` is read too (docs/treatments.md).
    """

    max_levels: Positive = 10
    units: dict[str, str] = field(default_factory=dict)
    sexes: dict[str, Literal["F", "M"]] = field(default_factory=dict)
    treatments: bool = False


@final
@dataclass(frozen=True)
class OwnTables:
    """The source whose raw files are in ``raw_dir``. ``label_codes``: the outcomes that are predicted; empty for all.

    ``features``: those of a finished run, to which new records are put; ``dated``: what that run found to be dates.
    """

    one_calendar: ClassVar[bool] = True
    population: ClassVar[str] = ""
    options: Options
    raw_dir: Path
    features: tuple[Signal, ...] | None = None
    label_codes: tuple[str, ...] = ()
    dated: tuple[str, ...] = ()

    def is_open(self) -> bool:
        """A user's own records never count as open, since their owner is unknown."""
        return False

    def open_files(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def download(self, settings: Download, offline: bool) -> None:
        """Check that the files are there; nothing is downloaded."""
        self.inputs()

    def inputs(self) -> list[Path]:
        """The tables that are there; only ``label.csv``, ``cohort.csv`` and ``notes.csv`` may be missing."""
        asked = (schema.TREATMENTS,) if self.options.treatments else ()
        tables = (schema.LABEL, schema.COHORT, schema.NOTES, *asked)
        for table in (schema.STATIC, *tables):
            found = look(self.raw_dir, Path(table.file).stem)
            if found and not (self.raw_dir / table.file).is_file():
                raise UserError(f"{found}: must be {table.file}; unzip or rename it (only dynamic.csv may be gzipped)")
        paths = [find(self.raw_dir, "dynamic"), self.raw_dir / schema.STATIC.file]
        if not paths[1].is_file():
            raise UserError(f"{paths[1]}: missing; a table with the column patient_id, and age and sex where known")
        more = [self.raw_dir / table.file for table in tables]
        if asked and self.features is None and not more[-1].is_file():
            columns = ", ".join(schema.TREATMENTS.names)
            raise UserError(f"{more[-1]}: missing; source.treatments = true needs it, with the columns {columns}")
        return [*paths, *(path for path in more if path.is_file())]

    def stays(self) -> Extract:
        """A stay per ``patient_id`` of ``cohort.csv`` or else of ``static.csv`` and ``dynamic.csv``; its outcome is unknown."""
        zones.refuse_two_clocks(column for path in self.inputs() for column in times_in(path))
        facts, told = static_facts(self.raw_dir, self.options.sexes)
        cohort, has_times, _, columns = self._cohort
        counts: Mapping[str, int] = {}
        if has_times:
            times, warnings = self._of_cohort(facts)
            stays, known = times.join(facts, on="patient_id", how="left"), "cohort.csv"
        else:
            times, counts, warnings = self._of_measurements()
            stays = times.join(facts, on="patient_id", how="full", coalesce=True)
            stays = stays.join(cohort.select("patient_id", "subject_id"), on="patient_id", how="left")
            stays = stays.with_columns(pl.coalesce("subject_id", "patient_id").alias("subject_id"))
            known = "dynamic or static.csv"
        if self._outcomes is not None:
            warnings += records.strangers(_lost(self._outcomes.table, stays), schema.LABEL.file, known)
        if nameless := stays.join(facts, on="patient_id", how="anti").height:
            told.append(
                f"static.csv: {nameless} of {stays.height} patients are not in it: their age and sex are unknown"
            )
        others = self._rows_of_others(stays["patient_id"], facts["patient_id"], known, only_measured=not has_times)
        stays, same = one_person(stays)
        table = stays.with_columns(
            pl.col("patient_id").alias("hadm_id"),
            pl.col("patient_id").alias("stay_id"),
            *(pl.lit(None, pl.Datetime("us")).alias(name) for name in ("deathtime", "death")),
            pl.lit(None, pl.Int64).alias("died"),
        ).drop("patient_id")
        dated = self._survey.dates.rows
        counts = {
            **({f"blank rows of {self._dynamic.name}": self._survey.blank} if self._survey.blank else {}),
            **({"measurements with a date only, taken at the end of the day": dated} if dated else {}),
            **counts,
            **others,
        }
        codes = self._outcomes.codes if self._outcomes else ()
        found = (*columns, *(LABELLED + code for code in codes))
        return Extract(table.sort("stay_id"), counts, (*self._survey.warnings, *told, *warnings, *same), found)

    def signals(self) -> tuple[Signal, ...]:
        """One signal per numeric code, and one per word of a code whose values are words; in order of their names."""
        if self.features is not None:
            return self.features
        units = self.options.units
        features = self._survey.features.select("code", "name", "level").rows()
        dated = self._survey.dates.codes
        return tuple(
            measured.signal(code, name, level, units.get(code, ""), dated=code in dated)
            for code, name, level in features
        )

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """The rows of ``dynamic.csv``; where values are words, a row becomes one row per word of its code, with value 1 or 0."""
        counts = RowCounts()
        features = self._survey.features.lazy().select("name", "level", "first", pl.col("code").alias("own"))
        written = measured.without_dashes(self._rows(), self._survey.features)
        rows = written.join(features, left_on="code", right_on="own")
        rows = rows.filter(pl.col("text").is_not_null() | pl.col("first"))
        rows = counts.counting(rows.with_columns(pl.col("name").alias("code")))
        rows = rows.join(cohort.lazy().select("patient_id", "n"), on="patient_id")
        matches = pl.col("text") == pl.col("level")
        numeric = pl.col("level").is_null()
        value = pl.when(numeric).then("number").otherwise(matches.cast(pl.Float64))
        rank = (
            (~matches).fill_null(value=False).cast(pl.UInt8)
        )  # where several words were charted at one time, each of them was
        bounds = pl.col("bound") & numeric
        told = (rank.alias("rank"), bounds.alias("bound"), (pl.col("other_unit") & numeric).alias("other_unit"))
        frame = rows.select("n", "event_time", "code", value.alias("value"), *told)
        return [Events(self._dynamic, frame, repairs={**readings.BOUND, **row_units.CONVERTED}, read=counts.read)]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """The notes in ``notes.csv``, if the file is there."""
        return notes.read(self.raw_dir, cohort)

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """The labels in ``label.csv``, with any number as value.

        Raises:
            UserError: ``kind`` is admissions or diagnoses, which this source does not have.
        """
        if kind != "labels":
            raise UserError(f"[source] name = 'tables' has no {kind}; choose [task] name = 'given', which needs none")
        path = self.raw_dir / schema.LABEL.file
        if self._outcomes is None:
            raise UserError(f"{path}: missing; its columns: {', '.join(c.name for c in schema.LABEL.columns)}")
        return self._outcomes.table

    def _rows_of_others(
        self, patients: pl.Series, in_static: pl.Series, known: str, *, only_measured: bool
    ) -> dict[str, int]:
        """Counts of the rows of tables that are of none of the ``patients``, whom ``known`` names.

        ``only_measured``: there is no ``cohort.csv``, so that ``static.csv`` is compared with ``dynamic.csv``.

        Raises:
            UserError: an id differs from a patient's by leading zeros alone.
        """
        rows = collect(self._rows().group_by("patient_id").agg(pl.len().alias("rows")), self._dynamic)
        if only_measured:
            static = {self.raw_dir / schema.STATIC.file: pl.DataFrame({"patient_id": in_static, "rows": 1})}
            own_ids.rows_of_others(static, rows["patient_id"].drop_nulls(), self._dynamic.name)
        asked = (schema.TREATMENTS,) if self.options.treatments else ()
        more = [self.raw_dir / table.file for table in (schema.STATIC, schema.LABEL, schema.NOTES, *asked)]
        return own_ids.compared(rows, self._dynamic, [path for path in more if path.is_file()], patients, known)

    @property
    def _dynamic(self) -> Path:
        return find(self.raw_dir, "dynamic")

    @property
    def _units(self) -> dict[str, str]:
        """The units that are known, of codes: those of the config, or of the finished run."""
        if self.features is None:
            return self.options.units
        return {signal.name: signal.unit for signal in self.features if signal.unit not in ("", measured.YES_OR_NO)}

    @cached_property
    def _survey(self) -> Survey:
        return measured.survey(self._dynamic, self.options.max_levels, self.features, self._units)

    def _rows(self) -> pl.LazyFrame:
        """The rows of ``dynamic.csv``, with dates at the end of their day."""
        return measured.timed_rows(self._dynamic, self._survey.dates, self._units)

    @cached_property
    def _outcomes(self) -> Outcomes | None:
        """The labels; None where there is no ``label.csv``."""
        if not (self.raw_dir / schema.LABEL.file).is_file():
            return None
        if self.features is not None:
            dated = [name.removeprefix(LABELLED) for name in self.dated if name.startswith(LABELLED)]
            return labels.known_times(self.raw_dir, self.label_codes, dated)
        _, has_times, whole_days, _ = self._cohort
        return labels.outcomes(self.raw_dir, by_day=not has_times or whole_days > 0)

    @cached_property
    def _cohort(self) -> tuple[pl.DataFrame, bool, int, list[str]]:
        """The rows of ``cohort.csv`` (none without the file), whether it has times, how many of its stays end with a date, and
        the columns that hold dates."""
        path = self.raw_dir / schema.COHORT.file
        if not path.is_file():
            return pl.DataFrame(schema={"patient_id": pl.String, "subject_id": pl.String}), False, 0, []
        names = dict.fromkeys([*STAY_TIMES, *STAY_TIMES.values()])
        stays = small_table(self.raw_dir, schema.COHORT, {name: "text" if name in ENDS else "time" for name in names})
        for name in ENDS:
            stays = parsed(stays, name, path)
        known = None if self.features is None else self.dated
        stays, whole_days, columns = records.with_whole_days(stays.with_columns(id_text(pl.col("subject_id"))), known)
        return stays, any(stays[name].count() for name in names), whole_days, columns

    def _of_cohort(self, facts: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """The stays of ``cohort.csv``, and warnings of patients whom it lacks."""
        stays, _, whole_days, _ = self._cohort
        warnings = []
        if whole_days:
            warnings.append(
                f"cohort.csv: {plural(whole_days, 'stay ends', 'stays end')} with a date and no time of day: at the end "
                "of that day"
            )
        counted = self._rows().group_by("patient_id").len("rows")
        lost = collect(counted.join(stays.lazy(), on="patient_id", how="anti"), self._dynamic)
        warnings += records.strangers(lost, self._dynamic.name, "cohort.csv")
        warnings += records.strangers(_lost(facts, stays), schema.STATIC.file, "cohort.csv")
        return records.stay_times(stays), warnings

    def _of_measurements(self) -> tuple[pl.DataFrame, dict[str, int], list[str]]:
        """A stay per record without times in ``cohort.csv``, what its outcome cut off, and warnings."""
        whole = collect(records.span(self._rows()), self._dynamic)
        whole = whole.with_columns(pl.lit(None, pl.Datetime("us")).alias(name) for name in STAY_TIMES)
        if self._outcomes is None:
            return records.stay_times(whole), {}, []
        times = records.until_outcome(whole, self._outcomes.ends(self.label_codes))
        ends = times.lazy().select("patient_id", "window_end")
        late = self._rows().join(ends, on="patient_id").filter(pl.col("event_time") >= pl.col("window_end"))
        count = collect(late.select(pl.len()), self._dynamic).item()
        counts = {"measurements from when the outcome was known, left out": count} if count else {}
        warnings = []
        if count:
            warnings.append(
                f"{self._dynamic.name}: left out: {plural(count, 'measurement')} from when the outcome of the record was known "
                "(label_time), or later"
            )
        if dated := self._outcomes.dated:
            warnings.append(
                f"label.csv: {plural(dated, 'outcome has', 'outcomes have')} a date and no time of day: each counts as "
                "known at the end of its day"
            )
        return records.stay_times(times), counts, warnings


def _lost(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """``patient_id, rows`` of the patients in ``rows`` who are not in ``known``."""
    return rows.join(known, on="patient_id", how="anti").group_by("patient_id").len("rows")


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int, label_codes: tuple[str, ...] = ()) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return OwnTables(options, raw_dir, label_codes=label_codes)


def of_run(
    options: Options,
    *,
    raw_dir: Path,
    signals: tuple[Signal, ...],
    dated: tuple[str, ...] = (),
    label_codes: tuple[str, ...] = (),
) -> Source:
    """Build the source of new records for a finished run, whose ``signals`` are the features."""
    return OwnTables(options, raw_dir, signals, label_codes, dated)
