"""What stage evaluate shows: the tables of ``evaluation.md``, and the shorter ones that are printed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.subgroups import Subgroup
from emerge_ehr.fields import listed, plural
from emerge_ehr.storage import markdown
from emerge_ehr.training import horizons, results, tables
from emerge_ehr.transfer.drift import SMALL, Shift

COLUMNS = {
    "run_test": "the run's own test",
    "tables": "these tables",
    "before": "others, as it is",
    "after": "others, recalibrated",
}
MOST = 8  # shifts that are printed
IN_PAGE = 20  # shifts of an aspect in the page
GROUPED = catalogue.shown("report_subgroups")
Rows = list[list[str]]


def printed(evaluation: Mapping[str, Any], shifts: Sequence[Shift]) -> str:
    """The metrics of each label beside those of the run's own test split, and what has shifted most."""
    names = evaluation["splits"]["tables"]
    blocks = [
        _counted(evaluation),
        *("\n".join([name, *tables.aligned(_metrics(evaluation, name))]) for name in names),
    ]
    if over_all := _in_time(evaluation):
        blocks.append("\n".join(["all horizons together", *tables.aligned(over_all)]))
    blocks.append(f"({evaluation['interval']}; {catalogue.at_chosen_threshold()} at the run's own threshold)")
    if moved := _largest(shifts)[:MOST]:
        rows = [["shifted", "", "training", "here", "measure"], *(_shift(row) for row in moved)]
        more = evaluation["shifted"] - len(moved)
        blocks.append("\n".join([*tables.aligned(rows), *([f"and {more} more in drift.csv"] if more else [])]))
    elif shifts:
        blocks.append(f"none of {evaluation['compared']} quantities has shifted by more than chance")
    return "\n\n".join(blocks)


def page(evaluation: Mapping[str, Any], groups: Sequence[Subgroup], shifts: Sequence[Shift]) -> str:
    """The text of ``evaluation.md``."""
    run, there = evaluation["run"], evaluation["tables"]
    lines = [
        f"# {_plain(run['name'])} on {_plain(there['dataset'] or 'tables without a record of --stage convert')}",
        "",
        f"A run trained on `{_plain(run['dataset'])}`. {_counted(evaluation)} Intervals: {evaluation['interval']}.",
        "",
        *(f"- **{_plain(warning)}**" for warning in evaluation["warnings"]),
    ]
    for name in evaluation["splits"]["tables"]:
        lines += ["", f"## {_plain(name)}", "", *_markdown(_metrics(evaluation, name))]
        lines += ["", *_markdown(_points(evaluation, name))]
        lines += _recalibrated(evaluation, name)
        lines += _covered(evaluation, name)
        if of_label := [row for row in groups if row.label_code == name]:
            lines += ["", "### Subgroups", "", *_markdown(_subgroups(of_label))]
            lines += [
                "",
                "Groups marked * are too small to be judged by their values; subgroups.csv has the intervals.",
            ]
    if over_all := _in_time(evaluation):
        lines += ["", "## All horizons together", "", *_markdown(over_all), "", f"({horizons.NOTE})"]
    lines += ["", "## What shifted", "", *_shifts(evaluation, shifts)]
    return "\n".join(lines) + "\n"


def _counted(evaluation: Mapping[str, Any]) -> str:
    learned, lost = (evaluation["left_out"][name] for name in ("learned_from", "without_outcome"))
    parts = [f"{evaluation['samples']} samples of {evaluation['persons']} persons are evaluated."]
    if learned["samples"]:
        parts.append(
            f"{learned['samples']} samples of {learned['persons']} persons from whom the run has learned are left out."
        )
    if lost["samples"]:
        parts.append(f"{lost['samples']} samples without an outcome are left out.")
    if drawn := evaluation.get("recalibration"):
        parts.append(
            f"Risks are recalibrated ({drawn['method']}) on {plural(drawn['persons'], 'person')}, drawn with seed "
            f"{evaluation['seed']}."
        )
    return " ".join(parts)


def _columns(evaluation: Mapping[str, Any], label: str) -> dict[str, Mapping[str, Any]]:
    """The heads of the columns, each with the label's metrics there."""
    parts = {title: evaluation["splits"].get(key, {}).get(label) for key, title in COLUMNS.items()}
    return {title: part for title, part in parts.items() if part is not None}


def _metrics(evaluation: Mapping[str, Any], label: str) -> Rows:
    """A row per metric, a column per part."""
    columns = _columns(evaluation, label)
    measured = [
        [metric.label, *(tables.cell(part["metrics"][metric.key]) for part in columns.values())]
        for metric in catalogue.shown("splits")
    ]
    return [
        ["", *columns],
        ["samples", *(str(part["patients"]) for part in columns.values())],
        ["with the outcome", *(_positives(part) for part in columns.values())],
        *measured,
    ]


