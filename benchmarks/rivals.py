"""EMERGE against plain methods on the same inputs, members alike, on generated hospitals or on artefacts at hand.

    python benchmarks/rivals.py --seeds 1 2 3
    python benchmarks/rivals.py --seeds 101 --stays 12000
    python benchmarks/rivals.py --seeds 1 2 3 --interactions 1.6
    python benchmarks/rivals.py --configs configs/mimic3_demo.toml
    python benchmarks/rivals.py --seeds 1 2 3 --methods network --variant "no attention: model.fusion = 'concat'"

Training and validation patients are divided into folds of persons. Each method is fitted once per fold, on the other folds, and
stopped, or given its penalty, on that one. *Out of fold*: each patient's risk by the member that was not trained on the patient.
*Test*: the test split's risk by all members, whose logits are averaged. Of a generated hospital the true risk is known, and its
score on the test split is the best that can be reached. The networks are compared with each other method, paired by person.
The weights of --experts are fitted on the logits that are judged out of fold, of which there are a few hundred times as many.

Generated hospitals are written below --folder and used again; artefacts of --configs must have been made before.
"""

import argparse
import dataclasses
import os
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import config as configs
from emerge_ehr.config import Config
from emerge_ehr.evaluation.resampling import Sampling, persons
from emerge_ehr.evaluation.significance import paired_bootstrap
from emerge_ehr.fields import UserError

Array = NDArray[np.float64]
ALL = ["ehr", "note", "summary"]
METHODS = {
    "network": "model.experts = []",
    "as published": 'method.preset = "published"',
    "L1 regression": f'baseline = {{name = "logistic_regression", penalty = "l1", modalities = {ALL}}}',
    "L2 regression": f'baseline = {{name = "logistic_regression", penalty = "l2", modalities = {ALL}}}',
    "gradient boosting": f'baseline = {{name = "gradient_boosting", modalities = {ALL}}}',
}
SCORES = ("auroc", "auprc", "calibration_slope")
COMPARED = ("auroc", "auprc")
RESAMPLES = 1000


@dataclass(frozen=True)
class Case:
    """Artefacts, which belong to the config of the TOML tables ``raw``; ``name`` stands in the table."""

    name: str
    raw: Mapping[str, Any]

    def config(self, settings: str = "") -> Config:
        """The config, with the TOML ``settings`` in place of its own."""
        return configs.fill(merged(self.raw, tomllib.loads(settings)), f"{self.name}, {settings}")


@dataclass(frozen=True)
class Judged:
    """Label and risk [N] of patients, and their persons; ``best`` is their true risk where it is known."""

    label: Array
    risk: Array
    persons: list[str]
    best: Array | None = None


@dataclass(frozen=True)
class Result:
    """What a method reached on a case, and how long it took to fit all members, in how many epochs together."""

    out_of_fold: Judged
    test: Judged
    seconds: float
    epochs: int


def main() -> None:
    """Fit every method on every case and print the tables."""
    options = arguments()
    chosen = {name: METHODS[name] for name in options.methods}
    chosen |= {name.strip(): text for name, _, text in (variant.partition(":") for variant in options.variant)}
    cases = [generated(seed, options) for seed in options.seeds] + [at_hand(path) for path in options.configs]
    jobs = [(case, name, text, options) for case in cases for name, text in chosen.items()]
    results: dict[tuple[str, str], Result] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(prepare, cases, [bool(options.seeds)] * len(cases)))
        for (case, *_), found in zip(jobs, pool.map(fit, *zip(*jobs, strict=True)), strict=True):
            for name, result in found.items():
                results[case.name, name] = result
                print(f"{case.name:<14} {name:<20} {told(result)}", flush=True)
    names = list(dict.fromkeys(name for _, name in results))
    for name in names:
        print(f"{'mean':<14} {name:<20} {mean([results[case.name, name] for case in cases])}")
    ours = [name for name in names if name not in METHODS or name == "network"]
    for first, other in [(one, other) for one in ours for other in names if other != one]:
        compare([(case.name, results[case.name, first], results[case.name, other]) for case in cases], first, other)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=2000, help="of each generated hospital")
    parser.add_argument(
        "--interactions", type=float, default=0.0, help="between its modalities (docs/synthetic_options.md)"
    )
    parser.add_argument(
        "--settings", default="", metavar="TOML", help="of the generated hospitals; give another --folder too"
    )
    parser.add_argument("--configs", type=Path, nargs="*", default=[], help="configs whose artefacts are at hand")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--variant", action="append", default=[], metavar="'NAME: TOML'", help="another method")
    parser.add_argument(
        "--experts", nargs="*", default=[], metavar="PLUG", help="also judge networks with these experts"
    )
    parser.add_argument("--members", type=int, default=5, help="folds, and members of each method")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("data/rivals"), help="of the generated hospitals")
    return parser.parse_args()


