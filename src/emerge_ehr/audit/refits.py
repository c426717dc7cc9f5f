"""Whether what was fitted saw other than training patients: it is fitted anew on these alone, and compared."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emerge_ehr.audit.findings import Finding, judged
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.storage.artefacts import read_json
from emerge_ehr.storage.dataset import Dataset, read_arrays

TOLERANCE = 1e-6  # of machines and library versions; one patient more or less moves a statistic further


def check(saved: Path, anew: Fitted, dataset: Dataset, hourly: tensors.Hourly) -> list[Finding]:
    """``saved``: the folder that ``preprocess`` wrote; ``anew``: fitted on the training patients of the split just now."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "fitted"
        anew.save(folder)
        other = list(_differences(saved, folder))
    named = f"not what the training patients alone give: {', '.join(other)}" if other else None
    values, mask = tensors.standardise(hourly, anew.statistics)
    same = np.array_equal(mask, dataset.ehr_mask) and np.allclose(values, dataset.ehr, atol=1e-4)
    return [
        judged("fitted on training patients only", named, f"{saved.name}/ compared with a new fit"),
        judged(
            "series standardised by training statistics",
            None if same else "ehr or ehr_mask is not what the tables and the training statistics give",
            f"{len(values)} patients",
        ),
    ]


def _differences(saved: Path, anew: Path) -> Iterator[str]:
    for path in sorted(anew.iterdir()):
        if path.suffix == ".json":
            if read_json(saved / path.name, "preprocess") != read_json(path, "preprocess"):
                yield path.name
            continue
        ours, theirs = read_arrays(saved / path.name, "preprocess"), read_arrays(path, "preprocess")
        for name, array in theirs.items():
            kept = ours.get(name)
            if (
                kept is None
                or kept.shape != array.shape
                or kept.dtype != array.dtype
                or not np.allclose(kept, array, rtol=TOLERANCE, atol=TOLERANCE)
            ):
                yield f"{path.name} ({name})"
