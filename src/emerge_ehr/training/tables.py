"""What a run reports, as aligned text to print."""

from collections.abc import Iterator, Sequence
from typing import Any

RANKING = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "min_precision_sensitivity": "min(+P,Se)",
    "f1": "F1",
    "accuracy": "accuracy",
}
CALIBRATION = {"brier": "Brier", "ece": "ECE", "calibration_slope": "slope", "calibration_intercept": "intercept"}
AT_SENSITIVITY = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "alert_rate": "alert rate",
}


def table(evaluated: dict[str, Any]) -> str:
    """Three blocks: ranking and F1, calibration, operating points; a row for each split and label (and target)."""
    whole = list(_labels(evaluated))
    blocks = [
        [
            ["split", "label", "patients", "positive", *RANKING.values()],
            *(
                [*where, str(found["patients"]), str(found["positives"]), *_cells(found, RANKING)]
                for *where, found in whole
            ),
        ],
        [
            ["split", "label", *CALIBRATION.values()],
            *([*where, *_cells(found, CALIBRATION)] for *where, found in whole),
        ],
        [
            ["split", "label", "target", *AT_SENSITIVITY.values()],
            *(
                [*where, target, *_cells(point, AT_SENSITIVITY)]
                for *where, found in whole
                for target, point in found["operating_points"].items()
            ),
        ],
    ]
    notes = [
        f"({evaluated['interval']}; F1 and accuracy at a threshold chosen on validation)",
        "(calibration: a slope of 1 and an intercept of 0 are ideal)",
        "(at the highest threshold that reaches the target sensitivity on validation)",
    ]
    shown = [[*aligned(rows), note] for rows, note in zip(blocks, notes, strict=True) if len(rows) > 1]
    text = "\n\n".join("\n".join(lines) for lines in shown)
    return f"{text}\n(* undefined in some resamples, on which the interval does not rest)" if ")*" in text else text


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of text, columns below each other."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _labels(evaluated: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for split, labels in evaluated["splits"].items():
        for name, found in labels.items():
            yield split, name, found


def _cells(found: dict[str, Any], names: dict[str, str]) -> list[str]:
    return [_cell(found["metrics"][name]) for name in names]


def _cell(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "undefined"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    between = " to " if metric["low"] < 0 else "-"
    partly = "*" if metric["reason"] else ""
    return f"{metric['value']:.3f} ({metric['low']:.3f}{between}{metric['high']:.3f}){partly}"
