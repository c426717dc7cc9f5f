"""Source for a MEDS dataset (Medical Event Data Standard 0.4: ``raw_dir/data/**/*.parquet``); the config maps codes to signals.

The columns ``subject_id, time, code`` are needed; ``numeric_value, text_value, hadm_id`` and ``icustay_id`` or ``stay_id`` are
read if they exist. The defaults fit the exports of the package MIMIC_IV_MEDS, whose mapping is ``configs/mimic4_meds.toml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import polars as pl
from pydantic import ConfigDict

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._mimic.events import with_early_at_start
from emerge_ehr.datasets.sources._mimic.items import FAHRENHEIT, INCH, POUND, SAME, score_table
from emerge_ehr.datasets.sources._raw.note_files import DISCHARGE, day_end
from emerge_ehr.datasets.sources.meds import stays as meds_stays
from emerge_ehr.datasets.sources.meds.files import Patterns, Shards
from emerge_ehr.datasets.window import inside
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import SIGNALS, Signal, described

UNITS = {"same": SAME, "fahrenheit": FAHRENHEIT, "pound": POUND, "inch": INCH}
REPAIR = "rows matched by person and time, having no hadm_id"
STAY_KINDS = (
    "hospital_admission",
    "hospital_discharge",
    "icu_admission",
    "icu_discharge",
    "death",
    "birth",
    "gender",
    "ethnicity",
)


@dataclass(frozen=True)
class Coded:
    """A pattern of codes whose values are charted in ``unit`` instead of the signal's own unit."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    code: str
    unit: Literal["same", "fahrenheit", "pound", "inch"] = "same"


@dataclass(frozen=True)
class Options:
    """Patterns of codes, in which ``*`` stands for any text.

    ``signals``: signal -> its codes, each a pattern or ``{code, unit}``; signals may be those of ``signals.py`` or others.
    ``planned``: admissions that were planned. ``died``: discharges because of death. ``notes``: codes whose ``text_value`` is a
    note; the text that ``*`` stands for is the note's type, and discharge summaries are left out.
    """

    signals: Mapping[str, tuple[str | Coded, ...]]
    hospital_admission: Patterns = ("HOSPITAL_ADMISSION//*",)
    hospital_discharge: Patterns = ("HOSPITAL_DISCHARGE//*",)
    planned: Patterns = ("HOSPITAL_ADMISSION//ELECTIVE*", "HOSPITAL_ADMISSION//SURGICAL SAME DAY ADMISSION*")
    died: Patterns = ("HOSPITAL_DISCHARGE//DIED*",)
    icu_admission: Patterns = ("ICU_ADMISSION//*",)
    icu_discharge: Patterns = ("ICU_DISCHARGE//*",)
    death: Patterns = ("MEDS_DEATH",)
    birth: Patterns = ("MEDS_BIRTH",)
    gender: Patterns = ("GENDER//*",)
    ethnicity: Patterns = ("RACE//*",)
    diagnoses_icd9: Patterns = ("DIAGNOSIS//ICD//9//*",)
    diagnoses_icd10: Patterns = ("DIAGNOSIS//ICD//10//*",)
    notes: Patterns = ()


