"""M3Care: missing modalities are filled in from similar patients (Zhang et al., KDD 2022, doi 10.1145/3534678.3539388).

Inputs: ehr and, by ``texts``, note or summary or both. With h_m a patient's representation by modality m:

    similarity   S(i,j) = mean over the modalities both have of ((1 - e_m) k(p_m(h_i), p_m(h_j)) + e_m) k(h_i, h_j),
                 k a sum of three Gaussians around the mean distance, p_m a three-layer network, e_m learned;
                 pairs at or below a learned threshold are dropped
    auxiliary    two graph convolutions a_m over the patients who have m, weighted by S
    imputation   a_m for patients who lack m, else w a_m + (1 - w) h_m with learned, normalised weights
    interaction  two transformer layers (4 heads, then 1) over the modalities, then a two-layer classifier

This follows the paper's abstract and public re-implementations of its code; the paper's full text was not at hand. Departures: a
text is one fixed embedding and so one token; there is no loss that stabilises p_m, since the training loop has one loss; the
weights of a patient's neighbours sum to 1, since otherwise sums would grow with the number of candidates; a patient is not its
own neighbour; there is no batch normalisation before the Gaussians; the threshold starts at 0.4, not 0.88 (on the default
synthetic data a patient then has 13 neighbours in a batch of 256; at 0.5 three patients in five have none). The original looks
for neighbours in the same batch also when it predicts; here they are training patients remembered from the last steps, so that
a prediction depends on its patient only.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, final

import torch
from annotated_types import Ge, Lt, MinLen
from torch import Tensor, nn

from emerge_ehr.fields import Fraction, Positive, UserError, refuse_repeated
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import values_and_mask
from emerge_ehr.models.patient_memory import PatientMemory
from emerge_ehr.models.recurrent import Recurrent


@dataclass(frozen=True)
class Options:
    """The texts that it reads; width, a multiple of 4; dropout of the layers.

    ``memory``: how many training patients it remembers as neighbours. ``threshold``: the similarity above which patients are
    neighbours at the start of training.
    """

    texts: Annotated[tuple[Literal["note", "summary"], ...], MinLen(1)] = ("note",)
    hidden_size: Positive = 128
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    memory: Positive = 512
    threshold: Fraction = 0.4

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities that the method reads."""
        return ("ehr", *self.texts)


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    """An M3Care network for ``sizes``; ``seed`` is not used.

    Raises:
        UserError: the width is not a multiple of 4, or a text is named twice.
    """
    if options.hidden_size % 4:
        raise UserError("[baseline] name = 'm3care': hidden_size must be a multiple of 4")
    refuse_repeated(options.texts, "[baseline] name = 'm3care': texts")
    return M3Care(options, sizes)


class Patients(NamedTuple):
    """Representations ``hidden`` [N,M,H] of N patients by M modalities, zero where ``present`` [N,M] is 0."""

    hidden: Tensor
    present: Tensor


@final
class M3Care(nn.Module):
    """The network. In training, neighbours are the other patients of the batch; later, the remembered ones.

    For a patient without neighbours the auxiliary information is 0.
    """

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        width, modalities = options.hidden_size, 1 + len(options.texts)
        widths = {"note": sizes.note_width, "summary": sizes.summary_width}
        self.series = Recurrent(nn.GRU(2 * sizes.features, width, batch_first=True))
        self.texts = nn.ModuleDict({name: nn.Linear(widths[name], width) for name in options.texts})
        self.dropout = nn.Dropout(options.dropout)
        self.similarity = Similarity(modalities, width, options.threshold)
        self.graphs = nn.ModuleList([Neighbourhood(width) for _ in range(modalities)])
        self.own_weight = nn.ModuleList([nn.Linear(width, 1) for _ in range(modalities)])
        self.other_weight = nn.ModuleList([nn.Linear(width, 1) for _ in range(modalities)])
        self.kind = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.interaction = nn.ModuleList(
            [nn.TransformerEncoderLayer(width, heads, 4 * width, options.dropout, batch_first=True) for heads in (4, 1)]
        )
        self.hidden = nn.Linear(modalities * width, 2 * width)
        self.head = nn.Linear(2 * width, sizes.labels)
        self.memory = PatientMemory(options.memory, modalities * (width + 1))

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        patients = self.represent(batch)
        tokens = self.complete(patients, self.candidates(patients)) + self.kind
        if self.training:
            self.memory.remember(torch.cat([patients.hidden.flatten(1), patients.present], dim=1))
        for layer in self.interaction:
            tokens = layer(tokens).relu()
        logits: Tensor = self.head(self.dropout(self.hidden(tokens.flatten(1)).relu()))
        return logits

    def represent(self, batch: Batch) -> Patients:
        """Batch of N -> the representation of each patient by each modality."""
        _, last = self.series(values_and_mask(batch), batch.ehr_length)
        hidden, present = [last], [torch.ones_like(batch.note_mask)]
        for name, projection in self.texts.items():
            has_text = batch.note_mask if name == "note" else batch.summary_mask
            embedding = batch.note_embedding if name == "note" else batch.summary_embedding
            hidden.append(torch.where(has_text[:, None] > 0, projection(embedding).relu(), 0.0))
            present.append(has_text)
        return Patients(torch.stack(hidden, dim=1), torch.stack(present, dim=1))

    def candidates(self, patients: Patients) -> Patients:
        """The possible neighbours [C,M,H]: in training the batch, later the memory (in its empty slots nothing is present)."""
        if self.training:
            return patients
        modalities = patients.present.shape[1]
        vectors = self.memory.vectors
        hidden = vectors[:, :-modalities].view(len(vectors), modalities, -1)
        return Patients(hidden, vectors[:, -modalities:])

    def complete(self, patients: Patients, candidates: Patients) -> Tensor:
        """Representations [N,M,H] with the auxiliary information mixed in, and in place of what is missing."""
        among = self.similarity(candidates, candidates).fill_diagonal_(0)
        near = among if self.training else self.similarity(patients, candidates)
        completed = []
        for column, graph in enumerate(self.graphs):
            hidden, present = patients.hidden[:, column], patients.present[:, column, None]
            auxiliary = graph(near, among, candidates.hidden[:, column], candidates.present[:, column])
            weights = [self.own_weight[column](hidden).sigmoid(), self.other_weight[column](auxiliary).sigmoid()]
            mixed = (weights[0] * hidden + weights[1] * auxiliary) / (weights[0] + weights[1])
            completed.append(torch.where(present > 0, mixed, auxiliary))
        return torch.stack(completed, dim=1)


