"""PrimeKG's files with all their quirks, on small files written by the tests."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component, UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg.members import fits
from emerge_ehr.rag.linking import told_by_own_name
from emerge_ehr.rag.names import name_index
from tests.places import SHARED

ASTHMA = (10, "4979", "disease", "asthma")
CARDIOMYOPATHY = (11, "4994_5021_1234", "disease", "cardiomyopathy (disease)")
FEVER = (20, "1945", "effect/phenotype", "Fever")
GENE = (30, "4979", "gene/protein", "ADA")  # the id of asthma
DRUG = (40, "DB00001", "drug", "Salbutamol")
SMOKE = (50, "D014028", "exposure", "Tobacco Smoke")
EDGES = [
    ("disease_phenotype_positive", "phenotype present", ASTHMA, FEVER),
    ("disease_phenotype_negative", "phenotype absent", CARDIOMYOPATHY, FEVER),
    ("disease_protein", "associated with", GENE, ASTHMA),
    ("off-label use", "off-label use", DRUG, CARDIOMYOPATHY),
    ("indication", "indication", DRUG, ASTHMA),
    ("contraindication", "contraindication", DRUG, CARDIOMYOPATHY),
    ("exposure_disease", "linked to", SMOKE, ASTHMA),
    ("disease_disease", "parent-child", ASTHMA, CARDIOMYOPATHY),
    ("drug_protein", "target", DRUG, GENE),
]
FEATURES = [
    {"node_index": "10", "mondo_id": "4979", "mondo_name": "asthma", "mondo_definition": "Airways."},
    {"node_index": "11", "mondo_id": "5021", "mondo_name": "dilated cardiomyopathy", "mondo_definition": "Wide."},
]


def opened(folder: Path, cache: Path | None = None) -> KnowledgeGraph:
    graph: KnowledgeGraph = components.build("knowledge_graph", Component("primekg"), folder=folder, cache_dir=cache)
    return graph


def triples_of(graph: KnowledgeGraph, node: int) -> set[tuple[str, str, str, str]]:
    return {(t.x_name, t.relation, t.display_relation, t.y_name) for t in graph.triples(node)}


def everything(graph: KnowledgeGraph) -> object:
    return {node: (disease, graph.triples(node)) for node, disease in graph.diseases().items()}


def refused(folder: Path, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_every_relation_of_a_disease_is_told_once_with_the_disease_first(write: Callable[..., Path]) -> None:
    graph = opened(write(EDGES, FEATURES))
    assert triples_of(graph, 10) == {
        ("asthma", "disease_phenotype_positive", "phenotype present", "Fever"),
        ("asthma", "disease_protein", "associated with", "ADA"),
        ("asthma", "indication", "indication", "Salbutamol"),
        ("asthma", "exposure_disease", "linked to", "Tobacco Smoke"),
        ("asthma", "disease_disease", "parent-child", "cardiomyopathy"),
    }
    assert triples_of(graph, 11) == {
        ("cardiomyopathy", "disease_phenotype_negative", "phenotype absent", "Fever"),
        ("cardiomyopathy", "off-label use", "off-label use", "Salbutamol"),
        ("cardiomyopathy", "contraindication", "contraindication", "Salbutamol"),
        ("cardiomyopathy", "disease_disease", "parent-child", "asthma"),
    }
    assert graph.degree(10) == len(graph.triples(10)) == 5 and graph.degree(11) == len(graph.triples(11)) == 4


def test_a_file_with_each_edge_in_one_direction_gives_the_same_graph(write: Callable[..., Path]) -> None:
    both = everything(opened(write(EDGES, FEATURES)))
    assert everything(opened(write(EDGES, FEATURES, twice=False))) == both
    reversed_edges = [(relation, shown, y, x) for relation, shown, x, y in EDGES]
    assert everything(opened(write(reversed_edges, FEATURES, twice=False))) == both


def test_the_order_of_rows_and_repeated_rows_do_not_matter(write: Callable[..., Path]) -> None:
    expected = everything(opened(write(EDGES, FEATURES)))
    assert everything(opened(write([*EDGES[::-1], *EDGES[:3]], FEATURES))) == expected


@pytest.mark.parametrize("suffix", [".csv", ".tab"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_every_dialect_gives_the_same_graph(
    write: Callable[..., Path], tmp_path: Path, suffix: str, end: str, encoding: str, quoting: int
) -> None:
    expected = everything(opened(write(EDGES, FEATURES)))
    for path in tmp_path.iterdir():
        path.unlink()
    folder = write(EDGES, FEATURES, suffix=suffix, end=end, encoding=encoding, quoting=quoting)
    assert everything(opened(folder)) == expected


def test_quotes_delimiters_and_line_ends_inside_fields_are_text(write: Callable[..., Path], tmp_path: Path) -> None:
    name, definition = 'asthma, "brittle"\ttype', 'So-called "brittle",\nwith a\ttab.'
    asthma = (10, "4979", "disease", name)
    features = [{"node_index": "10", "mondo_name": name, "mondo_definition": definition}]
    for suffix in (".csv", ".tab"):
        disease = opened(write([(*EDGES[0][:2], asthma, FEVER)], features, suffix=suffix)).diseases()[10]
        assert disease.definition == definition and disease.names == ('asthma, "brittle" type',)
        for path in tmp_path.iterdir():
            path.unlink()


def test_quotes_escaped_as_in_dataverse_tab_exports_are_text(write: Callable[..., Path], tmp_path: Path) -> None:
    write(EDGES, FEATURES)
    columns = "node_index mondo_name group_name_bert mondo_definition umls_description orphanet_definition"
    header = [*columns.split(), "orphanet_clinical_description", "mayo_symptoms", "mayo_causes"]
    row = ["10", '"asthma"', '""', r'"The \"so-called\" one."', *[""] * 5]
    (tmp_path / "disease_features.csv").unlink()
    (tmp_path / "disease_features.tab").write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
    assert opened(tmp_path).diseases()[10].definition == 'The "so-called" one.'


def test_ids_are_text_and_may_collide_across_types_and_run_long(write: Callable[..., Path]) -> None:
    grouped = "_".join(str(10_000 + n) for n in range(88))
    assert len(grouped) > 500
    big = (11, grouped, "disease", "cardiomyopathy")
    numbered = (60, "4979", "drug", "Fever")  # asthma's id and the phenotype's name
    edges = [
        ("disease_phenotype_positive", "phenotype present", big, FEVER),
        ("indication", "indication", big, numbered),
    ]
    graph = opened(write(edges))
    assert triples_of(graph, 11) == {
        ("cardiomyopathy", "disease_phenotype_positive", "phenotype present", "Fever"),
        ("cardiomyopathy", "indication", "indication", "Fever"),
    }
    assert list(graph.diseases()) == [11]


def test_a_group_goes_by_its_own_name_and_by_those_of_all_its_members(write: Callable[..., Path]) -> None:
    rows = [
        {"node_index": "11", "mondo_name": name, "group_name_bert": "cardiomyopathy", "mondo_definition": text}
        for name, text in (
            ("cardiomyopathy type 2", "The second."),
            ("Cardiomyopathy (disease)", "All of them."),
            ("cardiomyopathy", "All of them."),
            ("cardiomyopathy type 1", "The first."),
        )
    ]
    disease = opened(write(EDGES, rows)).diseases()[11]
    assert disease.names == ("cardiomyopathy", "cardiomyopathy type 2", "cardiomyopathy type 1")
    assert disease.definition == "All of them."


def test_a_member_that_is_no_kind_of_what_its_node_is_called_is_told_by_its_own_name_and_texts(
    write: Callable[..., Path],
) -> None:
    rows = [
        {"node_index": "11", "mondo_name": name, "group_name_bert": "hemoglobinopathy", "mondo_definition": text}
        for name, text in (
            ("acute myocardial infarction", "Of the heart."),
            ("acquired hemoglobinopathy", "Of the blood."),
        )
    ]
    edges = [("disease_phenotype_positive", "phenotype present", (11, "1_2", "disease", "hemoglobinopathy"), FEVER)]
    graph = opened(write(edges, rows))
    group, heart = graph.diseases().values()
    assert (group.node_index, group.names) == (11, ("hemoglobinopathy", "acquired hemoglobinopathy"))
    assert (group.definition, graph.degree(11)) == ("Of the blood.", 1)
    assert (heart.names, heart.definition, heart.group) == (("acute myocardial infarction",), "Of the heart.", 11)
    assert heart.node_index > FEVER[0] and graph.degree(heart.node_index) == 0
    assert name_index(graph)["acute myocardial infarction"] == 11  # the files say that it is of this node
    linked = {"mi": (11, 1.0, "acute myocardial infarction"), "hb": (11, 1.0, "acquired hemoglobinopathy")}
    told = told_by_own_name(linked, graph)
    assert (told["mi"][0], told["hb"][0]) == (heart.node_index, 11)


@pytest.mark.parametrize(
    ("node", "member", "expected"),
    [
        ("pancreatitis", "acute pancreatitis", True),
        ("anxiety disorder", "generalized anxiety disorder", True),
        ("anxiety disorder", "depressive disorder", False),
        ("substance abuse/dependence", "substance dependence", True),
        ("substance abuse/dependence", "alcohol abuse", False),
        ("3M syndrome", "3M syndrome 2", True),
        ("acute lymphoblastic/lymphocytic leukemia", "B-cell chronic lymphocytic leukemia", False),
        ("skeletal dysplasia", "dysplastic skeleton", True),
        ("urethral disease", "ureteral disease", False),
        ("hypoparathyroidism", "pseudohypoparathyroidism", False),
        ("familial or sporadic hemiplegic migraine", "familial hemiplegic migraine", True),
    ],
)
def test_a_member_fits_if_it_has_every_word_of_its_node_that_has_a_meaning(
    node: str, member: str, expected: bool
) -> None:
    assert fits(node, member) is expected


def test_several_rows_of_one_node_are_one_disease_with_the_first_texts_that_there_are(
    write: Callable[..., Path],
) -> None:
    rows = [
        {"node_index": "10", "mondo_name": "asthma", "umls_description": "nan"},
        {"node_index": "10", "mondo_name": "asthma", "mondo_definition": "Airways.", "mayo_symptoms": "Cough."},
        {"node_index": "10", "mondo_name": "asthma", "mayo_causes": "Dust.", "umls_description": "Later."},
    ]
    disease = opened(write(EDGES, rows)).diseases()[10]
    assert (disease.definition, disease.description) == ("Airways.", "Cough.")


def test_empty_fields_and_a_literal_nan_are_no_text(write: Callable[..., Path]) -> None:
    row = {"node_index": "10", "mondo_name": "nan", "group_name_bert": "NaN", "mondo_definition": "nan"}
    disease = opened(write(EDGES, [row])).diseases()[10]
    assert disease.names == ("asthma",) and disease.definition == disease.description == ""


def test_a_disease_without_features_and_one_without_edges_are_there(write: Callable[..., Path]) -> None:
    graph = opened(write(EDGES, [{"node_index": "12", "mondo_name": "scurvy (disease)"}]))
    assert graph.diseases()[10].names == ("asthma",) and graph.diseases()[12].names == ("scurvy",)
    assert graph.degree(12) == 0 and list(graph.triples(12)) == [] and list(graph.triples(999)) == []


def test_names_that_differ_only_in_case_are_two_diseases(write: Callable[..., Path]) -> None:
    other = (12, "77", "disease", "Asthma")
    graph = opened(write([*EDGES, ("disease_protein", "associated with", other, GENE)]))
    assert graph.diseases()[10].names == ("asthma",) and graph.diseases()[12].names == ("Asthma",)


def test_of_several_names_of_one_node_the_most_frequent_is_told(write: Callable[..., Path]) -> None:
    other = (20, "1945", "effect/phenotype", "Elevated temperature")
    edges = [("disease_phenotype_positive", "phenotype present", (n, "1", "disease", f"d{n}"), FEVER) for n in (1, 2)]
    graph = opened(write([*edges, ("disease_phenotype_positive", "phenotype present", ASTHMA, other)]))
    assert [triple.y_name for n in (1, 2, 10) for triple in graph.triples(n)] == ["Fever"] * 3


def test_nodes_without_a_name_are_left_out_and_counted(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    nameless = (70, "5", "drug", "")
    graph = opened(write([*EDGES, ("indication", "indication", nameless, ASTHMA)], [*FEATURES, {"node_index": "13"}]))
    assert graph.degree(10) == 5 and 13 not in graph.diseases()
    assert "1 edges end at a node without a name" in caplog.text and "1 disease nodes have no name" in caplog.text


def test_the_arrays_say_what_the_triples_say(write: Callable[..., Path]) -> None:
    graph = opened(write(EDGES, FEATURES))
    edges = graph.edges()
    for row, disease in enumerate(edges.disease.tolist()):
        span = range(edges.start[row], edges.start[row + 1])
        pairs = [(edges.relations[edges.relation[e]][0], edges.name[edges.neighbour[e]]) for e in span]
        assert pairs == [(triple.relation, triple.y_name) for triple in graph.triples(disease)]
    fever = edges.node_index.tolist().index(20)
    assert (edges.name[fever], edges.node_type[fever]) == ("Fever", "effect/phenotype")


def replaced(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert re.search(old, content)
    path.write_text(re.sub(old, new, content, count=1))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("kg", "display_relation", "shown", r"kg.csv: no column 'display_relation'; it has: relation, shown"),
        ("kg", "x_index", "x", r"no column 'x_index'"),
        (
            "kg",
            ",10,4979,disease,asthma",
            ",ten,4979,disease,asthma",
            r"kg.csv row 2: x_index 'ten' is not a whole number",
        ),
        ("kg", "phenotype absent,11,", "phenotype absent,11.5,", r"kg.csv row 4: x_index '11.5' is not a whole number"),
        ("kg", ",disease,asthma", ",,asthma", r"kg.csv row 2: x_type is empty"),
        ("kg", "disease_phenotype_positive,", ",", r"kg.csv row 2: relation is empty"),
        (
            "kg",
            "source,20,1945,effect/phenotype",
            "source,20,1945,drug",
            r"node_index 20 is of the types drug and effect/ph",
        ),
        ("kg", "asthma,source,20", "asthma, mild,source,20", r"kg.csv row 2: has 13 fields, its header has 12"),
        ("kg", r"effect/phenotype,Fever,source\n[\s\S]*", "effect", r"kg.csv: cut off"),
        ("kg", r"\A[\s\S]*", "", r"kg.csv: empty, or its first line is"),
        ("disease_features", "mondo_definition", "text", r"disease_features.csv: no column 'mondo_definition'"),
        ("disease_features", "\n11,", "\nx1,", r"disease_features.csv row 3: node_index 'x1' is not a whole number"),
        ("disease_features", "\n11,", "\n,", r"disease_features.csv row 3: node_index is empty"),
        ("disease_features", "\n11,", "\n40,", r"node_index 40 is of type drug in kg.csv; .*of one version"),
        (
            "disease_features",
            "Wide.,",
            "Wide, dilated.,,",
            r"disease_features.csv row 3: has 20 fields, its header has 18",
        ),
        ("disease_features", r"Wide[\s\S]*", "Wi", r"disease_features.csv: cut off"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    write: Callable[..., Path], file: str, old: str, new: str, expected: str
) -> None:
    folder = write(EDGES, FEATURES)
    replaced(folder / f"{file}.csv", old, new)
    refused(folder, expected)


@pytest.mark.parametrize("file", ["kg", "disease_features"])
def test_binary_garbage_is_refused_in_one_line(write: Callable[..., Path], file: str) -> None:
    folder = write(EDGES, FEATURES)
    whole = (folder / f"{file}.csv").read_bytes()
    (folder / f"{file}.csv").write_bytes(b"\x89PNG\xff\xfe\x00" * 99)
    refused(folder, "not a readable text file")
    (folder / f"{file}.csv").write_bytes(whole + b'10,"\xff\xfe"\n' * 3)
    refused(folder, "has 2 fields, its header has 1[28]")


@pytest.mark.parametrize(
    ("file", "added", "expected"),
    [
        ("disease_features", b'9,1,x,,,"never\nclosed\n', "row 4: a quotation mark is opened and not closed"),
        (
            "disease_features",
            b'9,1,x,,,"never\nclosed',
            "row 4: a quotation mark is opened and not closed, or the file is cut off",
        ),
        (
            "disease_features",
            b"99999999999999999999,1,x,,,,,,,,,,,,,,,\n",
            "'99999999999999999999' is not a whole number",
        ),
        ("kg", b'indication,indication,1,2,drug,"open\n', "row 20: a quotation mark is opened and not closed"),
        ("kg", b"indication,indication,1,2,drug\n", "kg.csv row 20: has 5 fields, its header has 12"),
        ("kg", "indication,x,1,2,disease,Ménière,M,3,3,drug,d,D\n".encode("latin-1"), "invalid utf-8"),
        ("kg", b"a" * 300_000, "cut off"),
        ("kg", b"\0" * 5000 + b"\n", "row 20: has 1 fields, its header has 12"),
    ],
)
def test_rubbish_at_the_end_is_refused_in_one_line(
    write: Callable[..., Path], file: str, added: bytes, expected: str
) -> None:
    folder = write(EDGES, FEATURES)
    with (folder / f"{file}.csv").open("ab") as stream:
        stream.write(added)
    refused(folder, expected)


def test_blank_lines_are_nothing(write: Callable[..., Path]) -> None:
    folder = write(EDGES, FEATURES)
    expected = everything(opened(folder))
    for path in folder.iterdir():
        path.write_text(path.read_text() + "\n\n")
    assert everything(opened(folder)) == expected


def test_a_graph_without_diseases_is_refused(write: Callable[..., Path]) -> None:
    refused(write([EDGES[-1]]), "no row has x_type or y_type 'disease'")


def test_a_last_line_without_an_end_is_read_if_it_is_whole(write: Callable[..., Path]) -> None:
    folder = write(EDGES, FEATURES)
    expected = everything(opened(folder))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().rstrip(b"\n") + b"")
    assert everything(opened(folder)) == expected


def test_the_open_graph_reads_as_a_plain_reading_of_its_files_says() -> None:
    folder = SHARED / "primekg-open"
    if not folder.is_dir():
        pytest.skip(f"the open PrimeKG is not at {folder}")
    graph = opened(folder)
    rows = pl.read_csv(folder / "kg.csv", infer_schema=False)
    edges, row = graph.edges(), list(graph.diseases()).index(37659)
    assert graph.diseases()[37659].names[0] == "heart failure"
    span = slice(edges.start[row], edges.start[row + 1])
    pairs = {
        (edges.relations[r][0], str(edges.node_index[y]))
        for r, y in zip(edges.relation[span], edges.neighbour[span], strict=True)
    }
    assert pairs == set(rows.filter(x_index="37659").select("relation", "y_index").rows())
    named = rows.select("y_index", "y_name").unique().rows()
    for y in edges.neighbour[span].tolist():
        names = {re.sub(r" \(disease\)$", "", name or "") for index, name in named if index == str(edges.node_index[y])}
        assert edges.name[y] in names
    features = pl.read_csv(folder / "disease_features.csv", infer_schema=False)
    assert set(graph.diseases()) >= set(features["node_index"].cast(pl.Int64))


def test_a_definition_may_be_of_any_length_with_or_without_a_last_line_end(write: Callable[..., Path]) -> None:
    folder = write(EDGES, FEATURES)
    text = "A long definition, with commas. " * 9000
    path = folder / "disease_features.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[-1][rows[0].index("mondo_definition")] = text
    for end in ("\n", ""):
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        path.write_text(path.read_text().rstrip("\n") + end)
        assert text.strip() in str(everything(opened(folder)))


def test_one_table_in_two_forms_is_refused(write: Callable[..., Path]) -> None:
    folder = write(EDGES, FEATURES)
    (folder / "kg.tab").write_text((folder / "kg.csv").read_text().replace(",", "\t"))
    refused(folder, r"kg.csv: stands beside kg.tab, which is the same table in another form; remove one")
