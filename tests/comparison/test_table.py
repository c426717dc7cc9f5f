"""The table's numbers and marks against plain loops, and what LaTeX makes of odd names."""

import itertools
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr.comparison import marks, plots, results, table
from emerge_ehr.comparison.grid import Grid
from emerge_ehr.comparison.marks import ReferenceComparison
from emerge_ehr.comparison.points import ANY, Combination, Point
from emerge_ehr.config import Config, Paths
from emerge_ehr.fields import Component

METHODS = ("EMERGE", "GRU & co_1", "rest|50 %")
SEEDS = (1, 2, 3)
NONE = {f"removed_{kind}": 0.0 for kind in ("patients", "notes", "measurements")}


def made(seeds: tuple[int, ...] = SEEDS, failed: str | None = None) -> tuple[Grid, list[results.GridRun], pl.DataFrame]:
    """Three methods in two columns; the third is the same in both."""
    axes = {"method": {name: {} for name in METHODS}, "task": {"death": {}, "return": {}}}
    grid = Grid(seeds=seeds, axes=axes, columns=("task",), metrics=("auroc", "f1"))
    base = Config(dataset="d", run_name="r", paths=Paths(raw_dir=Path("raw")), source=Component("synthetic"))
    alone = [Combination({"method": m, "task": t}) for m in METHODS for t in ("death", "return")]
    points = [Point(one.values, base, (one,)) for one in alone[:4]]
    points.append(Point({"method": METHODS[2], "task": ANY}, base, tuple(alone[4:])))
    generator = np.random.default_rng(0)
    runs, rows = [], []
    for point, seed in itertools.product(points, seeds):
        folder = f"runs/g/{point.folder}/seed_{seed}"
        config = Config(**{**vars(base), "paths": Paths(raw_dir=Path("raw"), run_dir=Path(folder))})
        lost = failed if (point.values["method"], seed) == (METHODS[0], seeds[-1]) else None
        runs.append(results.GridRun(point, seed, config, lost))
        for split, metric in itertools.product(("val", "test"), ("auroc", "f1", "brier")) if lost is None else ():
            value = float(generator.uniform(0.5, 1))
            rows.append(
                {
                    **point.values,
                    **NONE,
                    "seed": seed,
                    "split": split,
                    "label": "y",
                    "metric": metric,
                    "value": value,
                    "run": folder,
                }
            )
    return grid, runs, pl.DataFrame(rows)


def compared(row: str, column: str, p: float | None) -> ReferenceComparison:
    return ReferenceComparison(column, "y", "auroc", row, "EMERGE", -0.1, -0.2, 0.0, p, None, None)


def test_mean_deviation_and_bold_are_those_of_a_plain_loop() -> None:
    grid, runs, frame = made()
    built = table.build(grid, runs, frame, [])
    assert built.headings == [
        ("death", "y", "auroc"),
        ("death", "y", "f1"),
        ("return", "y", "auroc"),
        ("return", "y", "f1"),
    ]
    for n, (task, _, metric) in enumerate(built.headings):
        means = {}
        for method in METHODS:
            own = [
                100 * row["value"]
                for row in frame.iter_rows(named=True)
                if row["method"] == method
                and row["task"] in (task, "any")
                and row["metric"] == metric
                and row["split"] == "test"
            ]
            cell = built.cells[method][n]
            assert cell.seeds == 3 and cell.mean == pytest.approx(sum(own) / 3, abs=1e-12)
            assert cell.std == pytest.approx(statistics.stdev(own), abs=1e-12)
            means[method] = round(sum(own) / 3, 1)
        assert [method for method in METHODS if built.cells[method][n].best] == [
            method for method in METHODS if means[method] == max(means.values())
        ]


def test_equal_as_printed_are_both_bold_and_one_seed_has_no_deviation() -> None:
    grid, runs, frame = made(seeds=(1,))
    level = frame.with_columns(pl.when(pl.col("method") == METHODS[1]).then(0.7001).otherwise(0.7002).alias("value"))
    text = table.markdown(table.build(grid, runs, level, []))
    assert text.count("**70.0**") == 12 and "± " not in text.splitlines()[2] and "one training seed" in text


def test_a_failed_run_is_left_out_and_the_caption_says_so() -> None:
    grid, runs, frame = made(failed="no memory")
    built = table.build(grid, runs, frame, [])
    assert built.cells["EMERGE"][0].seeds == 2 and "2 of 15 runs failed" in built.caption
    nothing = table.build(grid, runs, frame.filter(pl.col("method") != "EMERGE"), [])
    assert nothing.cells["EMERGE"][0].mean is None and "| EMERGE | – |" in table.markdown(nothing)


