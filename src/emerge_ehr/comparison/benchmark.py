"""Stage benchmark: a grid of runs -> runs/<grid>/, a folder a run, with the tidy results, a table as in papers, and plots.

What runs share is made once (``preparation.py``); runs train side by side (``workers.py``). Started again, it trains what is
missing, failed, or has changed. docs/benchmark.md describes the grid's file and what is written.
"""

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.comparison import folder as grid_folder
from emerge_ehr.comparison import marks, plots, preparation, ray_workers, results, table
from emerge_ehr.comparison.grid import Grid, load
from emerge_ehr.comparison.points import Point, points, run_name
from emerge_ehr.comparison.preparation import Preparation
from emerge_ehr.comparison.results import Run
from emerge_ehr.comparison.workers import Job, run_all
from emerge_ehr.fields import UserError
from emerge_ehr.progress import bar, beside_logs
from emerge_ehr.storage import artefacts, publishing

log = logging.getLogger(__name__)


def run(config: Path, dry_run: bool, offline: bool) -> None:
    """Train the grid at ``config``, write its results, print its table; or print what would be done.

    Raises:
        UserError: the grid is not valid, or another process runs it; at the end, if runs failed, with each one's line.
    """
    grid = load(config)
    found = points(grid, config)
    folder = grid_folder.RUNS / grid.name
    grid_folder.refuse_others(folder, config)
    runs = [_run(grid, point, seed, offline) for point in found for seed in grid.seeds]
    shared = preparation.needed([one.config for one in runs])
    if dry_run:
        print(*_plan(grid, runs, shared), sep="\n")
        return
    artefacts.require_writable(folder)
    with grid_folder.held(folder):
        grid_folder.claim(folder, config)
        failed = preparation.prepare(shared)
        runs = [dataclasses.replace(one, failed=failed.get(one.config.processed_dir)) for one in runs]
        runs = _train(runs, grid, _workers(grid, found))
        print(_publish(grid, runs, folder))
        grid_folder.tell_strangers(folder, [one.config.run_dir for one in runs])
    if lost := [f"{one.name}: {one.failed}" for one in runs if one.failed is not None]:
        raise UserError(
            f"{len(lost)} of {len(runs)} runs failed; {folder}/results.csv has all others: " + "; ".join(lost)
        )


def _run(grid: Grid, point: Point, seed: int, offline: bool) -> Run:
    """With the folders of the grid; the seed is the training's, data and split are those of the config's own."""
    config = preparation.placed(dataclasses.replace(point.config, offline=offline or point.config.offline))
    run_dir = grid_folder.RUNS / grid.name / point.folder / f"seed_{seed}"
    paths = dataclasses.replace(config.paths, run_dir=run_dir)
    return Run(point, seed, dataclasses.replace(config, run_name=run_name(grid, point), paths=paths))


def _train(runs: Sequence[Run], grid: Grid, workers: int) -> list[Run]:
    """The runs, each finished or marked as failed. Those that have ended before are not trained again."""
    inputs: dict[Path, dict[str, str]] = {}
    todo = {one.name: one for one in runs if one.failed is None and not results.ended(one, inputs)}
    failed = {one.name: one.failed for one in runs if one.failed is not None}
    log.info("%d runs, of which %d have ended before", len(runs), len(runs) - len(todo))
    with beside_logs(), bar(title="runs", unit="run", total=len(todo)) as shown:

        def done(job: Job, failure: str | None) -> None:
            if failure is not None:
                failed[job.name] = failure
                log.error("%s: %s", job.name, failure)
            shown.update()

        for compute in dict.fromkeys(one.config.compute for one in todo.values()):
            jobs = [Job(name, one.trained) for name, one in todo.items() if one.config.compute == compute]
            if compute.backend == "ray":
                room = dataclasses.replace(compute, workers=grid.workers or compute.workers)
                ray_workers.run_all(jobs, room, done)
            else:
                log.info("%d runs at a time", workers)
                run_all(jobs, workers, done)
    return [dataclasses.replace(one, failed=failed.get(one.name)) for one in runs]


def _publish(grid: Grid, runs: Sequence[Run], folder: Path) -> str:
    """Write what ``runs/<grid>/`` holds beside the runs; the table as text."""
    frame = results.tidy(grid, runs)
    compared = marks.compare(grid, runs)
    lines = table.build(grid, runs, frame, compared)
    with publishing.publish(folder) as incoming:
        frame.write_csv(incoming / "results.csv")
        frame.write_parquet(incoming / "results.parquet")
        pl.DataFrame(marks.records(compared), schema=marks.SCHEMA).write_csv(incoming / "comparisons.csv")
        (incoming / "table.md").write_text(table.markdown(lines), "utf-8")
        (incoming / "table.tex").write_text(table.latex(lines, folder.name), "utf-8")
        plots.draw(grid, runs, frame, incoming)
        written = {path.name for path in incoming.iterdir()}
    grid_folder.remove_old(folder, written)
    return f"{table.markdown(lines)}\nresults: {folder}"


def _plan(grid: Grid, runs: Sequence[Run], shared: Sequence[Preparation]) -> Iterator[str]:
    """What ``--dry-run`` prints: the shared artefacts with the runs that read them."""
    inputs: dict[Path, dict[str, str]] = {}
    tables = {one.config.table_dir for one in shared}
    yield f"{grid.name}: {len(runs)} runs; tables: {len(tables)}, preprocessed: {len(shared)}"
    for one in shared:
        state = f"to do: {', '.join(one.missing)}" if one.missing else "there already"
        yield f"{one.folder} of {one.config.table_dir} ({state})"
        for own in (run for run in runs if run.config.processed_dir == one.folder):
            ended = not one.missing and results.ended(own, inputs)
            yield f"  {own.name}{' (ended already)' if ended else ''}"


def _workers(grid: Grid, found: Sequence[Point]) -> int:
    """How many runs at a time: as the grid says, or one a core, or one where a GPU would be shared."""
    if grid.workers:
        return grid.workers
    import torch

    gpu = torch.cuda.is_available() and any(point.config.training.accelerator in ("auto", "cuda") for point in found)
    return 1 if gpu else len(os.sched_getaffinity(0))
