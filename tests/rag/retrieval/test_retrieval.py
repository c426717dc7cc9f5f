"""What every retriever promises, on the synthetic graph; and ``relevance`` beside a plain loop over its formula."""

import math
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component, UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.ranking import signal_phenotypes
from emerge_ehr.rag.retrieval import Query, Retriever, relevance
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import SIGNAL_BY_NAME, SIGNALS
from tests.places import SHARED

PRIMEKG = SHARED / "primekg-open"
PLUGS = components.names("retrieval")
MANY = 1000  # more triples than a disease has
SHOWN = signal_phenotypes.read(signal_phenotypes.BUILT_IN)


@pytest.fixture(scope="module")
def graph(mini_graph: Path) -> KnowledgeGraph:
    built: KnowledgeGraph = components.build("knowledge_graph", Component("primekg"), folder=mini_graph)
    return built


def retriever(name: str, graph: KnowledgeGraph, seed: int = 7, **options: object) -> Retriever:
    built: Retriever = components.build("retrieval", Component(name, options), graph=graph, seed=seed)
    return built


def has(name: str, option: str) -> bool:
    """Whether the plug has the option: those that are common have one meaning."""
    return hasattr(components.options("retrieval", Component(name)), option)


def signal(code: str, direction: str) -> AbnormalSignal:
    return AbnormalSignal(code, SIGNAL_BY_NAME[code].label, direction, 1.0, "", 3, 3.0, 2)


def patients(graph: KnowledgeGraph, count: int, seed: int = 1) -> list[Query]:
    """Patients of no to ten diseases, each with up to four signals."""
    rng = np.random.default_rng(seed)
    nodes = np.array(list(graph.diseases()))
    queries = []
    for _ in range(count):
        chosen = rng.choice(nodes, size=min(int(rng.integers(11)), len(nodes)), replace=False).tolist()
        codes = rng.choice([each.name for each in SIGNALS], size=int(rng.integers(5)), replace=False).tolist()
        queries.append(Query(tuple(chosen), [signal(code, str(rng.choice(["high", "low"]))) for code in codes]))
    return queries


@pytest.mark.parametrize("name", PLUGS)
def test_each_disease_is_told_in_order_with_few_triples_of_its_own(graph: KnowledgeGraph, name: str) -> None:
    queries = patients(graph, 40)
    for limit in (1, 3, 5, 100) if has(name, "triples") else (MANY,):
        options = {"triples": limit} if limit < MANY else {}
        for query, retrieved in zip(queries, retriever(name, graph, **options).retrieve(queries), strict=True):
            assert [each.node_index for each in retrieved] == list(query.nodes)
            for each in retrieved:
                own = graph.triples(each.node_index)
                assert set(each.triples) <= set(own)
                assert len(set(each.triples)) == len(each.triples) <= min(limit, len(own))
                assert limit == MANY or len(each.triples) == min(limit, len(own))
                disease = graph.diseases()[each.node_index]
                assert each.name == disease.names[0] and disease.definition.startswith(each.definition)


@pytest.mark.parametrize("name", PLUGS)
def test_a_patient_is_told_the_same_alone_as_among_others_and_again(graph: KnowledgeGraph, name: str) -> None:
    queries = patients(graph, 60)
    together = retriever(name, graph).retrieve(queries)
    assert retriever(name, graph).retrieve(queries) == together
    backwards = retriever(name, graph).retrieve(queries[::-1])
    assert backwards[::-1] == together
    built = retriever(name, graph)
    assert [built.retrieve([query])[0] for query in queries] == together


@pytest.mark.parametrize("name", PLUGS)
def test_no_patients_no_diseases_and_diseases_without_triples_are_fine(crowded: KnowledgeGraph, name: str) -> None:
    built = retriever(name, crowded)
    assert built.retrieve([]) == []
    assert built.retrieve([Query((), [signal("heart_rate", "high")])]) == [()]
    retrieved = built.retrieve([Query((25, 3), []), Query((25,), [signal("heart_rate", "high")])])
    assert (
        retrieved[0][0] == retrieved[1][0]
        and retrieved[0][0].triples == ()
        and retrieved[0][0].definition == "Definition."
    )


