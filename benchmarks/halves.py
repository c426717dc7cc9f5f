"""EMERGE against plain methods on the open halves of two real demos, by repeated cross-validation over persons.

    python -m benchmarks.halves --halves eicu mimic3 --repeats 5

Each repetition divides the persons of a half anew into ``--folds`` folds, everything is fitted without the fold that is tested
(as with ``split.folds``, docs/cross_validation.md), and each method has the same members. EMERGE and its network alone are one
training: the former is the latter with its experts. Prints AUROC, AUPRC and calibration slope of each repetition, in which
everyone is tested once; their means over the repetitions; and differences, paired by person. *Within folds*: AUROC of pairs that
one model predicted. Where folds are small, the models of the folds differ in their mean risk, which says nothing about a patient,
and the AUROC of all pairs falls below that, even below 0.5.

An interval is over persons, of the mean over the repetitions: whoever is drawn brings the risks of all repetitions along. What
other folds or other members would change does not enter it; the rows of the repetitions show that.

Tables and artefacts of a half, and the risks of each of its repetitions, are written below ``--folder``. A repetition whose risks
are there is not fitted again: after a change of the code, give another folder.
"""

import argparse
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.rivals import METHODS, SCORES, Array, Case, fit, merged
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.resampling import Interval, Sampling, persons, sample

HALVES = {"eicu": "eicu-crd-demo-2.0-half", "mimic3": "mimic-iii-demo-1.4-half"}
EXPERTS = ["gradient_boosting", "logistic_regression"]
RIVALS = ["gradient boosting", "L1 regression"]
WITHIN = "auroc within folds"
COMPARED = ("auroc", WITHIN, "auprc")
RESAMPLES = 1000


def main() -> None:
    """Fit every repetition of every half, and print its scores and then the means."""
    options = arguments()
    # spawned, since a process that is forked from one whose Polars threads run can hang
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for half in options.halves:
            repeats = []
            for number in range(1, options.repeats + 1):
                repeats.append(repeat(half, number, options, pool))
                for name in repeats[-1]["method"].unique(maintain_order=True):
                    found = scored(repeats[-1], name)(np.ones((1, repeats[-1]["patient_id"].n_unique())))
                    told = {score: float(value[0]) for score, value in found.items()}
                    print(f"{half:<8} {number:<6} {name:<20} {written(told)}", flush=True)
            report(half, repeats)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halves", nargs="+", default=list(HALVES), choices=list(HALVES), metavar="HALF")
    parser.add_argument("--repeats", type=int, default=5, help="times the persons are divided into folds")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=5, help="of each method, in each fold")
    parser.add_argument(
        "--settings", default="", metavar="TOML", help="in place of the default's; give another --folder too"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="of the halves and the graph")
    parser.add_argument("--folder", type=Path, default=Path("data/halves"), help="of what is written")
    return parser.parse_args()


def repeat(half: str, number: int, options: argparse.Namespace, pool: ProcessPoolExecutor) -> pl.DataFrame:
    """Everyone's risk by each method: columns ``patient_id, subject_id, label, risk, method, fold``, in the order of the ids."""
    path: Path = options.folder / half / f"risks_{number}.parquet"
    if not path.is_file():
        case = at_hand(half, number, options)
        prepare(case)
        names = ["network", *RIVALS]
        jobs = [(*of_fold, name, options.members) for of_fold in enumerate(folds(case), 1) for name in names]
        found = pl.concat(list(pool.map(risks, *zip(*jobs, strict=True))))
        found.sort("method", "patient_id").write_parquet(path)
    return pl.read_parquet(path)


def at_hand(half: str, number: int, options: argparse.Namespace) -> Case:
    """The half of one demo, whose persons the seed ``number`` divides into folds."""
    folder = options.folder / half
    raw = {
        "dataset": half,
        "run_name": half,
        "seed": number,
        "source": {"name": half},
        "cohort": {"min_stay_hours": 24},
        "split": {"folds": options.folds},
        "compute": {"workers": options.processes},
        "paths": {
            "raw_dir": str(options.data / HALVES[half]),
            "kg_dir": str(options.data / "primekg-open"),
            **{key: str(folder / key) for key in ("table_dir", "run_dir")},
            "processed_dir": str(folder / f"processed_{number}"),
            "cache_dir": str(options.folder / "cache"),
        },
    }
    return Case(f"{half} {number}", merged(raw, tomllib.loads(options.settings)))