@final
class Similarity(nn.Module):
    """S(i,j) of patients i and candidates j, zero at or below the threshold."""

    def __init__(self, modalities: int, width: int, threshold: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            [
                nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(width, width), nn.ReLU())))
                for _ in range(modalities)
            ]
        )
        self.mixing = nn.Parameter(torch.zeros(modalities))
        self.threshold = nn.Parameter(torch.tensor(threshold).logit())

    def forward(self, patients: Patients, candidates: Patients) -> Tensor:
        """Patients [N,M,H], candidates [C,M,H] -> [N,C]."""
        total = patients.hidden.new_zeros(len(patients.hidden), len(candidates.hidden))
        for column, network in enumerate(self.networks):
            has = candidates.present[:, column]
            left, right = patients.hidden[:, column], candidates.hidden[:, column]
            deep = gaussians(network(left), network(right), has)
            share = self.mixing[column].sigmoid()
            kernel = ((1 - share) * deep + share) * gaussians(left, right, has)
            total = total + kernel * (patients.present[:, column, None] * has)
        score = total / (patients.present @ candidates.present.T).clamp(min=1)
        # Similarities above the threshold keep their value, but the gradient is that of the excess, so that the threshold learns.
        threshold = self.threshold.sigmoid()
        excess = (score - threshold).relu()
        return excess + (excess > 0) * threshold.detach()


def gaussians(left: Tensor, right: Tensor, has: Tensor) -> Tensor:
    """Mean of three Gaussian kernels [N,C] of left [N,H] and right [C,H].

    Their widths are half, once and twice the mean squared distance among the ``right`` that ``has`` [C] marks.
    """
    with torch.autocast(left.device.type, enabled=False):  # differences of large sums need full precision
        left, right, count = left.float(), right.float(), has.sum()
        with torch.no_grad():
            centre = (right * has[:, None]).sum(dim=0) / count.clamp(min=1)
            spread = (((right - centre) ** 2).sum(dim=1) * has).sum()
            width = 2 * spread / (count - 1).clamp(min=1)  # the mean over pairs of two different candidates
            width = torch.where(width > 1e-3, width, 1.0)
        left, right = left - centre, right - centre
        squares = left.square().sum(dim=1)[:, None] + right.square().sum(dim=1)
        distance = (squares - 2 * left @ right.T).clamp(min=0)
        return torch.stack([torch.exp(-distance / (width * scale)) for scale in (0.5, 1.0, 2.0)]).mean(dim=0)


@final
class Neighbourhood(nn.Module):
    """Two graph convolutions: weighted means of the neighbours who have the modality, each projected (Kipf and Welling 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, near: Tensor, among: Tensor, hidden: Tensor, has: Tensor) -> Tensor:
        """Weights near [N,C] and among [C,C], hidden [C,H] of those who ``has`` [C] marks -> [N,H], 0 without neighbours."""
        inner = _mean(among * has, self.first(hidden)).relu()
        return _mean(near * has, self.second(inner)).relu()


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    total = weights.sum(dim=1, keepdim=True)
    return weights @ values / total.clamp(min=1e-6)
