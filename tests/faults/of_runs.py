"""Corruptions of a finished run that is reported, compared or asked about new patients; and of these patients' tables."""

from tests.faults.corruption import Corruption
from tests.faults.damage import (
    FILES,
    LINES,
    Damage,
    a_folder,
    cell,
    column,
    emptied,
    halved,
    missing,
    record,
    renamed,
    rows,
    without,
    written,
)
from tests.faults.of_checkpoints import WEIGHTS

PREDICT = ("--run", "run", "--tables", "own", "--output", "risks.csv")
COMPARE = ("--runs", "run", "run")
JSON: dict[str, Damage] = {
    "halved": halved,
    "missing": missing,
    "a folder": a_folder,
    "wrong top-level type": written("[]"),
    "empty object": written("{}"),
    "deep nesting": written("[" * 100_000),
}
METRICS: dict[str, Damage] = {
    **JSON,
    "thresholds missing": record(lambda value: value.pop("thresholds") and None),
    "threshold as text": record(lambda value: value["thresholds"]["mortality"].update(value="high")),
    "threshold of another label": record(lambda value: value.update(thresholds={"other": {"value": 0.5}})),
    "splits missing": record(lambda value: value.pop("splits") and None),
}
PREDICTIONS: dict[str, Damage] = {
    **FILES,
    **{
        kind: LINES[kind]
        for kind in ("wrong delimiter", "header only", "duplicated column", "binary", "cut off in a row")
    },
    "halved": halved,
    "without y_prob": without("y_prob"),
    "y_prob renamed": renamed("y_prob", "risk"),
    "y_prob as text": column("y_prob", lambda text: "high"),
    "y_prob above 1": column("y_prob", lambda text: "1.5"),
    "y_prob NaN": column("y_prob", lambda text: "NaN"),
    "y_true 2": column("y_true", lambda text: "2"),
    "another patient": column("patient_id", lambda text: f"{text}9"),
    "rows twice": rows(lambda table: [*table, *table[1:]]),
}
HISTORY: dict[str, Damage] = {
    "missing": missing,
    "emptied": emptied,
    "halved": halved,
    "val_loss as text": column("val_loss", lambda text: "low"),
    "without epoch": without("epoch"),
}
SUBGROUPS: dict[str, Damage] = {
    "missing": missing,
    "emptied": emptied,
    "without gap": without("gap"),
    "value as text": column("value", lambda text: "high"),
}
# new patients' tables; what tests of preprocess have of them is not repeated
OWN: dict[str, dict[str, Damage]] = {
    "own/dynamic.csv": {
        "unknown code": cell("code", "lactate"),
        "value as text": cell("value", "high"),
        "value 1e39": cell("value", "1e39"),
        "time with a zone": cell("event_time", "2150-01-01T00:00:00+02:00"),
        "missing": missing,
        "header only": LINES["header only"],
        "binary": LINES["binary"],
    },
    "own/cohort.csv": {
        "empty": LINES["header only"],
        "patient twice": rows(lambda table: [*table, table[1]]),
        "window of one hour": column("window_end", lambda text: "1900-01-01 00:00:00"),
        "missing": missing,
    },
    "own/static.csv": {
        "age 400": cell("age", "400"),
        "patient missing": rows(lambda table: [table[0], *table[2:]]),
        "missing": missing,
    },
    "own/notes.csv": {
        "missing": missing,
        "quote left open": LINES["quote left open"],
        "note of a stranger": cell("patient_id", "nobody"),
    },
}
CORRUPTIONS = [
    *(Corruption("run/metrics.json", kind, damage, "report") for kind, damage in METRICS.items()),
    *(Corruption("run/metrics.json", kind, damage, "compare", options=COMPARE) for kind, damage in METRICS.items()),
    *(Corruption("run/metrics.json", kind, damage, "predict", options=PREDICT) for kind, damage in METRICS.items()),
    *(
        Corruption(f"run/{name}.json", kind, damage, stage, options=options)
        for name in ("config", "manifest")
        for stage, options in (("report", ()), ("compare", COMPARE), ("predict", PREDICT))
        for kind, damage in JSON.items()
    ),
    *(Corruption("run/predictions.csv", kind, damage, "compare", options=COMPARE) for kind, damage in PREDICTIONS.items()),
    *(Corruption("run/predictions.csv", kind, damage, "report") for kind, damage in PREDICTIONS.items()),
    *(Corruption("run/history.csv", kind, damage, "report") for kind, damage in HISTORY.items()),
    *(Corruption("run/subgroups.csv", kind, damage, "report") for kind, damage in SUBGROUPS.items()),
    *(
        Corruption("run/checkpoints/best.safetensors", kind, WEIGHTS[kind], stage, options=options)
        for stage, options in (("report", ()), ("predict", PREDICT))
        for kind in ("halved", "emptied", "missing", "pickle", "header bomb", "tensor missing", "another shape", "NaN")
    ),
    *(
        Corruption(f"processed/fitted/{name}", kind, damage, "predict", options=PREDICT)
        for name in ("statistics.npz", "note_encoder.npz", "note_encoder.json")
        for kind, damage in (("halved", halved), ("missing", missing), ("emptied", emptied))
    ),
    *(
        Corruption(name, kind, damage, "predict", options=PREDICT)
        for name, damages in OWN.items()
        for kind, damage in damages.items()
    ),
]  # fmt: skip