def test_latex_is_balanced_escaped_and_marks_the_significant_cells() -> None:
    grid, runs, frame = made()
    tested = marks.adjusted([compared(METHODS[1], "death", 0.001), compared(METHODS[2], "death", 0.2)])
    text = table.latex(table.build(grid, runs, frame, tested), "my_grid")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert [line.count(" & ") for line in body] == [4, 4, 4] and all(line.endswith(r" \\") for line in body)
    assert body[1].startswith(r"GRU \& co\_1 & ") and body[2].startswith(r"rest|50 \% & ")
    assert body[1].split(" & ")[1].endswith("$^{*}$") and sum(line.count("$^{*}$") for line in body) == 1
    assert text.count("{") == text.count("}") and text.count("$") % 2 == 0
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert r"\begin{tabular}{lcccc}" in text and text.count(r"\multicolumn{2}{c}") == 2
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in text
    assert "±" not in text and "p $<$ 0.05" in text
    assert r"| rest\|50 % |" in table.markdown(table.build(grid, runs, frame, tested))


@pytest.mark.parametrize("seed", range(20))
def test_holms_correction_is_its_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = [float(generator.choice([0.001, 0.01, 0.02, 0.04, 0.5, 1.0])) for _ in range(generator.integers(1, 8))]
    family = [compared(f"r{n}", "c", p) for n, p in enumerate(values)] + [compared("untested", "c", None)]
    found = {one.row: one.adjusted for one in marks.adjusted(family)}
    assert found.pop("untested") is None
    for n, p in enumerate(values):
        before = [(q, k) for k, q in enumerate(values) if (q, k) <= (p, n)]
        expected = max(min(1.0, q * sum((r, j) >= (q, k) for j, r in enumerate(values))) for q, k in before)
        assert found[f"r{n}"] == pytest.approx(expected)


def write_run(run: results.GridRun, subject: list[str], truth: list[int], risk: list[float]) -> results.GridRun:
    """Predictions and persons as the stages leave them."""
    assert run.config.paths.run_dir is not None
    processed = Path("processed")
    processed.mkdir(exist_ok=True)
    names = [str(n) for n in range(len(truth))]
    pl.DataFrame({"patient_id": names, "subject_id": subject}).with_columns(
        **{name: pl.lit(None, pl.String) for name in ("age", "sex", "ethnicity", "icu_type")}
    ).write_csv(processed / "patients.csv")
    run.config.run_dir.mkdir(parents=True)
    row = {"patient_id": names, "split": "test", "label_code": "y", "y_true": truth, "y_prob": risk}
    pl.DataFrame(row).write_csv(run.config.run_dir / "predictions.csv")
    paths = Paths(raw_dir=Path("raw"), run_dir=run.config.run_dir, processed_dir=processed)
    return results.GridRun(run.point, run.seed, Config(**{**vars(run.config), "paths": paths}))


def test_a_clearly_worse_row_is_marked_an_equal_one_is_not_and_other_patients_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid, runs, _ = made(seeds=(1, 2))
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, 200).tolist()
    subject = [f"s{n // 2}" for n in range(200)]
    written = []
    for run in runs:
        method, task = run.point.values["method"], run.point.values["task"]
        good = np.array(truth) + generator.normal(0, 0.5, 200)
        risk = good if method != METHODS[1] else generator.normal(0, 1, 200)
        outcome = [1 - value for value in truth] if (method, task) == (METHODS[1], "return") else truth
        written.append(write_run(run, subject, outcome, (1 / (1 + np.exp(-risk))).tolist()))
    found = {(one.column, one.row): one for one in marks.compare(grid, written)}
    assert len(found) == 4 and {one.metric for one in found.values()} == {"auroc"}  # f1 has no test
    assert found["death", METHODS[1]].significant and not found["death", METHODS[2]].significant
    assert found["return", METHODS[1]].reason == "tested on other patients" and found["return", METHODS[1]].p is None
    assert found["death", METHODS[1]].adjusted == pytest.approx(min(1, 2 * found["death", METHODS[1]].p))


def without_notes(runs: list[results.GridRun], frame: pl.DataFrame) -> tuple[list[results.GridRun], pl.DataFrame]:
    """The runs again, with half of the notes removed."""
    again = []
    for run in runs:
        own = tuple(Combination(one.values, ("notes", 0.5)) for one in run.point.combinations)
        paths = Paths(raw_dir=Path("raw"), run_dir=Path(f"{run.config.run_dir}_less"))
        config = Config(**{**vars(run.config), "paths": paths})
        again.append(results.GridRun(Point(run.point.values, config, own), run.seed, config))
    return again, frame.with_columns(pl.col("run") + "_less", pl.lit(0.5).alias("removed_notes"))


