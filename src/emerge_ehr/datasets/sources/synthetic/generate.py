"""Writes a made-up hospital as MIMIC-IV files and the mini knowledge graph as PrimeKG files. See docs/synthetic.md."""

from pathlib import Path

import numpy as np

from emerge_ehr.datasets.sources.synthetic.csv_files import write_gz
from emerge_ehr.datasets.sources.synthetic.hospital import sample_hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from emerge_ehr.datasets.sources.synthetic.notes import notes
from emerge_ehr.datasets.sources.synthetic.series import chart_events, lab_events
from emerge_ehr.datasets.sources.synthetic.tables import administrative_tables, risk_table


def generate(raw_dir: Path, stays: int, seed: int, interactions: float = 0.0) -> None:
    """Write the files of ``stays`` ICU stays; the same arguments give the same bytes.

    ``interactions``: as ``hospital.true_risk`` takes it.
    """
    # A generator for each part, so that a change to one, such as more chart events, leaves the others as they were.
    for_hospital, for_tables, for_chart, for_labs, for_notes = np.random.default_rng(seed).spawn(5)
    graph = load_graph()
    hospital = sample_hospital(graph, stays, for_hospital, interactions)
    tables = administrative_tables(hospital, for_tables)
    tables["icu/chartevents"] = chart_events(hospital, for_chart)
    tables["hosp/labevents"] = lab_events(hospital, for_labs)
    tables["note/notes"] = notes(hospital, graph, for_notes)
    for name, table in tables.items():
        write_gz(table, raw_dir / f"{name}.csv.gz")
    risk_table(hospital).write_csv(raw_dir / "risk.csv")