def _in_time(evaluation: Mapping[str, Any]) -> Rows:
    """A row per part, over all horizons; empty where outcomes have no time."""
    splits = evaluation.get(results.IN_TIME, {}).get("splits", {})
    rows = horizons.rows({title: splits[key] for key, title in COLUMNS.items() if key in splits})
    return [horizons.HEADS, *([*row[:3], *map(tables.cell, row[3:])] for row in rows)] if rows else []


def _positives(part: Mapping[str, Any]) -> str:
    share = f" ({100 * part['positives'] / part['patients']:.1f} %)" if part["patients"] else ""
    return f"{part['positives']}{share}"


def _points(evaluation: Mapping[str, Any], label: str) -> Rows:
    """A row per operating point and metric; the threshold stands with the target sensitivity."""
    columns = _columns(evaluation, label)
    rows = [["at the threshold that reached on validation", "", *columns]]
    for target, point in evaluation["splits"]["tables"][label]["operating_points"].items():
        cut = "" if point["threshold"] is None else f" (risk {point['threshold']:.3f})"
        for metric in catalogue.shown("operating_points"):
            of_parts = (part["operating_points"].get(target, {}).get("metrics", {}) for part in columns.values())
            cells = [tables.cell(found[metric.key]) if metric.key in found else "" for found in of_parts]
            rows.append([f"sensitivity {target}{cut}", metric.label, *cells])
    return rows


def _recalibrated(evaluation: Mapping[str, Any], label: str) -> Iterator[str]:
    found = (evaluation.get("recalibration") or {}).get("labels", {}).get(label)
    if found:
        yield from ("", "Recalibration: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()) + ".")


def _covered(evaluation: Mapping[str, Any], label: str) -> Iterator[str]:
    """How often the run's sets hold the outcome here, beside what was promised where patients are like those of the fit."""
    if not (about := evaluation.get("sets")):
        return
    of_label = about["labels"][label]
    shares = [
        f"{of['value']:.1%} of {of['patients']} samples {words} the outcome"
        for words, of in (("with", of_label["covered"]["1"]), ("without", of_label["covered"]["0"]))
        if of["patients"]
    ]
    answered = f"; {of_label['test']['answered']:.1%} get an answer" if shares else ""
    told = f"{listed(shares) or 'nobody'} have it in their set (coverage.csv), at {about['coverage']:.0%}{answered}"
    yield from ("", f"Sets: {told}.")


def _subgroups(rows: Sequence[Subgroup]) -> Rows:
    """A row per group."""
    heads = ["group", "samples", "with the outcome", *(metric.label for metric in GROUPED)]
    groups: dict[tuple[str, str], dict[str, Subgroup]] = {}
    for row in rows:
        groups.setdefault((row.attribute, row.group), {})[row.metric] = row
    lines = []
    for (attribute, group), found in groups.items():
        first = next(iter(found.values()))
        values = (found[metric.key].value for metric in GROUPED)
        cells = ["undefined" if value is None else f"{value:.3f}" for value in values]
        lines.append([f"{attribute} {group}{'*' * first.small}", str(first.patients), str(first.positives), *cells])
    return [heads, *lines]


def _shifts(evaluation: Mapping[str, Any], shifts: Sequence[Shift]) -> Iterator[str]:
    """What has shifted, the largest first, by aspect."""
    if not shifts:
        yield "Drift was not measured."
        return
    yield (
        f"{evaluation['shifted']} of {evaluation['compared']} quantities differ from the run's training split by more than "
        f"chance and by more than {SMALL} (drift.csv has all of them, docs/shifts.md the measures)."
    )
    heads = ["quantity", "", "training", "here", "measure"]
    for aspect in dict.fromkeys(row.aspect for row in shifts):
        moved = _largest([row for row in shifts if row.aspect == aspect])
        if moved:
            yield from ("", f"### {aspect.capitalize()}", "")
            yield from _markdown([heads, *(_shift(row) for row in moved[:IN_PAGE])])
            if len(moved) > IN_PAGE:
                yield from ("", f"and {len(moved) - IN_PAGE} more.")


def _largest(shifts: Sequence[Shift]) -> list[Shift]:
    """Those that have shifted, by the size of their measure; an undefined one counts as largest."""
    moved = [row for row in shifts if row.shifted]
    return sorted(moved, key=lambda row: -abs(row.value) if row.value is not None else float("-inf"))


def _shift(row: Shift) -> list[str]:
    values = ["" if value is None else f"{value:.4g}" for value in (row.training, row.here)]
    size = "undefined" if row.value is None else f"{row.measure} {row.value:+.2f}"
    return [row.name, row.quantity, *values, size]


def _markdown(rows: Rows) -> Iterator[str]:
    """The rows as a table, the first of them its heads."""
    return markdown.table(rows, _plain)


def _plain(text: str) -> str:
    """The text without what Markdown would read as more than text; names come from the tables."""
    for sign in ("\\", "|", "*", "_", "`", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
