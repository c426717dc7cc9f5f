"""What an encoder of notes is worth: the outcome predicted from the vectors of the notes alone, out of fold. Prints a table of
docs/encoders_results.md.

    python benchmarks/note_encoders.py --tables data/tables/synthetic/mortality --model FOLDER [--model FOLDER] [--samples 600]

``tfidf_svd`` is fitted on the training part of each fold; a model is not trained. A ridge-penalised logistic regression, whose
penalty is chosen within the training part, predicts the outcome. The five folds are of persons; three seeds shuffle them. The
interval of a difference is that of 1,000 resamples of the samples, each with all three seeds.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emerge_ehr import components
from emerge_ehr.embeddings import TextEncoder
from emerge_ehr.fields import Component
from emerge_ehr.rag.records import joined_notes

SEEDS, FOLDS, RESAMPLES = 3, 5, 1000
Vectors = NDArray[np.float32]


def read(tables: Path, most: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.str_]]:
    """The notes of the first samples, their outcomes, and their persons."""
    cohort = pl.read_csv(tables / "cohort.csv", infer_schema=False).head(most)
    labels = pl.read_csv(tables / "label.csv", infer_schema=False).select("patient_id", "label_value")
    rows = cohort.join(labels, on="patient_id", how="left", maintain_order="left")
    notes = pl.read_csv(tables / "notes.csv", infer_schema=False)
    texts = joined_notes(notes, rows["patient_id"].to_list())
    return texts, rows["label_value"].cast(pl.Float64).cast(pl.Int64).to_numpy(), rows["subject_id"].to_numpy()


def out_of_fold(
    vectors: Callable[[NDArray[np.int64]], Vectors], outcome: NDArray[np.int64], person: NDArray[np.str_], seed: int
) -> NDArray[np.float64]:
    """The predicted log-odds of every sample [N]. ``vectors``: of all samples, by an encoder fitted on those with the numbers."""
    predicted = np.zeros(len(outcome))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for training, test in folds.split(np.zeros(len(outcome)), outcome, person):
        x = vectors(training)
        regression = LogisticRegressionCV(
            Cs=np.logspace(-5, -1, 5),
            cv=3,
            scoring="neg_log_loss",
            max_iter=1000,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        )
        model = make_pipeline(StandardScaler(), regression).fit(x[training], outcome[training])
        predicted[test] = model.decision_function(x[test])
    return predicted


def by_fold(chosen: Component, texts: Sequence[str], cache: Path) -> Callable[[NDArray[np.int64]], Vectors]:
    """Gives the vectors of all texts [N, D], by the encoder fitted on those with the numbers."""
    encoder: TextEncoder = components.build("embedding", chosen, seed=0, cache_dir=cache)
    if chosen.name == "tfidf_svd":
        return lambda training: encoder.fit([texts[n] for n in training]).encode(texts)
    fixed = encoder.fit([]).encode(texts)
    return lambda training: fixed


def main() -> None:
    """Print AUROC by encoder, and its difference from the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--model", type=Path, action="append", default=[], help="a sentence encoder's folder")
    parser.add_argument("--precision", default="auto", help="of the models: bfloat16 where the processor has AMX")
    parser.add_argument("--samples", type=int, default=10**9)
    parser.add_argument("--cache", type=Path, default=Path("data/cache"))
    chosen = parser.parse_args()
    texts, outcome, person = read(chosen.tables, chosen.samples)
    encoders = {"tfidf_svd": Component("tfidf_svd")}
    for folder in chosen.model:
        options = {"model": str(folder), "precision": chosen.precision}
        encoders[folder.name] = Component("sentence_transformers", options)
    results = {}
    for name, component in encoders.items():
        start = time.process_time()
        vectors = by_fold(component, texts, chosen.cache)
        vectors(np.arange(len(texts)))
        print(
            f"{name}: {time.process_time() - start:.1f} processor seconds for the vectors, less where they were stored"
        )
        results[name] = [out_of_fold(vectors, outcome, person, seed) for seed in range(SEEDS)]
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(outcome), len(outcome)) for _ in range(RESAMPLES)]
    first = np.array([[roc_auc_score(outcome[d], p[d]) for p in results["tfidf_svd"]] for d in draws]).mean(axis=1)
    print(f"{len(outcome)} samples, {outcome.sum()} with the outcome; AUROC out of fold, mean of {SEEDS} seeds (each)")
    for name, predictions in results.items():
        each = [roc_auc_score(outcome, p) for p in predictions]
        own = np.array([[roc_auc_score(outcome[d], p[d]) for p in predictions] for d in draws]).mean(axis=1)
        low, high = np.quantile(own - first, [0.025, 0.975])
        shown = ", ".join(f"{value:.3f}" for value in each)
        print(f"  {name}: {np.mean(each):.3f} ({shown}); difference from tfidf_svd {low:+.3f} to {high:+.3f} (95 %)")


if __name__ == "__main__":
    main()
