"""Time and memory of making hourly tensors from a CSV and from parquet parts, against a plain Polars read of the CSV.

    python benchmarks/tensors.py --stays 5000 20000

A generated hospital is converted into ``--folder`` once in each format. Each contender runs in a process of its own, with a warm
page cache; memory is the peak resident memory. The floor (the lower bound) only reads ``dynamic.csv`` with its types. The size of
the arrays themselves (values, standardised values and mask, 12 bytes per hour and feature) is printed too.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
dataset = "tensors"
run_name = "tensors"
[paths]
raw_dir = "{folder}/raw"
kg_dir = "{folder}/kg"
table_dir = "{folder}/{form}"
[source]
name = "synthetic"
stays = {stays}
[download]
primekg = "none"
[tables]
format = "{form}"
"""
CONTENDERS = {"floor": "csv", "csv": "csv", "parquet": "parquet"}  # contender -> the format it reads


def peak() -> float:
    """Peak resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def converted(folder: Path, stays: int, form: str) -> Path:
    """The config whose tables are in ``folder/form``; they are made unless they exist."""
    config = folder / f"{form}.toml"
    if not (folder / form / "provenance.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(folder=folder, stays=stays, form=form))
        for stage in ("download", "convert"):
            subprocess.run(
                [sys.executable, "src/main.py", "--stage", stage, "--config", str(config)],
                cwd=ROOT,
                check=True,
                stderr=subprocess.DEVNULL,
            )
    return config


def floor(config: Path) -> str:
    """Only read the table with its types."""
    import polars as pl

    from emerge_ehr.config import load

    path = load(config).table_dir / "dynamic.csv"
    return f"{pl.read_csv(path, schema_overrides={'patient_id': pl.String}, try_parse_dates=True).height} rows"


def tensors(config: Path) -> str:
    """Check the tables, make hourly values, statistics of the first 70 % of samples, standardised tensors, abnormal signals."""
    from emerge_ehr import components
    from emerge_ehr.config import load
    from emerge_ehr.preprocess.inputs import tables
    from emerge_ehr.signals import abnormal, hourly

    chosen = load(config)
    read = tables.read(chosen.table_dir, chosen, components.build("task", chosen.task))
    statistics = hourly.fit(read.hourly.value[: int(0.7 * read.cohort.height)])
    ehr, mask = hourly.standardise(read.hourly, statistics)
    abnormal.find(read.hourly, statistics, read.signals, chosen.abnormal)
    return f"arrays {(read.hourly.value.nbytes + ehr.nbytes + mask.nbytes) / 1e9:.2f} GB"


def main() -> None:
    """Run every contender on every size, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, nargs="+", default=[5000])
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "benchmark")
    parser.add_argument("--contender", choices=CONTENDERS)
    chosen = parser.parse_args()
    for stays in chosen.stays:
        for contender in [chosen.contender] if chosen.contender else CONTENDERS:
            config = converted((chosen.folder / f"synthetic_{stays}").resolve(), stays, CONTENDERS[contender])
            if not chosen.contender:
                options = ["--stays", str(stays), "--folder", str(chosen.folder), "--contender", contender]
                subprocess.run([sys.executable, __file__, *options], check=True)
                continue
            start = time.perf_counter()
            result = floor(config) if contender == "floor" else tensors(config)
            seconds = time.perf_counter() - start
            print(f"{stays:6d} stays  {contender:8s} {seconds:6.1f} s  {peak():5.2f} GB  {result}")


if __name__ == "__main__":
    main()
