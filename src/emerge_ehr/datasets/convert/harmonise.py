"""Makes measurements comparable: converts them to canonical units, and drops and counts implausible values and duplicates.

The memory in use is bounded at any size of the raw files: the rows inside the windows are first written to disk in blocks of
samples; then each block is sorted by itself and appended to the table ``dynamic``.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.config import TableFormat
from emerge_ehr.datasets import window
from emerge_ehr.datasets.sources import Events, Extract
from emerge_ehr.datasets.sources._raw.raw_csv import unreadable
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.schema import DYNAMIC
from emerge_ehr.storage.table_files import appending

DIGITS = 7  # significant digits that the tensors' float32 can hold
MEASUREMENT = ("n", "event_time", "code", "value")
BLOCK = 2000  # samples per block on disk: 48 h of 17 signals are about 1.5 million rows, with monitor data ten times as many
SLICE = 200  # samples sorted together


def write_dynamic(
    events: Sequence[Events], cohort: pl.DataFrame, signals: Sequence[Signal], target: Path, form: TableFormat
) -> tuple[pl.Series, Extract]:
    """Write ``dynamic`` into the folder ``target`` for the cohort's samples, sorted by patient, time, code and value.

    ``cohort`` has ``n, patient_id, window_start, window_end``, in order of ``patient_id``. Returns the ids of samples that have
    a measurement, and an ``Extract`` whose table holds the number of rows per code.

    Raises:
        UserError: a raw file is damaged.
    """
    spill = target / "dynamic.spill"
    names = cohort.select("n", "patient_id")
    folders = [spill / str(number) for number in range(len(events))]
    kind = pl.Enum(sorted(signal.name for signal in signals))
    counts: Counter[str] = Counter()
    measured, rows = [], []
    try:
        for part, folder in zip(events, folders, strict=True):
            _spill(part, cohort, kind, folder)
        with appending(target, DYNAMIC, form) as append:
            for block in range(-(-cohort.height // BLOCK)):
                parts = _block(folders, block, kind)
                for part, rows_of_part in zip(events, parts, strict=True):
                    repaired = rows_of_part["repaired"].sum() if "repaired" in rows_of_part.columns else 0
                    counts[part.repair] += int(repaired)
                block_rows = pl.concat([rows_of_part.select(MEASUREMENT) for rows_of_part in parts])
                for start in range(block * BLOCK, min((block + 1) * BLOCK, cohort.height), SLICE):
                    inside = block_rows.filter(pl.col("n").is_between(start, start + SLICE - 1))
                    extract = canonical(inside.with_columns(pl.col("code").cast(pl.String)), signals)
                    counts.update(extract.counts)
                    table = extract.table.join(names, on="n", maintain_order="left")
                    measured.append(table["patient_id"].unique(maintain_order=True))
                    rows.append(table.group_by("code").len())
                    append(table)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    table = pl.concat(rows).group_by("code").agg(pl.col("len").sum()).sort("code")
    return pl.concat(measured), Extract(table, {reason: count for reason, count in sorted(counts.items()) if count})


def canonical(events: pl.DataFrame, signals: Sequence[Signal]) -> Extract:
    """Clean and sort measurements (``n, event_time, code, value``) whose values have the signal's unit already.

    Values above 1 of a ``percent`` signal are divided by 100. A ``sum_of`` signal is added where its parts were charted at the
    same time. Rows without a time or a number, outside the plausible range, or charted twice are dropped and counted.
    """
    percent = pl.col("code").is_in([signal.name for signal in signals if signal.percent]) & (pl.col("value") > 1)
    value = pl.when(percent).then(pl.col("value") / 100).otherwise(pl.col("value"))
    events = events.with_columns(value.round_sig_figs(DIGITS).alias("value"))
    counts = {"no time": events["event_time"].null_count()}
    events = events.drop_nulls("event_time")
    counts["no number"] = int((events["value"].is_null() | ~events["value"].is_finite()).sum())
    events = events.filter(pl.col("value").is_finite())
    bounds = pl.DataFrame(
        {
            "code": [signal.name for signal in signals],
            "low": [float(signal.plausible[0]) for signal in signals],
            "high": [float(signal.plausible[1]) for signal in signals],
        }
    )
    events = events.join(bounds, on="code")
    plausible = pl.col("value").is_between(pl.col("low"), pl.col("high"))
    dropped = events.filter(~plausible).group_by("code").len().sort("code")
    counts |= {f"implausible {code}": count for code, count in dropped.rows()}
    kept = events.filter(plausible).select(MEASUREMENT)
    unique = kept.unique()
    counts["charted twice"] = kept.height - unique.height
    sums = [summed(unique, signal) for signal in signals if signal.sum_of]
    return Extract(pl.concat([unique, *sums]).unique().sort(MEASUREMENT), counts)


def summed(events: pl.DataFrame, signal: Signal) -> pl.DataFrame:
    """The rows of a ``sum_of`` signal: the sum of its parts where all were charted at the same time.

    Of a part that was charted more than once at that time, the highest value is taken.

    >>> total = Signal("both", "", sum_of=("left", "right"))
    >>> rows = [(7, 1, "left", 4.0), (7, 1, "left", 3.0), (7, 1, "right", 6.0), (7, 2, "left", 3.0)]
    >>> summed(pl.DataFrame(rows, schema=list(MEASUREMENT), orient="row"), total).rows()
    [(7, 1, 'both', 10.0)]
    """
    parts = events.filter(pl.col("code").is_in(list(signal.sum_of)))
    best = parts.group_by("n", "event_time", "code").agg(pl.col("value").max())
    sums = best.group_by("n", "event_time").agg(pl.len().alias("parts"), pl.col("value").sum())
    total = sums.filter(pl.col("parts") == len(signal.sum_of)).with_columns(pl.lit(signal.name).alias("code"))
    return total.select(MEASUREMENT).with_columns(pl.col("value").cast(events.schema["value"]))


def _spill(part: Events, cohort: pl.DataFrame, kind: pl.Enum, folder: Path) -> None:
    """Write the rows of one raw file that lie in a window into ``folder/block=B/*.parquet``.

    Raises:
        UserError: the file cannot be read; or the source made a table of it that lacks a column.
    """
    frame = window.measurements(part.frame, cohort)
    frame = frame.with_columns(pl.col("code").cast(kind), (pl.col("n") // BLOCK).alias("block"))
    try:
        frame.sink_parquet(
            pl.PartitionBy(folder, key="block", include_key=False), mkdir=True, compression="uncompressed"
        )
    except pl.exceptions.ColumnNotFoundError as error:
        raise UserError(
            f"{part.path}: the source makes a table of it that lacks a column: {first_line(error)}; a source's "
            f"measurements have the columns {', '.join(MEASUREMENT)}"
        ) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(part.path, error) from None


def _block(folders: Sequence[Path], block: int, kind: pl.Enum) -> list[pl.DataFrame]:
    """The rows of each raw file for one block of samples; an empty table where a file has none."""
    empty = pl.DataFrame(schema={"n": pl.UInt32, "event_time": pl.Datetime("us"), "code": kind, "value": pl.Float64})
    written = [sorted((folder / f"block={block}").glob("*.parquet")) for folder in folders]
    return [pl.read_parquet(paths, glob=False) if paths else empty for paths in written]
