"""Two runs side by side: what is refused, and that the numbers are those of their predictions."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from emerge_ehr.comparison import compare
from emerge_ehr.config import Config, Paths, Training
from emerge_ehr.fields import Component, UserError, to_dict
from emerge_ehr.storage import artefacts, schema

PATIENTS = 80
LABEL = (np.random.default_rng(0).random(PATIENTS) < 0.4).astype(int)


def scores(seed: int) -> np.ndarray:
    return np.clip(0.2 * LABEL + 0.8 * np.random.default_rng(seed).random(PATIENTS), 0, 1)


def write(
    folder: Path, probability: np.ndarray, label: Sequence[int | None] = tuple(LABEL), threshold: float = 0.5
) -> Path:
    """A finished run with its artefacts: two patients a person."""
    processed = folder.parent / "processed"
    config = Config(
        dataset="toy",
        run_name=folder.name,
        paths=Paths(raw_dir=Path("raw"), processed_dir=processed),
        source=Component("synthetic"),
        training=Training(bootstrap_resamples=60),
    )
    if not processed.exists():
        processed.mkdir(parents=True)
        artefacts.write_json(processed / "metadata.json", {"label_names": ["death"]})
        rows = "".join(f"p{n},s{n // 2},70,F,,\n" for n in range(PATIENTS))
        (processed / "patients.csv").write_text(f"patient_id,subject_id,age,sex,ethnicity,icu_type\n{rows}")
    folder.mkdir(parents=True)
    lines = [
        f"p{n},test,death,{'' if y is None else y},{s}" for n, (y, s) in enumerate(zip(label, probability, strict=True))
    ]
    text = "\n".join(["patient_id,split,label_code,y_true,y_prob", "v0,val,death,1,0.5", *lines])
    (folder / "predictions.csv").write_text(text + "\n")
    artefacts.write_json(folder / "config.json", to_dict(config))
    artefacts.write_json(folder / "metrics.json", {"thresholds": {"death": {"value": threshold}}})
    for name in ("history.csv", "subgroups.csv"):
        (folder / name).write_text("")
    recorded(folder)
    return folder


def recorded(folder: Path) -> None:
    """As if ``train`` had written the files as they are."""
    (folder / "manifest.json").unlink(missing_ok=True)
    inputs = {"metadata.json": artefacts.checksum(folder.parent / "processed" / "metadata.json")}
    files = artefacts.checksums(folder)
    artefacts.write_json(folder / "manifest.json", {"format": schema.RUN_FORMAT, "inputs": inputs, "files": files})


def test_the_table_and_the_file_hold_both_values_and_their_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = scores(1), scores(2)
    runs = [write(tmp_path / "a", first, threshold=0.4), write(tmp_path / "b", second, threshold=0.7)]
    compare.run(runs, tmp_path / "out" / "c.csv")
    printed = capsys.readouterr().out
    with (tmp_path / "out" / "c.csv").open() as file:
        rows = {(row["metric"], row["test"]): row for row in csv.DictReader(file)}
    expected = {
        ("auroc", "delong"): (roc_auc_score(LABEL, first), roc_auc_score(LABEL, second)),
        ("auroc", "paired_bootstrap"): (roc_auc_score(LABEL, first), roc_auc_score(LABEL, second)),
        ("brier", "paired_bootstrap"): (brier_score_loss(LABEL, first), brier_score_loss(LABEL, second)),
        ("f1", "paired_bootstrap"): (f1_score(LABEL, first >= 0.4), f1_score(LABEL, second >= 0.7)),
    }
    for key, (left, right) in expected.items():
        row = rows[key]
        assert float(row["first"]) == pytest.approx(left, abs=1e-12)
        assert float(row["second"]) == pytest.approx(right, abs=1e-12)
        assert float(row["difference"]) == pytest.approx(left - right, abs=1e-12)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
        assert 0 < float(row["p"]) <= 1
    left, right = expected["brier", "paired_bootstrap"]
    assert [f"{left:.3f}", f"{right:.3f}", f"{left - right:+.3f}"] == next(
        line.split()[4:7] for line in printed.splitlines() if " Brier " in line
    )
    assert "60 paired resamples of the test persons" in printed


def test_persons_are_resampled_whole_and_where_they_are_not_known_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write(tmp_path / "a", scores(1)), write(tmp_path / "b", scores(2))]
    loaded = [compare.load(run) for run in runs]
    people = compare.people(loaded[0])
    assert people is not None
    assert people.filter(pl.col("patient_id").is_in(["p0", "p1"]))["subject_id"].to_list() == ["s0", "s0"]
    whole = compare.compare(*loaded, people)
    alone = compare.compare(*loaded, None)
    assert [row.difference for row in whole] == [row.difference for row in alone]
    assert [row.low for row in whole[1:]] != [row.low for row in alone[1:]]
    artefacts.write_json(tmp_path / "processed" / "metadata.json", {"label_names": ["made anew"]})
    compare.run(runs, None)
    printed = capsys.readouterr().out
    assert "60 paired resamples of the test patients" in printed
    assert "stays count as independent" in printed


def test_hospital_admissions_are_not_called_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write(tmp_path / "a", scores(1)), write(tmp_path / "b", scores(2))]
    for run in runs:
        config = json.loads((run / "config.json").read_text())
        config["cohort"]["anchor"] = "hospital"
        artefacts.write_json(run / "config.json", config)
        recorded(run)
    compare.run(runs, None)
    printed = capsys.readouterr().out
    assert "DeLong takes admissions as independent" in printed and "stays" not in printed


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    loaded = compare.load(write(tmp_path / "a", scores(1)))
    for row in compare.compare(loaded, loaded, None):
        assert (row.difference, row.low, row.high, row.p) == (0, 0, 0, 1), row.metric


def test_swapping_the_runs_turns_the_signs(tmp_path: Path) -> None:
    first, second = compare.load(write(tmp_path / "a", scores(1))), compare.load(write(tmp_path / "b", scores(2)))
    for there, back in zip(compare.compare(first, second, None), compare.compare(second, first, None), strict=True):
        assert there.difference == pytest.approx(-(back.difference or 0), abs=1e-12)
        assert (there.low, there.p) == (pytest.approx(-(back.high or 0), abs=1e-9), pytest.approx(back.p))


def test_patients_without_the_outcome_are_left_out(tmp_path: Path) -> None:
    partly = [None if n % 5 == 0 else int(y) for n, y in enumerate(LABEL)]
    runs = [compare.load(write(tmp_path / name, scores(n), partly)) for n, name in enumerate("ab")]
    kept = [n for n, y in enumerate(partly) if y is not None]
    row = next(row for row in compare.compare(*runs, None) if row.metric == "brier")
    assert row.patients == len(kept)
    assert row.first == pytest.approx(brier_score_loss(LABEL[kept], scores(0)[kept]), abs=1e-12)


def test_one_class_is_undefined_with_the_reason_below_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write(tmp_path / name, scores(n), [0] * PATIENTS) for n, name in enumerate("ab")]
    compare.run(runs, tmp_path / "c.csv")
    printed = capsys.readouterr().out
    assert "undefined: all patients have the same label" in printed
    with (tmp_path / "c.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["first"], row["p"]) == ("", "") and row["reason"]


def test_other_patients_labels_or_outcomes_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a", scores(1))
    for name, old, new, message in (
        ("patients", "p3,test", "x3,test", r"test patients are not those of .*79 in common, 1 only in the first"),
        ("labels", ",death,", ",readmission,", r"test labels are not those of"),
        (
            "outcomes",
            f"p3,test,death,{LABEL[3]}",
            f"p3,test,death,{1 - LABEL[3]}",
            r"death of test patient 'p3' is not what",
        ),
    ):
        second = write(tmp_path / name, scores(2))
        path = second / "predictions.csv"
        path.write_text(path.read_text().replace(old, new))
        recorded(second)
        with pytest.raises(UserError, match=message):
            compare.run([first, second], tmp_path / "c.csv")
    assert not (tmp_path / "c.csv").exists()


def test_several_seeds_no_run_and_three_runs_are_one_line_each(tmp_path: Path) -> None:
    run = write(tmp_path / "a", scores(1))
    write(tmp_path / "many" / "seed_1", scores(2))
    write(tmp_path / "many" / "seed_2", scores(3))
    with pytest.raises(UserError, match=r"holds a run for each seed; choose one of .*many/seed_1, .*many/seed_2"):
        compare.run([run, tmp_path / "many"], None)
    with pytest.raises(UserError, match=r"nothing: no such run folder; finished runs in .*a"):
        compare.run([run, tmp_path / "nothing"], None)
    with pytest.raises(UserError, match="two run folders, not 3"):
        compare.run([run, run, run], None)


def test_bca_is_used_where_the_first_runs_config_says_so(tmp_path: Path) -> None:
    first, second = compare.load(write(tmp_path / "a", scores(1))), compare.load(write(tmp_path / "b", scores(2)))
    evaluation = dataclasses.replace(first.config.evaluation, interval="bca")
    corrected = dataclasses.replace(first, config=dataclasses.replace(first.config, evaluation=evaluation))
    plain = [row.low for row in compare.compare(first, second, None)]
    assert plain != [row.low for row in compare.compare(corrected, second, None)]


def test_damaged_runs_are_refused_and_a_runs_own_files_are_never_the_output(tmp_path: Path) -> None:
    whole, run = write(tmp_path / "a", scores(1)), write(tmp_path / "b", scores(2))
    path = run / "predictions.csv"
    text = path.read_text()
    for damaged in (text + text.splitlines()[-1], text.replace("test,death,1", "test,death,2", 1), text[:-9], ""):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"predictions\.csv: changed since --stage train wrote it"):
            compare.run([whole, run], None)
    path.write_text(text)
    for name in ("predictions.csv", "compared.csv"):
        with pytest.raises(UserError, match="whose own files it could replace"):
            compare.run([whole, run], run / name)
    artefacts.write_json(run / "metrics.json", {})
    with pytest.raises(UserError, match=r"metrics\.json: changed since --stage train wrote it"):
        compare.run([whole, run], None)
