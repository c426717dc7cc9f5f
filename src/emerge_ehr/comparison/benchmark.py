"""Stage benchmark: a grid of runs -> runs/<grid>/ with a folder per run, the tidy results, a table as in papers, and plots.

What runs share is made once (``preparation.py``); runs train side by side (``workers.py``). When the stage is started again, it
trains only the runs that are missing, failed or have changed. docs/benchmark.md describes the grid's file and what is written.
"""

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr import privacy
from emerge_ehr.comparison import folder as grid_folder
from emerge_ehr.comparison import marks, plots, preparation, ray_workers, results, table
from emerge_ehr.comparison.grid import Grid, load
from emerge_ehr.comparison.points import Point, points, run_name
from emerge_ehr.comparison.preparation import Preparation
from emerge_ehr.comparison.results import GridRun
from emerge_ehr.comparison.workers import Job, run_all
from emerge_ehr.fields import UserError
from emerge_ehr.progress import bar, beside_logs
from emerge_ehr.storage import artefacts, publishing, spreadsheet

log = logging.getLogger(__name__)


def run(config: Path, dry_run: bool, offline: bool) -> None:
    """Train the grid at ``config``, write its results and print its table; with ``dry_run`` only print what would be done.

    Raises:
        UserError: the grid is not valid, or another process runs it; or, after the results are written, runs failed: the message
            says why for each of them.
    """
    grid = load(config)
    grid_points = points(grid, config)
    folder = grid_folder.RUNS / grid.name
    grid_folder.refuse_others(folder, config)
    runs = [_run(grid, point, seed, offline) for point in grid_points for seed in grid.seeds]
    shared = preparation.needed([each_run.config for each_run in runs])
    if dry_run:
        print(*_plan(grid, runs, shared), sep="\n")
        return
    artefacts.require_writable(folder)
    with grid_folder.held(folder):
        grid_folder.claim(folder, config)
        failed = preparation.prepare(shared)
        runs = [dataclasses.replace(each_run, failed=failed.get(each_run.config.processed_dir)) for each_run in runs]
        runs = _train(runs, grid, _workers(grid, grid_points))
        kept = [each_run.config for each_run in runs if privacy.credentialed(each_run.config)]
        with privacy.owner_only([*kept, runs[0].config][0]):
            print(_publish(grid, runs, folder))
        grid_folder.tell_strangers(folder, [each_run.config.run_dir for each_run in runs])
    if failures := [f"{each_run.name}: {each_run.failed}" for each_run in runs if each_run.failed is not None]:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed; {folder}/results.csv has all others: " + "; ".join(failures)
        )


def _run(grid: Grid, point: Point, seed: int, offline: bool) -> GridRun:
    """A point's run with one training seed, in the grid's folders; data and split keep the seed of the config."""
    config = preparation.placed(dataclasses.replace(point.config, offline=offline or point.config.offline))
    run_dir = grid_folder.RUNS / grid.name / point.folder / f"seed_{seed}"
    paths = dataclasses.replace(config.paths, run_dir=run_dir)
    return GridRun(point, seed, dataclasses.replace(config, run_name=run_name(grid, point), paths=paths))


def _train(runs: Sequence[GridRun], grid: Grid, workers: int) -> list[GridRun]:
    """Train the runs that have not ended before. Returns all runs, those that failed marked so."""
    inputs: dict[Path, dict[str, str]] = {}
    todo = {
        each_run.name: each_run for each_run in runs if each_run.failed is None and not results.ended(each_run, inputs)
    }
    failed = {each_run.name: each_run.failed for each_run in runs if each_run.failed is not None}
    log.info("%d runs, of which %d have ended before", len(runs), len(runs) - len(todo))
    with beside_logs(), bar(title="runs", unit="run", total=len(todo)) as shown:

        def done(job: Job, failure: str | None) -> None:
            if failure is not None:
                failed[job.name] = failure
                log.error("%s: %s", job.name, failure)
            shown.update()

        for compute in dict.fromkeys(each_run.config.compute for each_run in todo.values()):
            jobs = [
                Job(name, each_run.trained) for name, each_run in todo.items() if each_run.config.compute == compute
            ]
            if compute.backend == "ray":
                room = dataclasses.replace(compute, workers=grid.workers or compute.workers)
                ray_workers.run_all(jobs, room, done)
            else:
                log.info("%d runs at a time", workers)
                run_all(jobs, workers, done)
    return [dataclasses.replace(each_run, failed=failed.get(each_run.name)) for each_run in runs]


def _publish(grid: Grid, runs: Sequence[GridRun], folder: Path) -> str:
    """Write what ``runs/<grid>/`` holds beside the runs. Returns the table and the folder as text to print."""
    frame = results.tidy(grid, runs)
    compared = marks.compare(grid, runs)
    lines = table.build(grid, runs, frame, compared)
    with publishing.publish(folder) as incoming:
        spreadsheet.safe_texts(frame).write_csv(incoming / "results.csv")
        frame.write_parquet(incoming / "results.parquet")
        comparisons = pl.DataFrame(marks.records(compared), schema=marks.SCHEMA)
        spreadsheet.safe_texts(comparisons).write_csv(incoming / "comparisons.csv")
        (incoming / "table.md").write_text(table.markdown(lines), "utf-8")
        (incoming / "table.tex").write_text(table.latex(lines, folder.name), "utf-8")
        plots.draw(grid, runs, frame, incoming)
        written = {path.name for path in incoming.iterdir()}
    grid_folder.remove_old(folder, written)
    return f"{table.markdown(lines)}\nresults: {folder}"


def _plan(grid: Grid, runs: Sequence[GridRun], shared: Sequence[Preparation]) -> Iterator[str]:
    """Yield the lines that ``--dry-run`` prints: each set of shared artefacts with the runs that read it."""
    inputs: dict[Path, dict[str, str]] = {}
    tables = {artefact_set.config.table_dir for artefact_set in shared}
    yield f"{grid.name}: {len(runs)} runs; tables: {len(tables)}, preprocessed: {len(shared)}"
    for artefact_set in shared:
        state = f"to do: {', '.join(artefact_set.missing)}" if artefact_set.missing else "there already"
        yield f"{artefact_set.folder} of {artefact_set.config.table_dir} ({state})"
        for reader in (run for run in runs if run.config.processed_dir == artefact_set.folder):
            ended = not artefact_set.missing and results.ended(reader, inputs)
            yield f"  {reader.name}{' (ended already)' if ended else ''}"


def _workers(grid: Grid, grid_points: Sequence[Point]) -> int:
    """How many runs to train at a time: what the grid says, else one per core, or one where they would share a GPU."""
    if grid.workers:
        return grid.workers
    import torch

    gpu = torch.cuda.is_available() and any(
        point.config.training.accelerator in ("auto", "cuda") for point in grid_points
    )
    return 1 if gpu else len(os.sched_getaffinity(0))
