"""The mini knowledge graph: PrimeKG's shape, consistent ids, and the planted edge in reach of a five-triple summary."""

import re
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import RISK_PHENOTYPE, load_graph, write_graph
from emerge_ehr.datasets.sources.synthetic.surface_forms import SURFACE_FORMS


def edges(tmp_path: Path) -> pl.DataFrame:
    write_graph(load_graph(), tmp_path)
    return pl.read_csv(tmp_path / "kg.csv", infer_schema=False)


def test_every_edge_stands_twice_once_per_direction(tmp_path: Path) -> None:
    rows = edges(tmp_path)
    pairs = set(rows.select("relation", "x_index", "y_index").iter_rows())
    assert len(pairs) == rows.height
    assert {(relation, y, x) for relation, x, y in pairs} == pairs


def test_an_index_names_one_node_everywhere(tmp_path: Path) -> None:
    rows = edges(tmp_path)
    ends = [rows.select(pl.col(rf"^{side}_.*$").name.replace(f"^{side}_", "")) for side in "xy"]
    nodes = pl.concat(ends).unique()
    assert nodes["index"].n_unique() == nodes.height == nodes.select("type", "id").unique().height
    features = pl.read_csv(tmp_path / "disease_features.csv", infer_schema=False)
    diseases = nodes.filter(pl.col("type") == "disease").select("index", "id", "name").sort("index")
    described = features.select(index="node_index", id="mondo_id", name="mondo_name").sort("index")
    assert diseases.equals(described)


def test_each_disease_has_at_most_five_edges_and_a_third_carry_risk() -> None:
    diseases = load_graph().diseases
    assert len(diseases) >= 80
    assert all(1 <= len(disease.edges) <= 5 for disease in diseases)
    assert 0.25 < sum(disease.carries_risk for disease in diseases) / len(diseases) < 0.4
    told = [d.name for d in diseases if RISK_PHENOTYPE.lower() in f"{d.name} {d.definition}".lower()]
    assert told == []  # only the edge says it


def test_surface_forms_name_every_disease_unambiguously() -> None:
    assert list(SURFACE_FORMS) == [disease.name for disease in load_graph().diseases]
    assert all(forms[0] == name.removesuffix(" (disease)") for name, forms in SURFACE_FORMS.items())
    forms = [form.lower() for each in SURFACE_FORMS.values() for form in each]
    assert len(forms) == len(set(forms))
    within = {
        (short, long)
        for short in forms
        for long in forms
        if short != long and re.search(rf"\b{re.escape(short)}\b", long)
    }
    owner = {form.lower(): name for name, each in SURFACE_FORMS.items() for form in each}
    across = {(short, long) for short, long in within if owner[short] != owner[long]}
    assert across == {("hypertension", "pulmonary hypertension")}  # the longest match decides
