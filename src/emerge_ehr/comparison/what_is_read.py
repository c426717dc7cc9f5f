"""Which settings a method reads. Two configs that differ only in other settings train the same model."""

import dataclasses
from collections.abc import Sequence

from emerge_ehr import components, decides
from emerge_ehr.config import Config, Model, Sparsity
from emerge_ehr.models import emerge


def as_read(config: Config) -> Config:
    """The config with the default of every setting that the method does not read, so that two configs are equal if they train the
    same model. Only for comparing, not for running."""
    if config.baseline is None:
        model, reads, pieces = _model(config.model)
    else:
        model, reads, pieces = Model(), components.stated("baseline", config.baseline, "reads"), False
    config = dataclasses.replace(config, model=model, sparsity=_sparsity(config.sparsity, reads))
    parts = {"patients", *reads, *(("pieces",) if pieces else ())}
    return decides.with_defaults(config, lambda said: parts.isdisjoint(said.of))


def _sparsity(rule: Sparsity, reads: Sequence[str]) -> Sparsity:
    """The shares to remove, 0 for inputs that the method does not read; a summary depends on both notes and measurements."""
    notes = rule.notes if {"note", "summary"} & set(reads) else 0.0
    measurements = rule.measurements if {"ehr", "summary"} & set(reads) else 0.0
    splits = rule.splits if notes or measurements else Sparsity.splits
    return Sparsity(rule.patients, notes, measurements, splits)


def _model(settings: Model) -> tuple[Model, tuple[str, ...], bool]:
    """EMERGE's settings with defaults where they are not read, the modalities it reads, and whether it reads pieces of texts."""
    pieces = emerge.reads_pieces(settings)
    texts = emerge.texts_read(settings)
    reads = emerge.modalities_read(settings)
    return (
        dataclasses.replace(
            settings,
            modalities=tuple(name for name in Model.modalities if name in reads),
            series=settings.series if "ehr" in reads else Model.series,
            text_fusion=settings.text_fusion if len(texts) > 1 and not pieces else Model.text_fusion,
            relevance=settings.relevance and not pieces,
            fusion=settings.fusion if pieces or ("ehr" in reads and texts) else Model.fusion,
        ),
        reads,
        pieces,
    )
