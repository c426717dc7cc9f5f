"""Several training seeds on the same data and split: a config per run, and the mean and standard deviation of the metrics."""

import dataclasses
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emerge_ehr.config import Config
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.schema import MANIFEST, RUN_FILES, SOME_RUN_FILES
from emerge_ehr.training import horizons, results, tables

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Spread:
    """One metric over the seeds, of which ``seeds`` counts those where it is defined.

    ``std`` is the sample standard deviation (n - 1), None for a single seed; ``low`` and ``high`` are the extremes.
    """

    split: str
    label_code: str
    metric: str
    mean: float
    std: float | None
    low: float
    high: float
    seeds: int


def configs(config: Config) -> list[Config]:
    """The config itself or, with ``seeds``, one config per seed, each with its own run folder inside ``run_dir``."""
    if not config.seeds:
        return [config]
    return [
        dataclasses.replace(
            config, seed=seed, paths=dataclasses.replace(config.paths, run_dir=config.run_dir / f"seed_{seed}")
        )
        for seed in config.seeds
    ]


def spreads(evaluated: Mapping[int, dict[str, Any]]) -> list[Spread]:
    """The spread over the seeds of every metric, for every split and label. ``evaluated``: seed -> its metrics.json."""
    return list(_spreads([results.flat(metrics) for metrics in evaluated.values()]))


def _spreads(runs: list[dict[str, float]]) -> Iterator[Spread]:
    for key in dict.fromkeys(key for run in runs for key in run):
        values = np.array([run[key] for run in runs if key in run])
        split, label, metric = key.split("/")
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        yield Spread(
            split, label, metric, float(values.mean()), std, float(values.min()), float(values.max()), len(values)
        )


def publish(run_dir: Path, evaluated: Mapping[int, dict[str, Any]]) -> str:
    """Write ``seeds.csv`` and ``seeds.json`` into ``run_dir`` and return them as a table to print; remove a single run there."""
    rows = spreads(evaluated)
    if (run_dir / MANIFEST).is_file():
        logger.info("%s: a single run there before is replaced by those of the seeds", run_dir)
        shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
        publishing.remove_others(run_dir, "fold_*", [])
        for name in (*RUN_FILES, *SOME_RUN_FILES):
            (run_dir / name).unlink(missing_ok=True)
    with publishing.publish(run_dir) as folder:
        results.write_csv(folder / "seeds.csv", Spread, [dataclasses.astuple(row) for row in rows])
        by_seed = {str(seed): results.flat(metrics) for seed, metrics in evaluated.items()}
        artefacts.write_json(folder / "seeds.json", {"seeds": list(evaluated), "metrics": by_seed})
    return table(rows)


def table(rows: list[Spread]) -> str:
    """Mean ± standard deviation as aligned text, a row for each split and label."""
    lines = [["split", "label", "seeds", *tables.names(tables.RANKING)]]
    in_time = [["split", "seeds", *horizons.PRINTED.values()]]
    for split, label in dict.fromkeys((row.split, row.label_code) for row in rows):
        by_metric = {row.metric: row for row in rows if (row.split, row.label_code) == (split, label)}
        seeds = str(max(row.seeds for row in by_metric.values()))
        if label == results.IN_TIME:
            in_time.append([split, seeds, *(_cell(by_metric.get(key)) for key in horizons.PRINTED)])
        else:
            cells = [_cell(by_metric.get(metric.key)) for metric in tables.RANKING]
            lines.append([split, label, seeds, *cells])
    return "\n".join(
        [
            *tables.aligned(lines),
            *(["over all horizons", *tables.aligned(in_time)] if len(in_time) > 1 else []),
            "(mean ± standard deviation over training seeds, on one split; seeds.csv has every metric)",
        ]
    )


def _cell(row: Spread | None) -> str:
    if row is None:
        return "undefined"
    return f"{row.mean:.3f}" + ("" if row.std is None else f" ± {row.std:.3f}")