@pytest.mark.parametrize("name", [name for name in PLUGS if has(name, "description_characters")])
def test_documents_are_cut_at_the_end_of_a_sentence(graph: KnowledgeGraph, name: str) -> None:
    node, whole = next((node, disease.definition) for node, disease in graph.diseases().items() if disease.definition)
    cut = retriever(name, graph, description_characters=len(whole) - 1).retrieve([Query((node,), [])])[0][0]
    kept = retriever(name, graph, description_characters=len(whole)).retrieve([Query((node,), [])])[0][0]
    assert kept.definition == whole and len(cut.definition) < len(whole)
    assert whole.startswith(cut.definition) and cut.definition[-1:] in ("", ".")


def joined(graph: KnowledgeGraph) -> list[tuple[int, int, str]]:
    """(disease, node_index, relation) of every triple, in the graph's order."""
    edges = graph.edges()
    rows = np.repeat(edges.disease, np.diff(edges.start)).tolist()
    ends = edges.node_index[edges.neighbour].tolist()
    return list(zip(rows, ends, [edges.relations[r][0] for r in edges.relation], strict=True))


def expected_by_formula(graph: KnowledgeGraph, query: Query, k: int) -> list[list[tuple[str, str]]]:
    """For each disease of the patient ``(relation, y_name)`` of its best triples, by the formula, edge by edge."""
    edges = graph.edges()
    name = dict(zip(edges.node_index.tolist(), edges.name, strict=True))
    kind = dict(zip(edges.node_index.tolist(), edges.node_type, strict=True))
    everything = joined(graph)
    worthless = ("disease_phenotype_negative", "contraindication")
    shown = {normal(n) for s in query.signals for n in SHOWN.get((s.code, s.direction), [])}
    called = {d: {normal(n) for n in graph.diseases()[d].names} for d in query.nodes}

    def is_called(y: int, d: int) -> bool:
        return y == d or (kind[y] == "effect/phenotype" and normal(name[y]) in called[d])

    answers = []
    for d in query.nodes:
        scored = []
        for position, (_, y, relation) in enumerate(edge for edge in everything if edge[0] == d):
            degree = len({e for e, other, _ in everything if other == y})
            score = 0.0
            if relation not in worthless:
                own = any(is_called(y, e) for e in query.nodes) and not is_called(y, d)
                shown_by_signal = relation == "disease_phenotype_positive" and normal(name[y]) in shown
                others = {
                    e
                    for e, other, relation_of_other in everything
                    if other == y and e in query.nodes and e != d and relation_of_other not in worthless
                }
                score = own + shown_by_signal + (len(others) / math.log(degree) if others else 0.0)
            scored.append((-round(score, 6), -degree, position, relation, name[y]))
        answers.append([(relation, y) for *_, relation, y in sorted(scored)[:k]])
    return answers


@pytest.mark.parametrize("k", [1, 4])
def test_relevance_is_what_its_formula_says(crowded: KnowledgeGraph, k: int) -> None:
    queries = patients(crowded, 25, seed=3)
    for query, retrieved in zip(queries, retriever("relevance", crowded, triples=k).retrieve(queries), strict=True):
        best = [[(triple.relation, triple.y_name) for triple in disease.triples] for disease in retrieved]
        assert best == expected_by_formula(crowded, query, k)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeGraph:
    """25 diseases that share much: phenotypes that signals show, some called like diseases; some absent; two relations."""
    rng = np.random.default_rng(5)
    phenotypes = ["Tachycardia", "Hypotension", "Fever", "disease 3", "Disease 4", "Coma", "Rash", "Cough", "Itch"]
    nodes = [(n, "disease", f"disease {n}") for n in range(25)]
    nodes += [(100 + n, "effect/phenotype", name) for n, name in enumerate(phenotypes)]
    nodes += [(200 + n, "drug", f"drug {n}") for n in range(8)]
    lines = []
    for _ in range(260):
        x, y = nodes[int(rng.integers(25))], nodes[int(rng.integers(len(nodes)))]
        relations = {"disease": ["disease_disease"], "drug": ["indication", "contraindication"]}
        positive = ["disease_phenotype_positive"] * 3 + ["disease_phenotype_negative"]
        relation = str(rng.choice(relations.get(y[1], positive)))
        ends = [f"{index},{index},{kind},{name},S" for index, kind, name in (x, y)]
        lines.append(f"{relation},{relation},{ends[0]},{ends[1]}\n")
    folder = tmp_path_factory.mktemp("crowded")
    ends = ",".join(f"{side}_{part}" for side in "xy" for part in ("index", "id", "type", "name", "source"))
    (folder / "kg.csv").write_text(f"relation,display_relation,{ends}\n" + "".join(lines))
    texts = "umls_description,orphanet_definition,orphanet_clinical_description,mayo_symptoms,mayo_causes"
    columns = f"node_index,mondo_name,group_name_bert,mondo_definition,{texts}"
    rows = "".join(f"{n},disease {n},,Definition.,,,,,\n" for n in range(26))  # the last stands in no edge
    (folder / "disease_features.csv").write_text(f"{columns}\n{rows}")
    built: KnowledgeGraph = components.build("knowledge_graph", Component("primekg"), folder=folder)
    return built


