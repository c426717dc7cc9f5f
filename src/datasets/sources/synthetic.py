"""The embedded default: a seeded generator writes a raw MIMIC-IV folder and a small PrimeKG; the rest is the MIMIC-IV source."""

import logging
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from src.config import Download, Positive, UserError
from src.datasets.artefacts import read_json, write_json
from src.datasets.sources import Extract, mimic4
from src.datasets.synthetic.generate import generate

log = logging.getLogger(__name__)
RECORD = "generated.json"


@dataclass(frozen=True)
class Options:
    """``stays``: how many ICU stays to generate."""

    stays: Positive = 2000


@dataclass(frozen=True)
class Synthetic:
    """Generates on ``download``; reads as MIMIC-IV."""

    options: Options
    raw_dir: Path
    kg_dir: Path
    seed: int

    @property
    def _records(self) -> mimic4.Mimic4:
        notes = mimic4.Options(notes_file=(self.raw_dir / "note" / "notes.csv.gz",))
        return mimic4.Mimic4(notes, self.raw_dir)

    def download(self, settings: Download, offline: bool) -> None:
        """Generate, unless the same folder was generated with the same options before."""
        wanted = {"stays": self.options.stays, "seed": self.seed, "generator": 1}
        record = self.raw_dir / RECORD
        if record.is_file() and read_json(record, "download") == wanted:
            log.info("synthetic: %d stays already generated in %s", self.options.stays, self.raw_dir)
            return
        record.unlink(missing_ok=True)
        generate(self.raw_dir, self.kg_dir, self.options.stays, self.seed)
        aside = record.with_suffix(".part")
        write_json(aside, wanted)
        aside.replace(record)
        log.info("synthetic: generated %d stays in %s", self.options.stays, self.raw_dir)

    def inputs(self) -> list[Path]:
        """The generated files.

        Raises:
            UserError: they were not generated to the end.
        """
        if not (self.raw_dir / RECORD).is_file():
            raise UserError(f"{self.raw_dir}: not generated yet; run --stage download first")
        return self._records.inputs()

    def stays(self) -> pl.DataFrame:
        """As MIMIC-IV's."""
        return self._records.stays()

    def measurements(self, cohort: pl.DataFrame) -> Extract:
        """As MIMIC-IV's."""
        return self._records.measurements(cohort)

    def notes(self, cohort: pl.DataFrame) -> Extract:
        """As MIMIC-IV's."""
        return self._records.notes(cohort)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Synthetic:
    """The source over the folders it generates into."""
    return Synthetic(options, raw_dir, kg_dir, seed)
