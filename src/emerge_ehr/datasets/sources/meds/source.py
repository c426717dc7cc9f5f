"""Source for a MEDS dataset (Medical Event Data Standard 0.4: ``raw_dir/data/**/*.parquet``); the config maps codes to signals.

The columns ``subject_id, time, code`` are needed; ``numeric_value, text_value, hadm_id`` and ``icustay_id`` or ``stay_id`` are
read if they exist. The defaults fit the exports of the package MIMIC_IV_MEDS, whose mapping is ``configs/mimic4_meds.toml``.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets import dates
from emerge_ehr.datasets.dates import Dates
from emerge_ehr.datasets.predictions import Predictions
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._mimic.events import with_early_at_start
from emerge_ehr.datasets.sources._mimic.items import score_table
from emerge_ehr.datasets.sources._raw.icd9_codes import icd_code
from emerge_ehr.datasets.sources._raw.note_files import DISCHARGE
from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.sources._raw.row_counts import RowCounts
from emerge_ehr.datasets.sources.meds import predicted
from emerge_ehr.datasets.sources.meds import stays as meds_stays
from emerge_ehr.datasets.sources.meds.codes import by_the_rows_unit, codes_in_other_case, signal_codes
from emerge_ehr.datasets.sources.meds.files import Shards
from emerge_ehr.datasets.sources.meds.options import STAY_KINDS, Options, unmatched
from emerge_ehr.datasets.sources.meds.values import COLUMNS, DROPS, REPAIRS, with_values
from emerge_ehr.datasets.window import NO_TEXT, has_text, inside, textless
from emerge_ehr.fields import UserError, plural
from emerge_ehr.signals.signals import SIGNALS, Signal, described
from emerge_ehr.storage.times import day_end


@final
@dataclass(frozen=True)
class Meds:
    """The source whose dataset has its root at ``raw_dir``. ``predictions``: the prediction times that the task brings."""

    one_calendar: ClassVar[bool] = True
    population: ClassVar[str] = ""
    options: Options
    raw_dir: Path
    predictions: Predictions | None = None

    def is_open(self) -> bool:
        """A user's own records never count as open, since their owner is unknown."""
        return False

    def open_files(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def download(self, settings: Download, offline: bool) -> None:
        """Check that the shards are there; nothing is downloaded."""
        self.inputs()

    def inputs(self) -> list[Path]:
        """The paths of the shards, and of the files that decide the prediction times."""
        return [*self._shards.frames, *(self.predictions.files() if self.predictions else ())]

    def stays(self) -> Extract:
        """The ICU stays, each with its hospital admission and the person's age, sex and ethnicity; or, if the task brings
        prediction times, a row for each of these."""
        if self.predictions is not None:
            return self._predicted(self.predictions)
        stays = meds_stays.icu_stays(self._events, self._hospital)
        patterns = self.options.wanted((*STAY_KINDS, "planned", "notes", "diagnoses_icd9", "diagnoses_icd10"))
        in_other_case = codes_in_other_case(self._shards, patterns, self.options.died)
        warnings = [*unmatched(self.options, self._shards), *in_other_case, *self._dates.warnings("[source.signals]")]
        if alone := stays["admittime"].null_count():
            warnings.append(
                f"{alone} of {stays.height} ICU stays lie in no hospital admission: their outcome is unknown"
            )
        stays, aged = meds_stays.without_shifted_ages(stays)
        warnings += aged
        counts = {
            "stays whose death and discharge contradict each other": int(
                stays["contradictory"].fill_null(value=False).sum()
            )
        }
        if any(counts.values()):
            warnings.append(
                "; ".join(f"{n} of {stays.height} {reason}: their outcome is unknown" for reason, n in counts.items())
            )
        table = stays.with_columns(pl.col("subject_id").cast(pl.String)).drop("contradictory")
        timed = Extract(table) if self.options.midnight == "time" else dates.stays_at_day_end(table)
        return Extract(timed.table, {**counts, **timed.counts}, (*warnings, *timed.warnings))

    def signals(self) -> tuple[Signal, ...]:
        """The signals that the config maps, and sums of them: the benchmark's in its order, then others in the config's order."""
        mapped = self.options.signals
        known = [
            signal
            for signal in SIGNALS
            if signal.name in mapped or (signal.sum_of and mapped.keys() >= set(signal.sum_of))
        ]
        return (*known, *(described(name) for name in mapped if described(name) not in SIGNALS))

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Rows of mapped codes in a sample's window, matched by person and time, one ``Events`` per shard.

        A row of another stay is left out, and so is one without a stay's id that belongs to another admission. Rows that have
        neither id are kept, and counted if the dataset has ids. A score in words becomes its number. The values of a code with
        dates rather than times count at the end of the day.
        """
        windows = cohort.lazy().select(
            pl.col("subject_id").cast(pl.Int64),
            "n",
            "window_start",
            "window_end",
            pl.col("hadm_id").alias("our_hadm_id"),
            pl.col("stay_id").alias("our_stay_id"),
        )
        codes = self._signal_codes.lazy()
        same_sample, anonymous = self._identity(match)
        words = pl.col("text_value").str.strip_chars().str.to_lowercase()
        events = []
        for path, rows in self._shards.frames.items():
            counts = RowCounts()
            matched = rows.rename({"code": "meds_code", "time": "event_time"}).join(codes, on="meds_code")
            matched = counts.counting(matched).with_columns(dates.at_day_end(self._dates.codes, "meds_code"))
            matched = with_early_at_start(matched.join(windows, on="subject_id"))
            # Most rows are dropped here, before their texts are processed.
            text = pl.when(pl.col("stated").is_null()).then(words).alias("text")
            matched = matched.filter(inside()).with_columns(
                pl.coalesce("stated", "numeric_value").alias("numeric_value"), text
            )
            matched = matched.join(score_table().lazy(), on=["code", "text"], how="left")
            flags = ((~same_sample).alias("other_sample"), anonymous.alias("anonymous"))
            matched = matched.with_columns(*by_the_rows_unit(), *flags)
            matched = with_values(matched).select(COLUMNS)
            events.append(Events(path, matched, "data/*.parquet", DROPS, REPAIRS, counts.read))
        return events

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes of the sample's admission; those without an admission's id are the person's since the admission.

        A time at midnight is a date without a time, and counts as the end of that day.
        """
        rows = self._shards.rows({"notes": self.options.notes}, "text_value")
        notes = rows.filter(has_text("text_value")).with_row_index("row")
        blank = rows.height - notes.height
        columns = ("patient_id", "admittime", "window_start", pl.col("hadm_id").alias("our_hadm_id"))
        matched = notes.with_columns(day_end(pl.col("time")).alias("note_time")).join(
            cohort.select(pl.col("subject_id").cast(pl.Int64), *columns), on="subject_id"
        )
        since = (pl.col("note_time") >= pl.coalesce("admittime", "window_start")).fill_null(value=False)
        own = pl.col("hadm_id") == pl.col("our_hadm_id")
        matched = matched.filter(own.fill_null(since) if self.predictions is None else since)
        discharge = pl.col("tail").str.contains(DISCHARGE)
        counts = {
            "notes read": rows.height,
            **({NO_TEXT: blank} if blank else {}),
            "notes of persons or admissions outside the cohort": notes.height - matched["row"].n_unique(),
            "notes of the cohort": matched.height,
            "discharge summaries excluded": matched.filter(discharge).height,
        }
        kept = matched.filter(~discharge)
        untimed = kept["note_time"].null_count()
        warning = (
            f"{plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the observation "
            "window"
        )
        names = {"tail": "note_type", "text_value": "text"}
        table = kept.rename(names).select("patient_id", "note_time", "note_type", "text")
        counts = counts if self.options.notes else {}
        empty = textless("text_value of source.notes", blank, rows.height)
        return Notes(table.sort(table.columns), counts, (*empty, *([warning] if untimed else [])))

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Admissions and diagnoses of all persons; a diagnosis without ``hadm_id`` gets the admission that its time lies in.

        Labels are those that the task brings.

        Raises:
            UserError: ``kind`` is labels, and the task brings none.
        """
        if kind == "labels" and self.predictions is not None:
            return predicted.labels(self.predictions.read(), self.predictions.code)
        if kind == "labels":
            raise UserError("[source] name = 'meds' has no ready-made labels; choose another task")
        if kind == "admissions":
            columns = (pl.col("subject_id").cast(pl.String), "hadm_id", "admittime", "dischtime", "planned")
            before_death = (pl.col("admittime") < pl.col("death")).fill_null(value=True)
            return self._hospital.filter(before_death).select(columns)
        patterns = {"9": self.options.diagnoses_icd9, "10": self.options.diagnoses_icd10}
        rows = self._shards.rows(patterns).with_row_index("row")
        around = rows.drop("hadm_id").join(self._hospital, on="subject_id")
        around = around.filter(pl.col("time").is_between("admittime", pl.coalesce("dischtime", "time")))
        around = around.sort("admittime").unique("row", keep="last").select("row", pl.col("hadm_id").alias("around"))
        rows = rows.join(around, on="row", how="left").sort("row")
        return rows.select(
            pl.coalesce("hadm_id", "around").alias("hadm_id"),
            pl.col("kind").cast(pl.Int64).alias("icd_version"),
            icd_code(pl.col("tail")).alias("icd_code"),
        ).filter(pl.col("hadm_id").is_not_null())

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.raw_dir, self.options.admission_id)

    @cached_property
    def _events(self) -> pl.DataFrame:
        """The events from which ``meds.stays`` makes stays."""
        events = self._shards.rows({kind: self.options.patterns(kind) for kind in STAY_KINDS})
        if self.predictions is None and meds_stays.of_kind(events, "icu_admission").is_empty():
            patterns = ", ".join(self.options.icu_admission)
            raise UserError(
                f"{self.raw_dir}: no code matches source.icu_admission = {patterns}; set it to this dataset's codes, "
                f"such as {', '.join(self._shards.codes.head(3))}"
            )
        return events

    @cached_property
    def _hospital(self) -> pl.DataFrame:
        died = self._shards.matching(self.options.died, any_case=True)["code"]
        planned = self._shards.matching(self.options.planned)["code"]
        return meds_stays.hospital_stays(self._events, died.to_list(), planned.to_list())

    def _predicted(self, predictions: Predictions) -> Extract:
        found = predicted.stays(self._shards, self._events, self._hospital, predictions.read(), self.options.birth)
        table, aged = meds_stays.without_shifted_ages(found.table)
        kinds = (*predicted.KINDS, "notes")
        in_other_case = codes_in_other_case(self._shards, self.options.wanted(kinds), ())
        dated = self._dates.warnings("[source.signals]")
        warnings = [*found.warnings, *aged, *unmatched(self.options, self._shards, kinds), *in_other_case, *dated]
        return Extract(table.with_columns(pl.col("subject_id").cast(pl.String)), found.counts, tuple(warnings))

    def _identity(self, match: Match) -> tuple[pl.Expr, pl.Expr]:
        """Whether a row is of the sample whose window it lies in, by its ids, and whether it has no id.

        At prediction times all that is known of the person counts, whatever stay it belongs to.
        """
        same_sample, anonymous = pl.lit(value=True), pl.lit(value=False)
        if self.predictions is not None:
            return same_sample, anonymous
        if self._identified("hospital_admission", "hadm_id"):
            same_sample = (pl.col("hadm_id") == pl.col("our_hadm_id")).fill_null(value=True)
            anonymous = pl.col("hadm_id").is_null()
        if match == "stay_id" and self._identified("icu_admission", "stay_id"):
            same_sample = (pl.col("stay_id") == pl.col("our_stay_id")).fill_null(same_sample)
            anonymous &= pl.col("stay_id").is_null()
        return same_sample, anonymous

    def _identified(self, kind: str, key: str) -> bool:
        return meds_stays.of_kind(self._events, kind)[key].count() > 0

    @cached_property
    def _signal_codes(self) -> pl.DataFrame:
        return signal_codes(self._shards, self.options.entries())

    @cached_property
    def _dates(self) -> Dates:
        """Which of the mapped codes have dates rather than times, over all shards."""
        if self.options.midnight == "time":
            return Dates((), (), 0, 0)
        codes = self._shards.matching(tuple(entry.code for _, entry in self.options.entries())).lazy().select("code")
        rows = (
            (path, shard.join(codes, on="code").group_by("code").agg(dates.counted(time="time")))
            for path, shard in self._shards.frames.items()
        )
        return dates.found(pl.concat([collect(counted, path) for path, counted in rows]).group_by("code").sum())


def build(
    options: Options, *, raw_dir: Path, kg_dir: Path, seed: int, predictions: Predictions | None = None
) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Meds(options, raw_dir, predictions)
