"""Whether the fitted statistics depend on other than training samples: they are fitted again on these alone, and compared."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emerge_ehr.audit.findings import Finding, judged
from emerge_ehr.fields import plural
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.storage.artefacts import read_json
from emerge_ehr.storage.dataset import Dataset, read_arrays

TOLERANCE = 1e-6  # machines and library versions differ by less; one sample more or less moves a statistic by more


def check(saved: Path, anew: Fitted, dataset: Dataset, hourly: tensors.Hourly) -> list[Finding]:
    """Findings on ``saved``, the folder of fitted statistics that ``preprocess`` wrote, and on the standardised series.

    ``anew`` was fitted on the training samples of the split just now.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "fitted"
        anew.save(folder)
        different = list(_differences(saved, folder))
    wrong = f"not what the training patients alone give: {', '.join(different)}" if different else None
    values, mask = tensors.standardise(hourly, anew.statistics)
    same = np.array_equal(mask, dataset.ehr_mask) and np.allclose(values, dataset.ehr, atol=1e-4)
    return [
        judged("fitted on training patients only", wrong, f"{saved.name}/ compared with a new fit"),
        judged(
            "series standardised by training statistics",
            None if same else "ehr or ehr_mask is not what the tables and the training statistics give",
            plural(len(values), "patient"),
        ),
    ]


def _differences(saved: Path, refitted: Path) -> Iterator[str]:
    """The files, and the arrays in them, in which the folder ``saved`` differs from the folder ``refitted``."""
    for path in sorted(refitted.iterdir()):
        if path.suffix == ".json":
            if read_json(saved / path.name, "preprocess") != read_json(path, "preprocess"):
                yield path.name
            continue
        saved_arrays, new_arrays = read_arrays(saved / path.name, "preprocess"), read_arrays(path, "preprocess")
        for name, array in new_arrays.items():
            kept = saved_arrays.get(name)
            if (
                kept is None
                or kept.shape != array.shape
                or kept.dtype != array.dtype
                or not np.allclose(kept, array, rtol=TOLERANCE, atol=TOLERANCE)
            ):
                yield f"{path.name} ({name})"
