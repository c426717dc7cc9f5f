"""Patients per second of --stage predict, by step, for a finished run.

    make demo
    python benchmarks/predict.py --run runs/synthetic_mortality

The patients are those of the run itself. Two floors (lower bounds) are measured with it: the model alone on ready arrays, and
``--stage preprocess`` on the same patients (which also fits and writes).
"""

import argparse
import dataclasses
import json
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from emerge_ehr.prediction import donors, predictor, what_if
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.what_if import Told
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.preprocess.inputs.tables import CheckedTables


def main() -> None:
    """Print the time of each step, the floors, and the rates of the service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    ready, loading = timed(lambda: predictor.load(chosen.run, offline=True))
    config = ready.trained.config
    tables, reading = timed(lambda: new_patients.read(config.table_dir, ready.expected))
    patients = tables.cohort.height
    print(f"{patients} patients, {torch.get_num_threads()} threads; the run is loaded in {loading:.1f} s")
    _, whole = timed(lambda: list(ready.answers(tables)))
    shares = {"reading tables": reading, **parts(ready, tables)}
    for name, seconds in shares.items():
        print(f"{name:<44}{seconds:7.2f} s {100 * seconds / sum(shares.values()):5.1f} %")
    print(f"predict, as the stage does it (without tables){whole:6.2f} s {patients / whole:7.1f} patients per second")
    print(f"floor: the model alone {patients / shares['model']:.0f} patients per second")
    with tempfile.TemporaryDirectory() as folder:
        paths = dataclasses.replace(config.paths, processed_dir=Path(folder))
        _, prepared = timed(lambda: preprocess.run(dataclasses.replace(config, paths=paths)))
    print(
        f"floor: stage preprocess {prepared:.2f} s; predict without what-ifs takes "
        f"{sum(seconds for name, seconds in shares.items() if 'without' not in name) / prepared:.2f} times as long"
    )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of ``work`` and the seconds it took."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def parts(ready: Predictor, tables: CheckedTables) -> dict[str, float]:
    """Seconds of each step, summed over all patients."""
    seconds: dict[str, float] = {}
    assert ready.donors is not None and ready.ordinary is not None, "a run, not a model folder"

    def take(name: str, work: Callable[[], Any]) -> Any:
        result, taken = timed(work)
        seconds[name] = seconds.get(name, 0.0) + taken
        return result

    for at in range(0, tables.cohort.height, predictor.BLOCK):
        block = new_patients.part(tables, at, predictor.BLOCK)
        evidence, whole = timed(partial(ready.read, block))
        _, entities = timed(partial(ready.tools.extractor.extract, evidence.notes))
        seconds["entities"] = seconds.get("entities", 0.0) + entities
        rest = "signals, linking, retrieval, summary, audit"
        seconds[rest] = seconds.get(rest, 0.0) + whole - entities
        batch = take("encoding", partial(ready.encode, block, evidence))
        take("model", partial(ready.trained.probability, batch))
        texts = [Told(*pair) for pair in zip(evidence.notes, evidence.records, strict=True)]
        take(
            "risks without each disease",
            partial(what_if.without_diseases, ready.trained, ready.fitted, batch, texts),
        )
        take(
            "risks without each abnormal signal",
            partial(what_if.without_signals, ready.trained, ready.fitted, batch, texts, ready.ordinary),
        )
        take("risks without each modality", partial(donors.without_modalities, ready.trained, batch, ready.donors))
    return seconds


def body(tables: CheckedTables, rows: Any) -> bytes:
    """The request for the patients at ``rows``; measurements are put at the start of their hour."""
    entries = []
    for n in rows:
        sample = tables.cohort.row(n, named=True)
        start = sample["window_start"].replace(microsecond=0)
        hours, features = np.nonzero(~np.isnan(tables.hourly.value[n]))
        entries.append(
            {
                "patient_id": sample["patient_id"],
                "age": sample["age"],
                "sex": sample["sex"],
                "window_start": sample["window_start"].isoformat(),
                "window_end": sample["window_end"].isoformat(),
                "measurements": [
                    {
                        "time": (start + np.timedelta64(int(hour), "h").item()).isoformat(),
                        "code": tables.signals[feature].name,
                        "value": float(tables.hourly.value[n, hour, feature]),
                    }
                    for hour, feature in zip(hours.tolist(), features.tolist(), strict=True)
                ],
                "notes": [
                    {"time": time and time.isoformat(), "type": kind, "text": text}
                    for time, kind, text in tables.notes.filter(pl.col("patient_id") == sample["patient_id"])
                    .select("note_time", "note_type", "text")
                    .rows()
                ],
            }
        )
    return json.dumps({"patients": entries}).encode()


if __name__ == "__main__":
    main()
