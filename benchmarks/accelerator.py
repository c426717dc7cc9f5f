"""Checks in a few minutes what only a machine with a GPU can: training, bf16, running out of memory, several processes.

    python benchmarks/accelerator.py                # cuda, or mps; send what it prints with a report
    python benchmarks/accelerator.py --device cpu   # the same steps on a CPU, to see what they do

A small generated hospital is made in a temporary folder. Then: (1) one model is trained on the device in float32 and in bf16,
and on the CPU, and their test AUROCs are compared; (2) a small transformer made here embeds long texts on the device, once in
small batches and once with so little memory that batches must be halved (cuda only), and the vectors are compared; (3) torchrun
trains with a process per GPU, or with two processes on the CPU, and the AUROC is compared. Step 2 needs the extra ``lm``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / "src" / "main.py"
CONFIG = """
dataset = "synthetic"
run_name = "{name}"
[paths]
raw_dir = "raw"
kg_dir = "kg"
[source]
name = "synthetic"
stays = 400
[download]
primekg = "none"
[model] # without anything drawn at random in training, the ways differ by rounding alone
experts = []
dropout = 0.0
modality_dropout = 0.0
[training]
members = 1
max_epochs = 8
{training}
"""
Device = Literal["cuda", "mps", "cpu"]
CLOSE = 0.02  # AUROC between devices or precisions
ALIKE = 0.02  # of a vector's length, between batches of different sizes in bfloat16


def run(folder: Path, name: str, stages: list[str], training: str, launcher: list[str]) -> float:
    """Run the stages; the seconds they took.

    Raises:
        SystemExit: a stage failed; what it printed is told.
    """
    (folder / f"{name}.toml").write_text(CONFIG.format(name=name, training=training), encoding="utf-8")
    start = time.perf_counter()
    for stage in stages:
        command = [*launcher, str(MAIN), "--stage", stage, "--config", f"{name}.toml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}, --stage {stage}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def auroc(folder: Path, name: str) -> float:
    """The run's AUROC on the test split."""
    metrics = json.loads((folder / "runs" / name / "metrics.json").read_text(encoding="utf-8"))
    value: float = metrics["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"]
    return value


def told(what: str, right: bool, detail: str) -> bool:
    """Print a line of the report; whether the check passed."""
    print(f"{'ok    ' if right else 'FAILED'} {what}: {detail}", flush=True)
    return right


def training(folder: Path, device: str) -> list[bool]:
    """Steps 1 and 3."""
    run(folder, "cpu", ["download", "convert", "preprocess"], 'accelerator = "cpu"', [sys.executable])
    reference = run(folder, "cpu", ["train"], 'accelerator = "cpu"', [sys.executable])
    base, passed = auroc(folder, "cpu"), list[bool]()
    print(f"       training on the CPU: AUROC {base:.3f}, {reference:.0f} s")
    processes = torch.cuda.device_count() if device == "cuda" else 2
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    distributed = device if device == "cuda" else "cpu"
    ways = (
        (f"{device}, float32", device, "32-true", [sys.executable]),
        (f"{device}, bf16", device, "bf16-mixed", [sys.executable]),
        (f"torchrun, {processes} processes on {distributed}", distributed, "32-true", launcher),
    )
    for number, (what, where, precision, how) in enumerate(ways):
        settings = f'accelerator = "{where}"\nprecision = "{precision}"'
        seconds = run(folder, f"way_{number}", ["train"], settings, how)
        found = auroc(folder, f"way_{number}")
        passed.append(told(what, abs(found - base) < CLOSE, f"AUROC {found:.3f}, {seconds:.0f} s"))
    return passed


def small_model(folder: Path) -> Path:
    """A transformer of four layers with random weights and a tokenizer of words, as a folder."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{n}" for n in range(500))]
    plain = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=512, **special)
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    size: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=512, **size)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def embedding(folder: Path, device: Device) -> list[bool]:
    """Step 2."""
    from emerge_ehr.embeddings import huggingface

    model = small_model(folder / "model")
    draw = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in draw.integers(0, 500, 500)) for _ in range(256)]

    def vectors(name: str, batch_tokens: int) -> NDArray[np.float32]:
        options = huggingface.Options(str(model), pooling="mean", device=device, batch_tokens=batch_tokens)
        start = time.perf_counter()
        made = huggingface.build(options, cache_dir=folder / name).fit(texts).encode(texts)
        print(f"       {name}: {len(texts) / (time.perf_counter() - start):.0f} texts a second")
        return made

    small = vectors("small batches", 4096)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5e9 / torch.cuda.get_device_properties(0).total_memory))
    large = vectors("large batches", 4096 * 64)
    apart = np.linalg.norm(small - large, axis=1) / np.linalg.norm(small, axis=1)
    return [
        told(f"embedding on {device}", bool(apart.max() < ALIKE), f"largest difference {apart.max():.4f} of a vector")
    ]


def main() -> None:
    """Print the report; exit code 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "mps", "cpu"])
    found: Device | None = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    device: Device | None = parser.parse_args().device or found
    if device is None:
        parser.error("no GPU was found; --device cpu takes the same steps on the CPU")
    name = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"{name}; PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        passed = training(Path(temporary), device)
        if find_spec("transformers"):
            passed += embedding(Path(temporary), device)
        else:
            print("       embedding was left out: install the extra lm")
    raise SystemExit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
