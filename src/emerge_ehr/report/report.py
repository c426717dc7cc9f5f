"""Stage report: a finished run -> ``report.html``, one file that opens anywhere and asks nothing of any network.

It tells what was predicted for whom and how well, and shows patients one by one with the evidence behind their risk.
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
from emerge_ehr.report import charts, material, page, patients, sections
from emerge_ehr.report.material import Material
from emerge_ehr.report.patients import View
from emerge_ehr.report.wording import MODALITIES
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.schema import REPORT
from emerge_ehr.training import seeds

SOCKETS: tuple[str, ...] = ()
LARGEST = 6_000_000  # bytes
TELLING = 0.01  # a change of the risk by this much is a reason
NAMED = 5  # diseases among the reasons

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Write the report of the run, or of the run of each seed, and print where.

    Raises:
        UserError: a run is missing, has not ended, is damaged, or is of other artefacts than there are now.
    """
    for one in seeds.configs(config):
        print(f"report: {write(one)}")


def write(config: Config) -> Path:
    """The report of the run in ``config.run_dir``.

    Raises:
        UserError: as ``run``.
    """
    found = material.load(config)
    artefacts.require_writable(config.run_dir)
    html = _fitting(found)
    with publishing.publish(config.run_dir) as folder:
        (folder / REPORT).write_text(html, "utf-8")
    return config.run_dir / REPORT


def _fitting(found: Material) -> str:
    """The page with as many patients as were asked for, or as the size allows.

    Raises:
        UserError: one patient alone is too many.
    """
    content, most = _content(found), min(found.settings.patients, len(found.test.patient_id))
    while most:
        ranks = patients.chosen(len(found.test.patient_id), most)
        html = page.whole({**content, "views": patients.views(found, ranks), "asked": found.settings.patients})
        if len(html.encode()) <= LARGEST:
            return html
        logger.info("report: %d patients do not fit in %d MB", most, LARGEST // 1_000_000)
        most //= 2
    raise UserError(f"{found.trained.run_dir / REPORT}: would be larger than {LARGEST // 1_000_000} MB for one patient")


def _content(found: Material) -> dict[str, Any]:
    """All but the patients."""
    main = found.metrics["splits"]["test"][found.main.code]
    sample = wording.sample(found.config)
    share = main["positives"] / main["patients"] if main["patients"] else None
    return {
        "run": found,
        "method": "EMERGE" if found.config.baseline is None else f"the baseline {found.config.baseline.name}",
        "main": main,
        "auroc": main["metrics"]["auroc"],
        "warnings": sections.warnings(found),
        "surrogates": sections.has_surrogates(found),
        "audit": sections.audit(found),
        "flow": sections.flow(found),
        "splits": sections.splits(found),
        "missing": sections.missingness(found),
        "metrics": sections.metrics(found),
        "curves": [(one, charts.evaluation(*found.test.known(one.column))) for one in found.labels],
        "spread": charts.spread(*found.test.known(found.main.column)),
        "training": charts.training(found.history, found.metrics.get("best_epoch")),
        "subgroups": (groups := sections.subgroups(found)),
        "group_metrics": sections.group_metrics(groups),
        "provenance": sections.provenance(found),
        "settings": sections.settings(found),
        "reasons": functools.partial(reasons, reads=found.reads),
        "sample": sample.word,
        "candidate": wording.candidate(found.config).word,
        "window": wording.observed(found.config.cohort, sample),
        "sources": listed([MODALITIES[name] for name in found.reads]),
        "share": share,
        "glossary": sections.glossary(share),
        "at_threshold": catalogue.at_chosen_threshold(),
        "small_patients": SMALL_PATIENTS,
        "small_class": SMALL_CLASS,
        "donors": min(what_if.DONORS, len(found.trained.dataset.split["train"])),
        "rag": found.metadata.get("rag"),
    }


def reasons(view: View, reads: Sequence[str]) -> dict[str, Any]:
    """Why the model says what it says of a patient, of what it ``reads``: inputs that change the risk by a point or more, what is
    abnormal, what the notes name. ``signals`` and ``named`` are None where it does not read of them."""
    changes = [one for one in view.changes if round(abs(one.change), 3) >= TELLING]
    changes.sort(key=lambda one: -abs(one.change))
    disease = next((one for one in changes if one.disease is not None), None)
    shown = list(range(len(view.diseases)))[:NAMED]
    if disease is not None and disease.disease is not None and disease.disease not in shown:
        shown[-1] = disease.disease
    return {
        "modalities": [one for one in changes if one.disease is None],
        "disease": disease,
        "signals": view.abnormal[:3] if {"ehr", "summary"} & set(reads) else None,
        "named": [view.diseases[n].name for n in shown] if {"note", "summary"} & set(reads) else None,
    }
