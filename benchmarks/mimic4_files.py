"""Writes raw files in the layout of MIMIC-IV, of any size: rows of the synthetic hospital among many items that no signal needs.

    python benchmarks/mimic4_files.py --stays 3000 --output data/benchmark/mimic4_3000 [--gzip]

There are about 4,000 chart rows and 1,670 lab rows per stay, as in MIMIC-IV 2.2. One chart row in seven is of a benchmark signal.
"""

import argparse
import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl

from emerge_ehr.datasets.sources.synthetic.csv_files import write_gz
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital, sample_hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from emerge_ehr.datasets.sources.synthetic.rounds import hourly
from emerge_ehr.datasets.sources.synthetic.series import chart_events, lab_events
from emerge_ehr.datasets.sources.synthetic.sites import SITES
from emerge_ehr.datasets.sources.synthetic.tables import administrative_tables
from emerge_ehr.storage.times import TIME_FORMAT

BLOCK = 500  # stays in memory at once
OTHER_CHART_ROWS, OTHER_LAB_ROWS = 3420, 1645  # per stay, of items that no signal needs
OTHER_CHART_ITEMS, OTHER_LAB_ITEMS = np.arange(227000, 228300), np.arange(51200, 51900)


def write(folder: Path, stays: int, seed: int, compressed: bool) -> None:
    """Write the tables that ``convert`` reads into ``folder``; chart and lab rows are written in blocks of stays."""
    rng = np.random.default_rng(seed)
    hospital, site = sample_hospital(load_graph(), stays, rng), SITES["a"]
    for name, table in administrative_tables(hospital, rng).items():
        write_gz(table, folder / f"{name}.csv.gz")
    suffix = ".csv.gz" if compressed else ".csv"
    chart, labs = folder / f"icu/chartevents{suffix}", folder / f"hosp/labevents{suffix}"
    with _opened(chart) as chart_file, _opened(labs) as lab_file:
        for number, block in enumerate(_blocks(hospital)):
            header, rounds = number == 0, hourly(len(block))
            events = pl.concat([_filled(chart_events(block, rounds, site, rng), rng), _other_chart(block, rng)])
            events.sort("stay_id", "charttime").write_csv(
                chart_file, include_header=header, datetime_format=TIME_FORMAT
            )
            results = pl.concat([lab_events(block, rounds, site, rng), _other_labs(block, rng)], how="diagonal_relaxed")
            results.sort("subject_id", "charttime").write_csv(
                lab_file, include_header=header, datetime_format=TIME_FORMAT
            )


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "wb", compresslevel=3)) if path.suffix == ".gz" else path.open("wb")


def _blocks(hospital: Hospital) -> Iterator[Hospital]:
    for start in range(0, len(hospital), BLOCK):
        part = slice(start, start + BLOCK)
        yield Hospital(**{spec.name: getattr(hospital, spec.name)[part] for spec in dataclasses.fields(Hospital)})


def _filled(events: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Chart rows with the columns that the synthetic source leaves blank."""
    return events.with_columns(
        pl.Series("caregiver_id", rng.integers(10000, 99999, events.height)),
        (pl.col("charttime") + pl.duration(minutes=17)).alias("storetime"),
        pl.col("valuenum").cast(pl.Float64),
    )


def _times(hospital: Hospital, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, pl.Series]:
    """The stay of each row, and the time it was charted: any minute of the stay."""
    stay = np.repeat(np.arange(len(hospital)), rows)
    minute = (rng.random(len(stay)) * hospital.los_hours[stay] * 60).astype(np.int64)
    return stay, pl.Series((hospital.intime[stay] + minute * np.timedelta64(60, "s")).astype("datetime64[us]"))


def _other_chart(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    stay, time = _times(hospital, OTHER_CHART_ROWS, rng)
    number = pl.Series(rng.integers(0, 200, len(stay)))
    worded = pl.Series(rng.random(len(stay)) < 0.6)
    return _filled(
        pl.DataFrame(
            {
                "subject_id": hospital.subject_id[stay],
                "hadm_id": hospital.hadm_id[stay],
                "stay_id": hospital.stay_id[stay],
                "caregiver_id": 0,
                "charttime": time,
                "storetime": time,
                "itemid": rng.choice(OTHER_CHART_ITEMS, len(stay)),
            }
        ).with_columns(
            pl.when(worded).then(pl.lit("Within Normal Limits")).otherwise(number.cast(pl.String)).alias("value"),
            pl.when(~worded).then(number).alias("valuenum"),
            pl.when(~worded).then(pl.lit("cmH2O")).alias("valueuom"),
            pl.lit(0).alias("warning"),
        ),
        rng,
    )


def _other_labs(hospital: Hospital, rng: np.random.Generator) -> pl.DataFrame:
    stay, time = _times(hospital, OTHER_LAB_ROWS, rng)
    value = pl.Series("value", rng.random(len(stay)).round(3) * 100)
    return pl.DataFrame(
        {
            "labevent_id": rng.integers(1, 118_000_000, len(stay)),
            "subject_id": hospital.subject_id[stay],
            "hadm_id": hospital.hadm_id[stay],
            "specimen_id": rng.integers(1, 99_999_999, len(stay)),
            "itemid": rng.choice(OTHER_LAB_ITEMS, len(stay)),
            "charttime": time,
            "storetime": time,
            "value": value.cast(pl.String),
            "valuenum": value,
            "valueuom": "mEq/L",
            "ref_range_lower": 10.0,
            "ref_range_upper": 50.0,
            "priority": "STAT",
        }
    )


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=3000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--gzip", action="store_true")
    arguments = parser.parse_args()
    write(arguments.output, arguments.stays, arguments.seed, arguments.gzip)


if __name__ == "__main__":
    main()