def test_plots_have_the_same_bytes_each_time_and_show_what_varies(tmp_path: Path) -> None:
    grid, runs, frame = made()
    thinned, less = without_notes(runs, frame)
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        plots.draw(grid, [*runs, *thinned], pl.concat([frame, less]), folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["ablation.png", "ablation.svg", "sparsity_notes.png", "sparsity_notes.svg"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert "<svg" in (tmp_path / "a/ablation.svg").read_text()


def test_a_run_that_reads_no_notes_is_drawn_at_every_share_of_them() -> None:
    """Its line is flat, and it is no part of the other column."""
    grid, runs, frame = made(seeds=(1,))
    first, *others = runs
    alone = first.point.combinations[0]
    flat = (alone, Combination(alone.values, ("notes", 0.5)))
    runs = [results.GridRun(Point(alone.values, first.config, flat), first.seed, first.config), *others]
    shown = plots._test(grid, runs, frame).filter((pl.col("row") == METHODS[0]) & (pl.col("metric") == "auroc"))
    own = shown.filter(pl.col("column") == "death")
    assert own["removed_notes"].to_list() == [0.0, 0.5] and own["value"].n_unique() == 1
    assert shown.filter(pl.col("column") == "return")["removed_notes"].to_list() == [0.0]


def test_a_column_named_any_holds_its_own_runs_only() -> None:
    base = Config(dataset="d", run_name="r", paths=Paths(raw_dir=Path("raw")), source=Component("synthetic"))
    grid = Grid(seeds=(1,), axes={"task": {ANY: {}, "other": {}}}, columns=("task",), metrics=("auroc",))
    runs, values = [], []
    for name, value in ((ANY, 0.7), ("other", 0.8)):
        config = Config(**{**vars(base), "paths": Paths(raw_dir=Path("raw"), run_dir=Path(name))})
        alone = Combination({"task": name})
        runs.append(results.GridRun(Point(alone.values, config, (alone,)), 1, config))
        head = {"task": name, **NONE, "seed": 1, "split": "test", "label": "y", "metric": "auroc"}
        values.append({**head, "value": value, "run": name})
    frame = pl.DataFrame(values)
    assert [cell.mean for cell in table.build(grid, runs, frame, []).cells["all"]] == pytest.approx([70.0, 80.0])
    assert plots._test(grid, runs, frame).select("column", "value").rows() == [(ANY, 70.0), ("other", 80.0)]


def test_of_brier_and_ece_the_lowest_is_bold_and_of_the_slope_none() -> None:
    grid, runs, frame = made(seeds=(1,))
    grid = replace(grid, metrics=("brier", "ece", "calibration_slope"))
    parts = [
        frame.filter(pl.col("metric") == "brier").with_columns(pl.lit(one).alias("metric")) for one in grid.metrics
    ]
    built = table.build(grid, runs, pl.concat(parts), [])
    for n, (*_, metric) in enumerate(built.headings):
        cells = [built.cells[method][n] for method in METHODS]
        lowest = [round(cell.mean or 0, 1) == min(round(one.mean or 0, 1) for one in cells) for cell in cells]
        assert [cell.best for cell in cells] == ([False] * 3 if metric == "calibration_slope" else lowest)
    slopes = [row for row in frame.iter_rows(named=True) if (row["metric"], row["split"]) == ("brier", "test")]
    text = table.markdown(built)
    assert f"{slopes[0]['value']:.2f}" in text.splitlines()[2].split(" | ")[3]
    below = [part.with_columns(-pl.col("value")) for part in parts]
    assert " & $-$0." in table.latex(table.build(grid, runs, pl.concat(below), []), "g")
    assert "in percent (calibration slope as it is)" in text and "(of Brier and ECE the lowest)" in text


def test_more_rows_with_data_removed_change_no_mark_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid, runs, frame = made(seeds=(1,))
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 120).tolist()
    subject = [str(n) for n in range(120)]

    def written(run: results.GridRun) -> results.GridRun:
        return write_run(run, subject, truth, generator.uniform(0, 1, 120).tolist())

    whole = [written(run) for run in runs]
    thinned = [written(run) for run in without_notes(runs, frame)[0]]
    before = marks.compare(grid, whole)
    after = marks.compare(grid, [*whole, *thinned])
    assert [one for one in after if "notes" not in one.row] == before
    assert len(after) == len(before) + 2 * 3 and all(one.adjusted is not None for one in after)


def test_a_reference_that_is_one_with_another_value_is_their_common_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid, runs, _ = made(seeds=(1,))
    both = (Combination({"method": "A"}), Combination({"method": "B"}))
    other = (Combination({"method": "C"}),)
    grid = replace(grid, axes={"method": {name: {} for name in "ABC"}}, columns=(), reference="B")
    truth, subject = [0, 1] * 20, [str(n) for n in range(40)]
    written = []
    for run, values, own in ((runs[0], "A or B", both), (runs[1], "C", other)):
        point = Point({"method": values}, run.config, own)
        risk = np.random.default_rng(1).uniform(0, 1, 40).tolist()
        written.append(write_run(results.GridRun(point, 1, run.config), subject, truth, risk))
    (found,) = marks.compare(grid, written)
    assert (found.row, found.reference) == ("C", "A or B")