@final
@dataclass(frozen=True)
class Meds:
    """The source whose dataset has its root at ``raw_dir``."""

    options: Options
    raw_dir: Path

    def is_open(self) -> bool:
        """A user's own records never count as open, since their owner is unknown."""
        return False

    def download(self, settings: Download, offline: bool) -> None:
        """Check that the shards are there; nothing is downloaded."""
        self.inputs()

    def inputs(self) -> list[Path]:
        """The paths of the shards."""
        return list(self._shards.frames)

    def stays(self) -> Extract:
        """The ICU stays, each with its hospital admission and the person's age, sex and ethnicity."""
        stays = meds_stays.icu_stays(self._events, self._hospital)
        warnings = self._unmatched()
        if alone := stays["admittime"].null_count():
            warnings.append(
                f"{alone} of {stays.height} ICU stays lie in no hospital admission: their outcome is unknown"
            )
        shifted = pl.col("age") > meds_stays.OLDEST
        if old := stays.filter(shifted).height:
            warnings.append(
                f"the age of {old} stays is above {meds_stays.OLDEST} years (a shifted birth date): "
                f"it counts as {meds_stays.SHIFTED}"
            )
        age = pl.when(shifted).then(meds_stays.SHIFTED).otherwise("age").alias("age")
        return Extract(stays.with_columns(age, pl.col("subject_id").cast(pl.String)), warnings=tuple(warnings))

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
        neither id are kept, and counted if the dataset has ids. A score in words becomes its number.
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
        same_sample, anonymous = pl.lit(value=True), pl.lit(value=False)
        if self._identified("hospital_admission", "hadm_id"):
            same_sample = (pl.col("hadm_id") == pl.col("our_hadm_id")).fill_null(value=True)
            anonymous = pl.col("hadm_id").is_null()
        if match == "stay_id" and self._identified("icu_admission", "stay_id"):
            same_sample = (pl.col("stay_id") == pl.col("our_stay_id")).fill_null(same_sample)
            anonymous &= pl.col("stay_id").is_null()
        value = pl.coalesce("numeric_value", "score") * pl.col("scale") + pl.col("offset")
        text = pl.col("text_value").str.strip_chars().str.to_lowercase()
        events = []
        for path, rows in self._shards.frames.items():
            matched = rows.rename({"code": "meds_code", "time": "event_time"}).join(codes, on="meds_code")
            matched = with_early_at_start(matched.join(windows, on="subject_id"))
            # Most rows are dropped here, before their texts are processed.
            matched = matched.filter(inside() & same_sample).with_columns(text.alias("text"))
            matched = matched.join(score_table().lazy(), on=["code", "text"], how="left")
            matched = matched.select("n", "event_time", "code", value.alias("value"), anonymous.alias("repaired"))
            events.append(Events(path, matched, REPAIR))
        return events

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes of the sample's admission; those without an admission's id are the person's since the admission.

        A time at midnight is a date without a time, and counts as the end of that day.
        """
        notes = self._shards.rows({"notes": self.options.notes}, "text_value")
        notes = notes.filter(pl.col("text_value").str.strip_chars() != "")
        columns = ("patient_id", "admittime", "window_start", pl.col("hadm_id").alias("our_hadm_id"))
        matched = notes.with_columns(day_end(pl.col("time")).alias("note_time")).join(
            cohort.select(pl.col("subject_id").cast(pl.Int64), *columns), on="subject_id"
        )
        since = (pl.col("note_time") >= pl.coalesce("admittime", "window_start")).fill_null(value=False)
        matched = matched.filter((pl.col("hadm_id") == pl.col("our_hadm_id")).fill_null(since))
        discharge = pl.col("tail").str.contains(DISCHARGE)
        counts = {
            "notes read": notes.height,
            "notes of the cohort": matched.height,
            "discharge summaries excluded": matched.filter(discharge).height,
        }
        kept = matched.filter(~discharge)
        untimed = kept["note_time"].null_count()
        warning = f"{untimed} notes carry no time, so they may have been written after the observation window"
        names = {"tail": "note_type", "text_value": "text"}
        table = kept.rename(names).select("patient_id", "note_time", "note_type", "text").unique()
        counts = counts if self.options.notes else {}
        return Notes(table.sort(table.columns), counts, (warning,) if untimed else ())

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Admissions and diagnoses of all persons; a diagnosis without ``hadm_id`` gets the admission that its time lies in.

        Raises:
            UserError: ``kind`` is labels, which this source does not have.
        """
        if kind == "labels":
            raise UserError("[source] name = 'meds' has no ready-made labels; choose another task")
        if kind == "admissions":
            columns = (pl.col("subject_id").cast(pl.String), "hadm_id", "admittime", "dischtime", "planned")
            return self._hospital.select(columns)
        patterns = {"9": self.options.diagnoses_icd9, "10": self.options.diagnoses_icd10}
        rows = self._shards.rows(patterns).with_row_index("row")
        around = rows.drop("hadm_id").join(self._hospital, on="subject_id")
        around = around.filter(pl.col("time").is_between("admittime", pl.coalesce("dischtime", "time")))
        around = around.sort("admittime").unique("row", keep="last").select("row", pl.col("hadm_id").alias("around"))
        rows = rows.join(around, on="row", how="left").sort("row")
        return rows.select(
            pl.coalesce("hadm_id", "around").alias("hadm_id"),
            pl.col("kind").cast(pl.Int64).alias("icd_version"),
            pl.col("tail").str.replace_all(".", "", literal=True).alias("icd_code"),
        ).filter(pl.col("hadm_id").is_not_null())

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.raw_dir)

    @cached_property
    def _events(self) -> pl.DataFrame:
        """The events from which ``meds.stays`` makes stays."""
        events = self._shards.rows({kind: self._patterns(kind) for kind in STAY_KINDS})
        if meds_stays.of_kind(events, "icu_admission").is_empty():
            patterns = ", ".join(self.options.icu_admission)
            raise UserError(
                f"{self.raw_dir}: no code matches source.icu_admission = {patterns}; set it to this dataset's codes, "
                f"such as {', '.join(self._shards.codes.head(3))}"
            )
        return events

    @cached_property
    def _hospital(self) -> pl.DataFrame:
        died, planned = (self._shards.matching(self._patterns(name))["code"] for name in ("died", "planned"))
        return meds_stays.hospital_stays(self._events, died.to_list(), planned.to_list())

    def _identified(self, kind: str, key: str) -> bool:
        return meds_stays.of_kind(self._events, kind)[key].count() > 0

    @cached_property
    def _signal_codes(self) -> pl.DataFrame:
        """``meds_code, code`` (the signal), ``scale, offset``.

        Raises:
            UserError: no code of the dataset matches, or a code matches with two meanings.
        """
        schema = {"meds_code": pl.String, "code": pl.String, "scale": pl.Float64, "offset": pl.Float64}
        meanings = [
            (code, signal, *UNITS[entry.unit])
            for signal, entry in self._entries()
            for code in self._shards.matching((entry.code,))["code"]
        ]
        table = pl.DataFrame(meanings, schema=schema, orient="row").unique(maintain_order=True)
        if table.is_empty():
            raise UserError(
                f"{self.raw_dir}: none of its {self._shards.codes.len()} codes matches [source.signals]; "
                f"they are such as {', '.join(self._shards.codes.head(3))}"
            )
        twice = table.filter(pl.col("meds_code").is_duplicated()).sort("meds_code")
        if twice.height:
            signals = " and ".join(twice.filter(pl.col("meds_code") == twice["meds_code"][0])["code"])
            raise UserError(f"[source.signals]: code '{twice['meds_code'][0]}' matches with two meanings: {signals}")
        return table

    def _entries(self) -> list[tuple[str, Coded]]:
        return [
            (signal, Coded(entry) if isinstance(entry, str) else entry)
            for signal, entries in self.options.signals.items()
            for entry in entries
        ]

    def _patterns(self, kind: str) -> Patterns:
        patterns: Patterns = getattr(self.options, kind)
        return patterns

    def _unmatched(self) -> list[str]:
        """A warning that lists all patterns which match no code, if there are any."""
        wanted = [(signal, entry.code) for signal, entry in self._entries()]
        wanted += [(kind, pattern) for kind in (*STAY_KINDS, "died", "notes") for pattern in self._patterns(kind)]
        missing = [f"{name}: {pattern}" for name, pattern in wanted if self._shards.matching((pattern,)).is_empty()]
        return [f"patterns of [source] that match no code of the dataset: {'; '.join(missing)}"] if missing else []


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Meds(options, raw_dir)
