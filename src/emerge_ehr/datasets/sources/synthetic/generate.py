"""Writes a made-up hospital as MIMIC-IV files and the mini knowledge graph as PrimeKG files. See docs/synthetic.md."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from emerge_ehr.datasets.sources.synthetic import rounds as charting
from emerge_ehr.datasets.sources.synthetic.csv_files import write_gz
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital, sample_hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph, load_graph
from emerge_ehr.datasets.sources.synthetic.notes import notes
from emerge_ehr.datasets.sources.synthetic.options import Options
from emerge_ehr.datasets.sources.synthetic.risk import Risk
from emerge_ehr.datasets.sources.synthetic.rounds import Rounds
from emerge_ehr.datasets.sources.synthetic.series import chart_events, lab_events
from emerge_ehr.datasets.sources.synthetic.sites import SITES
from emerge_ehr.datasets.sources.synthetic.tables import administrative_tables, risk_table


@dataclass(frozen=True)
class Generators:
    """One for each part, so that a change to one, such as more chart events, leaves the others as they were."""

    hospital: np.random.Generator
    tables: np.random.Generator
    chart: np.random.Generator
    labs: np.random.Generator
    notes: np.random.Generator
    deaths: np.random.Generator
    clock: np.random.Generator
    severity: np.random.Generator
    layout: np.random.Generator


def generate(raw_dir: Path, options: Options, seed: int) -> None:
    """Write the files of the hospital that the ``options`` describe; the same arguments give the same bytes."""
    draw, graph, site = _generators(seed), load_graph(), SITES[options.site]
    hospital = _hospital(options, graph, draw)
    rounds = _rounds(hospital, options, draw)
    tables = administrative_tables(hospital, draw.tables, site.dictionary())
    tables["icu/chartevents"] = chart_events(hospital, rounds, site, draw.chart)
    tables["hosp/labevents"] = lab_events(hospital, rounds, site, draw.labs)
    layout = draw.layout if options.notes == "long" else None
    tables["note/notes"] = notes(hospital, graph, site.phrases, draw.notes, layout)
    for name, table in tables.items():
        write_gz(table, raw_dir / f"{name}.csv.gz")
    risk_table(hospital, options.death_times == "risk").write_csv(raw_dir / "risk.csv")


def hospital_and_rounds(options: Options, seed: int) -> tuple[Hospital, Rounds]:
    """What ``generate`` writes the files of, for those who judge by the truth behind them."""
    draw = _generators(seed)
    hospital = _hospital(options, load_graph(), draw)
    return hospital, _rounds(hospital, options, draw)


def _generators(seed: int) -> Generators:
    return Generators(*np.random.default_rng(seed).spawn(len(fields(Generators))))


def _hospital(options: Options, graph: GeneratedGraph, draw: Generators) -> Hospital:
    risk = Risk(SITES[options.site].intercept, options.interactions, options.falling_pressure)
    deaths = draw.deaths if options.death_times == "risk" else None
    return sample_hospital(graph, options.stays, draw.hospital, risk, deaths)


def _rounds(hospital: Hospital, options: Options, draw: Generators) -> Rounds:
    """When the patients are measured."""
    stays, informative = len(hospital), options.informative_missingness
    rounds = charting.irregular(stays, draw.clock) if options.sampling == "irregular" else charting.hourly(stays)
    made = rounds.made & (np.arange(charting.HOURS) % SITES[options.site].every == 0)
    if informative:
        made &= charting.made_where_it_matters(hospital, informative, draw.severity)
    return replace(rounds, made=made)
