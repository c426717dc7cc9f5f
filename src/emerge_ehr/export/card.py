"""The model card of an exported folder, in the form of the Hugging Face hub.

After Mitchell et al. 2019, doi 10.1145/3287560.3287596.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from emerge_ehr import components
from emerge_ehr.datasets import wording
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.evaluation import catalogue
from emerge_ehr.fields import listed
from emerge_ehr.storage import artefacts, markdown, schema
from emerge_ehr.training import tables
from emerge_ehr.training.trained import Trained

HEAD = """---
library_name: emerge-ehr
license: other
tags:
- ehr
- icu
- clinical-prediction
- tabular
---
"""
USE = """This is research software and no medical device. It was made to study how well series, notes and retrieved knowledge
predict this outcome, on records like those it learned from. It must not decide on anybody's treatment. Before it is used at
another hospital, judge it there: --stage evaluate compares it with outcomes and says what has shifted."""
LIMITS = (
    "Other hospitals measure, write and treat in other ways: expect other risks there, and check calibration first.",
    "What each input adds to a risk says what the prediction rests on, not what would happen to the patient.",
)
NO_PATIENTS = """The folder holds no patient's data: settings, weights, means and deviations, the vocabulary of the text encoder
(words that at least two training documents hold), the index of the knowledge graph, and metrics. Weights are fitted on patients;
that nobody can be recognised from weights has not been shown."""
HOW = """    python src/main.py --stage predict --run THIS_FOLDER --tables TABLES --output risks.csv
    python src/main.py --stage serve --run THIS_FOLDER

The tables are described in docs/prediction_tables.md of the program. Whoever shares the folder needs the right to do so from the
owner of the data that it was trained on: for credentialed MIMIC or eICU that is PhysioNet's data use agreement. To put it on the
hub: `hf upload NAME THIS_FOLDER`."""


def text(trained: Trained, record: Mapping[str, Any]) -> str:
    """The card. ``record``: what the folder's ``schema.MODEL`` will hold."""
    config, metadata = trained.config, trained.dataset.metadata
    metrics = artefacts.read_json(trained.run_dir / "metrics.json", "train")
    task: Task = components.build("task", config.task)
    outcomes = listed([outcome.title for outcome in task.outcomes(trained.label_names)])
    sections = {
        f"{config.run_name}": [f"Predicts {outcomes}: {task.question}.", "", USE],
        "Data": list(_data(trained)),
        "Inputs": list(_inputs(trained)),
        "How well it predicts": list(_metrics(trained, metrics)),
        "Groups": list(_groups(trained)),
        "Thresholds": list(_thresholds(metrics)),
        "Known limits": list(_limits(trained, metrics)),
        "What is in the folder": [_patients(record), "", *_made_with(record, metadata)],
        "How to use it": [HOW],
    }
    titled = [
        f"{'#' if n == 0 else '##'} {title}\n\n" + "\n".join(lines) for n, (title, lines) in enumerate(sections.items())
    ]
    return HEAD + "\n" + "\n\n".join(titled) + "\n"


def _data(trained: Trained) -> Iterator[str]:
    config, metadata = trained.config, trained.dataset.metadata
    yield f"Dataset `{config.dataset}`, source `{config.source.name}`, task `{config.task.name}`."
    sizes = {part: len(ids) for part, ids in trained.dataset.split.items()}
    word = wording.sample(config).word
    yield f"Samples are {word}s: {sizes['train']} for training, {sizes['val']} for validation, {sizes['test']} for test."
    yield "Persons are in one split only. Nothing timed after the observation window is read."
    yield ""
    yield from _table(
        ["cohort", f"{word}s", "persons", f"{word}s left out"],
        [
            [str(step[key]) for key in ("reason", "stays", "patients", "dropped_stays")]
            for step in metadata.get("cohort_flow") or []
        ],
    )


