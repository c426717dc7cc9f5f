"""Time and memory of the tensor half of ``--stage preprocess`` beside a bare Polars read of the same ``dynamic.csv``.

python benchmarks/convert.py --stays 12000    # makes data/benchmark/csv_12000 and its tables
python benchmarks/tensors.py --tables data/benchmark/csv_12000_tables --config data/benchmark/csv_12000.toml
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)


def floor(folder: Path) -> None:
    """Read the table with its types, and nothing more."""
    import polars as pl

    pl.scan_csv(folder / "dynamic.csv", schema_overrides={"patient_id": pl.String}, try_parse_dates=True).collect()


def tensors(folder: Path, config: Path) -> None:
    """Checks, hourly values, statistics of the first 70 % of patients, standardised tensors, abnormal signals."""
    from src import components
    from src.config import load
    from src.datasets.preprocess import abnormal, tables, tensors

    chosen = load(config)
    read = tables.read(folder, chosen, components.build("task", chosen.task))
    statistics = tensors.fit(read.hourly.value[: int(0.7 * read.cohort.height)])
    tensors.standardise(read.hourly, statistics)
    abnormal.find(read.hourly, statistics, read.signals, chosen.abnormal)


def main() -> None:
    """Run both, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--only", choices=["floor", "tensors"])
    chosen = parser.parse_args()
    if chosen.only:
        start = time.perf_counter()
        floor(chosen.tables) if chosen.only == "floor" else tensors(chosen.tables, chosen.config)
        seconds = time.perf_counter() - start
        print(f"{chosen.only:8s} {seconds:6.1f} s  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:5.2f} GB")
        return
    for contender in ("floor", "tensors"):
        subprocess.run([sys.executable, *sys.argv, "--only", contender], check=True)


if __name__ == "__main__":
    main()
