"""Answers as a table and as JSON: what ``--stage predict`` writes and ``--stage serve`` sends."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import conformal
from emerge_ehr.prediction import what_if
from emerge_ehr.prediction.predictor import Answer, Predictor, Risks
from emerge_ehr.rag import records_file
from emerge_ehr.storage.schema import CONTRIBUTION, RISKS, SET


def header(modalities: Sequence[str], sets: bool) -> list[str]:
    """The columns of the table that predict writes; with ``sets`` of possible outcomes, if the run has any.

    >>> header(["ehr"], False)[-2:]
    ['highest', 'contribution_ehr']
    """
    return [
        *RISKS.names,
        *([SET.name] if sets else []),
        *(CONTRIBUTION.name.replace("<modality>", name) for name in modalities),
    ]


def rows(answer: Answer, run: Predictor, modalities: Sequence[str]) -> Iterator[list[Any]]:
    """A row per label. A contribution is the risk minus the risk without the modality; None where the patient lacks it."""
    for k, label in enumerate(run.trained.label_names):
        risk, threshold = float(answer.risk[k]), float(run.thresholds[k])
        without = [answer.without.get(name) for name in modalities]
        contributions = [None if risk_without is None else risk - float(risk_without[k]) for risk_without in without]
        extremes = float(answer.lowest[k]), float(answer.highest[k])
        of_set = [] if answer.possible is None else conformal.written(answer.possible[[k]])
        yield [answer.patient_id, label, risk, threshold, int(risk >= threshold), *extremes, *of_set, *contributions]


def lacking(answer: Answer, modalities: Sequence[str]) -> list[str]:
    """Those of the ``modalities`` that the method reads which the patient does not have."""
    return [name for name in modalities if name not in answer.without]


def as_json(answer: Answer, run: Predictor) -> dict[str, Any]:
    """A patient's risks and the evidence they rest on; docs/prediction.md describes the keys."""
    names, record = run.trained.label_names, records_file.plain(answer.record)
    definitions = {document.node_index: document.definition for document in answer.record.documents}
    risks = [
        {
            "label_code": name,
            "y_prob": float(answer.risk[k]),
            "threshold": float(run.thresholds[k]),
            "above_threshold": bool(answer.risk[k] >= run.thresholds[k]),
            "lowest": float(answer.lowest[k]),
            "highest": float(answer.highest[k]),
            **({} if answer.possible is None else _set(answer.possible[[k]])),
            "contributions": {part: float(answer.risk[k] - risk[k]) for part, risk in answer.without.items()},
        }
        for k, name in enumerate(names)
    ]
    diseases = [
        {
            **node,
            "definition": definitions[node["node_index"]],
            "risk_without": by_label(names, without) if without is not None else {},
            "contribution": by_label(names, answer.risk - without) if without is not None else {},
        }
        for node in record["nodes"]
        for without in (answer.without_disease.get(node["node_index"]),)
    ]
    return {
        "patient_id": answer.patient_id,
        "risks": risks,
        "lacking": lacking(answer, what_if.modalities(run.trained)),
        "abnormal_signals": record["abnormal_signals"],
        "diseases": diseases,
        "summary": record["summary"],
        "statements": record["provenance"],
        "faithfulness": record["faithfulness"],
        "failures": record["failures"],
    }


def _set(possible: NDArray[np.bool_]) -> dict[str, str]:
    """The set [1,2] of possible outcomes, and what it says."""
    (text,) = conformal.written(possible)
    return {SET.name: text, "answer": conformal.WORDS[text]}


def by_label(names: Sequence[str], values: Risks) -> dict[str, float]:
    """Map the labels' names to their values [K]."""
    return dict(zip(names, values.tolist(), strict=True))