def generated(seed: int, options: argparse.Namespace) -> Case:
    """A generated hospital, in a folder of its own."""
    name = f"seed {seed}"
    folder = options.folder / f"{seed}_{options.stays}_{options.interactions:g}"
    raw = {
        "dataset": "synthetic",
        "run_name": "rivals",
        "seed": seed,
        "source": {"name": "synthetic", "stays": options.stays, "interactions": options.interactions},
        "download": {"primekg": "none"},
        "training": {"patience": 10},
        "paths": {
            **{key: str(folder / key) for key in ("raw_dir", "kg_dir", "table_dir", "processed_dir", "run_dir")},
            "cache_dir": str(options.folder / "cache"),
        },
    }
    return Case(name, merged(raw, tomllib.loads(options.settings)))


def at_hand(path: Path) -> Case:
    """The artefacts of a config."""
    return Case(path.stem[:14], configs.read_toml(path))


def prepare(case: Case, generate: bool) -> None:
    """Make the artefacts of a generated hospital, unless they are there."""
    from emerge_ehr.datasets import download
    from emerge_ehr.datasets.convert import run as convert
    from emerge_ehr.preprocess import run as preprocess
    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import inputs

    config = case.config()
    try:
        inputs.check(config, load_dataset(config.processed_dir))
    except UserError:
        if not generate:
            raise
        for stage in (download, convert, preprocess):
            stage.run(config)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of ``new`` within those of ``old``."""
    inner = {key: value for key, value in new.items() if isinstance(value, dict) and isinstance(old.get(key), dict)}
    return {**old, **new, **{key: merged(old[key], value) for key, value in inner.items()}}


def fit(case: Case, name: str, text: str, options: argparse.Namespace) -> dict[str, Result]:
    """Fit the members of a method, one after the other, in one thread: the method's name -> what it reached.

    A network is also judged together with the experts of the ``options``.
    """
    import torch

    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import devices, inputs, members, methods
    from emerge_ehr.training.patients import joined

    torch.set_num_threads(1)
    config = case.config(text)
    dataset = load_dataset(config.processed_dir)
    parts = inputs.parts(config, dataset)
    ids = persons_of(config, dataset)
    team = members.divided(parts["train"], parts["val"], [*ids["train"], *ids["val"]], options.members, config.seed)
    with tempfile.TemporaryDirectory() as folder, devices.deterministic(config.seed, accelerator="cpu", on_gpu=False):
        config = dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=Path(folder)))
        start = time.perf_counter()
        fabric = devices.fabric(config.training)
        each = [methods.fit(config, dataset, member, fabric, {}) for member in team]
        found = {name: judged(config, dataset, parts, team, each, time.perf_counter() - start)}
        if config.baseline is None and options.experts:
            model = dataclasses.replace(config.model, experts=tuple(options.experts))
            both, whole = joined(parts["train"], parts["val"]), dataclasses.replace(config, model=model)
            each = methods.with_experts(whole, dataset, both, team, each, fabric)
            seconds = time.perf_counter() - start
            found[f"{name} + experts"] = judged(config, dataset, parts, team, each, seconds)
    return found


def with_experts(config: Config, dataset: Any, count: int) -> tuple[Any, list[Any], list[Any]]:
    """The test patients, ``count`` members of the network fitted one after the other in one thread, and these with experts."""
    import torch

    from emerge_ehr.training import devices, inputs, members, methods
    from emerge_ehr.training.patients import joined

    torch.set_num_threads(1)
    parts = inputs.parts(config, dataset)
    team = members.divided(parts["train"], parts["val"], inputs.persons_trained(config, dataset), count, config.seed)
    with tempfile.TemporaryDirectory() as folder, devices.deterministic(config.seed, accelerator="cpu", on_gpu=False):
        config = dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=Path(folder)))
        fabric = devices.fabric(config.training)
        networks = [methods.fit(config, dataset, one, fabric, {}) for one in team]
        both = joined(parts["train"], parts["val"])
        return parts["test"], networks, methods.with_experts(config, dataset, both, team, networks, fabric)


def judged(config: Config, dataset: Any, parts: Any, team: Any, each: Any, seconds: float) -> Result:
    """The members' risks out of fold, and together on the test split."""
    from emerge_ehr.training import methods

    ids = persons_of(config, dataset)
    label = {part: patients.label[:, 0].double().numpy() for part, patients in parts.items()}
    trained, seen = np.concatenate([label["train"], label["val"]]), [*ids["train"], *ids["val"]]
    inside = methods.held_out(each, team)[:, 0].double().numpy()
    outside = methods.together(each).logits(parts["test"])[:, 0].double().numpy()
    best = true_risk(config, dataset.split["test"])
    epochs = sum(len(fitted.history) for fitted in each)
    return Result(
        Judged(trained, sigmoid(inside), seen),
        Judged(label["test"], sigmoid(outside), ids["test"], best),
        seconds,
        epochs,
    )


