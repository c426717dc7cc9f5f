"""EMERGE: hourly series, clinical note and retrieved summary -> one logit per label (Zhu et al., CIKM 2024).

    ehr, ehr_mask   -> series encoder, statistics -----> states, ehr --+
    note embedding    -> projection --+                                +-> fusion -> head -> logits
    summary embedding -> projection --+-> text fusion -> text ---------+

At token level, the hourly states and the projected pieces of both texts all go into the fusion.

Departures from the original code: there is dropout on the states of the series and, if asked for, on the components of the
embeddings, because small cohorts overfit without it. The mask of measured hours is an input beside the values. The attention has
other keys, and can add what it reads to what asked (``fusion/cross_attention.py``). With ``relevance``, the EHR's representation
also holds the statistics of the window, and these and the components of embeddings are scaled by what they tell
(``relevance.py``). Without it, projected texts are layer-normalised, because encoders differ in scale by a factor of ten and more
(TF-IDF vectors have length one), and have dropout. What a patient lacks is a learned vector, masked as a key. With
``modality_dropout``, modalities are left out at random in training.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from emerge_ehr import components
from emerge_ehr.config import Model, TokenLevel
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models import absence, heads
from emerge_ehr.models.batch import MODALITIES, Batch
from emerge_ehr.models.ehr import Ehr, Statistics
from emerge_ehr.models.fusion import Fusion, Modality
from emerge_ehr.models.relevance import Relevance
from emerge_ehr.models.text_fusion import BOTH
from emerge_ehr.models.texts import PiecesOfTexts, Projection, ScaledProjection, WholeTexts


def build(
    settings: Model,
    *,
    features: int,
    statics: int,
    text_widths: Mapping[str, int],
    labels: int,
    steps: Sequence[int] = (),
) -> "Emerge":
    """The model for so many ``features`` per hour, ``statics``, widths of the text embeddings (note, summary) and ``labels``.

    ``steps``: where the landmarks are, in steps of the series; for each of them the columns are scaled apart. Only the parts that
    ``settings.modalities`` need are made, so that every parameter is trained.
    """
    size = settings.hidden_size
    widths = {name: text_widths[name] for name in texts_read(settings)}
    ehr = _ehr(settings, features, steps) if "ehr" in settings.modalities else None
    texts: WholeTexts | PiecesOfTexts | None
    texts, fusion = _token_level(settings, widths) if reads_pieces(settings) else _whole(settings, widths, steps)
    head = heads.build(settings.head, hidden_size=size, labels=labels, dropout=settings.dropout)
    static = nn.Linear(statics, size) if settings.static else None
    return Emerge(ehr, texts, fusion, static, head, modalities_read(settings), settings.modality_dropout)


def check(settings: Model, token_level: TokenLevel, where: str) -> None:
    """Check that the settings provide every text, or pieces of it, that the model reads; ``where`` begins the error message.

    Raises:
        UserError: a text that the model reads, or its pieces, are left out by another setting.
    """
    try:
        texts = texts_read(settings)
        needed = texts if reads_pieces(settings) else ()
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    for name in needed:
        if not getattr(token_level, f"{name}_chunks"):
            raise UserError(
                f"{where}: model.fusion = '{settings.fusion.name}' needs {name}_chunks above 0 in [token_level]"
            )


def texts_read(settings: Model) -> tuple[str, ...]:
    """The texts among the modalities that ``text_fusion`` reads.

    Raises:
        UserError: it reads none of them.
    """
    texts = [name for name in BOTH if name in settings.modalities]
    fused = _fused(settings)
    read = tuple(name for name in texts if name in fused)
    if texts and not read:
        lacking = " or ".join(f"'{name}'" for name in fused)
        raise UserError(f"model.text_fusion = '{settings.text_fusion.name}' needs {lacking} in model.modalities")
    return read


def modalities_read(settings: Model) -> tuple[str, ...]:
    """The modalities that the model reads, in the order of ``batch.MODALITIES``.

    Raises:
        UserError: as ``texts_read``.
    """
    texts = texts_read(settings)
    return tuple(name for name in MODALITIES if name in texts or (name == "ehr" and name in settings.modalities))


def reads_pieces(settings: Model) -> bool:
    """Whether the model reads ``note_tokens`` and ``summary_tokens`` rather than the embeddings of the whole texts."""
    pieces: bool = components.stated("model.fusion", settings.fusion, "pieces")
    return pieces


def _ehr(settings: Model, features: int, steps: Sequence[int]) -> Ehr:
    """The part that reads ``features`` per hour; a fusion of pieces reads the hours alone, and no vector of the whole series."""
    size, pieces = settings.hidden_size, reads_pieces(settings)
    context = {"hidden_size": size, "heads": settings.heads, "dropout": settings.dropout}
    series = _part("model.series", settings.series, input_size=2 * features, **context)
    scaled = settings.relevance and not pieces
    statistics = Statistics(features, size, settings.text_dropout, steps) if scaled else None
    dropout = 0.0 if settings.plain else settings.dropout
    return Ehr(series, statistics, None if pieces else absence.vector(size), dropout)


def _whole(settings: Model, widths: Mapping[str, int], steps: Sequence[int]) -> tuple[WholeTexts | None, Fusion | None]:
    """The part that makes one vector of the texts, if there are any, and its fusion with the EHR, if the model reads both."""
    if not widths:
        return None, None
    size = settings.hidden_size
    text_fusion = None
    if set(widths) == set(_fused(settings)):
        text_fusion = _part("model.text_fusion", settings.text_fusion, texts=len(widths), hidden_size=size)
    fusion = _fusion(settings, ("ehr", "text")) if "ehr" in settings.modalities else None
    projections = {name: _projection(settings, width, max(1, len(steps))) for name, width in widths.items()}
    return WholeTexts(projections, text_fusion, steps), fusion


def _projection(settings: Model, width: int, landmarks: int) -> nn.Module:
    """The projection of a text's embedding of ``width`` components."""
    size, text_dropout = settings.hidden_size, settings.text_dropout
    if settings.relevance:
        return ScaledProjection(width, size, text_dropout, landmarks)
    return Projection(width, size, text_dropout, settings.dropout, plain=settings.plain)