def test_relevance_does_not_depend_on_how_patients_fall_into_blocks(
    crowded: KnowledgeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = patients(crowded, 50, seed=9)
    expected = retriever("relevance", crowded).retrieve(queries)
    monkeypatch.setattr(relevance, "CELLS", 7 * len(crowded.edges().name))
    assert retriever("relevance", crowded).retrieve(queries) == expected


def test_without_other_evidence_relevance_tells_what_degree_tells(crowded: KnowledgeGraph) -> None:
    alone = [Query((node,), []) for node in crowded.diseases()]
    assert retriever("relevance", crowded).retrieve(alone) == retriever("degree", crowded).retrieve(alone)


def test_degree_puts_the_nodes_of_most_diseases_first(crowded: KnowledgeGraph) -> None:
    joins = {(disease, y) for disease, y, _ in joined(crowded)}
    name = dict(zip(crowded.edges().node_index.tolist(), crowded.edges().name, strict=True))
    index = {(relation, name[y]): y for _, y, relation in joined(crowded)}
    for (retrieved,) in retriever("degree", crowded, triples=100).retrieve(
        [Query((n,), []) for n in crowded.diseases()]
    ):
        degrees = [sum(y == index[triple.relation, triple.y_name] for _, y in joins) for triple in retrieved.triples]
        assert degrees == sorted(degrees, reverse=True)


def test_only_sample_depends_on_the_seed(graph: KnowledgeGraph) -> None:
    queries = [Query(tuple(graph.diseases())[:20], [])]
    for name in PLUGS:
        by_seed = [retriever(name, graph, seed, triples=2).retrieve(queries) for seed in range(4)]
        assert all(each == by_seed[0] for each in by_seed) == (name != "sample")


def test_the_table_of_signals_speaks_of_the_benchmark_signals_and_of_each_but_once() -> None:
    assert {code for code, _ in SHOWN} <= set(SIGNAL_BY_NAME)
    assert {code for code, _ in SHOWN} >= {s.name for s in SIGNALS}
    assert all(len(set(names)) == len(names) for names in SHOWN.values())


def test_every_vital_sign_shows_a_phenotype_that_the_open_graph_has() -> None:
    if not PRIMEKG.is_dir():
        pytest.skip(f"the open PrimeKG is not at {PRIMEKG}")
    graph: KnowledgeGraph = components.build("knowledge_graph", Component("primekg"), folder=PRIMEKG)
    edges = graph.edges()
    named = {normal(n) for n, kind in zip(edges.name, edges.node_type, strict=True) if n and kind == "effect/phenotype"}
    missing = {key for key, names in SHOWN.items() if not {normal(name) for name in names} & named}
    assert missing == {("capillary_refill_rate", "high")}  # ontology terms younger than the open graph's annotations


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("signal,direction\nheart_rate,high\n", "row 2: expected the columns signal,direction,phenotype"),
        ("signal,direction,phenotype\nheart_rate,up,Tachycardia\n", "row 2: direction 'up' is neither high nor low"),
        ("signal,direction,phenotype\nheart_rate,high,\n", "row 2: .*must not be empty"),
        ("", "holds no row"),
    ],
)
def test_a_damaged_table_of_phenotypes_is_refused(
    graph: KnowledgeGraph, tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=expected):
        retriever("relevance", graph, phenotypes_file=str(path))
    with pytest.raises(UserError, match="cannot be read"):
        retriever("relevance", graph, phenotypes_file=str(tmp_path / "none.csv"))
