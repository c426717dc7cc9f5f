"""Faults of a finished run that is reported, compared or asked about new patients; and of these patients' tables."""

from tests.faults.bad_input import checkpoints
from tests.faults.bad_input.any_file import ANY_CSV, ANY_FILE
from tests.faults.bad_input.damage import (
    cell,
    column,
    halved,
    record,
    renamed,
    rows,
    without,
    written,
)
from tests.faults.bad_input.fault import Cases, ending, faults, handled, refused, some

PREDICT = ("--run", "run", "--tables", "own", "--output", "risks.csv")
COMPARE = ("--runs", "run", "run")

CHANGED = refused("changed since --stage train wrote it")
METRICS: Cases = {
    "halved": (halved, CHANGED),
    "wrong top-level type": (written("[]"), CHANGED),
    "empty object": (written("{}"), CHANGED),
    "deep nesting": (written("[" * 100_000), CHANGED),
    "thresholds missing": (record(lambda value: value.pop("thresholds") and None), CHANGED),
    "threshold as text": (record(lambda value: value["thresholds"]["mortality"].update(value="high")), CHANGED),
    "threshold of another label": (record(lambda value: value.update(thresholds={"other": {"value": 0.5}})), CHANGED),
    "splits missing": (record(lambda value: value.pop("splits") and None), CHANGED),
}
JSON: Cases = {
    "halved": (halved, CHANGED),
    "wrong top-level type": (written("[]"), CHANGED),
    "empty object": (written("{}"), CHANGED),
    "deep nesting": (written("[" * 100_000), CHANGED),
}
PREDICTIONS: Cases = {
    **ending(
        CHANGED, some(ANY_CSV, "wrong delimiter", "header only", "duplicated column", "binary", "cut off in a row")
    ),
    "halved": (halved, CHANGED),
    "without y_prob": (without("y_prob"), CHANGED),
    "y_prob renamed": (renamed("y_prob", "risk"), CHANGED),
    "y_prob as text": (column("y_prob", lambda text: "high"), CHANGED),
    "y_prob above 1": (column("y_prob", lambda text: "1.5"), CHANGED),
    "y_prob NaN": (column("y_prob", lambda text: "NaN"), CHANGED),
    "y_true 2": (column("y_true", lambda text: "2"), CHANGED),
    "another patient": (column("patient_id", lambda text: f"{text}9"), CHANGED),
    "rows twice": (rows(lambda table: [*table, *table[1:]]), CHANGED),
}
HISTORY: Cases = {
    "halved": (halved, CHANGED),
    "val_loss as text": (column("val_loss", lambda text: "low"), CHANGED),
    "without epoch": (without("epoch"), CHANGED),
}
SUBGROUPS: Cases = {
    "without gap": (without("gap"), CHANGED),
    "value as text": (column("value", lambda text: "high"), CHANGED),
}
WEIGHTS = some(ANY_FILE, "missing") | ending(
    CHANGED,
    some(ANY_FILE, "emptied")
    | some(checkpoints.WEIGHTS, "halved", "pickle", "header bomb", "tensor missing", "another shape", "NaN"),
)
FITTED: Cases = {
    "halved": (halved, refused("changed since --stage preprocess wrote it")),
}
OWN_DYNAMIC: Cases = {
    "unknown code": (cell("code", "lactate"), refused("is not one of the signals")),
    "value as text": (cell("value", "high"), refused("is not a number")),
    "value 1e39": (cell("value", "1e39"), refused("is not a number")),
    "time with a zone": (cell("event_time", "2150-01-01T00:00:00+02:00"), refused("is not a time")),
}
OWN_COHORT: Cases = {
    "empty": (rows(lambda table: table[:1]), refused("holds no patient")),
    "patient twice": (rows(lambda table: [*table, table[1]]), refused("stands twice")),
    "window of one hour": (
        column("window_end", lambda text: "1900-01-01 00:00:00"),
        refused("the window of patient_id '30000017', 2144-08-"),
    ),
}
OWN_STATIC: Cases = {
    "age 400": (cell("age", "400"), refused("is outside")),
    "patient missing": (
        rows(lambda table: [table[0], *table[2:]]),
        refused("patient_id '30000017' of cohort.csv is not th"),
    ),
}
OWN_NOTES: Cases = {
    "note of a stranger": (cell("patient_id", "nobody"), refused("patient_id 'nobody' is not in cohort.csv; rem")),
}
FAULTS = [
    *faults("report", "run/metrics.json", some(ANY_FILE, "missing", "a folder") | METRICS),
    *faults("compare", "run/metrics.json", some(ANY_FILE, "missing", "a folder") | METRICS, options=COMPARE),
    *faults("predict", "run/metrics.json", some(ANY_FILE, "missing", "a folder") | METRICS, options=PREDICT),
    *faults("report", "run/config.json", some(ANY_FILE, "missing", "a folder") | JSON),
    *faults("compare", "run/config.json", some(ANY_FILE, "missing", "a folder") | JSON, options=COMPARE),
    *faults("predict", "run/config.json", some(ANY_FILE, "missing", "a folder") | JSON, options=PREDICT),
    *faults(
        "report",
        "run/manifest.json",
        some(ANY_FILE, "missing", "a folder") | JSON,
        {
            "halved": refused("not JSON"),
            "wrong top-level type": refused("not the manifest of a run; run --stage train "),
            "empty object": refused("made by another version of this program; run "),
            "deep nesting": refused("not JSON"),
        },
    ),
    *faults(
        "compare",
        "run/manifest.json",
        some(ANY_FILE, "missing", "a folder") | JSON,
        {
            "halved": refused("not JSON"),
            "wrong top-level type": refused("not the manifest of a run; run --stage train "),
            "empty object": refused("made by another version of this program; run "),
            "deep nesting": refused("not JSON"),
        },
        options=COMPARE,
    ),
    *faults(
        "predict",
        "run/manifest.json",
        some(ANY_FILE, "missing", "a folder") | JSON,
        {
            "halved": refused("not JSON"),
            "wrong top-level type": refused("not the manifest of a run; run --stage train "),
            "empty object": refused("made by another version of this program; run "),
            "deep nesting": refused("not JSON"),
        },
        options=PREDICT,
    ),
    *faults(
        "compare",
        "run/predictions.csv",
        ANY_FILE | PREDICTIONS,
        {
            "emptied": CHANGED,
        },
        options=COMPARE,
    ),
    *faults(
        "report",
        "run/predictions.csv",
        ANY_FILE | PREDICTIONS,
        {
            "emptied": CHANGED,
        },
    ),
    *faults(
        "report",
        "run/history.csv",
        some(ANY_FILE, "missing", "emptied") | HISTORY,
        {
            "emptied": CHANGED,
        },
    ),
    *faults(
        "report",
        "run/subgroups.csv",
        some(ANY_FILE, "missing", "emptied") | SUBGROUPS,
        {
            "emptied": CHANGED,
        },
    ),
    *faults("report", "run/checkpoints/best.safetensors", WEIGHTS),
    *faults("predict", "run/checkpoints/best.safetensors", WEIGHTS, options=PREDICT),
    *faults(
        "predict",
        "processed/fitted/statistics.npz",
        some(ANY_FILE, "missing", "emptied") | FITTED,
        {
            "emptied": refused("changed since --stage preprocess wrote it"),
        },
        options=PREDICT,
    ),
    *faults(
        "predict",
        "processed/fitted/note_encoder.npz",
        some(ANY_FILE, "missing", "emptied") | FITTED,
        {
            "emptied": refused("changed since --stage preprocess wrote it"),
        },
        options=PREDICT,
    ),
    *faults(
        "predict",
        "processed/fitted/note_encoder.json",
        some(ANY_FILE, "missing", "emptied") | FITTED,
        {
            "emptied": refused("changed since --stage preprocess wrote it"),
        },
        options=PREDICT,
    ),
    *faults(
        "predict",
        "own/dynamic.csv",
        some(ANY_CSV, "header only", "binary") | some(ANY_FILE, "missing") | OWN_DYNAMIC,
        {
            "binary": refused("no column 'patient_id'; it has: \\x00\\x01\\x02\\"),
        },
        options=PREDICT,
    ),
    *faults("predict", "own/cohort.csv", some(ANY_FILE, "missing") | OWN_COHORT, options=PREDICT),
    *faults("predict", "own/static.csv", some(ANY_FILE, "missing") | OWN_STATIC, options=PREDICT),
    *faults(
        "predict",
        "own/notes.csv",
        some(ANY_CSV, "quote left open") | some(ANY_FILE, "missing") | OWN_NOTES,
        {
            "missing": handled("there are no notes"),
        },
        options=PREDICT,
    ),
]