def _token_level(settings: Model, widths: Mapping[str, int]) -> tuple[PiecesOfTexts | None, Fusion]:
    """The part that makes tokens of the texts' pieces, if there are any, and the fusion of all tokens."""
    texts = PiecesOfTexts(widths, hidden_size=settings.hidden_size, text_dropout=settings.text_dropout)
    names = (*(["ehr"] if "ehr" in settings.modalities else []), *widths)
    return texts if widths else None, _fusion(settings, names)


def _fusion(settings: Model, modalities: tuple[str, ...]) -> Fusion:
    context = {"hidden_size": settings.hidden_size, "heads": settings.heads, "dropout": settings.dropout}
    fusion: Fusion = _part("model.fusion", settings.fusion, modalities=modalities, **context)
    return fusion


def _fused(settings: Model) -> tuple[str, ...]:
    """The texts that the plug of ``text_fusion`` reads, whether or not they are among the modalities."""
    reads: tuple[str, ...] = components.stated("model.text_fusion", settings.text_fusion, "reads")
    return reads


def _part(socket: str, chosen: Component, **context: Any) -> Any:
    """A part of the network, built by the chosen plug.

    Raises:
        TypeError: the plug built something other than a ``torch.nn.Module``, whose weights would not be trained.
    """
    part = components.build(socket, chosen, **context)
    if not isinstance(part, nn.Module):
        raise TypeError(f"{socket}.name = '{chosen.name}': build made a {type(part).__name__}, not a torch.nn.Module")
    return part


@final
class Emerge(nn.Module):
    """The whole model.

    ``ehr`` is None without an EHR, ``texts`` without a text, ``fusion`` where a single modality goes to the head as it is, and
    ``static`` without static features. ``reads`` names the modalities, each of which a training patient lacks with probability
    ``modality_dropout``.
    """

    def __init__(
        self,
        ehr: Ehr | None,
        texts: WholeTexts | PiecesOfTexts | None,
        fusion: Fusion | None,
        static: nn.Linear | None,
        head: nn.Module,
        reads: tuple[str, ...],
        modality_dropout: float,
    ) -> None:
        super().__init__()
        self.ehr = ehr
        self.texts = texts
        self.fusion = fusion
        self.static = static
        self.head = head
        self.reads = reads
        self.modality_dropout = modality_dropout

    def forward(self, batch: Batch, hours: Modality | None = None) -> Tensor:
        """Batch of N -> logits [N,K]. ``hours``: what ``ehr`` returned for these patients, if it was called already."""
        if self.training and self.modality_dropout:
            batch = absence.drop(batch, self.reads, self.modality_dropout)
        representation = self.fuse(self.read(batch, hours))
        if self.static is not None:
            representation = representation + self.static(batch.static)
        logits: Tensor = self.head(representation)
        return logits

    def attention(self, batch: Batch) -> dict[str, Tensor] | None:
        """How much each hour, text or piece of a text counted: modality -> [N,L], as the fusion's ``attention`` describes it.

        None where nothing attends. The model should be in evaluation mode; with dropout the weights are those of one draw.
        """
        with torch.no_grad():
            return None if self.fusion is None else self.fusion.attention(self.read(batch))

    def read(self, batch: Batch, hours: Modality | None = None) -> dict[str, Modality]:
        """Batch of N -> the modalities to fuse: ``ehr``, and ``text`` or (at token level) ``note`` and ``summary``."""
        if hours is not None and not getattr(self.fusion, "reads_shared", False):
            hours = hours.apart()
        modalities = {} if self.ehr is None else {"ehr": hours or self.ehr(batch)}
        return modalities if self.texts is None else modalities | self.texts(batch)

    def fuse(self, modalities: dict[str, Modality]) -> Tensor:
        """Modalities by name -> one representation [N,H]."""
        if self.fusion is not None:
            return self.fusion(modalities)
        (only,) = modalities.values()
        return only.representation

    def relevances(self) -> dict[str, Relevance]:
        """The scaling of each modality's columns (``ehr`` its statistics), to be fitted before training; empty without any."""
        found = {} if self.ehr is None or self.ehr.statistics is None else {"ehr": self.ehr.statistics.relevance}
        if isinstance(self.texts, WholeTexts):
            found |= self.texts.relevances()
        return found
