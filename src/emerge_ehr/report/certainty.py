"""What the report says of how far risks can be trusted: their calibration, and what the model says that it does not know."""

from typing import Any

import polars as pl

from emerge_ehr.evaluation import catalogue, conformal
from emerge_ehr.report import figures
from emerge_ehr.report.figures import Chart
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import percent
from emerge_ehr.storage import spreadsheet, table_files
from emerge_ehr.storage.schema import COVERAGE

METHODS = {"platt": "a logistic map (Platt)", "isotonic": "isotonic regression", "venn_abers": "a Venn-Abers predictor"}


def calibrated(run: Material) -> dict[str, Any] | None:
    """How the main outcome's risks were calibrated, on how many patients, and what that changed in test; None if they were not.

    ``measures``: a name, and the values before and after; empty after cross-validation, where each fold has a map of its own.
    """
    about = run.metrics.get("calibration")
    if not about:
        return None
    of_main = about["labels"][run.main.code]
    after = run.metrics["splits"]["test"][run.main.code]["metrics"]
    before = of_main["test_before"] or {}
    measures = [
        (metric.reported, before[metric.key], after[metric.key]["value"])
        for metric in catalogue.METRICS
        if metric.key in before
    ]
    return {**of_main, "method": METHODS[about["method"]], "measures": measures}


def answer(run: Material, row: int) -> tuple[str, str] | None:
    """What the set of the main outcome of the test patient in this row says, and the set as text; None for a run without sets."""
    if run.possible is None:
        return None
    (text,) = conformal.written(run.possible[row, run.main.column][None])
    return conformal.WORDS[text], text


def sets(run: Material) -> dict[str, Any] | None:
    """What was promised of the main outcome's sets, how it was kept in test, by group, and the chart of abstention; None for a
    run without sets.

    Raises:
        UserError: coverage.csv is missing or damaged.
    """
    about = run.metrics.get("sets")
    if not about:
        return None
    test = about["labels"][run.main.code]["test"]
    path = run.trained.run_dir / COVERAGE
    scanned = pl.scan_csv(path, infer_schema_length=None, schema_overrides={"outcome": pl.String}, glob=False)
    rows = spreadsheet.plain_texts(table_files.collect_table(scanned, path))
    groups: dict[str, list[dict[str, Any]]] = {}
    for found in rows.filter(pl.col("label_code").cast(pl.String) == run.main.code).iter_rows(named=True):
        if found["patients"]:
            groups.setdefault(found["attribute"], []).append(found)
    return {
        "coverage": about["coverage"],
        "guarantee": about["guarantee"],
        "patients": test["patients"],
        "answered": test["answered"],
        "wrong": test["wrong_answers"],
        "counts": test["sets"],
        "groups": groups,
        "chart": _abstention(test),
    }


def _abstention(test: dict[str, Any]) -> Chart | None:
    """Wrong calls and AUROC among the surest patients, against their share of all."""
    curve, area = test["curve"], test["aurc"]["value"]
    if not curve:
        return None
    x, y = figures.share_axis("share of patients answered, the surest first"), figures.share_axis("share")
    share = [point["share"] for point in curve]
    lines = [
        figures.line(
            name,
            style,
            (x, y),
            share,
            [float("nan") if point[key] is None else point[key] for point in curve],
            [
                f"{name} {'undefined' if point[key] is None else format(point[key], '.3f')} of {point['patients']}"
                for point in curve
            ],
        )
        for name, style, key in (("wrong calls", "model points", "error"), ("AUROC", "other points", "auroc"))
    ]
    first, last = (percent(curve[n]["error"]) for n in (0, -1))
    description = (
        f"Among the surest tenth of patients {first} of calls (from a risk of 50 % on) are wrong, among all {last}. The area "
        f"under the curve of wrong calls (AURC) is {area:.3f}."
    )
    return Chart("If the model answers the surest only", description, x, y, tuple(lines))
