"""Makes measurements comparable: canonical units, plausible values, one value per signal and time; counts all that is dropped.

The memory in use is bounded at any size of the raw files: the rows inside the windows are first written to disk in blocks of
samples; then each block is sorted by itself and appended to the table ``dynamic``.

**Of several values of a signal at one time one is kept.** Those of the lowest ``rank`` count (sources give arterial pressures
rank 0 and cuff pressures 1, since the cuff is the less exact of the two), and of these the median; of an even number of values
the mean of the middle two, or for a score the worse of them. The highest, which was taken before, hides hypotension. Values of
a signal that is summed over an hour, such as urine from two catheters, are summed at one time, too.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from emerge_ehr.config import TableFormat
from emerge_ehr.datasets import window
from emerge_ehr.datasets.sources import Events
from emerge_ehr.datasets.sources._raw.raw_csv import unreadable
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.schema import DYNAMIC, LARGEST
from emerge_ehr.storage.table_files import appending

DIGITS = 7  # significant digits that the tensors' float32 can hold
MEASUREMENT = ("n", "event_time", "code", "value")
MOMENT = ("n", "event_time", "code")  # of several rows that agree in these one is kept
BLOCK = 2000  # samples per block on disk: 48 h of 17 signals are about 1.5 million rows, with monitor data ten times as many
SLICE = 200  # samples sorted together
# What is counted per file and signal beside the reasons why rows are dropped or what was repaired in them
IN_FILE, IN_WINDOWS, KEPT = "rows in the file", "rows in the windows", "kept"
IMPLAUSIBLE, TWICE, OTHER = "implausible", "charted twice", "another value at the same time"
ORPHANS = "of a stay that is not in the table of stays"
SUMS = "sums of scores"  # stands for the file where a sum is counted
DIFFERS = "sums that differ from a charted total, which is kept"

Tally = Counter[tuple[str, str, str]]  # file, signal, what happened -> number of rows


@dataclass(frozen=True)
class Flow:
    """What became of the rows of one signal in one file.

    ``in_file``: all of them, whoever they belong to (None: the source does not count them); ``orphans``: those of a stay that the
    table of stays lacks; ``in_windows``: those in the observation windows, which were dropped for a reason or kept; ``repaired``:
    how many of these were repaired, and how.
    """

    table: str
    signal: str
    in_file: int | None
    orphans: int
    in_windows: int
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    kept: int


@dataclass(frozen=True)
class Measured:
    """``patients``: ids of the samples that have a measurement; ``rows``: ``code, len`` of the table ``dynamic``.

    ``tally`` counts rows by file, signal and what happened to them; what was repaired is in ``repairs``, whose rows are kept.
    ``told``: whether some rows say when they were told (``told``).
    """

    patients: pl.Series
    rows: pl.DataFrame
    tally: Tally = field(default_factory=Counter)
    repairs: frozenset[str] = frozenset()
    told: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Rows by the reason why they were dropped or what was repaired, of all files; implausible values by signal."""
        counts: Counter[str] = Counter()
        for (_, code, reason), rows in self.tally.items():
            if reason not in (IN_FILE, IN_WINDOWS, KEPT):
                counts[f"{reason} {code}" if reason == IMPLAUSIBLE else reason] += rows
        return {reason: rows for reason, rows in sorted(counts.items()) if rows}

    @property
    def flow(self) -> list[Flow]:
        """What became of the rows of each file and signal."""
        flows = []
        for table, signal in sorted({(table, signal) for table, signal, _ in self.tally}):
            counts = {
                reason: rows for (*key, reason), rows in sorted(self.tally.items()) if key == [table, signal] and rows
            }
            in_file, inside, kept = (counts.pop(name, None) for name in (IN_FILE, IN_WINDOWS, KEPT))
            repaired = {reason: counts.pop(reason) for reason in sorted(self.repairs & counts.keys())}
            orphans = counts.pop(ORPHANS, 0)
            flows.append(Flow(table, signal, in_file, orphans, inside or 0, counts, repaired, kept or 0))
        return flows


