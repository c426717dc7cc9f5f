"""Whether a finished run on these artefacts is what it says: its predictions, thresholds and metrics are derived again."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from emerge_ehr.audit.deep import ridge
from emerge_ehr.audit.deep.chance import ERRORS
from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding, judged, told
from emerge_ehr.evaluation import metrics
from emerge_ehr.fields import UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.storage import artefacts, table_files
from emerge_ehr.storage.schema import MANIFEST, PREDICTIONS
from emerge_ehr.training import inputs, loop, members
from emerge_ehr.training import trained as runs
from emerge_ehr.training.trained import Trained

Array = NDArray[np.float64]
SAME = 1e-5  # risks of the same sample in another batch; sums in another order differ by less
ANEW = 5e-3  # risks of the same weights on another machine, or where training computed in half precision
MOST_ASKED = 500  # test samples that are predicted again
ALONE = 32  # samples that are predicted one by one
CONSTANT = 1e-3  # the standard deviation of risks that say the same of everybody
FEWEST = 20  # samples from which that means something
NO_RUN = "no finished run in {}; run --stage train, and audit again"


@dataclass(frozen=True)
class Predicted:
    """The predictions of a run: by split, label by label, samples with their outcome (NaN where undefined) and risk."""

    rows: pl.DataFrame

    def of(self, split: str, label: str) -> pl.DataFrame:
        """The rows of a split and label."""
        return self.rows.filter((pl.col("split") == split) & (pl.col("label_code") == label))

    def known(self, split: str, label: str) -> tuple[Array, Array]:
        """Outcomes and risks of the samples for which the outcome is defined."""
        rows = self.of(split, label).drop_nulls("y_true")
        return rows["y_true"].to_numpy().astype(np.float64), rows["y_prob"].to_numpy().astype(np.float64)


def check(examined: Examined) -> Iterator[Finding]:
    """The findings on the run that the config names, or on that of each seed."""
    folder = examined.config.run_dir
    folders = (
        [folder] if (folder / MANIFEST).is_file() else sorted(path.parent for path in folder.glob(f"seed_*/{MANIFEST}"))
    )
    if not folders:
        yield Finding("the finished run", "skipped", NO_RUN.format(folder))
    for each in folders:
        title = "run" if each == folder else f"run of {each.name}"
        try:
            run = runs.load(each)
        except UserError as error:
            yield Finding(f"the finished {title}", "skipped", str(error))
            continue
        if run.config.processed_dir.resolve() != examined.config.processed_dir.resolve():
            yield Finding(f"the finished {title}", "skipped", f"{each} was trained on {run.config.processed_dir}")
            continue
        predicted = Predicted(table_files.read_table(each, PREDICTIONS))
        yield _split(examined, title, run, predicted)
        yield from _anew(examined, title, run, predicted)
        yield _figures(title, run, predicted)
        yield _validation(examined, title, run)
        yield _telling(title, run, predicted)


def _split(examined: Examined, title: str, run: Trained, predicted: Predicted) -> Finding:
    """Whether the samples of each split, and their outcomes, are those of the artefacts."""
    dataset, wrong = examined.dataset, []
    outcome, defined = run.reported.outcomes(dataset.label, dataset.label_mask)
    for column, label in enumerate(run.label_names):
        for split in ("val", "test"):
            rows = predicted.of(split, label)
            if set(rows["patient_id"]) != set(dataset.split[split]):
                wrong.append(f"{split} has other samples than split.json")
                continue
            order = {patient: row for row, patient in enumerate(dataset.patient_id.tolist())}
            at = [order[patient] for patient in rows["patient_id"]]
            here = np.where(defined[at, column], outcome[at, column], -1)
            if not np.array_equal(rows["y_true"].fill_null(-1).to_numpy(), here):
                wrong.append(f"{split} has other outcomes of {label} than the artefacts")
    return judged(
        f"{title}: samples of its splits", told(wrong) if wrong else None, "those of split.json, with their outcomes"
    )


def _anew(examined: Examined, title: str, run: Trained, predicted: Predicted) -> Iterator[Finding]:
    """Whether the run's model gives its predictions again, in any order and any batch."""
    rng = examined.generator("orders")
    everyone = inputs.mapped(examined.dataset, "test")
    rows = np.sort(rng.permutation(len(everyone))[:MOST_ASKED])
    batch = everyone.select(torch.from_numpy(rows))
    logits, uncalibrated = run.of_members(batch), dataclasses.replace(run, maps=())
    together = uncalibrated.together(logits)
    apart = spread(uncalibrated, batch, together, rng)
    check = f"{title}: the same in other orders and batches"
    wrong = f"risks of test samples differ by up to {apart:.2g} with the order and the batch" if apart > SAME else None
    yield judged(check, wrong, f"risks of {len(batch)} test samples differ by at most {apart:.1g}")
    yield _unknown(uncalibrated, batch, together, title, rng)
    names, first = run.label_names, pl.DataFrame({"patient_id": [examined.dataset.split["test"][row] for row in rows]})
    kept = [
        first.join(predicted.of("test", name), on="patient_id", how="left", maintain_order="left")["y_prob"]
        for name in names
    ]
    told_risks = np.stack([column.fill_null(np.inf).to_numpy() for column in kept], axis=1)
    # a calibrated risk may lie on a step of its map, so that the last digits decide which side it is told from
    near = np.stack([run.together(logits + moved) for moved in (-SAME, 0.0, SAME)])
    low, high = near.min(axis=0), near.max(axis=0)
    off = np.maximum(low - told_risks, told_risks - high).max()
    wrong = f"risks in {PREDICTIONS.file} differ from the model's by up to {off:.2g}" if off > ANEW else None
    yield judged(f"{title}: predictions are the model's", wrong, f"{len(batch)} test samples predicted again")


