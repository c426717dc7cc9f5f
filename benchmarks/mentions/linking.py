"""Diseases found in annotated abstracts and in ICD titles: how many are right. Prints rows of tables.

What is right is known by way of MONDO (``mondo_references.csv.gz``), and the halves are those of benchmarks/linking_titles.py: on
the first the similarity ``words`` was fitted.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from benchmarks.linking_titles import Abstract, Gold, abstracts, half_of, titles
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import rules
from emerge_ehr.rag.mentions.candidates import phrases_and_titles, settle
from emerge_ehr.rag.names import name_index, normal

DEVELOPMENT = {
    "NCBI development": "ncbi-disease/NCBIdevelopset_corpus.txt",
    "BC5CDR development": "bc5cdr/CDR_DevelopmentSet.PubTator.txt",
}
TEST = {"NCBI test": "ncbi-disease/NCBItestset_corpus.txt", "BC5CDR test": "bc5cdr/CDR_TestSet.PubTator.txt"}
HALVES = ("half fitted on", "half set aside")
Span = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """What a way finds in a text: the mentions' spans, and the nodes, each once, in order of position."""

    spans: Sequence[Span]
    nodes: Sequence[int]


Way = Callable[[Sequence[str]], list[Found]]


def corpora(data: Path) -> dict[str, list[Abstract]]:
    """The development sets, and those test sets that are there, gzipped or not."""
    read = {}
    for name, file in (DEVELOPMENT | TEST).items():
        path = data / file
        path = path if path.exists() else path.with_name(path.name + ".gz")
        if name in DEVELOPMENT or path.exists():
            read[name] = abstracts(path)
    return read


def plain(graph: KnowledgeGraph) -> Way:
    """Whole-word, case-insensitive, leftmost-longest matching of the graph's names and nothing else."""
    from ahocorasick_rs import AhoCorasick

    index = name_index(graph)
    names = sorted({name.lower() for disease in graph.diseases().values() for name in disease.names})
    automaton = AhoCorasick(names)

    def find(text: str) -> Found:
        lower = text.lower()
        hits = [
            (start, -end, n)
            for n, start, end in automaton.find_matches_as_indexes(lower, overlapping=True)
            if not (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum())
        ]
        spans: list[Span] = []
        nodes: list[int] = []
        for start, minus_end, n in sorted(hits):
            if not spans or start >= spans[-1][1]:
                spans.append((start, -minus_end))
                nodes += [index[name] for name in (normal(names[n]),) if name in index]
        return Found(spans, list(dict.fromkeys(nodes)))

    return lambda texts: [find(text) for text in texts]


def by_rules(extractor: rules.Rules, linker: linking.Linker, candidates: bool) -> Way:
    """The rules and the linker as stage preprocess runs them, with candidates or without; mentions of whatever status count.

    A disease that is counted to a group stays the group here, since the references know the group's node only.
    """

    def find(texts: Sequence[str]) -> list[Found]:
        extractions = extractor.extract(texts)
        if not candidates:
            extractions = [replace(extraction, candidates=()) for extraction in extractions]
        named = {entity.name for extraction in extractions for entity in extraction.entities}
        phrases, titled = phrases_and_titles(extractions)
        exact = {normal(name) for name in named}
        linked = linker.link(named | phrases, exact)
        titles_linked = linker.link(titled, exact, titles=True) | linked
        found = []
        for extraction in extractions:
            entities = settle(extraction, linked, titles_linked).entities
            names = [normal(entity.name) for entity in entities]
            nodes = dict.fromkeys(titles_linked[name][0] for name in names if name in titles_linked)
            found.append(Found([(entity.start, entity.end) for entity in entities], list(nodes)))
        return found

    return find


def widened(folder: Path) -> Mapping[int, set[int]]:
    """Each node with its parents and children: what a disease-disease edge of the graph joins to it."""
    edges = pl.scan_csv(folder / "kg.csv", infer_schema=False).filter(pl.col("relation") == "disease_disease")
    near: defaultdict[int, set[int]] = defaultdict(set)
    for x, y in edges.select(pl.col("x_index", "y_index").cast(pl.Int64)).collect().rows():
        near[x] |= {x, y}
        near[y] |= {x, y}
    return near


def scores(right: int, predicted: int, covered: int, gold: int) -> str:
    """Precision, recall and F1 as text."""
    precision, recall = right / max(predicted, 1), covered / max(gold, 1)
    return f"{precision:.3f}, {recall:.3f}, {2 * precision * recall / max(precision + recall, 1e-9):.3f}"


