"""Death within several horizons, and when: against the true risk of generated hospitals (docs/survival_results.md).

    python -m benchmarks.horizons --seeds 1 2 --members 3

Hospitals with ``death_times = "risk"``. A method learns the hazards of the intervals that end at the horizons (task
``time_to_death``), or death by each horizon as a label of its own (as task ``death_within`` does). Prints, for the test split:
AUROC by horizon, the concordance of the risk by the last horizon, the integrated Brier score, and the calibration slope by the
last horizon, each beside that of the true risk in ``risk.csv``; the Brier score of training's shares of deaths for everyone; and
the means over the hospitals.
"""

import argparse
import dataclasses
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.rivals import ALL, Array, Case, generated, merged, prepare, scores
from emerge_ehr.config import Config

DAYS = (1, 2, 7)  # risk.csv has the true risk by these
METHODS = {
    "L1 regression": f'baseline = {{name = "logistic_regression", penalty = "l1", modalities = {ALL}}}',
    "gradient boosting": f'baseline = {{name = "gradient_boosting", modalities = {ALL}}}',
    "network": "model.experts = []",
    "EMERGE": "",
}
WAYS = ("hazards", "each horizon")


def main() -> None:
    """Print a row per hospital, method and way of learning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=2000)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, metavar="WAY")
    parser.add_argument("--folder", type=Path, default=Path("data/horizons"))
    options = parser.parse_args()
    settings = f'[source]\ndeath_times = "risk"\n[task]\nname = "time_to_death"\ndays = {list(DAYS)}'
    hospitals = argparse.Namespace(stays=options.stays, interactions=0.0, settings=settings, folder=options.folder)
    rows: dict[tuple[str, str], list[list[float]]] = {}
    print("hospital  method              learns        AUROC 24 h   48 h  168 h  concordance     IBS  slope")
    for seed in options.seeds:
        case = generated(seed, hospitals)
        prepare(case, generate=True)
        for name, way, found in judged(case, options.methods, options.ways, options.members):
            rows.setdefault((name, way), []).append(found)
            print(row(case.name, name, way, found), flush=True)
    for (name, way), of_hospitals in rows.items():
        print(row("mean", name, way, list(np.mean(of_hospitals, axis=0))))


def row(hospital: str, name: str, way: str, found: Sequence[float]) -> str:
    """A row of the table."""
    *areas, concordance, brier, slope = found
    cells = "".join(f"{area:>7.3f}" for area in areas[1:])
    return f"{hospital:<10}{name:<20}{way:<14}{areas[0]:>11.3f}{cells}{concordance:>13.3f}{brier:>8.4f}{slope:>7.2f}"


def judged(
    case: Case, methods: Sequence[str], ways: Sequence[str], count: int
) -> Iterator[tuple[str, str, list[float]]]:
    """The method, the way it learns, and its figures on the test split; first those of the true risk and of training's shares."""
    from emerge_ehr.storage.dataset import load_dataset, load_patients
    from emerge_ehr.training import inputs, reported

    config = case.config()
    dataset = load_dataset(config.processed_dir)
    told = reported.of(config, dataset.metadata["label_names"])
    people = load_patients(config.processed_dir, dataset.patient_id)
    assert people is not None
    rows = inputs.rows_of(dataset, "test")
    hours, died = (people[name].cast(pl.Float64).to_numpy()[rows] for name in ("hours_to_end", "died"))
    outcome, _ = told.outcomes(dataset.label, dataset.label_mask)
    train = inputs.rows_of(dataset, "train")
    constant = np.tile(outcome[train].mean(axis=0), (len(rows), 1))
    truth = pl.read_csv(config.raw_dir / "risk.csv", schema_overrides={"stay_id": pl.String})
    stays = pl.DataFrame({"stay_id": dataset.patient_id[rows].tolist()}).join(
        truth, on="stay_id", how="left", maintain_order="left"
    )
    true = stays.select(f"true_risk_{24 * days}h" for days in DAYS).to_numpy()

    def figures(risk: Array) -> list[float]:
        return measured(risk, outcome[rows], hours, died > 0, constant[0])

    yield "true risk", "", figures(true)
    yield "the same for all", "", figures(constant)
    for name in methods:
        own = Case(case.name, merged(case.raw, tomllib.loads(METHODS[name]))).config()
        for way in ways:
            yield name, way, figures(risks(own, dataset, told, direct=way == "each horizon", count=count))


def measured(risk: Array, outcome: Array, hours: Array, died: Any, constant: Array) -> list[float]:
    """AUROC by horizon, concordance, integrated Brier score and the calibration slope by the last horizon."""
    from emerge_ehr.evaluation import survival
    from emerge_ehr.evaluation.resampling import Sampling, each_alone

    horizons = np.array([24.0 * days for days in DAYS])
    found = survival.evaluate(hours, died, risk, horizons, constant, each_alone(len(hours)), Sampling(10))
    by_horizon = [scores(outcome[:, n], risk[:, n]) for n in range(len(DAYS))]
    return [
        *(one[0] for one in by_horizon),
        float(found.concordance.value or np.nan),
        float(found.integrated_brier.value or np.nan),
        by_horizon[-1][2],
    ]


def risks(config: Config, dataset: Any, told: Any, *, direct: bool, count: int) -> Array:
    """The risks [N,H] of the test split by ``count`` members; ``direct``: death by each horizon is the label that is learned."""
    import torch

    from emerge_ehr.training import devices, inputs, members, methods
    from emerge_ehr.training.patients import joined

    torch.set_num_threads(1)
    if direct:
        outcome, defined = told.outcomes(dataset.label, dataset.label_mask)
        dataset = dataclasses.replace(
            dataset,
            label=outcome.astype(np.float32),
            label_mask=defined.astype(np.float32),
            metadata={**dataset.metadata, "label_names": told.names},
        )
    parts = inputs.parts(config, dataset)
    team = members.divided(parts["train"], parts["val"], inputs.persons_trained(config, dataset), count, config.seed)
    with tempfile.TemporaryDirectory() as folder, devices.deterministic(config.seed, accelerator="cpu", on_gpu=False):
        config = dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=Path(folder)))
        fabric = devices.fabric(config.training)
        each = [methods.fit(config, dataset, one, fabric, {}) for one in team]
        if config.baseline is None and config.model.experts:
            each = methods.with_experts(config, dataset, joined(parts["train"], parts["val"]), team, each, fabric)
        logits = torch.stack([one.logits(parts["test"]) for one in each])
    found: Array = dataclasses.replace(told, intervals=told.intervals and not direct).together(logits)
    return found


if __name__ == "__main__":
    main()
