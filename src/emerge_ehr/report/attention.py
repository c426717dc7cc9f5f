"""Where the model's attention went, hour by hour and between the texts, as figures of a patient's view."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.models.batch import Batch
from emerge_ehr.report import series
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import moment


@dataclass(frozen=True)
class Looked:
    """Where the model's attention went. ``hours``: a bar per hour as x, width, share of the greatest weight, title.
    ``hours_share``: the sum of the hours' weights. ``texts``: the texts' names and weights."""

    hours: tuple[tuple[float, float, float, str], ...]
    hours_share: float
    texts: tuple[tuple[str, float], ...]


def looked(material: Material, batch: Batch) -> list[Looked | None]:
    """The attention of each patient; None where the method has none."""
    attention = material.trained.attention(batch)
    if attention is None:
        return [None] * len(batch)
    bin_hours = material.config.cohort.bin_hours
    return [
        _one_looked({name: weights[n] for name, weights in attention.items()}, bin_hours) for n in range(len(batch))
    ]


def _one_looked(weights: Mapping[str, NDArray[np.float32]], bin_hours: int) -> Looked:
    hours = weights.get("ehr", np.zeros(0, np.float32))
    width = series.WIDTH / max(1, len(hours))
    greatest = float(hours.max()) if hours.size and hours.max() > 0 else 1.0
    bars = tuple(
        (
            round(hour * width, 2),
            round(width, 2),
            round(float(weight) / greatest, 2),
            f"{moment(hour, bin_hours)}: {weight:.3f}",
        )
        for hour, weight in enumerate(hours)
    )
    texts: list[tuple[str, float]] = []
    for name, text_weights in weights.items():
        if name == "text":
            titles = ("note and summary fused", "note", "summary") if len(text_weights) == 3 else ("text",)
            texts += [(title, float(weight)) for title, weight in zip(titles, text_weights, strict=True)]
        elif name != "ehr":
            texts.append((f"{name}, all pieces", float(text_weights.sum())))
    return Looked(bars, float(hours.sum()), tuple(texts))
