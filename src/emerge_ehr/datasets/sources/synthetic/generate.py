"""Writes a made-up hospital as MIMIC-IV files and the mini knowledge graph as PrimeKG files. See docs/synthetic.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from emerge_ehr.datasets.sources.synthetic import rounds as charting
from emerge_ehr.datasets.sources.synthetic.csv_files import write_gz
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital, sample_hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from emerge_ehr.datasets.sources.synthetic.notes import notes
from emerge_ehr.datasets.sources.synthetic.options import Options
from emerge_ehr.datasets.sources.synthetic.risk import Risk
from emerge_ehr.datasets.sources.synthetic.rounds import Rounds
from emerge_ehr.datasets.sources.synthetic.series import chart_events, lab_events
from emerge_ehr.datasets.sources.synthetic.sites import SITES
from emerge_ehr.datasets.sources.synthetic.tables import administrative_tables, risk_table


def generate(raw_dir: Path, options: Options, seed: int) -> None:
    """Write the files of the hospital that the ``options`` describe; the same arguments give the same bytes."""
    # A generator for each part, so that a change to one, such as more chart events, leaves the others as they were.
    parts = np.random.default_rng(seed).spawn(9)
    for_hospital, for_tables, for_chart, for_labs, for_notes, for_deaths, for_clock, for_gaps, for_layout = parts
    graph, site = load_graph(), SITES[options.site]
    by_risk = options.death_times == "risk"
    risk = Risk(site.intercept, options.interactions, options.falling_pressure)
    hospital = sample_hospital(graph, options.stays, for_hospital, risk, for_deaths if by_risk else None)
    rounds = _rounds(hospital, options, for_clock, for_gaps)
    tables = administrative_tables(hospital, for_tables, site.dictionary())
    tables["icu/chartevents"] = chart_events(hospital, rounds, site, for_chart)
    tables["hosp/labevents"] = lab_events(hospital, rounds, site, for_labs)
    layout = for_layout if options.notes == "long" else None
    tables["note/notes"] = notes(hospital, graph, site.phrases, for_notes, layout)
    for name, table in tables.items():
        write_gz(table, raw_dir / f"{name}.csv.gz")
    risk_table(hospital, by_risk).write_csv(raw_dir / "risk.csv")


def _rounds(
    hospital: Hospital, options: Options, for_clock: np.random.Generator, for_gaps: np.random.Generator
) -> Rounds:
    """When the patients are measured."""
    stays, informative = len(hospital), options.informative_missingness
    rounds = charting.irregular(stays, for_clock) if options.sampling == "irregular" else charting.hourly(stays)
    made = rounds.made & (np.arange(charting.HOURS) % SITES[options.site].every == 0)
    if informative:
        made &= charting.made_where_it_matters(hospital, informative, for_gaps)
    return replace(rounds, made=made)
