"""Stage predict: a finished run + the tables of new patients -> a risk per patient, and the evidence that the risk rests on."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TextIO

from emerge_ehr import privacy
from emerge_ehr.datasets import sources
from emerge_ehr.fields import UserError, plural
from emerge_ehr.prediction import answers, predictor, spread
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.spread import Written
from emerge_ehr.storage import artefacts, meds_predictions, schema, spreadsheet

log = logging.getLogger(__name__)
LACKING = {"ehr": "measurements", "note": "a note", "summary": "a summary"}


@privacy.owner_only()
def run(
    run: Path,
    tables: Path,
    output: Path,
    offline: bool,
    explain: bool = True,
    workers: int = 0,
    risks_only: bool = False,
) -> None:
    """Write ``output``, a row per patient and label, and ``<stem>.evidence.jsonl`` beside it, a line per patient.

    ``explain``: whether they say what each modality and disease adds to a risk. ``risks_only``: nothing is explained or audited,
    and no evidence is written. ``workers``: as for ``spread.answered``.

    Raises:
        UserError: the run or the tables do not fit, or ``output`` cannot be written; or, with ``risks_only``, evidence of earlier
            risks lies beside it.
    """
    evidence = output.with_name(f"{output.stem}.evidence.jsonl")
    artefacts.require_output(output, [run], [tables / table.file for table in schema.EVERY_TABLE])
    if risks_only and evidence.exists():
        raise UserError(f"{evidence}: is of the risks that were in {output}; remove it, or choose another --output")
    explain = explain and not risks_only
    ready = predictor.load(run, offline=offline, explain=explain)
    patients = ready.tables(tables)
    for warning in patients.warnings:
        log.warning("%s", warning)
    log.info("predict: %s of %s with %s", plural(patients.cohort.height, "patient"), tables, run)
    began = time.perf_counter()
    with ExitStack() as files:
        rows = files.enter_context(
            files.enter_context(artefacts.replacing(output)).open("w", encoding="utf-8", newline="")
        )
        lines = None
        if not risks_only:
            lines = files.enter_context(files.enter_context(artefacts.replacing(evidence)).open("w", encoding="utf-8"))
        found = spread.answered(ready, patients, explain=explain, evidence=not risks_only, workers=workers)
        risks: dict[str, float] = {}
        highest = _write(_noting(files.enter_context(closing(found)), risks), ready, rows, lines)
    if sources.bring_predictions(ready.trained.config):
        _write_for_meds(risks, float(ready.thresholds[0]), output.with_suffix(".parquet"))
    seconds = time.perf_counter() - began
    print(
        f"{plural(patients.cohort.height, 'patient')} in {seconds:.1f} s ({patients.cohort.height / seconds:.1f} per second)"
    )
    print(*highest, sep="\n")
    print(f"risks: {output}" + ("" if risks_only else f"\nevidence: {evidence}"))


def _noting(found: Iterable[Written], risks: dict[str, float]) -> Iterator[Written]:
    """The blocks as they come; the risks of the first outcome are put into ``risks``, by patient."""
    for block in found:
        risks.update(block.first)
        yield block


def _write_for_meds(risks: Mapping[str, float], threshold: float, path: Path) -> None:
    above = [risk >= threshold for risk in risks.values()]
    rows = meds_predictions.table(list(risks), list(risks.values()), above, None)
    if rows is None:
        log.warning("%s is not written: not all patients have the ids of prediction times", path)
        return
    with artefacts.replacing(path) as file:
        meds_predictions.write(rows, file)
    print(f"for meds-evaluation: {path}")


def _write(found: Iterable[Written], ready: Predictor, rows: TextIO, evidence_lines: TextIO | None) -> list[str]:
    """Write both files, or the first alone, and return a line per label about the patient at highest risk."""
    modalities = ready.trained.reads
    rows.write(spreadsheet.line(answers.header(modalities, ready.trained.sets is not None)))
    highest = [("", -1.0)] * len(ready.outcomes)
    failures, lacking = 0, Counter[str]()
    for block in found:
        rows.write(block.rows)
        if evidence_lines is not None:
            evidence_lines.write(block.lines)
        failures += block.failures
        lacking += block.lacking
        highest = [spread.higher(*pair) for pair in zip(highest, block.highest, strict=True)]
    for name in (name for name in modalities if lacking[name]):
        whose = plural(lacking[name], "patient lacks", "patients lack")
        log.warning("%s %s: the risk rests on the other inputs", whose, LACKING[name])
    if failures:
        log.warning(
            "%s: the language model gave no entities or no summary, and their risks were computed without them; "
            "run predict again",
            plural(failures, "patient"),
        )
    return [
        f"highest risk of {outcome.title}: {risk:.3f}, patient {patient_id}"
        for outcome, (patient_id, risk) in zip(ready.outcomes, highest, strict=True)
    ]
