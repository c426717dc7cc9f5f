"""Stage report: a finished run -> ``report.html``, one file that opens anywhere and needs no network.

The report says what was predicted for whom and how well, and shows patients one by one with the evidence behind their risk.
The same run gives the same bytes.
"""

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import wording
from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.subgroups import SMALL_CLASS, SMALL_PATIENTS
from emerge_ehr.export import card
from emerge_ehr.fields import UserError, listed
from emerge_ehr.prediction import carried, donors
from emerge_ehr.report import (
    alerting,
    cautions,
    certainty,
    characteristics,
    charts,
    material,
    page,
    patients,
    sections,
    tripod,
)
from emerge_ehr.report.changes import TELLING, Change
from emerge_ehr.report.material import Material
from emerge_ehr.report.moved import Block
from emerge_ehr.report.patients import View
from emerge_ehr.report.told_by_notes import ShownPassage
from emerge_ehr.report.wording import MODALITIES
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.dataset import load_patients
from emerge_ehr.storage.schema import REPORT
from emerge_ehr.training import results, seeds
from emerge_ehr.training import trained as runs

SOCKETS: tuple[str, ...] = ()
LARGEST = 6_000_000  # bytes of the file
NAMED = 5  # diseases named among the reasons at most
# in place of ``_data`` where the patients are not at hand
NO_DATA = dict.fromkeys(
    ("surrogates", "audit", "flow", "rows", "measured", "characteristics", "splits", "missing", "rag")
)
# the parts of the page that the checklist points to -> the template's variable without which the part is not there
PLACES = {
    "answer": "",
    "performance": "",
    "calibration": "calibrated",
    "alerts": "alerting",
    "training": "",
    "subgroups": "subgroups",
    "data": "",
    "flow": "flow",
    "rows": "measured",
    "table-1": "characteristics",
    "inputs": "",
    "splits": "splits",
    "missing": "missing",
    "use": "",
    "limits": "",
    "provenance": "",
}

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Write the report of the run, or of each seed's run, and print its path.

    Raises:
        UserError: a run is missing, has not ended, is damaged, or was trained on other artefacts than there are now.
    """
    for seed_config in seeds.configs(config):
        print(f"report: {write(seed_config)}")


def run_of(run: Path) -> None:
    """Write the report of the finished run in the folder ``run``, or of a model that was exported there, and print its path.

    A model carries no patients: its report tells of metrics, subgroups, inputs, intended use and limits.

    Raises:
        UserError: the folder holds neither, or is damaged.
    """
    if carried.is_model(run):
        artefacts.require_writable(run)
        path = _publish(run, page.whole({**_content(material.of_model(run)), "views": [], "asked": 0}))
    else:
        config, _ = runs.settings(run)  # of the run, which may have been made in another folder
        path = write(dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=run)))
    print(f"report: {path}")


def write(config: Config) -> Path:
    """Write the report of the run in ``config.run_dir``. Returns its path.

    Raises:
        UserError: as ``run``.
    """
    loaded = material.load(config)
    artefacts.require_writable(config.run_dir)
    return _publish(config.run_dir, _fitting(loaded))


def _publish(run_dir: Path, html: str) -> Path:
    with publishing.publish(run_dir) as folder:
        (folder / REPORT).write_text(html, "utf-8")
    return run_dir / REPORT


def _fitting(run: Material) -> str:
    """The page with as many patients as the config asks for, or with fewer if the file would grow too large.

    Raises:
        UserError: the file is too large even with one patient.
    """
    content, there = _content(run), len(run.test.patient_id)
    most, known, empty = min(run.settings.patients, there), dict[int, View](), 0
    while most:
        ranks = patients.chosen(there, most, patients.most_wrong(run))
        new = [rank for rank in ranks if rank not in known]
        if new:
            known |= dict(zip(new, patients.views(run, new), strict=True))
        views = [known[rank] for rank in ranks]
        html = page.whole({**content, "views": views, "asked": run.settings.patients})
        size = len(html.encode())
        if size <= LARGEST:
            return html
        empty = empty or len(page.whole({**content, "views": views[:1], "asked": run.settings.patients}).encode())
        logger.info("report: %d patients do not fit in %d MB", most, LARGEST // 1_000_000)
        most = min(most - 1, int(most * max(0, LARGEST - empty) / max(1, size - empty)))
    raise UserError(f"{run.trained.run_dir / REPORT}: would be larger than {LARGEST // 1_000_000} MB for one patient")


def _content(run: Material) -> dict[str, Any]:
    """The template's variables, without the patients' views."""
    words = wording.predicted(run.config)
    said = {
        "run": run,
        "method": "EMERGE" if run.config.baseline is None else f"the baseline {run.config.baseline.name}",
        "asked_for": run.task.question if len(run.labels) == 1 else run.main.title,
        "sample": words.word,
        "invented": getattr(components.options("source", run.config.source), "invented", False),
        "candidate": wording.candidate(run.config).word,
        "window": wording.observed(run.config.cohort, words),
        "sources": listed([MODALITIES[name] for name in run.reads]),
        "warnings": cautions.warnings(run),
        "reasons": functools.partial(reasons, reads=run.reads),
        "donors": donors.number(run.trained),
    }
    content = {**said, **_performance(run), **(_data(run, words.word) if run.has_patients else NO_DATA)}
    return {**content, **_reporting(run, content)}


def _performance(run: Material) -> dict[str, Any]:
    main = run.metrics["splits"]["test"][run.main.code]
    share = main["positives"] / main["patients"] if main["patients"] else None
    groups = sections.subgroups(run)
    people = load_patients(run.config.processed_dir, np.array(run.test.patient_id, dtype=np.str_))
    sampling = Sampling(run.config.training.bootstrap_resamples, run.config.seed)
    return {
        "main": main,
        "auroc": main["metrics"]["auroc"],
        "share": share,
        "metrics": sections.metrics(run),
        "plain": sections.plain(run),
        "experts": sections.experts(run),
        "calibrated": certainty.calibrated(run),
        "sets": certainty.sets(run) if run.has_patients else None,
        "in_time": sections.in_time(run),
        "incidence": charts.incidence(*run.test.known_at_all(), run.trained.reported.horizons)
        if run.has_patients
        else None,
        "curves": [
            (
                label,
                charts.evaluation(
                    *run.test.known(label.column), results.persons_of(run.test, label.column, people), sampling
                ),
            )
            for label in run.labels
        ],
        "spread": charts.spread(*run.test.known(run.main.column)),
        "alerting": alerting.alerting(run),
        "training": charts.training(run.history, run.metrics.get("best_epoch")),
        "subgroups": groups,
        "group_metrics": sections.group_metrics(groups),
        "glossary": sections.glossary(share),
        "at_threshold": catalogue.at_chosen_threshold(),
        "small_patients": SMALL_PATIENTS,
        "small_class": SMALL_CLASS,
    }


def _data(run: Material, sample: str) -> dict[str, Any]:
    return {
        "surrogates": sections.has_surrogates(run),
        "audit": cautions.audit(run),
        "flow": sections.flow(run),
        "rows": (rows := sections.rows(run)),
        "measured": rows["measurements"],
        "characteristics": characteristics.characteristics(run, sample),
        "splits": sections.splits(run),
        "missing": sections.missingness(run),
        "rag": run.metadata.get("rag"),
    }


def _reporting(run: Material, content: Mapping[str, Any]) -> dict[str, Any]:
    """Intended use, limits, the checklist, and provenance. ``content``: the other parts, as far as the run has them."""
    there = [place for place, needs in PLACES.items() if not needs or content[needs]]
    titles = {
        "answer": "the first page",
        "table-1": "Table 1",
        "use": "Intended use",
        "limits": "Known limits",
        "inputs": "What the model reads",
        "flow": "Who is in",
        "rows": "What was read, left out and kept",
        "missing": "How much was measured",
        "alerts": "What alerts would mean",
    }
    return {
        "intended": card.USE.replace("\n", " "),
        "limits": [*cautions.of_design(run), *card.LIMITS],
        "tripod": tripod.items(there),
        "places": {place: titles.get(place, place.capitalize()) for place in PLACES},
        "provenance": sections.provenance(run),
        "settings": sections.settings(run),
    }


def reasons(view: View, reads: Sequence[str]) -> dict[str, Any]:
    """The reasons behind a patient's risk, among the modalities that the model ``reads``: inputs that change the risk by a
    percentage point or more (of signals, their hours, diseases and passages, those on whose direction the members agree),
    abnormal signals, and diseases that the notes name. ``signals`` and ``named`` are None where the model does not read of
    them."""
    changes = [change for change in view.changes if change.agreed and _tells(change)]
    changes.sort(key=lambda change: -abs(change.change))
    disease = next((change for change in changes if change.disease is not None), None)
    signal = next((change for change in changes if change.signal is not None), None)
    shown = list(range(len(view.diseases)))[:NAMED]
    if disease is not None and disease.disease is not None and disease.disease not in shown:
        shown[-1] = disease.disease
    hours = view.moved.most(signal.signal) if signal is not None and signal.signal is not None else None
    together = view.moved.most(None)
    return {
        "modalities": [change for change in changes if change.disease is None and change.signal is None],
        "disease": disease,
        "passage": next((passage for passage in view.passages if _tells(passage)), None),
        "signal": signal,
        "hours": hours if hours is not None and _tells(hours) else None,
        "together": together if together is not None and _tells(together) else None,
        "signals": view.abnormal[:3] if {"ehr", "summary"} & set(reads) else None,
        "named": [view.diseases[n].name for n in shown] if {"note", "summary"} & set(reads) else None,
    }


def _tells(change: Change | Block | ShownPassage) -> bool:
    return round(abs(change.change), 3) >= TELLING