def prepare(case: Case) -> None:
    """Make the tables, unless they are there, and the artefacts of all folds."""
    from emerge_ehr.datasets.convert import run as convert
    from emerge_ehr.preprocess import run as preprocess
    from emerge_ehr.storage.schema import COHORT

    config = case.config()
    if not (config.table_dir / COHORT.file).is_file():
        convert.run(config)
    preprocess.run(config)


def folds(case: Case) -> list[Case]:
    """The case of each fold."""
    return [
        Case(case.name, merged(case.raw, {"paths": {"processed_dir": str(config.processed_dir)}}))
        for config in case.config().of_folds()
    ]


def risks(fold: int, of_fold: Case, name: str, members: int) -> pl.DataFrame:
    """The risks of the persons of a fold by a method that is fitted on the others; of the network with experts too."""
    from emerge_ehr.storage.dataset import load_dataset

    options = argparse.Namespace(members=members, experts=EXPERTS)
    tested = load_dataset(of_fold.config().processed_dir).split["test"]
    columns = [
        pl.DataFrame(
            {
                "patient_id": tested,
                "subject_id": result.test.persons,
                "label": result.test.label,
                "risk": result.test.risk,
            }
        ).with_columns(method=pl.lit("EMERGE" if method.endswith("experts") else method), fold=pl.lit(fold))
        for method, result in fit(of_fold, name, METHODS[name], options).items()
    ]
    return pl.concat(columns)


def scored(risk: pl.DataFrame, name: str) -> Callable[[Array], dict[str, Array]]:
    """A function from counts [R,N] of the patients to the scores of the method, each [R]."""
    rows = risk.filter(pl.col("method") == name)
    label, probability, fold = (rows[column].to_numpy() for column in ("label", "risk", "fold"))
    of_all = measure(label, probability, SCORES)

    def found(counts: Array) -> dict[str, Array]:
        areas, pairs = [], []
        for number in np.unique(fold):
            own = fold == number
            positive, negative = (counts[:, own] @ (label[own] == side) for side in (1, 0))
            pairs.append(positive * negative)
            areas.append(np.nan_to_num(measure(label[own], probability[own], ["auroc"])(counts[:, own])["auroc"]))
        within = np.sum(np.multiply(areas, pairs), axis=0) / np.sum(pairs, axis=0)
        return {WITHIN: within, **of_all(counts)}

    return found


def report(half: str, repeats: Sequence[pl.DataFrame]) -> None:
    """Print the means over the repetitions, and the differences between our methods and the others."""
    methods = ["EMERGE", "network", *RIVALS]
    first = repeats[0].filter(pl.col("method") == methods[0])
    deaths = int(first["label"].sum())
    print(f"\n{half}: {first.height} stays, {deaths} positive, means of {len(repeats)} repetitions")
    pairs = [(one, other) for one in methods[:2] for other in methods if other not in (one, methods[0])]
    measures = {name: [scored(one, name) for one in repeats] for name in methods}

    def means(counts: Array) -> dict[str, Array]:
        found = {name: averaged([of(counts) for of in each]) for name, each in measures.items()}
        alone = {f"{name}, {score}": value for name, of in found.items() for score, value in of.items()}
        gaps = {
            f"{one} minus {other}, {score}": found[one][score] - found[other][score]
            for one, other in pairs
            for score in COMPARED
        }
        return alone | gaps

    people = persons(first["subject_id"].to_list())
    for title, drawn in sample(means, people, Sampling(RESAMPLES, 0, "percentile")).items():
        print(f"  {title:<52} {interval(drawn.interval('undefined'), signed=' minus ' in title)}", flush=True)


def averaged(each: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The mean of each score over the repetitions."""
    return {score: np.mean([of[score] for of in each], axis=0) for score in each[0]}


def written(told: Mapping[str, float]) -> str:
    """A method's scores of one repetition as text."""
    within, auroc, auprc, slope = (told[name] for name in (WITHIN, *SCORES))
    return f"{auroc:.3f} (within folds {within:.3f}), AUPRC {auprc:.3f}, slope {slope:.2f}"


def interval(found: Interval, *, signed: bool) -> str:
    """A value with its interval as text."""
    sign = "+" if signed else ""
    numbers = [f"{value:{sign}.3f}" if value is not None else "-" for value in (found.value, found.low, found.high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


if __name__ == "__main__":
    main()