def _unknown(run: Trained, batch: Batch, together: Array, title: str, rng: np.random.Generator) -> Finding:
    """Whether risks stay as they are when the outcomes are others, and the hours after the window."""
    after = (torch.arange(batch.ehr.shape[1])[None, :] >= batch.ehr_length[:, None])[:, :, None]
    noise = torch.from_numpy(rng.normal(size=batch.ehr.shape).astype(np.float32))
    others = {
        "outcomes": {"label": 1 - batch.label},
        "hours after the window": {"ehr": torch.where(after, noise, batch.ehr)},
    }
    read = [
        name
        for name, changed in others.items()
        if np.abs(run.probability(dataclasses.replace(batch, **changed)) - together).max() > SAME
    ]
    wrong = f"risks change with the samples' own {' and '.join(read)}" if read else None
    return judged(
        f"{title}: reads nothing that it must not know", wrong, "outcomes and hours after the window were changed"
    )


def spread(run: Trained, batch: Batch, together: Array, rng: np.random.Generator) -> float:
    """By how much risks differ from ``together`` [N,K] in reverse, in a random order, in halves, and one by one."""
    count = len(batch)
    shuffled = rng.permutation(count)
    halves = np.array_split(shuffled, 2) if count > 1 else [shuffled]
    alone = [np.array([row]) for row in shuffled[:ALONE]]
    orders: Sequence[NDArray[np.int64]] = [np.arange(count)[::-1].copy(), shuffled, *halves, *alone]
    differences = [
        np.abs(run.probability(batch.select(torch.from_numpy(rows))) - together[rows]).max() for rows in orders
    ]
    return float(max(differences))


def _figures(title: str, run: Trained, predicted: Predicted) -> Finding:
    """Whether thresholds are those of validation, and AUROC that of the predictions."""
    found, wrong = artefacts.read_json(run.run_dir / "metrics.json", "train"), []
    for label in run.label_names:
        threshold = metrics.best_threshold(*predicted.known("val", label))
        kept = found["thresholds"][label]["value"]
        if threshold is not None and not np.isclose(threshold, kept, atol=1e-9):
            wrong.append(f"the threshold of {label}, {kept:.3f}, is not that of validation, {threshold:.3f}")
        area = metrics.point(metrics.auroc, *predicted.known("test", label))
        told_area = found["splits"]["test"][label]["metrics"]["auroc"]["value"]
        if (area is None) != (told_area is None) or (area is not None and not np.isclose(area, told_area, atol=1e-9)):
            wrong.append(f"the AUROC of {label} in test is not that of {PREDICTIONS.file}")
    check = f"{title}: figures follow from its predictions"
    return judged(check, told(wrong) if wrong else None, "thresholds from validation, AUROC from test")


def _validation(examined: Examined, title: str, run: Trained) -> Finding:
    """Whether each network was stopped on validation samples: its best epoch has their AUROC and AUPRC in the history."""
    check, config = f"{title}: stopped on validation", run.config
    networks = [member for member in run.members if isinstance(member, nn.Module)]
    if not networks:
        return Finding(check, "passed", "the method was not trained in epochs")
    parts = inputs.parts(config, run.dataset)
    persons = inputs.persons_trained(config, run.dataset)
    team = members.divided(parts["train"], parts["val"], persons, len(run.members), config.seed)
    history = pl.read_csv(run.run_dir / "history.csv", glob=False)
    chosen = artefacts.read_json(run.run_dir / "metrics.json", "train")
    best = chosen.get("best_epoch_of_members") or [chosen["best_epoch"]]
    for network, member, epoch in zip(networks, team, best, strict=True):
        logits = loop.predict(network, member.validation, config.training.batch_size).double().cpu().numpy()
        label, mask = member.validation.label.cpu().numpy(), member.validation.label_mask.cpu().numpy() > 0
        row = history.filter((pl.col("member") == member.number) & (pl.col("epoch") == epoch))
        for title_of, metric, column in (("AUROC", metrics.auroc, "val_auroc"), ("AUPRC", metrics.auprc, "val_auprc")):
            each = [
                metrics.point(metric, label[rows, k].astype(np.float64), logits[rows, k])
                for k, rows in enumerate(mask.T)
            ]
            defined = [value for value in each if value is not None]
            recorded = row[column][0] if row.height else None
            if defined and (recorded is None or abs(float(np.mean(defined)) - float(recorded)) > ANEW):
                said = "none" if recorded is None else f"{float(recorded):.3f}"
                has = f"member {member.number} has {title_of} {np.mean(defined):.3f} on its validation samples"
                return Finding(check, "failed", f"{has}, its history says {said}: other samples ended its training")
    return Finding(check, "passed", f"best epochs of {len(networks)} members judged again")


def _telling(title: str, run: Trained, predicted: Predicted) -> Finding:
    """Whether the predictions say anything, and in the right direction."""
    wrong = []
    for label in run.label_names:
        outcome, risk = predicted.known("test", label)
        if len(risk) < FEWEST or len(np.unique(outcome)) < 2:
            continue
        area, error = ridge.area(outcome, risk), ridge.chance(int(outcome.sum()), int((1 - outcome).sum()))
        if risk.std() < CONSTANT:
            wrong.append(f"the risk of {label} is {risk.mean():.3f} for everybody")
        elif area < 0.5 - ERRORS * error:
            wrong.append(f"the risk of {label} is the higher the less often it happens: AUROC {area:.3f}")
    check = f"{title}: predictions tell samples apart"
    return judged(check, told(wrong) if wrong else None, "risks differ, and in the right direction")
