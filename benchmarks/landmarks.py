"""One model for all landmarks against a model for each, on generated hospitals (docs/landmarks.md).

    python -m benchmarks.landmarks --seeds 1 2

The stays of the test split are judged at each landmark that they reach: by the model that learned from the samples of all
landmarks, and by one that learned from those of this landmark alone. Both have members and experts. Prints AUROC and calibration
slope of both, with the difference in AUROC and its interval over persons, for each hospital and as means.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.rivals import Case, Judged, generated, merged, persons_of, scores, sigmoid, spread, with_experts
from emerge_ehr.evaluation.resampling import Sampling, persons
from emerge_ehr.evaluation.significance import paired_bootstrap
from emerge_ehr.fields import UserError

RESAMPLES = 1000


def main() -> None:
    """Print a row per landmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=2000)
    parser.add_argument("--interactions", type=float, default=0.0)
    parser.add_argument("--settings", default="", metavar="TOML", help="of the hospitals; give another --folder too")
    parser.add_argument("--hours", type=int, nargs="+", default=[6, 12, 24, 48], help="the landmarks")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("data/landmarks"))
    options = parser.parse_args()
    every = tuple(sorted(options.hours))
    choices = [every, *((hour,) for hour in every)]
    hospitals = [generated(seed, options) for seed in options.seeds]
    jobs = [(at(case, hours, every[0]), hours, options.members) for case in hospitals for hours in choices]
    with ProcessPoolExecutor(options.processes) as pool:
        list(pool.map(prepare, [[job[0] for job in jobs if job[0].name == case.name] for case in hospitals]))
        fitted = dict(
            zip([(job[0].name, job[1]) for job in jobs], pool.map(fit, *zip(*jobs, strict=True)), strict=True)
        )
    print("landmark   hospital   one model for all   one for it alone   difference")
    for hour in every:
        pairs = [(case.name, fitted[case.name, every][hour], fitted[case.name, (hour,)][hour]) for case in hospitals]
        for name, ours, alone in pairs:
            found = paired_bootstrap(
                ours.label,
                ours.risk,
                alone.risk,
                ("auroc",),
                Sampling(RESAMPLES, 0, "percentile"),
                persons(ours.persons),
            )["auroc"]
            print(row(hour, name, scores(ours.label, ours.risk), scores(alone.label, alone.risk)), end=" ")
            print(f"({found.low:+.3f} to {found.high:+.3f})", flush=True)
        of_all, of_one = ([scores(pair[n].label, pair[n].risk) for _, *pair in pairs] for n in (0, 1))
        told = row(hour, "mean", list(np.mean(of_all, axis=0)), list(np.mean(of_one, axis=0)))
        print(f"{told}{spread([a[0] - b[0] for a, b in zip(of_all, of_one, strict=True)])}", flush=True)


def row(hour: int, name: str, ours: list[float], alone: list[float]) -> str:
    """A row of the table: AUROC and calibration slope of both, and the difference of the former."""
    both = "   ".join(f"{auroc:.3f}, slope {slope:.2f}   " for auroc, _, slope in (ours, alone))
    return f"hour {hour:<5} {name:<10} {both}{ours[0] - alone[0]:+.3f}"


def at(case: Case, hours: tuple[int, ...], first: int) -> Case:
    """The case with samples at these hours only, of all stays that last ``first`` hours; its tables are the same for all."""
    folder = Path(case.raw["paths"]["processed_dir"]).with_name("processed_" + "_".join(map(str, hours)))
    settings = {
        "cohort": {"min_stay_hours": first, "landmarks": list(hours)},
        "paths": {"processed_dir": str(folder)},
    }
    return Case(case.name, merged(case.raw, settings))


def prepare(cases: list[Case]) -> None:
    """Make the tables of a hospital, and the artefacts of each of the cases that share them, unless they are there."""
    from emerge_ehr.datasets import download
    from emerge_ehr.datasets.convert import run as convert
    from emerge_ehr.preprocess import run as preprocess
    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import inputs

    try:
        for case in cases:
            inputs.check(case.config(), load_dataset(case.config().processed_dir))
    except UserError:
        for stage in (download, convert):
            stage.run(cases[0].config())
        for case in cases:
            preprocess.run(case.config())


def fit(case: Case, hours: tuple[int, ...], count: int) -> dict[int, Judged]:
    """The test samples at each of the hours, with the risk by all members and experts."""
    from emerge_ehr.preprocess.inputs.landmarks import hour_of
    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import methods

    config = case.config()
    dataset = load_dataset(config.processed_dir)
    test, _, whole = with_experts(config, dataset, count)
    label = test.label[:, 0].double().numpy()
    risk = sigmoid(methods.together(whole).logits(test)[:, 0].double().numpy())
    ids, of = dataset.split["test"], persons_of(config, dataset)["test"]
    found = {}
    for hour in hours:
        rows = [n for n, name in enumerate(ids) if hour_of(name) == hour]
        found[hour] = Judged(label[rows], risk[rows], [of[n] for n in rows])
    return found


if __name__ == "__main__":
    main()