def write_dynamic(
    events: Sequence[Events], cohort: pl.DataFrame, signals: Sequence[Signal], target: Path, form: TableFormat
) -> Measured:
    """Write ``dynamic`` into the folder ``target`` for the cohort's samples, sorted by patient, time, code and value.

    ``cohort`` has ``n, patient_id, window_start, window_end``, in order of ``patient_id``.

    Raises:
        UserError: a raw file is damaged.
    """
    spill = target / "dynamic.spill"
    names = cohort.select("n", "patient_id")
    folders = [spill / str(number) for number in range(len(events))]
    kind = pl.Enum(sorted(signal.name for signal in signals))
    tally: Tally = Counter()
    measured, rows = [], []
    try:
        for part, folder in zip(events, folders, strict=True):
            _spill(part, cohort, kind, folder)
            tally.update({(_table(part), code, IN_FILE): count for code, count in part.read.items()})
            tally.update({(_table(part), code, ORPHANS): count for code, count in part.orphans.items()})
        with appending(target, DYNAMIC, form) as append:
            for block in range(-(-cohort.height // BLOCK)):
                parts = _block(folders, block, kind)
                block_rows = pl.concat([_counted(*part, tally) for part in zip(events, parts, strict=True)])
                for start in range(block * BLOCK, min((block + 1) * BLOCK, cohort.height), SLICE):
                    inside = block_rows.filter(pl.col("n").is_between(start, start + SLICE - 1))
                    table = canonical(inside, signals, tally).join(names, on="n", maintain_order="left")
                    measured.append(table["patient_id"].unique(maintain_order=True))
                    rows.append(table.group_by("code").len())
                    append(table)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    per_code = pl.concat(rows).group_by("code").agg(pl.col("len").sum()).sort("code")
    repairs = frozenset(words for part in events for words in part.repairs.values())
    return Measured(pl.concat(measured), per_code, tally, repairs)


def canonical(events: pl.DataFrame, signals: Sequence[Signal], tally: Tally) -> pl.DataFrame:
    """Clean and sort measurements (``n, event_time, code, value, rank, table``) whose values have the signal's unit already.

    Values above 1 of a ``percent`` signal are divided by 100. Rows without a time or a number, outside the plausible range, or
    charted twice are dropped, and of several values at one time one is kept; ``tally`` counts them. A ``sum_of`` signal is added
    where its parts were charted at the same time and it was not charted itself.
    """
    percent = pl.col("code").is_in([signal.name for signal in signals if signal.percent]) & (pl.col("value") > 1)
    value = pl.when(percent).then(pl.col("value") / 100).otherwise(pl.col("value"))
    events = events.with_columns(value.round_sig_figs(DIGITS).alias("value"))
    bounds = pl.DataFrame(
        {
            "code": [signal.name for signal in signals],
            "low": [float(signal.plausible[0]) for signal in signals],
            "high": [float(signal.plausible[1]) for signal in signals],
        }
    )
    events = events.join(bounds, on="code")
    for reason, wrong in {
        "no time": pl.col("event_time").is_null(),
        "no number": ~(pl.col("value").abs() <= LARGEST).fill_null(value=False),
        IMPLAUSIBLE: ~pl.col("value").is_between("low", "high"),
    }.items():
        count_rows(events.filter(wrong), reason, tally)
        events = events.filter(~wrong)
    events = events.sort(*MEASUREMENT, "rank", "table")
    added = pl.col("code").is_in([signal.name for signal in signals if signal.hour == "sum"])
    parts, events = events.filter(added), events.filter(~added)
    unique = events.unique(MEASUREMENT, keep="first", maintain_order=True)
    count_rows(events, TWICE, tally, less=unique)
    kept = one_per_moment(unique, signals)
    count_rows(unique, OTHER, tally, less=kept)
    count_rows(kept, KEPT, tally)
    table = kept.select(MEASUREMENT)
    if parts.height:
        table = pl.concat([table, _added_up(parts, tally)])
    for signal in signals:
        if signal.sum_of:
            sums = summed(table, signal)
            charted = sums.join(table, on=MOMENT, suffix="_charted")
            if differ := charted.filter(pl.col("value") != pl.col("value_charted")).height:
                tally[SUMS, signal.name, DIFFERS] += differ
            table = pl.concat([table, sums.join(table, on=MOMENT, how="anti")])
    return table.sort(MEASUREMENT)


def one_per_moment(events: pl.DataFrame, signals: Sequence[Signal]) -> pl.DataFrame:
    """One row per sample, time and signal, chosen as the module's text says.

    >>> rows = [(7, 1, "dbp", 70.0, 1, "a"), (7, 1, "dbp", 50.0, 0, "a")]  # by cuff and by arterial line
    >>> rows += [(7, 2, "dbp", 60.0, 1, "a"), (7, 2, "dbp", 70.0, 1, "b")]
    >>> events = pl.DataFrame(rows, schema=[*MEASUREMENT, "rank", "table"], orient="row")
    >>> one_per_moment(events, []).sort("event_time")["value"].to_list()
    [50.0, 65.0]
    """
    alone = events.select(pl.struct(MOMENT).is_unique()).to_series()  # nearly all rows, which need no work
    several = events.filter(~alone)
    best = several.filter(pl.col("rank") == pl.col("rank").min().over(MOMENT))
    ordered = pl.col("value").sort()
    lower, upper = ordered.get((pl.len() - 1) // 2), ordered.get(pl.len() // 2)
    grouped = best.group_by(MOMENT, maintain_order=True).agg(
        lower.alias("lower"), upper.alias("upper"), pl.col("rank").first(), pl.col("table").first()
    )
    middle = ((pl.col("lower") + pl.col("upper")) / 2).round_sig_figs(DIGITS)
    worst = {end: [signal.name for signal in signals if signal.score == end] for end in ("low", "high")}
    value = (
        pl.when(pl.col("code").is_in(worst["low"]))
        .then("lower")
        .when(pl.col("code").is_in(worst["high"]))
        .then("upper")
    )
    columns = [*MOMENT, "value", "rank", "table"]
    return pl.concat(
        [
            events.filter(alone).select(columns),
            grouped.with_columns(value.otherwise(middle).alias("value")).select(columns),
        ]
    )


def summed(events: pl.DataFrame, signal: Signal) -> pl.DataFrame:
    """The rows of a ``sum_of`` signal: the sum of its parts where all were charted at the same time.

    >>> total = Signal("both", "", sum_of=("left", "right"))
    >>> rows = [(7, 1, "left", 4.0), (7, 1, "right", 6.0), (7, 2, "left", 3.0)]
    >>> summed(pl.DataFrame(rows, schema=list(MEASUREMENT), orient="row"), total).rows()
    [(7, 1, 'both', 10.0)]
    """
    parts = events.filter(pl.col("code").is_in(list(signal.sum_of)))
    sums = parts.group_by("n", "event_time").agg(pl.len().alias("parts"), pl.col("value").sum())
    total = sums.filter(pl.col("parts") == len(signal.sum_of)).with_columns(pl.lit(signal.name).alias("code"))
    return total.select(MEASUREMENT).with_columns(pl.col("value").cast(events.schema["value"]))


def _added_up(parts: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """One row per sample, time and signal: the sum of what several items (``rank``) have; of one item each value once."""
    once = parts.unique([*MEASUREMENT, "rank"], keep="first", maintain_order=True)
    count_rows(parts, TWICE, tally, less=once)
    count_rows(once, KEPT, tally)
    total = once.group_by(MOMENT, maintain_order=True).agg(pl.col("value").sum().round_sig_figs(DIGITS))
    return total.select(MEASUREMENT)


def count_rows(rows: pl.DataFrame, reason: str, tally: Tally, less: pl.DataFrame | None = None) -> None:
    """Add the rows (``table, code``) to ``tally`` under ``reason``; with ``less``, only as many as there are more than in it."""
    counted: Counter[tuple[str, str]] = Counter()
    for sign, table in ((1, rows), (-1, less)):
        if table is not None:
            for file, code, count in table.group_by("table", "code").len().rows():
                counted[file, code] += sign * count
    tally.update({(file, code, reason): count for (file, code), count in counted.items() if count})


def _counted(part: Events, rows: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """The rows of one raw file that the source does not drop, with ``rank`` and ``table``; counts all of them."""
    rank = pl.col("rank") if "rank" in rows.columns else pl.lit(0)
    rows = rows.with_columns(
        pl.col("code").cast(pl.String), rank.cast(pl.UInt32).alias("rank"), pl.lit(_table(part)).alias("table")
    )
    count_rows(rows, IN_WINDOWS, tally)
    for column, reason in part.drops.items():
        if column in rows.columns:  # a file without any row in a block has no such column
            dropped = pl.col(column).fill_null(value=False)
            count_rows(rows.filter(dropped), reason, tally)
            rows = rows.filter(~dropped)
    for column, words in part.repairs.items():
        if column in rows.columns:
            count_rows(rows.filter(column), words, tally)
    return rows.select(*MEASUREMENT, "rank", "table")


def _table(part: Events) -> str:
    return part.table or part.path.name


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