def _inputs(trained: Trained) -> Iterator[str]:
    config = trained.config
    yield f"- Window: {wording.window(config.cohort)}; the model reads {listed(list(config.model.modalities))}."
    units = [
        f"{one['name']} ({one['unit']})" if one["unit"] else one["name"] for one in trained.dataset.metadata["features"]
    ]
    yield f"- Signals: {', '.join(units)}."
    yield f"- Texts are encoded by `{config.embedding.name}`; diseases are found by `{config.entities.name}`, and summaries"
    yield f"  written by `{config.summary.name}`, with the knowledge graph `{config.knowledge_graph.name}`."


def _metrics(trained: Trained, metrics: Mapping[str, Any]) -> Iterator[str]:
    yield f"On the test split ({metrics['interval']}):"
    yield ""
    shown = catalogue.shown("splits")
    rows = []
    for name in trained.label_names:
        found = metrics["splits"]["test"].get(name)
        if found:
            rows += [[name, metric.printed, tables.cell(found["metrics"][metric.key])] for metric in shown]
            rows.append([name, "patients, of them positive", f"{found['patients']}, {found['positives']}"])
    yield from _table(["outcome", "metric", "value"], rows)
    if plain := metrics.get("plain_method"):
        yield ""
        yield f"Beside it, {plain['name']} on the same inputs:"
        yield ""
        yield from _table(
            ["outcome", "metric", "this model", "the plain method"],
            [
                [label, catalogue.metric(key).printed, _number(one["first"]), _number(one["second"])]
                for label, of in plain["splits"]["test"].items()
                for key, one in of.items()
            ],
        )


def _groups(trained: Trained) -> Iterator[str]:
    path = trained.run_dir / schema.SUBGROUPS
    rows = pl.read_csv(path, infer_schema=False, glob=False).filter(
        (pl.col("split") == "test") & (pl.col("metric") == "auroc")
    )
    yield "AUROC on the test split by group; groups marked * are too small to be judged."
    yield ""
    columns = ("label_code", "attribute", "group", "patients", "positives", "value", "low", "high", "small")
    found = [
        [label, attribute, f"{group}{'*' if small == '1' else ''}", patients, positives, _between(value, low, high)]
        for label, attribute, group, patients, positives, value, low, high, small in rows.select(columns).iter_rows()
    ]
    yield from _table(["outcome", "attribute", "group", "patients", "positive", "AUROC"], found)


def _thresholds(metrics: Mapping[str, Any]) -> Iterator[str]:
    for name, chosen in metrics["thresholds"].items():
        yield f"- `{name}`: {_number(chosen['value'])} ({chosen['chosen']})"


def _limits(trained: Trained, metrics: Mapping[str, Any]) -> Iterator[str]:
    ids = {*trained.dataset.patient_id.tolist()}
    told = dict.fromkeys([*(trained.dataset.metadata.get("warnings") or []), *metrics.get("warnings", [])])
    named = [warning for warning in told if any(part in ids for part in warning.split("'")[1::2])]
    yield from (f"- {warning}" for warning in told if warning not in named)
    if named:
        yield f"- {len(named)} more warnings name single patients; they stand in the run's own records."
    yield from (f"- {text}" for text in LIMITS)


def _patients(record: Mapping[str, Any]) -> str:
    if record["patients"]:
        return (
            f"**The folder holds data of single patients**: {record['patients']}. Treat it like the records themselves."
        )
    return NO_PATIENTS


def _made_with(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    yield f"Made by the run `{record['run']}` (manifest `{record['manifest'][:16]}`), with these versions:"
    yield ""
    yield from _table(["library", "version"], [[name, version] for name, version in record["versions"].items()])
    yield ""
    yield f"Encoders: {'; '.join(f'{kind}: {of}' for kind, of in metadata.get('encoders', {}).items())}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    return markdown.table([head, *rows], lambda cell: cell.replace("|", "/"))


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _between(value: str | None, low: str | None, high: str | None) -> str:
    if not value:
        return "undefined"
    return f"{float(value):.3f}" + (f" ({float(low):.3f}-{float(high):.3f})" if low and high else "")
