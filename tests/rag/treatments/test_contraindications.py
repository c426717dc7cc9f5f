"""What was given, each drug once, and which of it the graph holds contraindicated in the patient's diseases."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config
from emerge_ehr.rag import records_file
from emerge_ehr.rag.treatments import Contraindication, Given, contraindications, given
from tests import treated_demo
from tests.rag.treatments.graphs import NAMES, graph

Once = Callable[[str, Callable[[Path], None]], Path]
START = datetime(2150, 1, 1)
COHORT = pl.DataFrame({"patient_id": ["1", "2"], "window_start": [START, START]})


def rows(*treatments: tuple[str, int, str, str | None, str]) -> pl.DataFrame:
    """Patient, hour, drug, route and kind."""
    columns = {"patient_id": pl.String, "hour": pl.Int64, "drug": pl.String, "route": pl.String, "kind": pl.String}
    table = pl.DataFrame(list(treatments), schema=columns, orient="row")
    return table.with_columns((pl.lit(START) + pl.duration(hours="hour") + timedelta(minutes=59)).alias("start_time"))


def test_each_drug_stands_once_with_all_its_names_and_its_first_hour() -> None:
    table = rows(
        ("2", 5, "Heparin Sodium", "IV", "prescription"),
        ("2", 9, "Metoprolol Tartrate", "PO", "prescription"),
        ("2", 7, "Heparin", None, "infusion"),
        ("2", 3, "Heparin Flush (10 units/ml)", "IV", "prescription"),
        ("2", 2, "Metoprolol", "LEFT EYE", "prescription"),
        ("2", 1, "0.9% Sodium Chloride", None, "infusion"),
        ("2", 4, "Senna", "PO", "prescription"),
    )
    found = given.of_samples(table, COHORT, graph())
    assert found.given == [
        (),
        (
            Given("heparin", 101, "infusion", 5, ("Heparin Sodium", "Heparin")),
            Given("senna", None, "prescription", 4, ("Senna",)),
            Given("metoprolol", 100, "prescription", 9, ("Metoprolol Tartrate",)),
        ),
    ]
    assert found.counts == {
        "samples_with_treatments": 1,
        "drugs_linked": 2,
        "drug_names_linked": 3,
        "drug_names_not_in_the_graph": 1,
        "names_for_local_use": 1,
        "names_of_no_drug": 2,
    }


def test_a_contraindication_is_a_direct_edge_between_a_drug_given_and_a_disease_of_the_patient() -> None:
    drugs = [Given("heparin", 101, "infusion", 0, ("Heparin",)), Given("metoprolol", 100, "prescription", 0, ("M",))]
    unlinked = Given("asthma cure", None, "prescription", 0, ("Asthma cure",))
    found = contraindications.of_patient(graph(), [(node, NAMES[node]) for node in (3, 2, 1, 4)], [*drugs, unlinked])
    # metoprolol is indicated in hypertension, which is no contraindication
    assert found == (
        Contraindication("heparin", 101, "infusion", 2, "intracranial hemorrhage"),
        Contraindication("metoprolol", 100, "prescription", 1, "asthma"),
    )
    assert contraindications.of_patient(graph(), [(99, "unknown")], drugs) == ()
    assert contraindications.of_patient(graph(), [(1, "asthma")], [unlinked]) == ()


@pytest.mark.slow
def test_on_the_demo_heparin_is_found_contraindicated_in_intracranial_hemorrhage(
    demo_config: Config, once: Once
) -> None:
    processed = treated_demo.made(demo_config, once) / "processed"
    kg = pl.read_csv(demo_config.paths.kg_dir / "kg.csv", infer_schema=False)
    edges = kg.filter((pl.col("relation") == "contraindication") & (pl.col("x_type") == "drug"))
    pairs = {(int(drug), int(disease)) for drug, disease in edges.select("x_index", "y_index").rows()}
    records, told = records_file.read(processed), 0
    for record in records:
        own = [*record.nodes, *record.left_out]
        expected = {
            (drug.node_index, one.node_index)
            for drug in record.treatments
            for one in own
            if (drug.node_index, one.node_index) in pairs
        }
        assert {(one.drug_node_index, one.node_index) for one in record.contraindications} == expected
        linked = {node.node_index for node in record.nodes}
        in_summary = [one for one in record.contraindications if one.node_index in linked]
        told += len(in_summary)
        for one in in_summary:
            said = [
                text for text in record.summary.split(". ") if "contraindicated" in text and one.drug in text.lower()
            ]
            assert said, (record.patient_id, one)
        assert record.faithfulness.supported == 1.0
    assert told > 100
    assert any(
        "Heparin, prescribed, is contraindicated in intracranial hemorrhage by the knowledge graph." in record.summary
        for record in records
    )
