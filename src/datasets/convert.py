"""Stage convert: a source's raw records -> OneEHR tables, with the cohort flow and everything dropped counted."""

import dataclasses
import logging

import polars as pl

from src import components
from src.config import Config, UserError, to_dict
from src.datasets import artefacts, cohort, schema
from src.datasets.sources import Extract, Source

log = logging.getLogger(__name__)
SOCKETS = ("source",)


def run(config: Config) -> None:
    """Writes ``dynamic, static, label, cohort, notes`` and ``provenance.json`` into ``config.table_dir``.

    Raises:
        UserError: raw files are missing or damaged, or nobody is left in the cohort.
    """
    source: Source = components.build(
        "source", config.source, raw_dir=config.raw_dir, kg_dir=config.kg_dir, seed=config.seed
    )
    inputs = source.inputs()
    stays, flow = cohort.select(source.stays(), config.cohort)
    measured = source.measurements(stays) if stays.height else Extract(pl.DataFrame({"patient_id": []}))
    seen = pl.col("patient_id").is_in(measured.table["patient_id"].unique().to_list())
    stays, step = cohort.exclude(stays, ~seen, "no measurement in the window")
    flow.append(step)
    for line in flow:
        log.info(
            "cohort: %6d stays, %6d patients  (-%d) %s", line.stays, line.patients, line.dropped_stays, line.reason
        )
    if not stays.height:
        raise UserError(f"{config.raw_dir}: no ICU stay is left in the cohort; see the cohort flow above and [cohort]")
    notes = source.notes(stays)
    for warning in notes.warnings:
        log.warning("%s", warning)
    provenance = {
        "dataset": config.dataset,
        "task": config.task,
        "cohort": to_dict(config.cohort),
        "cohort_flow": [dataclasses.asdict(line) for line in flow],
        "measurements": {"rows": measured.table.height, "dropped or repaired": measured.counts},
        "notes": {"rows": notes.table.height, "counts": notes.counts},
        "warnings": [*measured.warnings, *notes.warnings],
        "inputs": artefacts.hashes(inputs),
        "source": {"name": config.source.name, **config.source.options},
    }
    with artefacts.publish(config.table_dir) as folder:
        artefacts.write_table(measured.table, folder / schema.DYNAMIC.file)
        artefacts.write_table(_static(stays), folder / schema.STATIC.file)
        artefacts.write_table(_label(stays, config.task), folder / schema.LABEL.file)
        artefacts.write_table(_cohort(stays), folder / schema.COHORT.file)
        artefacts.write_table(notes.table, folder / schema.NOTES.file)
        artefacts.write_json(folder / schema.PROVENANCE, provenance)
    log.info(
        "convert: %d stays, %d deaths, %d measurements, %d notes -> %s",
        stays.height,
        stays["died"].sum(),
        measured.table.height,
        notes.table.height,
        config.table_dir,
    )


def _static(stays: pl.DataFrame) -> pl.DataFrame:
    return stays.select("patient_id", "age", "sex", "ethnicity", "icu_type")


def _label(stays: pl.DataFrame, task: str) -> pl.DataFrame:
    known = pl.coalesce("deathtime", "dischtime", "outtime")
    return stays.select(
        "patient_id", known.alias("label_time"), pl.lit(task).alias("label_code"), pl.col("died").alias("label_value")
    )


def _cohort(stays: pl.DataFrame) -> pl.DataFrame:
    return stays.select("patient_id", "subject_id", "hadm_id", "stay_id", "window_start", "window_end")
