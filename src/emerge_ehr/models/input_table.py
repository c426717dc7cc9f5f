"""The inputs of a batch as one table of numbers, for methods that read features rather than series and vectors.

Dimensions: N patients, F features, D1 and D2 widths of note and summary.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import MinLen
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.models import landmarks, window_statistics
from emerge_ehr.models.batch import MODALITIES, Batch

Array = NDArray[np.float64]
Modalities = Annotated[tuple[Literal["ehr", "note", "summary"], ...], MinLen(1)]


def of_batch(batch: Batch, modalities: Sequence[str], steps: Sequence[int] = ()) -> Array:
    """The columns of each of the ``modalities`` [N,D], in the order of ``batch.MODALITIES``.

    ``ehr``: 8F window statistics. ``note``, ``summary``: the D1 or D2 components of the whole text's embedding, NaN where there
    is no text, and a column that is 1 where there is one. With landmarks, at these ``steps``, a first column has the place of
    each sample among them, and counts of measured hours are shares of the window.
    """
    texts = {
        "note": (batch.note_embedding, batch.note_mask),
        "summary": (batch.summary_embedding, batch.summary_mask),
    }
    columns = [
        _text(*texts[name])
        if name in texts
        else window_statistics.of_batch(batch, torch.float64, shares=bool(steps)).cpu().numpy()
        for name in MODALITIES
        if name in modalities
    ]
    at = [landmarks.place(batch.ehr_length, steps)[:, None].double().cpu().numpy()] if steps else []
    return np.concatenate([*at, *columns], axis=1)


def width(modalities: Sequence[str], features: int, note_width: int, summary_width: int) -> int:
    """The number D of columns of ``of_batch`` without landmarks."""
    widths = {
        "ehr": len(window_statistics.STATISTICS) * features,
        "note": note_width + 1,
        "summary": summary_width + 1,
    }
    return sum(widths[name] for name in modalities)


def _text(embedding: Tensor, mask: Tensor) -> Array:
    present = mask.double().cpu().numpy()[:, None]
    return np.concatenate([np.where(present > 0, embedding.double().cpu().numpy(), np.nan), present], axis=1)
