"""What a run reports beyond ranking: calibration, operating points, subgroups, and whose stays are resampled together."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from emerge_ehr.config import Config, Evaluation
from emerge_ehr.fields import UserError
from emerge_ehr.training import train

Prepare = Callable[..., Config]
HEADER = "patient_id,subject_id,age,sex,ethnicity,icu_type\n"


def write_patients(config: Config, count: int, stays_each: int = 2) -> None:
    rows = (f"p{n},s{n // stays_each},{20 + n % 70},{'FM'[n % 2]},{('WHITE', '')[n % 2]},\n" for n in range(count))
    (config.processed_dir / "patients.csv").write_text(HEADER + "".join(rows))


def reported(config: Config) -> Any:
    return json.loads((config.run_dir / "metrics.json").read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def predicted(config: Config, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    own = [row for row in rows(config.run_dir / "predictions.csv") if row["split"] == split]
    label, score = (np.array([float(row[name]) for row in own]) for name in ("y_true", "y_prob"))
    return label, score, [row["patient_id"] for row in own]


def test_operating_points_are_set_on_validation_and_measured_on_every_split(prepared: Prepare) -> None:
    config = prepared(patients=200, max_epochs=3)
    config = dataclasses.replace(config, evaluation=Evaluation(sensitivities=(0.6, 0.95)))
    train.run(config)
    found = reported(config)["splits"]
    validation = predicted(config, "val")
    for target in ("0.6", "0.95"):
        threshold = found["val"]["mortality"]["operating_points"][target]["threshold"]
        reaching = [cut for cut in validation[1] if recall_score(validation[0], validation[1] >= cut) >= float(target)]
        assert threshold == max(reaching)
        for split in ("val", "test"):
            label, score, _ = predicted(config, split)
            point = found[split]["mortality"]["operating_points"][target]
            assert point["threshold"] == threshold
            for name, value in (
                ("sensitivity", recall_score(label, score >= threshold)),
                ("specificity", recall_score(1 - label, score < threshold)),
                ("ppv", precision_score(label, score >= threshold)),
                ("alert_rate", (score >= threshold).mean()),
            ):
                assert point["metrics"][name]["value"] == pytest.approx(value, abs=1e-12)
    label, score, _ = predicted(config, "test")
    assert found["test"]["mortality"]["metrics"]["brier"]["value"] == pytest.approx(brier_score_loss(label, score))


def test_stays_of_a_person_are_resampled_together_where_patients_csv_names_persons(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(config)
    alone = reported(config)
    write_patients(config, 100)
    train.run(config)
    together = reported(config)
    assert (alone["resampled"], together["resampled"]) == ("patient_id", "subject_id")
    assert "over patients" in alone["interval"] and "over persons" in together["interval"]
    left, right = (one["splits"]["test"]["mortality"] for one in (alone, together))
    assert (left["persons"], right["persons"]) == (20, 10)
    assert left["metrics"]["auroc"]["value"] == right["metrics"]["auroc"]["value"]
    label, score, _ = predicted(config, "test")
    loop = []
    for drawn in np.random.default_rng(config.seed).integers(0, 10, (50, 10)):
        index = np.concatenate([[2 * person, 2 * person + 1] for person in drawn])
        if 0 < label[index].sum() < len(index):
            loop.append(roc_auc_score(label[index], score[index]))
    assert (right["metrics"]["auroc"]["low"], right["metrics"]["auroc"]["high"]) == (
        pytest.approx(np.percentile(loop, 2.5), abs=1e-12),
        pytest.approx(np.percentile(loop, 97.5), abs=1e-12),
    )


def test_subgroups_are_of_the_test_patients_as_patients_csv_describes_them(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(config)
    assert rows(config.run_dir / "subgroups.csv") == []
    write_patients(config, 100)
    train.run(config)
    found = rows(config.run_dir / "subgroups.csv")
    assert {row["split"] for row in found} == {"test"}
    assert {row["attribute"] for row in found} == {"sex", "age", "ethnicity"}
    assert {row["group"] for row in found if row["attribute"] == "ethnicity"} == {"white", "unknown"}
    label, score, names = predicted(config, "test")
    women = np.array([int(name[1:]) % 2 == 0 for name in names])
    row = next(row for row in found if (row["group"], row["metric"]) == ("female", "brier"))
    assert float(row["value"]) == pytest.approx(brier_score_loss(label[women], score[women]), abs=1e-12)
    rest = brier_score_loss(label[~women], score[~women])
    assert float(row["gap"]) == pytest.approx(float(row["value"]) - rest, abs=1e-12)
    assert row["small"] == "1"


def test_bca_is_said_and_gives_other_intervals_of_the_same_values(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(config)
    plain = reported(config)
    bca = dataclasses.replace(config, evaluation=Evaluation(interval="bca"))
    with pytest.raises(UserError, match="finished run of other settings"):
        train.run(dataclasses.replace(bca, resume=True))
    train.run(bca)
    corrected = reported(config)
    assert corrected["interval"] == "95 % BCa bootstrap over patients"
    left, right = (one["splits"]["test"]["mortality"]["metrics"]["brier"] for one in (plain, corrected))
    assert left["value"] == right["value"] and left["low"] != right["low"]


def test_a_patient_without_a_row_in_patients_csv_is_one_line(prepared: Prepare) -> None:
    config = prepared()
    write_patients(config, 39)
    with pytest.raises(UserError, match=r"patients\.csv: no row for patient_id 'p39' \(1 such patient\)"):
        train.run(config)


def test_every_metric_has_its_spread_over_seeds(prepared: Prepare) -> None:
    config = prepared(patients=100)
    train.run(dataclasses.replace(config, seeds=(1, 2)))
    names = {row["metric"] for row in rows(config.run_dir / "seeds.csv")}
    assert {"auroc", "brier", "calibration_slope", "specificity_at_sensitivity_0.8", "ppv_at_sensitivity_0.9"} <= names


def test_an_interval_that_rests_on_part_of_the_resamples_is_marked(
    prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    few = (np.arange(40) % 4 == 1).astype(np.float32)[
        :, None
    ]  # two positives in test: a tenth of the resamples have none
    config = prepared(label=few)
    train.run(config)
    printed = capsys.readouterr().out
    auroc = reported(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]
    assert "of 50 resamples" in auroc["reason"]
    assert f"{auroc['value']:.3f} ({auroc['low']:.3f}-{auroc['high']:.3f})*" in printed
    assert "(* undefined in some resamples" in printed


@pytest.mark.parametrize(
    ("persons", "every", "reason"),
    [(2, 4, "there are 2 persons, and it takes 5"), (8, 7, "it takes 2 persons with the outcome and 2 without")],
)
def test_what_has_no_interval_says_why_in_the_file_and_in_print(
    prepared: Prepare, capsys: pytest.CaptureFixture[str], persons: int, every: int, reason: str
) -> None:
    config = prepared(label=(np.arange(40) % every == 0).astype(np.float32)[:, None])
    split = json.loads((config.processed_dir / "split.json").read_text())
    names = {one: f"{part}{n % persons}" for part, ids in split.items() for n, one in enumerate(ids)}
    lines = [f"{one},{person},50,F,,\n" for one, person in names.items()]
    header = "patient_id,subject_id,age,sex,ethnicity,icu_type\n"
    (config.processed_dir / "patients.csv").write_text(header + "".join(lines))
    train.run(config)
    printed = capsys.readouterr().out
    auroc = reported(config)["splits"]["test"]["mortality"]["metrics"]["auroc"]
    assert auroc["value"] is not None and auroc["low"] is auroc["high"] is None and reason in auroc["reason"]
    assert f"{auroc['value']:.3f} (no interval)" in printed and f"test: no interval: {reason})" in printed
    widths = [
        float(row["high"]) - float(row["low"]) for row in rows(config.run_dir / "subgroups.csv") if row["low"] != ""
    ]
    assert 0 not in widths and not (persons == 2 and widths)


def test_the_printed_blocks_stay_narrow_and_show_the_calibration(
    prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepared(patients=100)
    train.run(config)
    blocks = capsys.readouterr().out.split("\n\n")
    heads = [tuple(block.splitlines()[0].split()[2:4]) for block in blocks]
    assert list(dict.fromkeys(heads)) == [
        ("patients", "positive"),
        ("Brier", "ECE"),
        ("target", "sensitivity"),
        ("metric", "EMERGE"),
    ]
    brier = reported(config)["splits"]["test"]["mortality"]["metrics"]["brier"]["value"]
    assert f"{brier:.3f}" in blocks[heads.index(("Brier", "ECE"))]
    assert max(len(line) for block in blocks for line in block.splitlines()) < 160
