"""Source for a user's own files in the OneEHR layout. ``raw_dir`` holds ``dynamic.csv`` (or ``.csv.gz``), ``static.csv``,
``label.csv`` and optionally ``cohort.csv`` and ``notes.csv``, with the columns of ``schema.py``, some of which may be missing.

- Every ``patient_id`` is a sample, and also serves as its ``stay_id`` and ``hadm_id``. The person is ``subject_id`` of
  ``cohort.csv``; without the file every sample is a person.
- ``cohort.csv`` gives ICU admission and discharge in ``intime`` and ``outtime``, or else in ``window_start`` and ``window_end``.
  Hospital admission and discharge are ``admittime`` and ``dischtime``, or else the same as the ICU's. Without the file, the first
  and last ``event_time`` are taken; the last is then outside the window. Records shorter than ``cohort.min_stay_hours`` are
  excluded, so lower this key for short records.
- Any code may be in ``dynamic.csv``. If nearly all its values are numbers, it becomes one feature. If they are a few different
  words, each word becomes a feature ``code=word``, 1 or 0. Codes with more different words are left out, with a warning. Units
  are the user's, so the benchmark's ranges do not apply. An empty field, ``NA`` and ``NaN`` mean that there is no value.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._raw.note_files import day_end
from emerge_ehr.datasets.sources._raw.raw_csv import collect, find, header, scan
from emerge_ehr.fields import Positive, UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table

DYNAMIC = {"patient_id": pl.String, "event_time": pl.String, "code": pl.String, "value": pl.String}
NO_VALUE = ("", "NA", "NaN", "nan")
NUMERIC_SHARE = 0.95  # a code is numeric if at least this share of its values are numbers
STAY_TIMES = {"intime": "window_start", "outtime": "window_end", "admittime": "intime", "dischtime": "outtime"}


@dataclass(frozen=True)
class Options:
    """``max_levels``: a code with more different words than this is left out; ``units``: code -> unit, for the summaries."""

    max_levels: Positive = 10
    units: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """The features that one pass over ``dynamic.csv`` found, and warnings.

    ``features`` has ``code, name, level`` (the word, null for a numeric code) and ``first`` (true for a code's first feature).
    """

    features: pl.DataFrame
    warnings: tuple[str, ...]


@final
@dataclass(frozen=True)
class OwnTables:
    """The source whose raw files are in ``raw_dir``."""

    options: Options
    raw_dir: Path

    def is_open(self) -> bool:
        """A user's own records never count as open, since their owner is unknown."""
        return False

    def download(self, settings: Download, offline: bool) -> None:
        """Check that the files are there; nothing is downloaded."""
        self.inputs()

    def inputs(self) -> list[Path]:
        """The tables that are there; only ``label.csv``, ``cohort.csv`` and ``notes.csv`` may be missing."""
        paths = [find(self.raw_dir, "dynamic"), self.raw_dir / schema.STATIC.file]
        if not paths[1].is_file():
            raise UserError(f"{paths[1]}: missing; a table with the column patient_id, and age and sex where known")
        more = [self.raw_dir / table.file for table in (schema.LABEL, schema.COHORT, schema.NOTES)]
        return [*paths, *(path for path in more if path.is_file())]

    def stays(self) -> Extract:
        """A stay per ``patient_id`` of ``cohort.csv`` or else of ``static.csv`` and ``dynamic.csv``; its outcome is unknown."""
        facts = self._read(schema.STATIC, {"age": "number", "sex": "text", "ethnicity": "text", "icu_type": "text"})
        cohort = self.raw_dir / schema.COHORT.file
        if cohort.is_file():
            stays = _stay_times(self._read(schema.COHORT, dict.fromkeys(STAY_TIMES, "time")))
            stays = stays.join(facts, on="patient_id", how="left")
        else:
            times = _stay_times(self._first_and_last())
            stays = times.join(facts, on="patient_id", how="full", coalesce=True)
            stays = stays.with_columns(pl.col("patient_id").alias("subject_id"))
        table = stays.with_columns(
            pl.col("patient_id").alias("hadm_id"),
            pl.col("patient_id").alias("stay_id"),
            pl.lit(None, pl.Datetime("us")).alias("deathtime"),
            pl.lit(None, pl.Int64).alias("died"),
        ).drop("patient_id")
        return Extract(table.sort("stay_id"), warnings=self._survey.warnings)

    def signals(self) -> tuple[Signal, ...]:
        """One signal per numeric code, and one per word of a code whose values are words; in order of their names."""
        units = self.options.units
        return tuple(
            Signal(name, code.replace("_", " "), units.get(code, ""))
            if level is None
            else Signal(name, f"{code.replace('_', ' ')} {level}", "0 no, 1 yes")
            for code, name, level in self._survey.features.select("code", "name", "level").rows()
        )

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """The rows of ``dynamic.csv``; where values are words, a row becomes one row per word of its code, with value 1 or 0."""
        rows = self._rows().join(cohort.lazy().select("patient_id", "n"), on="patient_id")
        rows = rows.join(self._survey.features.lazy(), on="code").filter(pl.col("text").is_not_null() | pl.col("first"))
        matches = (pl.col("text") == pl.col("level")).cast(pl.Float64)
        value = pl.when(pl.col("level").is_null()).then("number").otherwise(matches)
        path = find(self.raw_dir, "dynamic")
        return [Events(path, rows.select("n", "event_time", pl.col("name").alias("code"), value.alias("value")))]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """The notes in ``notes.csv``, if the file is there. A date without a time counts as the end of that day."""
        path = self.raw_dir / schema.NOTES.file
        if not path.is_file():
            times = {"note_time": pl.Datetime("us")}
            columns = {column.name: times.get(column.name, pl.String()) for column in schema.NOTES.columns}
            return Notes(pl.DataFrame(schema=columns))
        notes = read_table(self.raw_dir, schema.NOTES)
        notes = notes.with_columns(day_end(pl.col("note_time")).alias("note_time"))
        of_cohort = notes.join(cohort, on="patient_id", how="semi").select(
            column.name for column in schema.NOTES.columns
        )
        counts = {"notes read": notes.height, "notes of the cohort": of_cohort.height}
        untimed = of_cohort["note_time"].null_count()
        warning = (
            f"notes.csv: {untimed} notes carry no time, so they may have been written after the observation window"
        )
        table = of_cohort.sort("patient_id", "note_time", "note_type", "text")
        return Notes(table, counts, (warning,) if untimed else ())

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """The labels in ``label.csv``.

        Raises:
            UserError: ``kind`` is admissions or diagnoses, which this source does not have.
        """
        if kind != "labels":
            raise UserError(
                f"[source] name = 'tables' has no {kind}, which this task needs; choose [task] name = 'given'"
            )
        path = self.raw_dir / schema.LABEL.file
        if not path.is_file():
            raise UserError(f"{path}: missing; its columns: {', '.join(c.name for c in schema.LABEL.columns)}")
        labels = read_table(self.raw_dir, schema.LABEL)
        wrong = labels.filter(~pl.col("label_value").is_in([0.0, 1.0]))
        if wrong.height:
            patient, value = wrong.select("patient_id", "label_value").row(0)
            raise UserError(f"{path}: label_value {value:g} of patient_id '{patient}' is neither 0 nor 1; mend it")
        return labels

    def _read(self, table: schema.Table, more: dict[str, schema.Kind]) -> pl.DataFrame:
        """Read a small table: its required columns except ``hadm_id`` and ``stay_id``, and those of ``more`` that are there.

        Columns of ``more`` that are missing are null.
        """
        present = header(self.raw_dir / table.file)
        ignored = ("hadm_id", "stay_id", *more)
        meanings = {column.name: column for column in table.columns}
        columns = [column for column in table.columns if column.name not in ignored]
        columns += [
            meanings.get(name, schema.Column(name, kind, "optional", nullable=True))
            for name, kind in more.items()
            if name in present
        ]
        typed = read_table(self.raw_dir, replace(table, columns=tuple(columns)))
        kinds = {"number": pl.Float64(), "time": pl.Datetime("us"), "text": pl.String()}
        absent = [pl.lit(None, kinds[kind]).alias(name) for name, kind in more.items() if name not in present]
        return typed.select(column.name for column in columns).with_columns(absent)

    def _rows(self) -> pl.LazyFrame:
        """The rows ``row, patient_id, event_time, code, text`` (null: no value) and ``number`` (null: not a number)."""
        rows = scan(find(self.raw_dir, "dynamic"), {**DYNAMIC, "event_time": pl.Datetime}).with_row_index("row")
        text = pl.col("value").str.strip_chars()
        rows = rows.with_columns(pl.when(~text.is_in(NO_VALUE)).then(text).alias("text"))
        number = pl.col("text").cast(pl.Float64, strict=False)
        return rows.with_columns(pl.when(number.is_finite()).then(number).alias("number")).drop("value")

    def _first_and_last(self) -> pl.DataFrame:
        events = self._rows().group_by("patient_id")
        times = events.agg(
            pl.col("event_time").min().alias("window_start"), pl.col("event_time").max().alias("window_end")
        )
        missing = (pl.lit(None, pl.Datetime("us")).alias(name) for name in STAY_TIMES)
        return collect(times, find(self.raw_dir, "dynamic")).with_columns(missing)

    @cached_property
    def _survey(self) -> Survey:
        """Find out in one pass what the values of each code are, and which features they make.

        Raises:
            UserError: a row lacks a patient, a time or a code, or no code can be used.
        """
        path = find(self.raw_dir, "dynamic")
        wrong = {name: pl.col(name).is_null() for name in ("patient_id", "event_time", "code")}
        counts = self._rows().group_by("code").agg(
            pl.len().alias("rows"),
            pl.col("text").count().alias("values"),
            pl.col("number").count().alias("numbers"),
            *(pl.col("row").filter(test).min().alias(f"{name} wrong") for name, test in wrong.items()),
        )  # fmt: skip
        codes = collect(counts, path).sort("code")
        if codes.is_empty():
            raise UserError(f"{path}: has a header and no rows; one row per measurement was expected")
        self._refuse_wrong(path, {name: codes[f"{name} wrong"].min() for name in wrong})
        numeric = (pl.col("numbers") >= NUMERIC_SHARE * pl.col("values")) & (pl.col("numbers") > 0)
        numbers = codes.filter(numeric).select(
            "code", pl.col("code").alias("name"), pl.lit(None, pl.String).alias("level")
        )
        worded = self._rows().filter(pl.col("text").is_not_null()).join(numbers.lazy(), on="code", how="anti")
        levels = collect(worded.group_by("code", pl.col("text").alias("level")).len(), path).sort("code", "level")
        few = levels.filter(pl.len().over("code") <= self.options.max_levels)
        words = few.select("code", pl.format("{}={}", "code", "level").alias("name"), "level")
        features = pl.concat([numbers, words]).sort("name")
        features = features.with_columns((pl.int_range(pl.len()).over("code") == 0).alias("first"))
        if twice := features.filter(pl.col("name").is_duplicated())["name"].to_list():
            raise UserError(f"{path}: '{twice[0]}' is both a code and a word of a code; rename one of them")
        left_out = codes.join(features, on="code", how="anti")
        if features.is_empty():
            raise UserError(
                f"{path}: none of its {codes.height} codes can be used: {_reasons(left_out, self.options)}; "
                "mend it, or set source.max_levels"
            )
        warnings = (f"{path.name}: {_reasons(left_out, self.options)}",) if left_out.height else ()
        return Survey(features, warnings)

    def _refuse_wrong(self, path: Path, first: dict[str, object]) -> None:
        for name, row in first.items():
            if row is not None:
                text = collect(scan(path, DYNAMIC).with_row_index("row").filter(pl.col("row") == row), path)[name][0]
                rule = "is empty" if text is None else "is not a time (YYYY-MM-DD HH:MM:SS)"
                raise UserError(f"{path} row {int(str(row)) + 2}: {name} {text!r} {rule}; mend it")


def _stay_times(stays: pl.DataFrame) -> pl.DataFrame:
    """Fill null ``intime, outtime`` from the window, then null ``admittime, dischtime`` from these, and drop the window."""
    for name, other in STAY_TIMES.items():
        stays = stays.with_columns(pl.coalesce(name, other).alias(name))
    return stays.drop("window_start", "window_end")


def _reasons(left_out: pl.DataFrame, options: Options) -> str:
    """Say in one line which codes are left out, and why."""
    groups = {
        f"more than {options.max_levels} different texts (source.max_levels)": left_out.filter(pl.col("values") > 0),
        "no value": left_out.filter(pl.col("values") == 0),
    }
    return "; ".join(
        f"{codes.height} codes ({codes['rows'].sum()} rows) have {why} and are left out: "
        f"{', '.join(codes['code'].head(5).to_list())}{' ...' if codes.height > 5 else ''}"
        for why, codes in groups.items()
        if codes.height
    )


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return OwnTables(options, raw_dir)
