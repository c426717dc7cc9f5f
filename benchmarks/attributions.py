"""Which attribution tells what moved the true risk: deletion, attention or gradients (docs/attributions.md).

    python -m benchmarks.attributions --seeds 1 2
    python -m benchmarks.attributions --seeds 1 --interactions 1.6

All are judged on the diseases and abnormal signals that the summaries of the test split cite, with the runs of
``benchmarks.evidence`` (trained unless they are there).

*Deletion*: the change in log-odds by deleting it, as ``predict`` and the report do; of the whole model, with its experts, and of
the networks alone. *Gradient*: the gradient of the networks' log-odds times what the deletion changes in their inputs, which is
the deletion to first order. (Integrated along the way from the one input to the other, it is the deletion itself, by the
completeness of Sundararajan et al. 2017.) Trees have no gradient. *Attention*: the weights of note and summary, times the shares
of their characters that are deleted, plus those of the hours at which the signal is abnormal. It has no sign.

*First*: how often the one with the largest attribution is planted, among patients with planted ones and others. *By chance*: the
same for a random one. *Planted or not*: AUROC of its size over all patients. *Sign*: agreement with the truth of those planted.
*Rank*: Spearman's correlation with the true change, of those planted. *Where agreed*: 0 where the members disagree on the
direction, as nothing is shown there; the signs are those of the others.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.evidence import Deletion, Tested, arguments, changed, cited, correlation, tested, tried
from emerge_ehr.evaluation import metrics
from emerge_ehr.models.batch import Batch

Array = NDArray[np.float64]
READ = ("ehr", "ehr_mask", "note_embedding", "summary_embedding")


def main() -> None:
    """Print a row per attribution."""
    options = arguments(__doc__)
    hospitals = [tested(seed, options) for seed in options.seeds]
    found: dict[str, list[Array]] = {}
    seconds: dict[str, float] = {}
    patients, true, patient = 0, [], []
    for one in hospitals:
        kinds = cited(one)
        for name, attribution in ATTRIBUTIONS.items():
            began = time.perf_counter()
            found.setdefault(name, []).extend(attribution(one, deletions) for deletions in kinds.values())
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
        for deletions in kinds.values():
            true.append(np.array([deletion.true for deletion in deletions]))
            patient.append(np.array([patients + deletion.patient for deletion in deletions]))
        patients += len(one.told)
    print(f"{'':<28}{'first':>7}{'by chance':>11}{'planted or not':>16}{'sign':>7}{'rank':>7}{'ms per patient':>16}")
    for name, values in found.items():
        cells = judged(np.concatenate(values), np.concatenate(true), np.concatenate(patient), options.planted)
        print(f"{name:<28}{cells}{1000 * seconds[name] / patients:>16.1f}", flush=True)


def deletion(one: Tested, deletions: Sequence[Deletion]) -> Array:
    """The change [D] in log-odds by what each of the deletions takes."""
    found: Array = tried(one, deletions, "").change.mean(axis=0)
    return found


def shown(one: Tested, deletions: Sequence[Deletion]) -> Array:
    """As ``deletion``; 0 where the members do not agree on the direction, and the report shows nothing."""
    each = tried(one, deletions, "").change
    found: Array = np.where((np.sign(each) == np.sign(each[:1])).all(axis=0), each.mean(axis=0), 0.0)
    return found


def of_networks(one: Tested, deletions: Sequence[Deletion]) -> Array:
    """As ``deletion``, without the experts."""
    return deletion(dataclasses.replace(one, trained=dataclasses.replace(one.trained, experts=())), deletions)


def gradient(one: Tested, deletions: Sequence[Deletion]) -> Array:
    """Gradient of the networks' log-odds times the change of their inputs [D]."""
    slopes = gradients(one)
    patient = torch.tensor([deletion.patient for deletion in deletions])
    total = torch.zeros(len(deletions), dtype=torch.float64)
    without, own = changed(one, deletions), one.batch.select(patient)
    for name, slope in slopes.items():
        change = (getattr(own, name) - getattr(without, name)) * slope[patient]
        total += change.double().flatten(1).sum(dim=1)
    return total.numpy()


def gradients(one: Tested) -> Mapping[str, torch.Tensor]:
    """Of each input the gradient of the mean of the networks' log-odds; 0 where a statistic has none (a single hour's spread)."""
    inputs = {name: getattr(one.batch, name).clone().requires_grad_() for name in READ}
    batch: Batch = dataclasses.replace(one.batch, **inputs)
    networks = [member for member in one.trained.members if isinstance(member, torch.nn.Module)]
    logits = torch.stack([network(batch)[:, 0] for network in networks]).mean(dim=0)
    slopes = torch.autograd.grad(logits.sum(), list(inputs.values()))
    return {name: slope.nan_to_num(0.0, 0.0, 0.0) for name, slope in zip(inputs, slopes, strict=True)}


def attention(one: Tested, deletions: Sequence[Deletion]) -> Array:
    """The networks' attention to what is deleted [D]."""
    weights = one.trained.attention(one.batch)
    assert weights is not None
    threshold = one.trained.config.abnormal.threshold
    beyond = (one.batch.ehr.abs() > threshold).numpy() & (one.batch.ehr_mask > 0).numpy()
    column = {feature["name"]: f for f, feature in enumerate(one.trained.dataset.metadata["features"])}
    found = np.zeros(len(deletions))
    for at, deletion in enumerate(deletions):
        n, told = deletion.patient, one.told[deletion.patient]
        for place, (before, after) in enumerate(
            ((told.notes, deletion.notes), (told.record.summary, deletion.summary)), 1
        ):
            if before and after is not None:
                found[at] += weights["text"][n, place] * (1 - len(after) / len(before))
        if deletion.code is not None:
            found[at] += weights["ehr"][n][beyond[n, :, column[deletion.code]]].sum()
    return found


ATTRIBUTIONS: dict[str, Callable[[Tested, Sequence[Deletion]], Array]] = {
    "deletion": deletion,
    "deletion, where agreed": shown,
    "deletion, networks alone": of_networks,
    "gradient, networks alone": gradient,
    "attention, networks alone": attention,
}


def judged(value: Array, true: Array, patient: NDArray[np.int64], least: float) -> str:
    """The cells of a row but the last."""
    planted, clear = np.abs(true) >= least, (np.abs(true) >= least) | (true == 0)
    first, chance = [], []
    for n in np.unique(patient[clear]):
        own = np.flatnonzero(clear & (patient == n))
        if 0 < planted[own].sum() < len(own):
            first.append(planted[own[np.abs(value[own]).argmax()]])
            chance.append(planted[own].mean())
    apart = metrics.point(metrics.auroc, planted[clear].astype(np.float64), np.abs(value[clear]))
    signed, told = (value < 0).any(), planted & (value != 0)
    sign = f"{100 * (np.sign(value) == np.sign(true))[told].mean():.1f} %" if signed else "none"
    rank = f"{correlation(value[planted], true[planted]):.2f}" if signed else ""
    return f"{100 * np.mean(first):>5.1f} %{100 * np.mean(chance):>9.1f} %{apart:>16.3f}{sign:>7}{rank:>7}"


if __name__ == "__main__":
    main()
