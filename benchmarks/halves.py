"""EMERGE against plain methods on the open halves of two real demos, by repeated cross-validation over persons.

    python -m benchmarks.halves --halves eicu mimic3 --repeats 5

Each repetition divides the persons of a half anew into ``--folds`` folds, everything is fitted without the fold that is tested
(as with ``split.folds``, docs/evaluation.md), and each method has the same members. EMERGE and its network alone are one
training: the former is the latter with its experts. Prints AUROC, AUPRC and calibration slope of each repetition, in which
everyone is tested once; their means over the repetitions; and differences, paired by person. An interval is over persons, of the
mean over the repetitions: whoever is drawn brings the risks of all repetitions along. What other folds or other members would
change does not enter it; the rows of the repetitions show that.

Tables and artefacts of a half, and the risks of each of its repetitions, are written below ``--folder``. A repetition whose risks
are there is not fitted again: after a change of the code, give another folder.
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.rivals import METHODS, SCORES, Array, Case, fit, merged, scores
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.resampling import Interval, Sampling, persons, sample

HALVES = {"eicu": "eicu-crd-demo-2.0-half", "mimic3": "mimic-iii-demo-1.4-half"}
EXPERTS = ["gradient_boosting", "logistic_regression"]
RIVALS = ["gradient boosting", "L1 regression"]
COMPARED = ("auroc", "auprc")
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
                    told = scores(*of_method(repeats[-1], name))
                    print(f"{half:<8} {number:<6} {name:<20} {written(told)}", flush=True)
            report(half, repeats)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halves", nargs="+", default=list(HALVES), choices=list(HALVES), metavar="HALF")
    parser.add_argument("--repeats", type=int, default=5, help="times the persons are divided into folds")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=5, help="of each method, in each fold")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="of the halves and the graph")
    parser.add_argument("--folder", type=Path, default=Path("data/halves"), help="of what is written")
    return parser.parse_args()


def repeat(half: str, number: int, options: argparse.Namespace, pool: ProcessPoolExecutor) -> pl.DataFrame:
    """The risks of everyone by each method (columns ``patient_id, subject_id, label, risk, method``), in the order of the ids."""
    path: Path = options.folder / half / f"risks_{number}.parquet"
    if not path.is_file():
        case = at_hand(half, number, options)
        prepare(case)
        names = ["network", *RIVALS]
        jobs = [(of_fold, name, options.members) for of_fold in folds(case) for name in names]
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
    return Case(f"{half} {number}", raw)


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


def risks(of_fold: Case, name: str, members: int) -> pl.DataFrame:
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
        ).with_columns(method=pl.lit("EMERGE" if method.endswith("experts") else method))
        for method, result in fit(of_fold, name, METHODS[name], options).items()
    ]
    return pl.concat(columns)


def of_method(risk: pl.DataFrame, name: str) -> tuple[Array, Array]:
    """Labels and risks [N] by the method."""
    rows = risk.filter(pl.col("method") == name)
    return rows["label"].to_numpy(), rows["risk"].to_numpy()


def report(half: str, repeats: Sequence[pl.DataFrame]) -> None:
    """Print the means over the repetitions, and the differences between our methods and the others."""
    methods = ["EMERGE", "network", *RIVALS]
    first = repeats[0].filter(pl.col("method") == methods[0])
    people, label = persons(first["subject_id"].to_list()), first["label"].to_numpy()
    print(f"\n{half}: {len(label)} stays, {int(label.sum())} positive, means of {len(repeats)} repetitions")
    risk = {name: [of_method(one, name)[1] for one in repeats] for name in methods}

    def means(counts: Array) -> dict[str, Array]:
        found = {
            name: {score: np.mean([of(counts)[score] for of in each], axis=0) for score in SCORES}
            for name, each in measures.items()
        }
        alone = {f"{name}, {score}": value for name, of in found.items() for score, value in of.items()}
        pairs = [(one, other) for one in methods[:2] for other in methods if other not in (one, methods[0])]
        gaps = {
            f"{one} minus {other}, {score}": found[one][score] - found[other][score]
            for one, other in pairs
            for score in COMPARED
        }
        return alone | gaps

    measures = {name: [measure(label, one, SCORES) for one in each] for name, each in risk.items()}
    for title, drawn in sample(means, people, Sampling(RESAMPLES, 0, "percentile")).items():
        print(f"  {title:<48} {interval(drawn.interval('undefined'), signed=' minus ' in title)}", flush=True)
    for one, other in (("EMERGE", RIVALS[0]), ("network", RIVALS[0])):
        gaps = [scores(label, a)[0] - scores(label, b)[0] for a, b in zip(risk[one], risk[other], strict=True)]
        print(f"  {one} minus {other}, auroc of each repetition: {'  '.join(f'{gap:+.3f}' for gap in gaps)}")


def written(values: list[float]) -> str:
    """AUROC, AUPRC and calibration slope as text."""
    auroc, auprc, slope = values
    return f"{auroc:.3f} ({auprc:.3f}), slope {slope:.2f}"


def interval(found: Interval, *, signed: bool) -> str:
    """A value with its interval as text."""
    sign = "+" if signed else ""
    numbers = [f"{value:{sign}.3f}" if value is not None else "-" for value in (found.value, found.low, found.high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


if __name__ == "__main__":
    main()
