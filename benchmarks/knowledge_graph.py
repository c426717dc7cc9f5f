"""Time and memory of the knowledge graph at its official size: indexing, opening and retrieval, against a plain Polars scan.

    python benchmarks/knowledge_graph.py
    python benchmarks/knowledge_graph.py --folder data/benchmark/primekg --repeats 5

``kg.csv`` (8,100,498 rows, 1.0 GB) and ``disease_features.csv`` are generated into ``--folder`` unless they exist; without
``--folder``, into a temporary folder that is deleted at the end. Each figure is the best of ``--repeats`` runs, each in a
process of its own with a warm page cache; the contenders take turns. The floor (the lower bound) is a streaming
``polars.scan_csv`` of the eight columns that the index needs, as text, which collects the rows that touch a disease and keeps
nothing. Indexing also checks and hashes both files, makes the graph, writes it and opens it. Opening ends with every disease
in memory. Retrieval is for ``--patients`` patients with four abnormal signals and ten diseases, drawn by their number of edges
as common diseases are, on one core.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RETRIEVERS = ("sample", "degree", "relevance")


@dataclass(frozen=True)
class Cost:
    """Wall time and processor time in seconds, peak resident memory in GB, and a description of the result."""

    seconds: float
    processor: float
    gigabytes: float
    result: str


def floor(folder: Path) -> str:
    """Scan, filter and collect the edges that touch a disease."""
    import polars as pl

    from emerge_ehr.graphs.primekg.files import EDGES

    scan = pl.scan_csv(folder / "kg.csv", infer_schema=False).select(EDGES)
    touching = (pl.col("x_type") == "disease") | (pl.col("y_type") == "disease")
    return f"{scan.filter(touching).collect(engine='streaming').height} rows"


def opened(folder: Path) -> str:
    """Open the graph with all its diseases; it is indexed first if there is no index."""
    from emerge_ehr.graphs.primekg import graph as primekg

    graph = primekg.build(primekg.Options(), folder=folder, cache_dir=folder / "cache")
    return f"{len(graph.diseases())} diseases"


def retrieved(folder: Path, name: str, count: int) -> str:
    """Time the first call of a retriever, which includes making the triples."""
    from emerge_ehr import components
    from emerge_ehr.fields import Component
    from emerge_ehr.graphs.primekg import graph as primekg
    from emerge_ehr.rag.retrieval import Query
    from emerge_ehr.signals.abnormal import AbnormalSignal
    from emerge_ehr.signals.signals import SIGNALS

    graph = primekg.build(primekg.Options(), folder=folder, cache_dir=folder / "cache")
    edges, rng = graph.edges(), np.random.default_rng(1)
    degree = np.diff(edges.start)
    rows = rng.choice(len(degree), size=(count, 10), p=degree / degree.sum())
    signals = [
        AbnormalSignal(signal.name, signal.label, direction, 1.0, signal.unit, 1, 3.0, 2)
        for signal in SIGNALS
        for direction in ("high", "low")
    ]
    chosen = rng.integers(len(signals), size=(count, 4)).tolist()
    queries = [
        Query(tuple(dict.fromkeys(diseases)), [signals[i] for i in numbers])
        for diseases, numbers in zip(edges.disease[rows].tolist(), chosen, strict=True)
    ]
    retriever = components.build("retrieval", Component(name), graph=graph, seed=42)
    start, before = time.perf_counter(), time.process_time()
    samples = retriever.retrieve(queries)
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    assert len(samples) == count
    rates = f"{count / seconds:,.0f} patients/s by the clock, {count / processor:,.0f} by processor time"
    return f"{rates} ({degree[rows].sum(axis=1).mean():.0f} edges per patient)"


def measure(step: str, folder: Path, patients: int) -> Cost:
    """Run one step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--patients", str(patients)]
    threads = {"POLARS_MAX_THREADS": "1"} if step in RETRIEVERS else {}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads}, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    seconds, processor, gigabytes, result = done.stdout.strip().split("\t")
    return Cost(float(seconds), float(processor), float(gigabytes), result)


def compare(folder: Path, patients: int, repeats: int) -> None:
    """Run every step ``repeats`` times and print the best of each."""
    costs: dict[str, list[Cost]] = {}
    for _ in range(repeats):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        for step in ("floor", "index", "open"):
            costs.setdefault(step, []).append(measure(step, folder, patients))
    best = {step: min(runs, key=lambda cost: cost.seconds) for step, runs in costs.items()}
    for step, cost in best.items():
        ratio = cost.seconds / best["floor"].seconds
        least = min(run.processor for run in costs[step])
        shares = f"x{ratio:.2f} by the clock, x{least / min(run.processor for run in costs['floor']):.2f} by processor"
        peak = max(run.gigabytes for run in costs[step])
        print(
            f"{step:10s} {cost.seconds:6.2f} s {least:6.2f} s of processor, peak {peak:.2f} GB  {shares}  {cost.result}"
        )
    index = sum(path.stat().st_size for path in (folder / "cache").rglob("*.arrow"))
    print(f"index      {index / 1e6:.0f} MB on disk")
    for name in RETRIEVERS:
        cost = min((measure(name, folder, patients) for _ in range(repeats)), key=lambda run: run.seconds)
        print(f"{name:10s} {cost.result}, peak {cost.gigabytes:.2f} GB", flush=True)


def run_step(step: str, folder: Path, patients: int) -> None:
    """Run one step and print its cost, separated by tabs. Imports are made before the clock starts."""
    import polars as pl

    from emerge_ehr.graphs.primekg import graph as primekg

    assert pl and primekg
    start, before = time.perf_counter(), time.process_time()
    steps = {"floor": floor, "index": opened, "open": opened}
    result = retrieved(folder, step, patients) if step in RETRIEVERS else steps[step](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(time.perf_counter() - start, time.process_time() - before, peak, result, sep="\t")


def main() -> None:
    """Generate missing files, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the generated files are, or are written")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--step", choices=["floor", "index", "open", *RETRIEVERS], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        run_step(chosen.step, chosen.folder, chosen.patients)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        if not (folder / "kg.csv").is_file():
            subprocess.run([sys.executable, ROOT / "benchmarks" / "primekg_files.py", "--output", folder], check=True)
        size = (folder / "kg.csv").stat().st_size
        print(f"kg.csv {size / 1e9:.2f} GB, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        compare(folder, chosen.patients, chosen.repeats)


if __name__ == "__main__":
    main()
