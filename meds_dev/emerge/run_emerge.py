"""What MEDS-DEV runs: trains EMERGE on the labels of a task, and predicts those of a split.

    python run_emerge.py train DATASET LABELS OUTPUT
    python run_emerge.py predict DATASET LABELS OUTPUT --model OUTPUT_OF_TRAIN --split held_out

``DATASET`` is the root of a MEDS dataset, with metadata/subject_splits.parquet; ``LABELS`` a folder of labels. Training writes a
config, tables and a run into ``OUTPUT``; prediction writes ``predictions.parquet``, for the MEDS evaluation.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import polars as pl

CODES = 100  # at most so many codes are features
WINDOW = 48  # hours before the prediction time
KEY = ["subject_id", "prediction_time"]
PREDICTED = ["predicted_boolean_value", "predicted_boolean_probability"]
CONFIG = """
dataset = "meds"
run_name = "emerge"
[paths]
raw_dir = {dataset}
kg_dir = {kg}
table_dir = {tables}
processed_dir = {processed}
run_dir = {run}
cache_dir = {cache}
[source]
name = "meds"
[source.signals]
{signals}
[task]
name = "aces"
labels = {labels}
[cohort]
window = "last"
window_hours = {window}
min_stay_hours = 0
min_age = 0
[split]
file = {split}
[download]
primekg = "example"
[model]
modalities = ["ehr"]
"""


def train(dataset: Path, labels: Path, output: Path) -> None:
    """Convert, preprocess and train, by a config that is written beside."""
    splits = dataset / "metadata" / "subject_splits.parquet"
    persons = pl.read_parquet(splits).filter(pl.col("split") == "train")["subject_id"]
    signals = [f"{_text(code)} = [{_text(code)}]" for code in _codes(dataset, persons)]
    _write_config(output, dataset, labels, signals, splits)
    for stage in ("download", "convert", "preprocess", "train"):
        _emerge("--config", str(output / "emerge.toml"), "--stage", stage, "--offline")


def predict(dataset: Path, labels: Path, output: Path, model: Path, split: str) -> None:
    """Predict the labelled prediction times of a split's persons.

    Prediction times that have nothing of a person before them cannot be predicted: they get the share of the outcome in training.
    """
    splits = pl.read_parquet(dataset / "metadata" / "subject_splits.parquet")
    wanted = _labels(labels).join(splits.filter(pl.col("split") == split), on="subject_id", how="semi")
    (output / "labels").mkdir(parents=True, exist_ok=True)
    wanted.write_parquet(output / "labels" / "0.parquet")
    signals = (model / "signals.toml").read_text().splitlines()
    _write_config(output, dataset, output / "labels", signals, dataset / "metadata" / "subject_splits.parquet")
    _emerge("--config", str(output / "emerge.toml"), "--stage", "convert", "--offline")
    of_run = ("--run", str(model / "run"), "--tables", str(output / "tables"), "--offline", "--risks-only")
    _emerge("--stage", "predict", *of_run, "--output", str(output / "risks.csv"))
    risks = pl.read_parquet(output / "risks.parquet").select(*KEY, *PREDICTED)
    found = wanted.join(risks, on=KEY, how="left", maintain_order="left")
    if missing := found[PREDICTED[0]].null_count():
        share = pl.read_csv(model / "tables" / "label.csv")["label_value"].mean()
        print(
            f"{missing} of {found.height} prediction times have no measurement: they get the share of the outcome, {share}"
        )
        found = found.with_columns(pl.col(PREDICTED[0]).fill_null(value=False), pl.col(PREDICTED[1]).fill_null(share))
    found = found.with_columns(pl.col(PREDICTED[1]).cast(pl.Float64)).select(*KEY, "boolean_value", *PREDICTED)
    found.write_parquet(output / "predictions.parquet")


def _codes(dataset: Path, persons: pl.Series) -> list[str]:
    """The codes that have a number for most of the ``persons``, in order."""
    rows = pl.concat(
        [
            pl.scan_parquet(path, glob=False).select("subject_id", "code", pl.col("numeric_value").cast(pl.Float64))
            for path in sorted((dataset / "data").rglob("*.parquet"))
        ]
    )
    numbers = rows.filter(pl.col("numeric_value").is_finite() & pl.col("subject_id").is_in(persons.to_list()))
    counted = numbers.group_by("code").agg(pl.col("subject_id").n_unique().alias("persons")).collect()
    counted = counted.filter(~pl.col("code").str.contains("*", literal=True))  # which would stand for any text
    if not counted.height:
        sys.exit(f"{dataset}: no training person has a number")
    return counted.sort(["persons", "code"], descending=[True, False])["code"].head(CODES).to_list()


def _labels(folder: Path) -> pl.DataFrame:
    tables = [pl.read_parquet(path).select(*KEY, "boolean_value") for path in sorted(folder.rglob("*.parquet"))]
    return pl.concat([table for table in tables if table.height], how="vertical_relaxed")


def _write_config(output: Path, dataset: Path, labels: Path, signals: list[str], split: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "signals.toml").write_text("\n".join(signals) + "\n")
    here = output.resolve()
    places = {name: _text(str(here / name)) for name in ("kg", "tables", "processed", "run", "cache")}
    given = {"dataset": dataset, "labels": labels, "split": split}
    given_texts = {name: _text(str(path.resolve())) for name, path in given.items()}
    text = CONFIG.format(window=WINDOW, signals="\n".join(signals), **places, **given_texts)
    (output / "emerge.toml").write_text(text)


def _emerge(*options: str) -> None:
    command = "from emerge_ehr.cli import main; raise SystemExit(main())"
    subprocess.run([sys.executable, "-c", command, *options], check=True)


def _text(value: str) -> str:
    """A text as TOML has it between quotes, which is as JSON has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "predict"])
    for name in ("dataset", "labels", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--model", type=Path, help="with predict: the output of train")
    parser.add_argument("--split", default="held_out", help="with predict: whose labels")
    given = parser.parse_args()
    if given.what == "train":
        train(given.dataset, given.labels, given.output)
    elif given.model is None:
        parser.error("predict needs --model")
    else:
        predict(given.dataset, given.labels, given.output, given.model, given.split)


if __name__ == "__main__":
    main()
