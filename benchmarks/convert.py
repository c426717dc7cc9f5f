"""Time and memory of ``--stage convert``, against a plain Polars scan of the same files and OneEHR's converter.

    python benchmarks/convert.py --stays 3000 12000
    python benchmarks/convert.py --stays 3000 --gzip
    python benchmarks/convert.py --stays 3000 --oneehr /path/to/its/bin/python

Files are generated once into ``--folder``. Each contender runs in a process of its own on the same files, with a warm page
cache. The floor (the lower bound) reads the columns that ``convert`` needs, keeps the rows of the signals' items, and writes
them unchanged. With ``--gzip``, the time of decompressing the two large files is printed too. OneEHR needs its own environment:
``pip install --ignore-requires-python --no-deps oneehr; pip install pandas pyarrow``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
dataset = "benchmark"
run_name = "benchmark"
[paths]
raw_dir = "{raw}"
table_dir = "{out}"
[source]
name = "mimic4"
"""
FLOOR = """

from pathlib import Path
import polars as pl
from emerge_ehr.datasets.sources._mimic.items import wanted
from emerge_ehr.datasets.sources._raw.raw_csv import find
raw, out, read = Path({raw!r}), Path({out!r}), wanted("benchmark", "mimic")
out.mkdir(parents=True)
def rows(path, columns, items):
    kinds = {{"itemid": pl.Int64, "valuenum": pl.Float64, "stay_id": pl.Int64, "subject_id": pl.Int64, "hadm_id": pl.Int64}}
    scan = pl.scan_csv(path, schema_overrides=kinds, infer_schema=False).select(columns)
    scan.filter(pl.col("itemid").is_in(list(items))).sink_csv(out / path.name.removesuffix(".gz"))
rows(find(raw / "icu", "chartevents"), ["stay_id", "charttime", "itemid", "value", "valuenum"], read.of("chart").ids)
rows(find(raw / "hosp", "labevents"), ["subject_id", "hadm_id", "itemid", "charttime", "valuenum"], read.of("lab").ids)
"""
ONEEHR = """
from oneehr.data.converters.mimic4 import MIMIC4Converter
MIMIC4Converter({raw!r}).save({out!r})
"""


@dataclass(frozen=True)
class Cost:
    """Wall time in seconds and peak resident memory in GB."""

    seconds: float
    gigabytes: float


def measure(command: list[str]) -> Cost:
    """Run a command in a process of its own and measure it.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{errors}")
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1e6)


def best(command: list[str], out: Path, repeats: int) -> Cost:
    """The shortest time and the highest memory of several runs, each into an empty folder ``out``."""
    costs = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        costs.append(measure(command))
    return Cost(min(cost.seconds for cost in costs), max(cost.gigabytes for cost in costs))


def compare(stays: int, arguments: argparse.Namespace) -> Cost:
    """Print what each contender costs on ``stays`` stays; returns the cost of convert."""
    kind = "gzip" if arguments.gzip else "csv"
    raw = (arguments.folder / f"{kind}_{stays}").resolve()
    out = raw.with_name(f"{raw.name}_tables")
    if not (raw / "generated").is_file():
        generator = [sys.executable, "benchmarks/mimic4_files.py", "--stays", str(stays), "--output", str(raw)]
        measure(generator + (["--gzip"] if arguments.gzip else []))
        (raw / "generated").touch()
    events = [path for folder in ("icu", "hosp") for path in (raw / folder).glob("*events.csv*")]
    if arguments.gzip:
        decompression = sum(measure(["gzip", "--decompress", "--stdout", str(path)]).seconds for path in events)
        print(f"{stays:6d} stays  gzip --decompress          {decompression:7.1f} s")
    config = raw.with_name(f"{raw.name}.toml")
    config.write_text(CONFIG.format(raw=raw, out=out))
    fill = {"root": str(ROOT), "raw": str(raw), "out": str(out)}
    floor = best([sys.executable, "-c", FLOOR.format(**fill)], out, arguments.repeats)
    convert = [sys.executable, "src/main.py", "--stage", "convert", "--config", str(config)]
    contenders = {"plain Polars scan (floor)": floor, "emerge convert": best(convert, out, arguments.repeats)}
    if arguments.oneehr:
        contenders["OneEHR converter"] = best([arguments.oneehr, "-c", ONEEHR.format(**fill)], out, 1)
    rows = _count_rows(events)
    for name, cost in contenders.items():
        speed = rows / cost.seconds / 1e6
        ratios = (
            f"x{cost.seconds / floor.seconds:.2f} time, x{cost.gigabytes / floor.gigabytes:.2f} memory of the floor"
        )
        absolute = f"{cost.seconds:7.1f} s  {cost.gigabytes:5.2f} GB  {speed:5.2f} M rows/s"
        print(f"{stays:6d} stays  {name:26s} {absolute}  {ratios}", flush=True)
    return contenders["emerge convert"]


def _count_rows(events: list[Path]) -> int:
    count = (
        "import polars as pl, sys; print(sum(pl.scan_csv(p).select(pl.len()).collect().item() for p in sys.argv[1:]))"
    )
    process = subprocess.run([sys.executable, "-c", count, *events], capture_output=True, text=True, check=True)
    return int(process.stdout)


def main() -> None:
    """Measure each size, and how the cost grows from the smallest to the largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, nargs="+", default=[3000])
    parser.add_argument("--gzip", action="store_true", help="chartevents and labevents as .csv.gz")
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark"))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--oneehr", help="the Python of an environment that has OneEHR")
    arguments = parser.parse_args()
    costs = {stays: compare(stays, arguments) for stays in sorted(arguments.stays)}
    smallest, largest = min(costs), max(costs)
    if smallest < largest:
        time_ratio = costs[largest].seconds / costs[smallest].seconds
        memory_ratio = costs[largest].gigabytes / costs[smallest].gigabytes
        print(f"{smallest} -> {largest} stays: convert's time x{time_ratio:.2f}, peak memory x{memory_ratio:.2f}")


if __name__ == "__main__":
    main()
