"""The charts of a run: discrimination, calibration and net benefit on the test split, and the course of training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.evaluation import bands, curves, survival
from emerge_ehr.evaluation.bands import Band
from emerge_ehr.evaluation.resampling import Persons, Sampling
from emerge_ehr.report import figures
from emerge_ehr.report.figures import Chart, PlottedLine

THRESHOLDS = np.linspace(0.01, 0.99, 99)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpreadChart:
    """How risks are spread over 20 equal steps, for patients with the outcome (``yes``) and without (``no``): each bar's height,
    relative to the highest, and its title. ``highest``: the share of its group that the highest bar stands for."""

    yes: tuple[tuple[float, str], ...]
    no: tuple[tuple[float, str], ...]
    highest: float


def spread(label: Array, probability: Array) -> SpreadChart | None:
    """The chart of outcomes [N] and risks [N]; None if only one outcome occurs."""
    if len(np.unique(label)) < 2:
        return None
    steps = np.linspace(0, 1, 21)
    counts = [np.histogram(probability[label == value], steps)[0] for value in (1, 0)]
    highest = max(float((group_counts / group_counts.sum()).max()) for group_counts in counts)
    yes, no = (
        tuple(
            (
                round(float(count / group_counts.sum()) / highest, 3),
                f"{count} of {group_counts.sum()} with a risk of {at} to {at + 5} %",
            )
            for count, at in zip(group_counts, range(0, 100, 5), strict=True)
        )
        for group_counts in counts
    )
    return SpreadChart(yes, no, highest)


def evaluation(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> list[Chart]:
    """ROC, precision and recall, calibration and decision curve of outcomes [N] and risks [N] of ``persons`` [N]; undefined
    charts are left out."""
    charts = [
        _roc(label, probability, persons, sampling),
        _precision_recall(label, probability, persons, sampling),
        _calibration(label, probability),
        _decision(label, probability, persons, sampling),
    ]
    return [chart for chart in charts if chart is not None]


def _roc(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> Chart | None:
    curve = curves.roc(label, probability)
    if curve is None:
        return None
    x, y = figures.share_axis("1 − specificity"), figures.share_axis("sensitivity")
    words = "sensitivity {y:.2f} at specificity {x:.2f}"
    lines = (
        *_band((x, y), bands.roc(label, probability, persons, sampling)),
        figures.line("chance", "reference", (x, y), [0, 1], [0, 1]),
        _curve("model", (x, y), curve.false_positive_rate, curve.sensitivity, (1 - curve.false_positive_rate, words)),
    )
    return Chart("ROC", "How many with the outcome are found, against how many false alarms that costs.", x, y, lines)


def _precision_recall(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> Chart | None:
    curve = curves.precision_recall(label, probability)
    if curve is None:
        return None
    x, y = figures.share_axis("sensitivity (recall)"), figures.share_axis("precision")
    share = float(label.mean())
    words = "precision {y:.2f} at sensitivity {x:.2f}"
    lines = (
        *_band((x, y), bands.precision_recall(label, probability, persons, sampling)),
        figures.line(f"chance ({share:.2f})", "reference", (x, y), [0, 1], [share, share]),
        _curve("model", (x, y), curve.recall, curve.precision, (curve.recall, words)),
    )
    return Chart("Precision and recall", "How many of the alarms are right, as more patients are found.", x, y, lines)


def _calibration(label: Array, probability: Array) -> Chart | None:
    tenths = curves.reliability(label, probability)
    if not len(tenths.patients):
        return None
    x, y = figures.share_axis("predicted risk"), figures.share_axis("observed share")
    marks = [
        f"{patients:.0f} patients, predicted {predicted:.2f}, observed {observed:.2f} ({low:.2f} to {high:.2f})"
        for patients, predicted, observed, low, high in zip(
            tenths.patients, tenths.predicted, tenths.observed, tenths.low, tenths.high, strict=True
        )
    ]
    bars = "".join(
        f"M{figures.across(x, predicted):g} {figures.up(y, low):g}V{figures.up(y, high):g}"
        for predicted, low, high in zip(tenths.predicted, tenths.low, tenths.high, strict=True)
    )
    lines = (
        figures.line("perfect", "reference", (x, y), [0, 1], [0, 1]),
        PlottedLine("95 % interval", "interval", bars),
        figures.line("model, tenths of the patients", "model points", (x, y), tenths.predicted, tenths.observed, marks),
    )
    words = (
        "Whether of patients with a risk of 30 % about 30 in 100 have the outcome. Over all of them the mean risk is "
        f"{probability.mean():.3f}, and the share with the outcome {label.mean():.3f}."
    )
    return Chart("Calibration", words, x, y, lines)


def _decision(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> Chart | None:
    curve = curves.decision_curve(label, probability, THRESHOLDS)
    if curve is None:
        return None
    share = float(label.mean())
    x = figures.share_axis("threshold probability")
    y = figures.axis("net benefit", [-0.05 * (share or 1), max(share, float(curve.model.max()))])
    inside = curve.treat_all >= y.low
    words = "net benefit {y:.3f} at threshold {x:.2f}"
    lines = (
        *_band((x, y), bands.net_benefit(label, probability, THRESHOLDS, persons, sampling)),
        figures.line("treat nobody", "reference", (x, y), [0, 1], [0, 0]),
        figures.line("treat all", "other", (x, y), curve.threshold[inside], curve.treat_all[inside]),
        _curve("model", (x, y), curve.threshold, np.maximum(curve.model, y.low), (curve.threshold, words)),
    )
    title = "What acting on the model gains over treating all or nobody, by the risk at which one would act."
    return Chart("Decision curve", title, x, y, lines)


def _band(axes: tuple[figures.Axis, figures.Axis], band: Band | None) -> list[PlottedLine]:
    """The pointwise interval of a curve as an area; empty where there is none."""
    if band is None:
        return []
    return [figures.area("95 % interval", "interval area", axes, band.at, band.low, band.high)]


def training(history: pl.DataFrame, best_epoch: int | None) -> list[Chart]:
    """The charts of losses and validation metrics by epoch; none for a method that is not trained in epochs.

    Of several members, each has a line of its validation loss and one of its AUROC.
    """
    if not history.height:
        return []
    members = history.partition_by("member", maintain_order=True)
    epochs = history["epoch"].to_numpy()
    x = figures.axis("epoch", epochs, [1])
    loss = figures.axis("loss", _of(history, "train_loss", "val_loss"))
    score = figures.axis("score", _of(history, "val_auroc", "val_auprc"), within=(0, 1))
    losses = {"training": "train_loss", "validation": "val_loss"}
    scores = {"AUROC, validation": "val_auroc", "AUPRC, validation": "val_auprc"}
    if len(members) > 1:
        losses, scores = {"validation": "val_loss"}, {"AUROC, validation": "val_auroc"}
    return [
        _by_epoch(members, "Loss", "Cross-entropy after each epoch.", (x, loss), losses, best_epoch),
        _by_epoch(members, "Validation", "How well validation patients are ranked.", (x, score), scores, best_epoch),
    ]


def incidence(label: Array, risk: Array, horizons: Sequence[float]) -> Chart | None:
    """Predicted and observed cumulative incidence [N,H] by the ``horizons`` [H] (hours), in thirds of the risk by the last one.

    None where the outcomes have no time, or fewer samples than thirds.
    """
    thirds = survival.thirds(label, risk) if len(horizons) else []
    if not thirds:
        return None
    days = np.array([0.0, *horizons]) / 24
    highest = max(float(max(third.predicted[-1], third.observed[-1])) for third in thirds)
    axes = figures.axis("days after the prediction", days), figures.axis("share who died", [0, highest], within=(0, 1))
    lines = []
    for name, third in zip(("lowest", "middle", "highest"), thirds, strict=True):
        for kind, style, shares in (
            ("predicted", "other points", third.predicted),
            ("observed", "model points", third.observed),
        ):
            values = np.array([0.0, *shares])
            marks = [
                f"{name} third, {kind} by day {day:g}: {value:.3f} of {third.patients}"
                for day, value in zip(days, values, strict=True)
            ]
            lines.append(figures.line(f"{name} third, {kind}", style, axes, days, values, marks))
    told = (
        "Death in hospital by day, predicted and observed (Aalen–Johansen), in thirds of the risk by the last horizon."
    )
    return Chart("Cumulative incidence", told, *axes, tuple(lines))


def _of(history: pl.DataFrame, *columns: str) -> Array:
    return np.concatenate([history[name].to_numpy() for name in columns])


def _by_epoch(
    members: Sequence[pl.DataFrame],
    title: str,
    description: str,
    axes: tuple[figures.Axis, figures.Axis],
    columns: dict[str, str],
    best: int | None,
) -> Chart:
    x, y = axes
    lines = (
        [] if best is None else [figures.line(f"best epoch ({best})", "reference", axes, [best, best], [y.low, y.high])]
    )
    styles = ("other points", "model points")[-len(columns) :]
    for number, history in enumerate(members, 1):
        epochs = history["epoch"].to_numpy()
        for style, (name, column) in zip(styles, columns.items(), strict=True):
            values, whose = history[column].to_numpy(), f", member {number}" if len(members) > 1 else ""
            marks = [f"epoch {epoch:.0f}{whose}: {value:.3f}" for epoch, value in zip(epochs, values, strict=True)]
            lines.append(figures.line(name + whose, style, axes, epochs, values, marks))
    return Chart(title, description, x, y, tuple(lines))


def _curve(
    name: str, axes: tuple[figures.Axis, figures.Axis], x: Array, y: Array, hover: tuple[Array, str]
) -> PlottedLine:
    """A long curve with titles at a dozen points. ``hover``: the x values to fill into the title, and the title's words."""
    drawn = figures.line(name, "model", axes, x, y)
    marks: Sequence[tuple[int, str]] = figures.hovered(hover[0], y, hover[1])
    places = tuple(
        (figures.across(axes[0], float(x[n])), figures.up(axes[1], float(y[n])), title) for n, title in marks
    )
    return PlottedLine(name, drawn.style, drawn.path, places)
