"""The made-up hospital: same seed, same bytes; the real files' columns; the planted outcome as documented."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.datasets.sources.synthetic.hospital import sample_hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.datasets.sources.synthetic.risk import Risk, graph_part, note_part
from tests.places import SHARED

REAL = SHARED


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    generate(folder / "raw", Options(stays=150), seed=3)
    write_graph(load_graph(), folder / "kg")
    return folder


def read(made: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(made / "raw" / f"{name}.csv.gz", infer_schema=False)


def columns(path: Path) -> str:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return file.readline().strip()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(made: Path, tmp_path: Path) -> None:
    generate(tmp_path / "raw", Options(stays=150), seed=3)
    write_graph(load_graph(), tmp_path / "kg")
    generate(tmp_path / "other", Options(stays=150), seed=4)
    files = sorted(path.relative_to(made) for path in made.rglob("*.csv*"))
    assert len(files) == 15
    for file in files:
        assert (tmp_path / file).read_bytes() == (made / file).read_bytes(), file
    changed = "icu/chartevents.csv.gz"
    assert (tmp_path / "other" / changed).read_bytes() != (made / "raw" / changed).read_bytes()


def test_column_names_are_those_of_the_real_files(made: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there: no real files to compare with")
    compared = 0
    for path in sorted((made / "raw").rglob("*.csv.gz")):
        real = REAL / "mimic-iv-demo-2.2" / path.relative_to(made / "raw")
        if path.name != "notes.csv.gz":
            assert columns(path) == columns(real), path.name
            compared += 1
    assert compared == 11
    for name in ("kg.csv", "disease_features.csv"):
        assert columns(made / "kg" / name) == columns(REAL / "primekg-open" / name)


def test_nobody_dies_before_the_window_closes_and_the_death_columns_agree(made: Path) -> None:
    stays = read(made, "icu/icustays").join(read(made, "hosp/admissions"), on=["subject_id", "hadm_id"])
    times = stays.with_columns(pl.col("intime", "outtime", "deathtime", "dischtime", "admittime").str.to_datetime())
    assert (times["admittime"] < times["intime"]).all()
    assert (times["outtime"] <= times["dischtime"]).all()
    dead = times.filter(pl.col("deathtime").is_not_null())
    assert 15 < dead.height < 60
    assert ((dead["deathtime"] - dead["intime"]).dt.total_hours() >= 48).all()
    assert (dead["deathtime"] <= dead["outtime"]).all()
    assert dead["hospital_expire_flag"].unique().to_list() == ["1"]
    assert set(dead["subject_id"]) <= set(read(made, "hosp/patients").drop_nulls("dod")["subject_id"])


def test_events_lie_inside_their_stay_and_cover_the_signals(made: Path) -> None:
    events = read(made, "icu/chartevents").join(
        read(made, "icu/icustays").select("stay_id", "intime", "outtime"), on="stay_id"
    )
    times = events.select(pl.col("charttime", "intime", "outtime").str.to_datetime())
    assert (times["charttime"] >= times["intime"]).all()
    assert (times["charttime"] <= times["outtime"]).all()
    assert set(events["itemid"]) == set(read(made, "icu/d_items")["itemid"])
    assert 400 < events.height / 150 < 800
    blank = read(made, "hosp/labevents")["hadm_id"].is_null().mean()
    assert isinstance(blank, float) and 0.05 < blank < 0.15


def test_notes_in_the_window_never_tell_the_outcome(made: Path) -> None:
    notes = read(made, "note/notes")
    telling = notes["text"].str.contains("expired|Discharged alive")
    assert (telling == (notes["note_type"] == "Discharge summary")).all()
    assert telling.sum() == 150


def test_with_interactions_no_sum_of_the_parts_ranks_as_well_as_the_true_risk() -> None:
    graph = load_graph()
    hospital = sample_hospital(graph, 6000, np.random.default_rng(0), Risk(interactions=1.6))
    eligible = hospital.los_hours >= 48
    died = hospital.died[eligible]
    series, note, graphs = hospital.series, note_part(hospital.wording), graph_part(hospital.asserted, graph)
    logit = -2.4 + 1.6 * (series + note + graphs + series * note + series * graphs + note * graphs)
    np.testing.assert_allclose(hospital.true_risk[eligible], 1 / (1 + np.exp(-logit[eligible])))
    assert roc_auc_score(died, logit[eligible]) > 0.94
    assert roc_auc_score(died, (series + note + graphs)[eligible]) < 0.93


def test_true_risk_ranks_the_outcome_as_documented_and_each_part_alone_less() -> None:
    graph = load_graph()
    hospital = sample_hospital(graph, 6000, np.random.default_rng(0))
    eligible = hospital.los_hours >= 48
    died = hospital.died[eligible]
    assert 0.19 < died.mean() < 0.26
    assert 0.90 < roc_auc_score(died, hospital.true_risk[eligible]) < 0.94
    parts = [hospital.series, note_part(hospital.wording), graph_part(hospital.asserted, graph)]
    for part in parts:
        assert 0.67 < roc_auc_score(died, part[eligible]) < 0.79
        assert abs(part.mean()) < 0.05 and 0.95 < part.std() < 1.05
    assert np.abs(np.corrcoef(parts)[np.triu_indices(3, 1)]).max() < 0.05
    assert not hospital.died[~eligible].any()


def test_a_patient_has_no_stay_after_death() -> None:
    hospital = sample_hospital(load_graph(), 2000, np.random.default_rng(1))
    followed = hospital.subject_id[1:] == hospital.subject_id[:-1]
    assert followed.sum() > 200
    assert not (hospital.died[:-1] & followed).any()
    assert (hospital.intime[1:] > hospital.dischtime[:-1])[followed].all()
    assert len(set(hospital.stay_id.tolist())) == len(set(hospital.hadm_id.tolist())) == 2000
