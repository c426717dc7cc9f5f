"""Calibration and conformal sets on generated hospitals: what is promised, and what is kept (docs/calibration_results.md).

    python -m benchmarks.coverage --seeds 1 2 3

Most patients of each hospital are in its test split, so that rates are known to a percent or so. Members are fitted once, with
their experts and as networks alone (``--methods``), and kept in --folder; the rest takes seconds and is repeated from there.

*Calibration*: slope, Brier score and ECE of the test split by the mean of the members, before and after each method that
``calibration.method`` knows, fitted on the risks out of fold as a run does it. *Sets as a run gives them*: fitted out of fold,
judged on test. *Sets, split again*: the persons of the test split are divided into halves 20 times; sets are fitted on one half
and judged on the other: in all, by outcome, and in every subgroup of --least patients, with and without ``calibration.groups``.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals import Case, generated, prepare, sigmoid
from emerge_ehr.evaluation import conformal, recalibration
from emerge_ehr.evaluation.abstention import Surest
from emerge_ehr.evaluation.measure import measure
from emerge_ehr.evaluation.resampling import persons
from emerge_ehr.evaluation.subgroups import groups
from emerge_ehr.training.calibrated import METHODS

Array = NDArray[np.float64]
SCORES = ("calibration_slope", "brier", "ece", "auroc")
SPLIT = "[split]\ntrain = 0.15\nvalidation = 0.05\n"  # shares; the rest is the test split
OF_TEST = "everybody"
Attributes = Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True)
class Fitted:
    """Outcomes and logits: out of fold [N] by the one member that was not trained on the patient, and of test [T] by all members;
    the persons [T] of test, and attribute -> the group of each, [N] and [T]."""

    label: Array
    outside: Array
    test_label: Array
    test: Array
    persons: NDArray[np.int64]
    outside_groups: Attributes
    groups: Attributes


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=12_000)
    parser.add_argument("--interactions", type=float, default=0.0)
    parser.add_argument("--settings", default=SPLIT, metavar="TOML", help="of the hospitals; give another --folder too")
    parser.add_argument("--methods", nargs="+", default=["network", "network+experts"])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--groups", nargs="+", default=["sex", "age"], help="of the Mondrian sets")
    parser.add_argument("--least", type=int, default=200, help="patients of a subgroup that is judged")
    parser.add_argument("--folder", type=Path, default=Path("data/coverage"))
    options = parser.parse_args()
    hospitals = {seed: fitted(generated(seed, options), options) for seed in options.seeds}
    for name in options.methods:
        every = {seed: by_method[name] for seed, by_method in hospitals.items() if name in by_method}
        first = next(iter(every.values()))
        print(f"\n{name}: {len(first.label)} patients to fit on, {len(first.test)} to judge, hospitals {[*every]}")
        print("\n".join(calibration(every)))
        print("\n".join(as_a_run(every, options.coverage, [])))
        print("\n".join(as_a_run(every, options.coverage, options.groups)))
        by: list[list[str]] = [[], options.groups]
        for wanted in by:
            print("\n".join(split_again(every, wanted, options)))


def fitted(case: Case, options: argparse.Namespace) -> dict[str, Fitted]:
    """By method, what its members give; fitted, unless that was done before."""
    config = case.config()
    kept = config.processed_dir.parent / "members.npz"
    if not kept.is_file():
        prepare(case, True)
        arrays_of: dict[str, Any] = dict(_fit(case, options.members))
        np.savez(kept, **arrays_of)
    arrays = dict(np.load(kept))
    people, outside, attributes = _people(case)
    return {
        name: Fitted(
            arrays["label"],
            arrays[f"{name} outside"],
            arrays["test_label"],
            arrays[f"{name} test"],
            *(people, outside, attributes),
        )
        for name in options.methods
        if f"{name} test" in arrays
    }


def _fit(case: Case, count: int) -> Iterator[tuple[str, Array]]:
    """Outcomes, and the logits of the networks and of these with experts."""
    import dataclasses
    import tempfile

    import torch

    from emerge_ehr.storage.dataset import load_dataset
    from emerge_ehr.training import devices, inputs, members, methods
    from emerge_ehr.training.patients import joined

    torch.set_num_threads(1)
    config = case.config()
    dataset = load_dataset(config.processed_dir)
    parts = inputs.parts(config, dataset)
    team = members.divided(parts["train"], parts["val"], inputs.persons_trained(config, dataset), count, config.seed)
    both = joined(parts["train"], parts["val"])
    yield "label", both.label[:, 0].double().numpy()
    yield "test_label", parts["test"].label[:, 0].double().numpy()
    with tempfile.TemporaryDirectory() as folder, devices.deterministic(config.seed, accelerator="cpu", on_gpu=False):
        config = dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=Path(folder)))
        fabric = devices.fabric(config.training)
        networks = [methods.fit(config, dataset, one, fabric, {}) for one in team]
        whole = methods.with_experts(config, dataset, both, team, networks, fabric)
        for name, each in (("network", networks), ("network+experts", whole)):
            yield f"{name} outside", methods.held_out(each, team)[:, 0].double().numpy()
            yield f"{name} test", methods.together(each).logits(parts["test"])[:, 0].double().numpy()


def _people(case: Case) -> tuple[NDArray[np.int64], Attributes, Attributes]:
    """The persons of the test split; the groups of the other splits, and of test."""
    from emerge_ehr.storage.dataset import load_dataset, load_patients
    from emerge_ehr.training.results import aligned

    config = case.config()
    dataset = load_dataset(config.processed_dir)
    table = load_patients(config.processed_dir, dataset.patient_id)
    assert table is not None
    outside = aligned([*dataset.split["train"], *dataset.split["val"]], table)
    test = aligned(dataset.split["test"], table)
    return persons(test["subject_id"].to_list()), groups(outside), groups(test)


def scores(label: Array, risk: Array) -> list[float]:
    """The scores, and AURC."""
    everyone = np.ones((1, len(label)))
    found = measure(label, risk, SCORES)(everyone)
    return [*(float(found[name][0]) for name in SCORES), float(Surest(label, risk).aurc(everyone)[0])]


def calibration(every: Mapping[int, Fitted]) -> Iterator[str]:
    """A line per method: the means over the hospitals, and the slopes of each."""
    yield "method        slope   Brier    ECE      AUROC    AURC     slopes of the hospitals"
    for name, method in {"none": None, **METHODS}.items():
        rows = []
        for of in every.values():
            risk = sigmoid(of.test)
            if method is not None:
                found = recalibration.fit(method, of.label, sigmoid(of.outside))
                assert found is not None
                risk = found.apply(risk)
            rows.append(scores(of.test_label, risk))
        slope, *others = np.mean(rows, axis=0)
        slopes = ", ".join(f"{row[0]:.2f}" for row in rows)
        yield f"{name:<13} {slope:.3f}   {'   '.join(f'{value:.4f}' for value in others)}   {slopes}"


def as_a_run(every: Mapping[int, Fitted], coverage: float, wanted: list[str]) -> Iterator[str]:
    """Coverage in test of sets that are fitted out of fold, as a run does it, by the groups ``wanted``."""
    title = f"by outcome and {', '.join(wanted)}" if wanted else "by outcome"
    yield f"sets as a run gives them, {title}: covered   outcome 0   outcome 1   answered   wrong answers"
    for seed, of in every.items():
        by = [conformal.crossed(at, wanted, len(y)) for at, y in ((of.outside_groups, of.label), (of.groups, of.test))]
        sets = conformal.fit(of.label, sigmoid(of.outside), by[0], coverage)
        cells = rates(of.test_label, sets.of(sigmoid(of.test), by[1]))
        yield f"  hospital {seed}: {'   '.join(f'{value:.3f}' for value in cells)}"


def rates(label: Array, possible: conformal.Possible) -> list[float]:
    """The shares covered, of all and of those with either outcome; answered; and wrong among the answers."""
    held, sure = conformal.covered(label, possible), conformal.answered(possible)
    every = (held, held[label == 0], held[label > 0], sure, ~held[sure])
    return [float(values.mean()) for values in every]


def split_again(every: Mapping[int, Fitted], wanted: list[str], options: argparse.Namespace) -> Iterator[str]:
    """Coverage over the splits, in all and in the subgroup where its mean is lowest and highest; by the groups ``wanted``."""
    means: dict[tuple[int, str], list[float]] = {}
    found: list[list[float]] = []
    for seed, of in every.items():
        by, risk = conformal.crossed(of.groups, wanted, len(of.test)), sigmoid(of.test)
        attributes = {**of.groups, **({"together": by} if wanted else {})}
        for split in range(options.splits):
            order = np.random.default_rng([seed, split]).permutation(int(of.persons.max()) + 1)
            fit = np.isin(of.persons, order[: len(order) // 2])
            sets = conformal.fit(of.test_label[fit], risk[fit], by[fit], options.coverage)
            possible, label = sets.of(risk[~fit], by[~fit]), of.test_label[~fit]
            found.append(rates(label, possible))
            held = conformal.covered(label, possible)
            for attribute, column in attributes.items():
                for group in sorted(set(column[~fit].tolist())):
                    rows = column[~fit] == group
                    if rows.sum() >= options.least:
                        means.setdefault((seed, f"{attribute} {group}"), []).append(float(held[rows].mean()))
    title = f"by outcome and {', '.join(wanted)}" if wanted else "by outcome"
    mean, low, high = np.mean(found, axis=0), np.min(found, axis=0), np.max(found, axis=0)
    yield f"sets, split again {options.splits} times, {title}: mean (lowest to highest split)"
    titles = ("covered", "outcome 0", "outcome 1", "answered", "wrong answers")
    for n, name in enumerate(titles):
        yield f"  {name:<14} {mean[n]:.3f} ({low[n]:.3f} to {high[n]:.3f})"
    of_groups = {key: float(np.mean(values)) for key, values in means.items()}
    inside = sum(abs(value - options.coverage) <= 0.02 for value in of_groups.values())
    yield f"  subgroups of at least {options.least}: {inside} of {len(of_groups)} cover {options.coverage:.0%} within 2 points"
    order_of = sorted(of_groups, key=lambda key: of_groups[key])
    for seed, name in [*order_of[:3], *order_of[-2:]]:
        yield f"    hospital {seed}, {name}: {of_groups[seed, name]:.3f}"


if __name__ == "__main__":
    main()
