"""What the options of the generated hospital do to it: the true risk, and how rightly its notes are read; fits no model of ours.

    python benchmarks/harder.py --stays 40000 --read 1000

*True risk*: its AUROC on the stays of 48 hours or more, which no method exceeds but by chance. *Sum*: that of a logistic
regression on the exact parts S, N and G, and *no graph*: on S and N, which is what is left without retrieval. *Rounds*: that of
the number of rounds in which a stay was measured in the window. The second table gives the shares of the diseases that a patient
has, and of those that are negated, of the family or hypothetical, that the extractor ``rules`` reads as the patient's, and the
lengths of the notes of the window, in characters; ``--read`` is the number of stays. The last line tells of ``sampling =
"irregular"``.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate, hospital_and_rounds
from emerge_ehr.datasets.sources.synthetic.horizons import HORIZONS, risk_within
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.datasets.sources.synthetic.risk import graph_part, note_part
from emerge_ehr.datasets.sources.synthetic.rounds import WINDOW
from emerge_ehr.evaluation import metrics

CASES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "interactions = 1.6": {"interactions": 1.6},
    "falling_pressure = true": {"falling_pressure": True},
    'site = "b"': {"site": "b"},
    **{f"informative_missingness = {share}": {"informative_missingness": share} for share in (0.25, 0.5, 0.75, 1.0)},
}
READ: Mapping[str, Mapping[str, Any]] = {
    f"site {site}, {notes} notes": {"site": site, "notes": notes} for site in "ab" for notes in ("short", "long")
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=40_000)
    parser.add_argument("--read", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{'option':<32}{'deaths':>9}{'true risk':>11}{'sum':>9}{'no graph':>10}{'rounds':>9}")
    for name, case in CASES.items():
        print(f"{name:<32}{''.join(risks(Options(options.stays, **case), options.seed))}", flush=True)
    for hours, cells in horizons(Options(options.stays, death_times="risk"), options.seed).items():
        print(f"{f'death_times = risk, {hours} h':<32}{cells}")
    print(
        f"\n{'read as the patient has it':<32}{'of those':>12}{'of distractors':>18}   characters: least, median, most"
    )
    for name, case in READ.items():
        own, others, lengths = read(Options(options.read, **case), options.seed)
        print(f"{name:<32}{own:>12}{others:>18}   {lengths}", flush=True)
    print(f"\n{clock(Options(options.stays, sampling='irregular'), options.seed)}")


def risks(options: Options, seed: int) -> list[str]:
    """The share of deaths, and the AUROC of the columns of the first table."""
    hospital, rounds = hospital_and_rounds(options, seed)
    lasting = hospital.los_hours >= WINDOW
    died = hospital.died[lasting]
    parts = np.column_stack([hospital.series, note_part(hospital.wording), graph_part(hospital.asserted, load_graph())])
    scores = [hospital.true_risk[lasting], _fitted(parts[lasting], died), _fitted(parts[lasting, :2], died)]
    if options.informative_missingness:
        scores.append(rounds.made[lasting, :WINDOW].sum(axis=1).astype(np.float64))
    cells = [f"{died.mean():>9.3f}", *(f"{_auroc(died, score):>10.3f}" for score in scores)]
    return [cells[0], f"{cells[1]:>11}", f"{cells[2]:>9}", *cells[3:]]


def horizons(options: Options, seed: int) -> dict[int, str]:
    """Hours after the window -> the share of deaths within them, and the AUROC of their true risk."""
    hospital, _ = hospital_and_rounds(options, seed)
    lasting = hospital.los_hours >= WINDOW
    table = {}
    for hours in HORIZONS:
        died = (hospital.died & (hospital.los_hours <= WINDOW + hours))[lasting]
        table[hours] = f"{died.mean():>9.3f}{_auroc(died, risk_within(hospital.log_odds, hours)[lasting]):>11.3f}"
    return table


def clock(options: Options, seed: int) -> str:
    """How irregular the rounds of the window are."""
    _, rounds = hospital_and_rounds(options, seed)
    hours = rounds.clock[:, :WINDOW]
    gaps = np.diff(hours, axis=1)
    empty = 1 - np.mean([len(np.unique(row)) for row in np.floor(hours)]) / WINDOW
    return (
        f"irregular: {(gaps < 1 / 6).mean():.3f} of the rounds follow the one before within 10 minutes, {empty:.3f} of the hours "
        f"have none, and {(gaps.max(axis=1) > 6).mean():.3f} of the stays have a gap of more than 6 hours"
    )


def read(options: Options, seed: int) -> tuple[str, str, str]:
    """How many of the asserted diseases, and of the distractors, the extractor reads as the patient's in the window's notes, and
    the lengths of these."""
    from emerge_ehr.graphs import primekg
    from emerge_ehr.rag.entities import rules
    from emerge_ehr.rag.names import normal

    hospital, graph = hospital_and_rounds(options, seed)[0], load_graph()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), options, seed)
        write_graph(graph, Path(folder) / "kg")
        extractor = rules.build(rules.Options(), graph=primekg.build(primekg.Options(), folder=Path(folder) / "kg"))
        rows = pl.read_csv(Path(folder) / "note" / "notes.csv.gz", try_parse_dates=True)
    opened = hospital.intime.astype("datetime64[us]")
    stays = pl.DataFrame({"hadm_id": hospital.hadm_id, "stay": np.arange(len(hospital)), "opened": opened})
    rows = rows.join(stays, on="hadm_id").filter(pl.col("charttime") < pl.col("opened") + pl.duration(hours=WINDOW))
    found: dict[int, set[str]] = {stay: set() for stay in range(len(hospital))}
    for stay, extraction in zip(rows["stay"], extractor.extract(rows["text"].to_list()), strict=True):
        found[stay] |= {normal(entity.name) for entity in extraction.entities if entity.linked}
    names = np.array([normal(disease.name.removesuffix(" (disease)")) for disease in graph.diseases])
    lasting = np.flatnonzero(hospital.los_hours >= WINDOW)
    own = [name in found[int(stay)] for stay in lasting for name in names[hospital.asserted[stay]]]
    others = [name in found[int(stay)] for stay in lasting for name in names[hospital.distractors[stay] > 0]]
    least, median, most = np.quantile(rows["text"].str.len_chars(), [0, 0.5, 1])
    return f"{sum(own)}/{len(own)}", f"{sum(others)}/{len(others)}", f"{least:.0f}, {median:.0f}, {most:.0f}"


def _fitted(inputs: np.ndarray, died: np.ndarray) -> np.ndarray:
    """The log-odds of a logistic regression, on the stays that it was fitted on."""
    return np.asarray(LogisticRegression().fit(inputs, died).decision_function(inputs))


def _auroc(died: np.ndarray, score: np.ndarray) -> float:
    value = metrics.point(metrics.auroc, died.astype(np.float64), score)
    assert value is not None
    return value


if __name__ == "__main__":
    main()
