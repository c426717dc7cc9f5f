"""What preprocessing learns from the training patients and applies to all: it is saved with the artefacts and read again for new
patients."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import components, embeddings
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Config
from emerge_ehr.embeddings import FittedEncoder, TextEncoder
from emerge_ehr.embeddings._no_text import NoText
from emerge_ehr.fields import UserError
from emerge_ehr.signals.hourly import Statistics
from emerge_ehr.storage.dataset import read_arrays, write_dataset

ALIKE = 1e-6  # differences in an embedding's components that are rounding errors
SAMPLE = 500  # texts that are looked at
STATISTICS = "statistics.npz"
NOTE, SUMMARY = "note_encoder", "summary_encoder"
STATIC_NAMES = ["age", "sex_f", "sex_m"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Age:
    """Mean and standard deviation of the training patients' ages, in years; 0 and 1 where none is known."""

    mean: float
    std: float


@dataclass(frozen=True)
class Fitted:
    """The statistics of the F features, the ages' scale, and the encoders of the notes and of the summaries."""

    statistics: Statistics
    age: Age
    note: FittedEncoder
    summary: FittedEncoder

    def static(self, cohort: pl.DataFrame) -> NDArray[np.float32]:
        """The static features ``[N, 3]``, columns ``STATIC_NAMES``: standardised age (0 if unknown), female, male."""
        age = (_years(cohort) - self.age.mean) / self.age.std
        sexes = [(cohort["sex"] == sex).fill_null(value=False).to_numpy() for sex in ("F", "M")]
        return np.stack([np.nan_to_num(age), *sexes], axis=1).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write everything that was fitted into ``folder``, which must not exist yet."""
        folder.mkdir()
        statistics = self.statistics
        age = np.array([self.age.mean, self.age.std])
        write_dataset(
            folder / STATISTICS,
            {"mean": statistics.mean, "std": statistics.std, "count": statistics.count, "age_mean_std": age},
        )
        self.note.save(folder, NOTE)
        self.summary.save(folder, SUMMARY)


def encoders(config: Config, pool: Pool) -> dict[str, TextEncoder]:
    """The encoders of "note" and "summary", not yet fitted.

    Raises:
        UserError: the model that they need is missing.
    """
    context = {"seed": config.seed, "cache_dir": config.paths.cache_dir, "pool": pool}
    return {
        kind: components.build("embedding", config.embedding, texts=kind, **context) for kind in ("note", "summary")
    }


def fit(
    statistics: Statistics,
    encoders: Mapping[str, TextEncoder],
    cohort: pl.DataFrame,
    notes: Sequence[str],
    summaries: Sequence[str],
    training: NDArray[np.bool_],
) -> Fitted:
    """Fit everything beside the ``statistics``, on the ``training`` patients [N] alone. ``encoders``: of "note" and "summary"."""
    note = _fit_encoder(encoders["note"], "notes", notes, training)
    summary = _fit_encoder(encoders["summary"], "summaries", summaries, training)
    return Fitted(statistics, fit_age(cohort.filter(training)), note, summary)


def _fit_encoder(encoder: TextEncoder, kind: str, texts: Sequence[str], training: NDArray[np.bool_]) -> FittedEncoder:
    """Fit the encoder on the training patients' texts, and warn if all are alike; without any, take an encoder for no texts."""
    known = [text for text, inside in zip(texts, training, strict=True) if inside and text]
    if not known:
        return NoText()
    fitted = encoder.fit(known)
    looked_at = list(dict.fromkeys(known))[:SAMPLE]
    if len(known) > 1 and np.ptp(fitted.encode(looked_at), axis=0).max() < ALIKE:
        log.warning("the %s of the %d training patients are all alike: they tell a model nothing", kind, len(known))
    return fitted


def fit_age(cohort: pl.DataFrame) -> Age:
    """Mean and standard deviation of the ages in ``cohort``, which holds the training patients.

    >>> fit_age(pl.DataFrame({"age": [50, None, 70]}))
    Age(mean=60.0, std=10.0)
    """
    years = _years(cohort)
    known = years[~np.isnan(years)]
    return Age(float(known.mean()), float(known.std()) or 1.0) if known.size else Age(0.0, 1.0)


def load(folder: Path, cache_dir: Path) -> Fitted:
    """Read what ``Fitted.save`` wrote.

    Raises:
        UserError: a file is missing or damaged, or a model that an encoder needs is missing or has changed.
    """
    arrays = read_arrays(folder / STATISTICS, "preprocess")
    if lost := {"mean", "std", "count", "age_mean_std"} - arrays.keys():
        raise UserError(
            f"{folder / STATISTICS}: no array '{min(lost)}'; run --stage preprocess and --stage train again"
        )
    return Fitted(
        Statistics(arrays["mean"], arrays["std"], arrays["count"]),
        Age(*arrays["age_mean_std"].tolist()),
        embeddings.load(folder, NOTE, cache_dir),
        embeddings.load(folder, SUMMARY, cache_dir),
    )


def _years(cohort: pl.DataFrame) -> NDArray[np.float64]:
    """The ages in years ``[N]``, NaN where unknown."""
    years: NDArray[np.float64] = cohort["age"].cast(pl.Float64).to_numpy()
    return years
