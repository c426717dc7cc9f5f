"""What a run reports, as aligned text to print."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.catalogue import Metric
from emerge_ehr.fields import listed
from emerge_ehr.training import horizons, results

RANKING = [metric for metric in catalogue.shown("splits") if not metric.calibrated]
CALIBRATION = [metric for metric in catalogue.shown("splits") if metric.calibrated]
AT_SENSITIVITY = catalogue.shown("operating_points")
NO_INTERVAL = "no interval"
WIDEST = 5  # metrics per block: more would not fit into a terminal


def table(evaluated: dict[str, Any]) -> str:
    """The metrics of a run as text, in blocks: ranking and calls, calibration, operating points. A row is a split and label."""
    labels = list(_labels(evaluated))
    counted = [([*where, str(label["patients"]), str(label["positives"])], label) for *where, label in labels]
    at_points = [
        ([*where, target], point) for *where, label in labels for target, point in label["operating_points"].items()
    ]
    thresholds = f"{catalogue.at_chosen_threshold()} at a threshold chosen on validation"
    if count := evaluated.get("folds"):
        thresholds += (
            f"; test: everyone, each predicted by the one of {count} folds' models that was fitted without that person"
        )
    blocks = [
        *_blocks(
            ["split", "label", "patients", "positive"], counted, RANKING, f"({evaluated['interval']}; {thresholds})"
        ),
        *_blocks(
            ["split", "label"],
            [(where, label) for *where, label in labels],
            CALIBRATION,
            f"(calibration: {_ideals(CALIBRATION)} are ideal)",
        ),
        *_blocks(
            ["split", "label", "target"],
            at_points,
            AT_SENSITIVITY,
            "(at the highest threshold that reaches the target sensitivity on validation)",
        ),
    ]
    if in_time := evaluated.get(results.IN_TIME):
        rows = [[*found[:3], *map(cell, found[3:])] for found in horizons.rows(in_time["splits"])]
        blocks.append([*aligned([horizons.HEADS, *rows]), f"({horizons.NOTE})"])
    if plain := evaluated.get("plain_method"):
        blocks.append(
            _beside(plain["splits"], "plain method", f"the plain method on the same inputs is {plain['name']}")
        )
    if network := evaluated.get("network_alone"):
        blocks.append(_beside(network["splits"], "network", "EMERGE with its experts against its network alone"))
    text = "\n\n".join("\n".join(lines) for lines in blocks)
    partly = ["(* undefined in some resamples, on which the interval does not rest)"] if ")*" in text else []
    return "\n".join([text, *partly, *(f"({reason})" for reason in _without_interval(evaluated))])


def _without_interval(evaluated: dict[str, Any]) -> list[str]:
    """Why some values have no interval, each reason once, with the splits that have such values."""
    splits: dict[str, dict[str, None]] = {}
    for split, _, label in _labels(evaluated):
        for found in (label["metrics"], *(point["metrics"] for point in label["operating_points"].values())):
            for estimate in found.values():
                if estimate["value"] is not None and estimate["low"] is None:
                    splits.setdefault(estimate["reason"], {})[split] = None
    return [f"{' and '.join(where)}: {reason}" for reason, where in splits.items()]


def _blocks(
    heads: list[str], rows: Sequence[tuple[list[str], dict[str, Any]]], metrics: Sequence[Metric], note: str
) -> Iterator[list[str]]:
    """The lines of each table, with at most ``WIDEST`` metrics and the note below; no table where there are no rows."""
    for start in range(0, len(metrics) if rows else 0, WIDEST):
        block = metrics[start : start + WIDEST]
        yield [*aligned([[*heads, *names(block)], *([*where, *_cells(row, block)] for where, row in rows)]), note]


def _beside(splits: Mapping[str, Any], other: str, note: str) -> list[str]:
    """The lines of the table of differences from an ``other`` method."""
    rows = [
        [split, label, catalogue.metric(name).printed, *_compared(found)]
        for split, labels in splits.items()
        for label, metrics in labels.items()
        for name, found in metrics.items()
    ]
    return [
        *aligned([["split", "label", "metric", "EMERGE", other, "difference"], *rows]),
        f"({note}; the difference with its paired 95 % interval)",
    ]


def _compared(found: Mapping[str, Any]) -> list[str]:
    if found["difference"] is None:
        return ["undefined", "undefined", "undefined"]
    values = [f"{found['first']:.3f}", f"{found['second']:.3f}", f"{found['difference']:+.3f}"]
    if found["low"] is not None:
        values[2] += f" ({found['low']:+.3f} to {found['high']:+.3f})"
    else:
        values[2] += f" ({NO_INTERVAL})"
    return values


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of text, with the cells of a column below each other."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _labels(evaluated: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for split, labels in evaluated["splits"].items():
        for name, label in labels.items():
            yield split, name, label


def names(metrics: Sequence[Metric]) -> list[str]:
    """The column heads of ``metrics``."""
    return [metric.printed for metric in metrics]


def _ideals(metrics: Sequence[Metric]) -> str:
    """The ideal values of those ``metrics`` that are best between their bounds: "a slope of 1 and an intercept of 0"."""
    aims = [(metric.printed, metric.ideal) for metric in metrics if not metric.better]
    return listed([f"{'an' if name[0] in 'aeiou' else 'a'} {name} of {ideal:g}" for name, ideal in aims])


def _cells(row: dict[str, Any], metrics: Sequence[Metric]) -> list[str]:
    return [cell(row["metrics"][metric.key]) for metric in metrics]


def cell(metric: Mapping[str, Any]) -> str:
    """A metric with its interval."""
    if metric["value"] is None:
        return "undefined"
    if metric["low"] is None:
        return f"{metric['value']:.3f} ({NO_INTERVAL})"
    between = " to " if metric["low"] < 0 else "-"
    partly = "*" if metric["reason"] else ""
    return f"{metric['value']:.3f} ({metric['low']:.3f}{between}{metric['high']:.3f}){partly}"