def concepts(document: Abstract) -> list[str]:
    """The ids of a document's concepts, each once."""
    return sorted({concept.removeprefix("MESH:") for _, _, ids in document.spans for concept in ids})


def span_scores(documents: Sequence[Abstract], found: Sequence[Found]) -> str:
    """Scores of spans that are exactly right, then of spans that overlap, as two cells."""
    pairs = [
        ([(a, b) for a, b, _ in document.spans], own.spans) for document, own in zip(documents, found, strict=True)
    ]
    n_gold, n_predicted = sum(len(gold) for gold, _ in pairs), sum(len(own) for _, own in pairs)
    exact = sum(len(set(gold) & set(own)) for gold, own in pairs)

    def near(span: Span, others: Sequence[Span]) -> bool:
        return any(span[0] < end and start < span[1] for start, end in others)

    right = sum(near(span, gold) for gold, own in pairs for span in own)
    covered = sum(near(span, own) for gold, own in pairs for span in gold)
    return f"{scores(exact, n_predicted, exact, n_gold)} | {scores(right, n_predicted, covered, n_gold)}"


def link_scores(wanted: Sequence[Collection[Collection[int]]], found: Sequence[Found]) -> str:
    """Scores of the nodes found in each document against ``wanted``: of each of its concepts the nodes that are right."""
    right = predicted = covered = n_gold = 0
    for gold, own in zip(wanted, found, strict=True):
        right += sum(any(node in allowed for allowed in gold) for node in own.nodes)
        covered += sum(any(node in allowed for node in own.nodes) for allowed in gold)
        predicted, n_gold = predicted + len(own.nodes), n_gold + len(gold)
    return scores(right, predicted, covered, n_gold)


def corpus_rows(
    name: str, documents: Sequence[Abstract], ways: Mapping[str, Way], known: Gold, near: Mapping[int, set[int]]
) -> tuple[list[str], list[str]]:
    """The rows of the table of spans, and of that of links: of all abstracts and, of a development set, of each half."""
    nodes = [[known.of(concept) for concept in concepts(document) if known.of(concept)] for document in documents]
    wide = [[set[int]().union(*(near.get(n, {n}) for n in allowed)) for allowed in gold] for gold in nodes]
    found = {way: find([document.text for document in documents]) for way, find in ways.items()}
    spans = [f"| {name} | {way} | {span_scores(documents, own)} |" for way, own in found.items()]
    parts = {"all": [True] * len(documents)}
    if name in DEVELOPMENT:
        parts |= {title: [half_of(d.pmid) == half for d in documents] for half, title in enumerate(HALVES)}
    links = []
    for part, chosen in parts.items():
        for way, own in found.items():
            kept = [here for here, keep in zip(own, chosen, strict=True) if keep]
            cells = [
                link_scores([gold for gold, keep in zip(wanted, chosen, strict=True) if keep], kept)
                for wanted in (nodes, wide)
            ]
            links.append(f"| {name}, {part} | {way} | {' | '.join(cells)} |")
    return spans, links


def described(name: str, documents: Sequence[Abstract], known: Gold) -> str:
    """How many abstracts, mentions and concepts a corpus has."""
    spans = [ids for document in documents for _, _, ids in document.spans]
    ids = [concept for document in documents for concept in concepts(document)]
    return (
        f"{name}: {len(documents)} abstracts, {len(spans)} mentions, of them {sum(len(own) > 1 for own in spans)} composite; "
        f"{len(ids)} concepts (each once per abstract), {sum(not known.of(concept) for concept in ids)} without a node"
    )


def title_rows(data: Path, known: Gold, ways: Mapping[str, Way]) -> Iterator[str]:
    """How often the first disease found in a title is right: of all titles, and of those in which one is found."""
    cases = list(dict.fromkeys(titles(data / "mimic-iv-demo-2.2" / "hosp", known)))
    found = {way: find([title for title, _, _ in cases]) for way, find in ways.items()}
    for which, used_only in (("of the demo's patients", True), ("all", False)):
        for half, heading in enumerate(HALVES):
            chosen = [
                n for n, (title, _, used) in enumerate(cases) if half_of(title) == half and (used or not used_only)
            ]
            for way, own in found.items():
                hits = sum(bool(own[n].nodes) and own[n].nodes[0] in cases[n][1] for n in chosen)
                linked = sum(bool(own[n].nodes) for n in chosen)
                share = f"{hits / len(chosen):.3f} | {hits / max(linked, 1):.3f}"
                yield f"| {which}, {heading} ({len(chosen):,}) | {way} | {share} |"
