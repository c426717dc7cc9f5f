"""Answers as a table and as JSON: what ``--stage predict`` writes and ``--stage serve`` sends."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import conformal
from emerge_ehr.prediction.predictor import Answer, Predictor, Risks
from emerge_ehr.prediction.what_if import Without
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
            **what_it_changes(names, answer.risk, answer.without_disease.get(node["node_index"])),
        }
        for node in record["nodes"]
    ]
    signals = [
        {**signal, **what_it_changes(names, answer.risk, answer.without_signal.get(signal["code"]))}
        for signal in record["abnormal_signals"]
    ]
    return {
        "patient_id": answer.patient_id,
        "risks": risks,
        "lacking": list(answer.lacking),
        "abnormal_signals": signals,
        "diseases": diseases,
        **{name: record[name] for name in records_file.OPTIONAL if name in record},
        "summary": record["summary"],
        "statements": record["provenance"],
        "faithfulness": record["faithfulness"],
        "failures": record["failures"],
    }


def what_it_changes(names: Sequence[str], risk: Risks, without: Without | None) -> dict[str, dict[str, Any]]:
    """What a disease or a signal is to the ``risk`` [K], by label; nothing where the run's method does not read of it."""
    if without is None:
        return {"risk_without": {}, "contribution": {}, "agreed": {}}
    values = {"risk_without": without.risk, "contribution": risk - without.risk, "agreed": without.agreed}
    return {key: dict(zip(names, by_label.tolist(), strict=True)) for key, by_label in values.items()}


def _set(possible: NDArray[np.bool_]) -> dict[str, str]:
    """The set [1,2] of possible outcomes, and what it says."""
    (text,) = conformal.written(possible)
    return {SET.name: text, "answer": conformal.WORDS[text]}
