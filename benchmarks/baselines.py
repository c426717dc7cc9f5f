"""Every baseline beside EMERGE and the true risk on the synthetic default: test AUROC and AUPRC, mean and sd over seeds.

    python benchmarks/baselines.py --seeds 42 1 2

Run ``make demo`` first: it reads what that wrote in the current folder. Data and split stay the same; the seed sets initial
weights, dropout, the order of batches and what trees sample. The networks take most of the time; ``OMP_NUM_THREADS=1`` helps
where other programs keep the cores busy.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from src import components
from src.config import Component, Config, load
from src.datasets import artefacts
from src.evaluation import metrics
from src.models import emerge
from src.models.baselines import Sizes
from src.models.batch import SHAPES, Batch
from src.training import devices, loop

EXTRA = {"m3care (note + summary)": Component("m3care", {"texts": ["note", "summary"]})}
Parts = dict[str, Batch]


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--only", nargs="+", help="some of the methods")
    arguments = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    config = load(ROOT / "configs" / "synthetic.toml")
    dataset = artefacts.load_dataset(config.processed_dir)
    parts = {name: part(dataset, name) for name in ("train", "val", "test")}
    plugs = {name: Component(name) for name in components.names("baseline")} | EXTRA
    print(f"{'method':<26} parameters  epochs   seconds  AUROC mean sd     AUPRC mean sd")
    for name in arguments.only or ["EMERGE", *plugs]:
        found = [fit_and_predict(plugs.get(name), config, dataset, parts, seed) for seed in arguments.seeds]
        scores = np.array([score(parts["test"], logits) for logits, *_ in found])
        size, epochs, seconds = (np.mean([row[column] for row in found]) for column in (1, 2, 3))
        cells = "  ".join(f"{m:.3f} {s:.3f}     " for m, s in zip(scores.mean(axis=0), sd(scores), strict=True))
        print(f"{name:<26} {size:>10.0f}  {epochs:>6.1f}  {seconds:>8.1f}  {cells}", flush=True)
    risk = pl.read_csv(config.raw_dir / "risk.csv").rename({"stay_id": "patient_id"})
    ordered = pl.DataFrame({"patient_id": dataset.split["test"]}).cast(pl.Int64).join(risk, on="patient_id", how="left")
    best = score(parts["test"], torch.tensor(ordered["true_risk"].to_list(), dtype=torch.float64).logit()[:, None])
    print(f"{'true risk':<48} {best[0]:.3f}              {best[1]:.3f}")


def part(dataset: artefacts.Dataset, name: str) -> Batch:
    """The patients of a split, in its order."""
    row = {patient: index for index, patient in enumerate(dataset.patient_id.tolist())}
    rows = [row[patient] for patient in dataset.split[name]]
    return Batch(**{field: torch.from_numpy(getattr(dataset, field)[rows]) for field in SHAPES})


def fit_and_predict(
    chosen: Component | None, config: Config, dataset: artefacts.Dataset, parts: Parts, seed: int
) -> tuple[Tensor, int, int, float]:
    """Test logits, parameters, epochs and seconds to fit of the ``chosen`` baseline, or of EMERGE."""
    torch.manual_seed(seed)
    widths = {"note": dataset.note_embedding.shape[1], "summary": dataset.summary_embedding.shape[1]}
    hours, features, labels = dataset.ehr.shape[1], dataset.ehr.shape[2], dataset.label.shape[1]
    if chosen is None:
        statics = dataset.static.shape[1]
        model = emerge.build(config.model, features=features, statics=statics, text_widths=widths, labels=labels)
    else:
        sizes = Sizes(hours, features, widths["note"], widths["summary"], labels)
        model = components.build("baseline", chosen, sizes=sizes, seed=seed)
    started = time.perf_counter()
    if not isinstance(model, nn.Module):
        model.fit(parts["train"], parts["val"])
        return model.logits(parts["test"]), 0, 0, time.perf_counter() - started
    fabric = devices.fabric(config.training)
    fitted = loop.fit(model, parts["train"], parts["val"], config.training, seed, fabric=fabric)
    seconds = time.perf_counter() - started
    model.load_state_dict(fitted.best.weights)
    logits = loop.predict(model, parts["test"], config.training.batch_size)
    return logits, sum(parameter.numel() for parameter in model.parameters()), len(fitted.history), seconds


def score(batch: Batch, logits: Tensor) -> tuple[float, float]:
    """AUROC and AUPRC of the first label."""
    label, found = batch.label[:, 0].double().numpy(), logits[:, 0].double().numpy()
    auroc, auprc = metrics.point(metrics.auroc, label, found), metrics.point(metrics.auprc, label, found)
    assert auroc is not None and auprc is not None
    return auroc, auprc


def sd(scores: np.ndarray) -> np.ndarray:
    """Over the seeds; 0 for one."""
    return scores.std(axis=0, ddof=1) if len(scores) > 1 else np.zeros(scores.shape[1])


if __name__ == "__main__":
    main()