def persons_of(config: Config, dataset: Any) -> dict[str, list[str]]:
    """The persons of the patients of each split."""
    from emerge_ehr.storage.dataset import load_patients
    from emerge_ehr.training import members

    people = load_patients(config.processed_dir, dataset.patient_id)
    return {part: members.persons(ids, people) for part, ids in dataset.split.items()}


def true_risk(config: Config, ids: Sequence[str]) -> Array | None:
    """The true risk of these patients; None where nobody knows it."""
    path = config.raw_dir / "risk.csv"
    if not path.is_file():
        return None
    risk = pl.read_csv(path, schema_overrides={"stay_id": pl.String})
    wanted = pl.DataFrame({"stay_id": list(ids)})
    return wanted.join(risk, on="stay_id", how="left", maintain_order="left")["true_risk"].to_numpy()


def sigmoid(logit: Array) -> Array:
    """Log-odds -> probability."""
    from scipy.special import expit

    result: Array = expit(logit)
    return result


def scores(label: Array, risk: Array) -> list[float]:
    """AUROC, AUPRC and calibration slope of the risk [N]."""
    from emerge_ehr.evaluation.measure import measure

    found = measure(label, risk, SCORES)(np.ones((1, len(label))))
    return [float(found[name][0]) for name in SCORES]


def row(result: Result) -> list[float]:
    """Scores out of fold and on test, AUROC of the true risk, seconds, and epochs of all members."""
    inside, test = result.out_of_fold, result.test
    best = np.nan if test.best is None else scores(test.label, test.best)[0]
    return [*scores(inside.label, inside.risk), *scores(test.label, test.risk), best, result.seconds, result.epochs]


def told(result: Result) -> str:
    """A row of the table."""
    return line(row(result))


def mean(results: Sequence[Result]) -> str:
    """The mean row of the table."""
    return line(list(np.mean([row(result) for result in results], axis=0)))


def line(values: list[float]) -> str:
    """The values of ``row`` as text."""
    inside, inside_auprc, inside_slope, test, test_auprc, slope, best, seconds, epochs = values
    gap = "" if np.isnan(best) else f"   true risk {best:.3f}, gap {best - test:.3f}"
    rate = f", {epochs:.0f} epochs" if epochs else ""
    return (
        f"out of fold {inside:.3f} ({inside_auprc:.3f}), slope {inside_slope:.2f}   "
        f"test {test:.3f} ({test_auprc:.3f}), slope {slope:.2f}{gap}   {seconds:.0f} s{rate}"
    )


def compare(pairs: Sequence[tuple[str, Result, Result]], first: str, second: str) -> None:
    """Print how the first method's scores differ, in each case with the interval over persons, and on average over the cases."""
    print(f"\n{first} minus {second}, with 95 % intervals over persons:")
    for part in ("out_of_fold", "test"):
        title = part.replace("_", " ")
        differences: dict[str, list[float]] = {name: [] for name in COMPARED}
        for case, ours, theirs in pairs:
            one, other = getattr(ours, part), getattr(theirs, part)
            sampling, drawn = Sampling(RESAMPLES, 0, "percentile"), persons(one.persons)
            cells = []
            for name, found in paired_bootstrap(one.label, one.risk, other.risk, COMPARED, sampling, drawn).items():
                differences[name].append(found.difference or 0.0)
                cells.append(f"{name} {found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})")
            print(f"  {title:<12} {case:<14} {'   '.join(cells)}")
        means = [f"{name} {np.mean(values):+.4f}{spread(values)}" for name, values in differences.items()]
        print(f"  {title:<12} {'mean':<14} {'   '.join(means)}")


def spread(values: Sequence[float]) -> str:
    """The 95 % interval of Student's t over the cases, as text; nothing for a single case."""
    from scipy import stats

    if len(values) < 2:
        return ""
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return f" ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
