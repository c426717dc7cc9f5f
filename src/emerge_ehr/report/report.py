"""Stage report: a finished run -> ``report.html``, one file that opens anywhere and needs no network.

The report says what was predicted for whom and how well, and shows patients one by one with the evidence behind their risk.
The same run gives the same bytes.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emerge_ehr.config import Config
from emerge_ehr.datasets import wording
from emerge_ehr.evaluation import catalogue
from emerge_ehr.evaluation.subgroups import SMALL_CLASS, SMALL_PATIENTS
from emerge_ehr.fields import UserError, listed
from emerge_ehr.prediction import what_if
from emerge_ehr.report import certainty, charts, material, page, patients, sections
from emerge_ehr.report.material import Material
from emerge_ehr.report.patients import View
from emerge_ehr.report.wording import MODALITIES
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.schema import REPORT
from emerge_ehr.training import seeds

SOCKETS: tuple[str, ...] = ()
LARGEST = 6_000_000  # bytes of the file
TELLING = 0.01  # an input that changes the risk by this much is named as a reason
NAMED = 5  # diseases named among the reasons at most

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Write the report of the run, or of each seed's run, and print its path.

    Raises:
        UserError: a run is missing, has not ended, is damaged, or was trained on other artefacts than there are now.
    """
    for seed_config in seeds.configs(config):
        print(f"report: {write(seed_config)}")


def write(config: Config) -> Path:
    """Write the report of the run in ``config.run_dir``. Returns its path.

    Raises:
        UserError: as ``run``.
    """
    loaded = material.load(config)
    artefacts.require_writable(config.run_dir)
    html = _fitting(loaded)
    with publishing.publish(config.run_dir) as folder:
        (folder / REPORT).write_text(html, "utf-8")
    return config.run_dir / REPORT


def _fitting(run: Material) -> str:
    """The page with as many patients as the config asks for, or with fewer if the file would grow too large.

    Raises:
        UserError: the file is too large even with one patient.
    """
    content, most = _content(run), min(run.settings.patients, len(run.test.patient_id))
    while most:
        ranks = patients.chosen(len(run.test.patient_id), most)
        html = page.whole({**content, "views": patients.views(run, ranks), "asked": run.settings.patients})
        if len(html.encode()) <= LARGEST:
            return html
        logger.info("report: %d patients do not fit in %d MB", most, LARGEST // 1_000_000)
        most //= 2
    raise UserError(f"{run.trained.run_dir / REPORT}: would be larger than {LARGEST // 1_000_000} MB for one patient")


def _content(run: Material) -> dict[str, Any]:
    """The template's variables, without the patients' views."""
    main = run.metrics["splits"]["test"][run.main.code]
    sample = wording.predicted(run.config)
    share = main["positives"] / main["patients"] if main["patients"] else None
    return {
        "run": run,
        "method": "EMERGE" if run.config.baseline is None else f"the baseline {run.config.baseline.name}",
        "main": main,
        "auroc": main["metrics"]["auroc"],
        "warnings": sections.warnings(run),
        "surrogates": sections.has_surrogates(run),
        "audit": sections.audit(run),
        "flow": sections.flow(run),
        "rows": sections.rows(run),
        "splits": sections.splits(run),
        "missing": sections.missingness(run),
        "metrics": sections.metrics(run),
        "plain": sections.plain(run),
        "experts": sections.experts(run),
        "calibrated": certainty.calibrated(run),
        "sets": certainty.sets(run),
        "in_time": sections.in_time(run),
        "incidence": charts.incidence(*run.test.known_at_all(), run.trained.reported.horizons),
        "curves": [(label, charts.evaluation(*run.test.known(label.column))) for label in run.labels],
        "spread": charts.spread(*run.test.known(run.main.column)),
        "training": charts.training(run.history, run.metrics.get("best_epoch")),
        "subgroups": (groups := sections.subgroups(run)),
        "group_metrics": sections.group_metrics(groups),
        "provenance": sections.provenance(run),
        "settings": sections.settings(run),
        "reasons": functools.partial(reasons, reads=run.reads),
        "sample": sample.word,
        "candidate": wording.candidate(run.config).word,
        "window": wording.observed(run.config.cohort, sample),
        "sources": listed([MODALITIES[name] for name in run.reads]),
        "share": share,
        "glossary": sections.glossary(share),
        "at_threshold": catalogue.at_chosen_threshold(),
        "small_patients": SMALL_PATIENTS,
        "small_class": SMALL_CLASS,
        "donors": min(what_if.DONORS, len(run.trained.dataset.split["train"])),
        "rag": run.metadata.get("rag"),
    }


def reasons(view: View, reads: Sequence[str]) -> dict[str, Any]:
    """The reasons behind a patient's risk, among the modalities that the model ``reads``: inputs that change the risk by a
    percentage point or more (of signals and diseases, those on whose direction the members agree), abnormal signals, and
    diseases that the notes name. ``signals`` and ``named`` are None where the model does not read of them."""
    changes = [change for change in view.changes if change.agreed and round(abs(change.change), 3) >= TELLING]
    changes.sort(key=lambda change: -abs(change.change))
    disease = next((change for change in changes if change.disease is not None), None)
    signal = next((change for change in changes if change.signal is not None), None)
    shown = list(range(len(view.diseases)))[:NAMED]
    if disease is not None and disease.disease is not None and disease.disease not in shown:
        shown[-1] = disease.disease
    return {
        "modalities": [change for change in changes if change.disease is None and change.signal is None],
        "disease": disease,
        "signal": signal,
        "signals": view.abnormal[:3] if {"ehr", "summary"} & set(reads) else None,
        "named": [view.diseases[n].name for n in shown] if {"note", "summary"} & set(reads) else None,
    }
