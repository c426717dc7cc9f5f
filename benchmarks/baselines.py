"""Every baseline beside EMERGE and the true risk on the synthetic default: test AUROC and AUPRC, mean and sd over seeds.

    python benchmarks/baselines.py --seeds 42 1 2

Run ``make demo`` first: it reads what that wrote in the current folder. Data and split stay the same; the seed sets initial
weights, dropout, the order of batches and what trees sample. The networks take most of the time; ``OMP_NUM_THREADS=1`` helps
where other programs keep the cores busy.
"""

import argparse
import contextlib
import csv
import dataclasses
import io
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks import true_risk
from src import components
from src.config import Config, load
from src.evaluation import metrics
from src.fields import Component
from src.training import train

EXTRA = {"m3care (note + summary)": Component("m3care", {"texts": ["note", "summary"]})}


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--only", nargs="+", help="some of the methods")
    arguments = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    config = dataclasses.replace(load(ROOT / "configs" / "synthetic.toml"), seeds=tuple(arguments.seeds))
    plugs = {name: Component(name) for name in components.names("baseline")} | EXTRA
    print(f"{'method':<26} parameters  seconds a seed  AUROC            AUPRC")
    for name in arguments.only or ["EMERGE", *plugs]:
        print(f"{name:<26} {row(dataclasses.replace(config, baseline=plugs.get(name)))}", flush=True)
    best = [true_risk.score(config, metric) for metric in (metrics.auroc, metrics.auprc)]
    print(f"{'true risk':<53} {best[0]:.3f}            {best[1]:.3f}")


def row(config: Config) -> str:
    """Parameters, seconds a seed, test AUROC and AUPRC as mean ± sd over the config's seeds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            train.run(dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=run)))
        seconds = (time.perf_counter() - started) / len(config.seeds)
        manifest = json.loads((run / f"seed_{config.seeds[0]}" / "manifest.json").read_text())
        with (run / "seeds.csv").open() as file:
            test = {one["metric"]: one for one in csv.DictReader(file) if one["split"] == "test"}
    cells = "  ".join(f"{float(test[m]['mean']):.3f} ± {float(test[m]['std'] or 0):.3f}  " for m in ("auroc", "auprc"))
    return f"{manifest['parameters'] or '':>10}  {seconds:>14.1f}  {cells}"


if __name__ == "__main__":
    main()
