"""The source that needs no data: a seeded generator writes a raw MIMIC-IV folder and a small PrimeKG, read as MIMIC-IV."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source, mimic4
from emerge_ehr.datasets.sources._mimic import options as mimic_options
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.datasets.sources.synthetic.options import Options
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage.artefacts import hashes, read_json, replacing, write_json
from emerge_ehr.storage.publishing import publish

log = logging.getLogger(__name__)
RECORD = "generated.json"


@dataclass(frozen=True)
class Synthetic:
    """Generates its files in ``download``, and reads them as the MIMIC-IV source does."""

    one_calendar: ClassVar[bool] = True
    population: ClassVar[str] = ""
    options: Options
    raw_dir: Path
    kg_dir: Path
    seed: int

    @property
    def _records(self) -> Source:
        notes = mimic_options.Options(notes_file=(self.raw_dir / "note" / "notes.csv.gz",))
        return mimic4.build(notes, raw_dir=self.raw_dir, kg_dir=self.kg_dir, seed=self.seed)

    @property
    def _recipe(self) -> dict[str, float | str]:
        """What the generated files depend on."""
        return {"stays": self.options.stays, "seed": self.seed, "generator": 1, **self.options.changed}

    def _record(self) -> dict[str, Any]:
        """The record of what was generated; empty if there is none, or if it is damaged."""
        try:
            record = read_json(self.raw_dir / RECORD, "download")
        except UserError:
            return {}
        return record if isinstance(record, dict) else {}

    def _generated(self, record: dict[str, Any], files: bool) -> bool:
        """Whether the record is of this source's recipe; with ``files``, also whether the files are as they were written."""
        if {key: value for key, value in record.items() if key != "files"} != self._recipe:
            return False
        present = [*sorted(self.raw_dir.glob("*/*.csv.gz")), *sorted(self.kg_dir.glob("*.csv"))]
        return not files or hashes(present) == record.get("files")

    def is_open(self) -> bool:
        """True: the records are of no real person."""
        return True

    def open_files(self) -> frozenset[str]:
        """The files as they were generated."""
        files = self._record().get("files")
        return frozenset(files.values()) if isinstance(files, dict) else frozenset()

    def download(self, settings: Download, offline: bool) -> None:
        """Generate the files, unless the folder holds those of the same options and seed already."""
        record = self.raw_dir / RECORD
        if self._generated(self._record(), files=True):
            log.info("synthetic: %d stays already generated in %s", self.options.stays, self.raw_dir)
            return
        record.unlink(missing_ok=True)
        with publish(self.kg_dir) as folder:
            write_graph(load_graph(), folder)
        with publish(self.raw_dir) as folder:
            generate(folder, self.options, self.seed)
        files = hashes([*sorted(self.raw_dir.glob("*/*.csv.gz")), *sorted(self.kg_dir.glob("*.csv"))])
        with replacing(record) as aside:
            write_json(aside, {**self._recipe, "files": files})
        log.info("synthetic: generated %d stays in %s", self.options.stays, self.raw_dir)

    def inputs(self) -> list[Path]:
        """The generated files.

        Raises:
            UserError: they were not generated completely, or with other options or another seed.
        """
        if not self._generated(self._record(), files=False):
            recipe = ", ".join(f"{key} {value}" for key, value in self._recipe.items())
            raise UserError(f"{self.raw_dir}: not generated with {recipe}; run --stage download first")
        return self._records.inputs()

    def stays(self) -> Extract:
        """As MIMIC-IV's."""
        return self._records.stays()

    def signals(self) -> tuple[Signal, ...]:
        """As MIMIC-IV's."""
        return self._records.signals()

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """As MIMIC-IV's."""
        return self._records.measurements(cohort, match)

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """As MIMIC-IV's."""
        return self._records.notes(cohort)

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """As MIMIC-IV's."""
        return self._records.records(kind)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """The source over the folders that it generates into."""
    return Synthetic(options, raw_dir, kg_dir, seed)
