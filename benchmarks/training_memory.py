"""Peak memory and seconds per epoch of training on pieces of texts, copied into memory or read from disk.

    python benchmarks/training_memory.py --gigabytes 1.5

Token-level EMERGE is trained on random artefacts by ``src/main.py --stage train``, in processes of its own. Each has one thread,
so that one process and two (torchrun) can be compared. An epoch is timed from its line in the log to the next one, with
validation and a checkpoint. The peak is that of the largest process (ru_maxrss), which counts mapped pages while they are in
use. The page cache is warm. The floor (the lower bound) is reading the same file once, sequentially.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from emerge_ehr.storage.dataset import write_dataset
from emerge_ehr.storage.schema import ARTEFACTS_FORMAT, DATASET, METADATA, NOTE_TOKENS, SPLIT, SUMMARY_TOKENS

ROOT = Path(__file__).resolve().parents[1]

HOURS, SIGNALS, WIDTH, CHUNKS, EPOCHS = 24, 17, 768, 128, 6
CONFIG = """
dataset = "random"
run_name = "random"
[paths]
raw_dir = "raw"
processed_dir = "processed"
[source]
name = "synthetic"
[token_level]
note_chunks = {chunks}
[model]
hidden_size = 32
modalities = ["ehr", "note"]
fusion = "token_level"
[training]
batch_size = 64
accelerator = "cpu"
patience = 99
bootstrap_resamples = 10
max_epochs = {epochs}
data = "{data}"
"""


def main() -> None:
    """Print one row for each way of reading the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.5, help="of pieces of notes")
    chosen = parser.parse_args()
    patients = int(chosen.gigabytes * 1e9 / (CHUNKS * WIDTH * 4))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: a child's ru_maxrss is never below what its parent had at the peak
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(folder / "processed", patients))
        writer.start()
        writer.join()
        size = (folder / "processed" / NOTE_TOKENS).stat().st_size
        print(
            f"{patients} patients, {size / 2**30:.2f} GiB of pieces ({CHUNKS} x {WIDTH}); floor of reading them:",
            end=" ",
        )
        print(f"{read(folder / 'processed' / NOTE_TOKENS):.2f} s")
        ways = {"memory": ("memory", 1), "mapped": ("mapped", 1), "mapped, 2 processes": ("mapped", 2)}
        costs = {way: measured(folder, *how) for way, how in ways.items()}
    first = costs["memory"]
    for way, (peak, epoch, whole) in costs.items():
        print(
            f"{way:<20} peak {peak:5.2f} GiB (x{peak / first[0]:.2f})   {epoch:6.2f} s per epoch (x{epoch / first[1]:.2f})   "
            f"{whole:6.2f} s until the first epoch ended"
        )


def write(folder: Path, patients: int) -> None:
    """Write random artefacts, in blocks."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    shape = (patients, CHUNKS, WIDTH)
    tokens = np.lib.format.open_memmap(folder / NOTE_TOKENS, "w+", np.float32, shape)
    for at in range(0, patients, 64):
        tokens[at : at + 64] = generator.standard_normal(tokens[at : at + 64].shape, np.float32)
    tokens.flush()
    np.save(folder / SUMMARY_TOKENS, np.zeros((patients, 0, WIDTH), np.float32))
    ones, ehr = np.ones((patients, 1), np.float32), generator.standard_normal((patients, HOURS, SIGNALS), np.float32)
    arrays = {
        "ehr": ehr,
        "ehr_mask": np.ones_like(ehr),
        "ehr_length": np.full(patients, HOURS),
        "static": ones,
        "note_embedding": generator.standard_normal((patients, WIDTH), np.float32),
        "note_mask": ones[:, 0],
        "summary_embedding": np.zeros((patients, WIDTH), np.float32),
        "summary_mask": ones[:, 0],
        "note_tokens_mask": np.ones((patients, CHUNKS), np.float32),
        "summary_tokens_mask": np.zeros((patients, 0), np.float32),
        "label": (generator.random((patients, 1)) < 0.2).astype(np.float32),
        "label_mask": ones,
        "patient_id": np.array([f"p{row}" for row in range(patients)]),
    }
    write_dataset(folder / DATASET, arrays)
    names, ends = arrays["patient_id"].tolist(), (int(0.7 * patients), int(0.8 * patients))
    split = {"train": names[: ends[0]], "val": names[ends[0] : ends[1]], "test": names[ends[1] :]}
    (folder / SPLIT).write_text(json.dumps(split))
    metadata = {"format": ARTEFACTS_FORMAT, "task": "mortality", "label_names": ["mortality"]}
    (folder / METADATA).write_text(json.dumps(metadata))


def read(path: Path) -> float:
    """Seconds to read a whole file."""
    start = time.perf_counter()
    with path.open("rb") as file:
        while file.read(2**24):
            pass
    return time.perf_counter() - start


def measured(folder: Path, data: str, processes: int) -> tuple[float, float, float]:
    """Peak memory in GiB, median seconds per epoch, and seconds until the end of the first epoch."""
    (folder / "random.toml").write_text(CONFIG.format(chunks=CHUNKS, epochs=EPOCHS, data=data))
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*launcher, str(ROOT / "src" / "main.py"), "--stage", "train", "--config", "random.toml"]
    environment, lines, ends, start = os.environ | {"OMP_NUM_THREADS": "1"}, [], [], time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stderr or ():
            lines.append(line)
            if "train_loss" in line:
                ends.append(time.perf_counter())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("".join(lines))
    return usage.ru_maxrss / 2**20, float(np.median(np.diff(ends))), ends[0] - start


if __name__ == "__main__":
    main()
