"""Stage tune: the best of the trials is written, the test split is not looked at, and a search that was stopped goes on."""

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from emerge_ehr.config import Config, load
from emerge_ehr.fields import UserError
from emerge_ehr.storage.dataset import Dataset, load_dataset
from emerge_ehr.training import inputs, train
from emerge_ehr.tuning import score as scores
from emerge_ehr.tuning import search as searches
from emerge_ehr.tuning import tune
from tests.small_hospital import CONFIG

SEARCH = """
base = "small.toml"
trials = 3
[settings]
training.max_epochs = 1
[tune]
"training.learning_rate" = { low = 1e-4, high = 1e-1, log = true }
"model.hidden_size" = { choices = [4, 8] }
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in; the artefacts that trials share are made there once."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "small.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def tuned(folder: Path, name: str, text: str = SEARCH) -> Path:
    (folder / f"{name}.toml").write_text(text)
    tune.run(folder / f"{name}.toml", offline=True)
    return Path("runs") / name


def trials(run: Path) -> pl.DataFrame:
    return pl.read_csv(run / "trials.csv")


def test_the_best_trial_becomes_a_config_and_the_same_search_gives_the_same_bytes(here: Path) -> None:
    first, second = tuned(here, "one"), tuned(here, "two")
    found = trials(first)
    assert found.height == 3 and set(found["state"]) <= {"complete", "pruned"}
    best = found.sort("log_loss", nulls_last=True).row(0, named=True)
    config = load(first / "best.toml")
    assert config.run_name == "small_tuned" and config.training.max_epochs == 1
    assert config.training.learning_rate == float(best["training.learning_rate"])
    assert config.model.hidden_size == int(best["model.hidden_size"])
    assert f"| {best['trial']} | {best['log_loss']:.4f} |" in (first / "tune.md").read_text()
    for name in ("trials.csv", "best.toml"):
        same = [(run / name).read_text().replace("two", "one") for run in (first, second)]
        assert same[0] == same[1]
    assert not list(first.glob("trials/*"))


def test_a_search_that_was_stopped_goes_on_and_another_one_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tuned(here, "stopped", SEARCH.replace("trials = 3", "trials = 2"))
    with sqlite3.connect(run / "study.db") as study:  # as if the process had been killed within the last trial
        study.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    (run / "trials" / "1").mkdir(parents=True)
    before = trials(run)
    tuned(here, "stopped", SEARCH.replace("trials = 3", "trials = 4"))
    after = trials(run)
    assert after.height == 4 and after["state"].to_list()[1] == "fail"
    assert after["why"].to_list() == [None, "the process was ended", None, None]
    assert not (run / "trials").exists(), "what the killed process left is gone"
    assert after.row(0) == before.row(0)
    with pytest.raises(UserError, match=r"study\.db: holds trials of other ranges"):
        tuned(here, "stopped", SEARCH.replace("high = 1e-1", "high = 1e-2"))
    capsys.readouterr()


def test_values_that_do_not_go_together_cost_a_trial_and_not_the_search(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = SEARCH.replace("[4, 8]", "[4, 5]").replace("trials = 3", "trials = 6")
    found = trials(tuned(here, "odd", text))
    failed = found.filter(pl.col("state") == "fail")
    assert 0 < failed.height < 6 and set(failed["model.hidden_size"]) == {5}
    assert all(why.startswith("small.toml: model.hidden_size must be a multiple of") for why in failed["why"])
    assert "Traceback" not in capfd.readouterr().err, "Optuna's own words are left out"
    with pytest.raises(UserError, match=r"none of 2 trials could be trained; trial 0: .*multiple of model.heads"):
        tuned(here, "all odd", SEARCH.replace("[4, 8]", "[5, 7]").replace("trials = 3", "trials = 2"))


@pytest.mark.parametrize("damage", ["text", "cut off"])
def test_a_damaged_study_is_told_in_a_line(here: Path, damage: str) -> None:
    name = f"damaged {damage}"
    study = tuned(here, name, SEARCH.replace("trials = 3", "trials = 1")) / "study.db"
    study.write_bytes(b"hello" * 99 if damage == "text" else study.read_bytes()[:5000])
    with pytest.raises(
        UserError, match=rf"{name}.study\.db: the study cannot be read or written: .*; make room if"
    ) as error:
        tuned(here, name, SEARCH.replace("trials = 3", "trials = 2"))
    assert "\n" not in str(error.value)


def test_several_processes_share_a_search(here: Path) -> None:
    run = tuned(here, "shared", "workers = 2\n" + SEARCH)
    found = trials(run)
    assert found.height == 3 and found["trial"].to_list() == [0, 1, 2]
    assert found["training.learning_rate"].n_unique() == 3, "no two draw the same"


def run_of(place: Path, **training: object) -> tuple[Config, Dataset]:
    """The small hospital's run as a trial would train it, and its artefacts."""
    search = searches.load(place / "one.toml")
    from emerge_ehr.comparison import preparation

    config = preparation.placed(searches.config_of(search, {}, "test"))
    assert not preparation.prepare(preparation.needed([config]))
    config = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, **training),  # type: ignore[arg-type]
        paths=dataclasses.replace(config.paths, run_dir=place / "trial"),
    )
    return config, load_dataset(config.processed_dir)


def test_the_score_is_that_of_patients_whom_the_member_was_not_trained_on(here: Path) -> None:
    (here / "one.toml").write_text(SEARCH)
    config, _ = run_of(here, members=1)
    train.run(config)
    rows = pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "val")
    true, risk = rows["y_true"].to_numpy(), rows["y_prob"].to_numpy()
    trial = dataclasses.replace(config, paths=dataclasses.replace(config.paths, run_dir=here / "again"))
    for metric, expected in (("log_loss", log_loss(true, risk)), ("auroc", roc_auc_score(true, risk))):
        assert scores.score(trial, metric, lambda number, value: None) == pytest.approx(expected, abs=1e-6)


def test_the_test_split_changes_no_score(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "one.toml").write_text(SEARCH)
    config, dataset = run_of(here, members=2)
    honest = scores.score(config, "log_loss", lambda number, value: None)
    rows = inputs.rows_of(dataset, "test")
    strange = dataclasses.replace(dataset, ehr=dataset.ehr.copy(), label=dataset.label.copy())
    strange.ehr[rows] = 1e3
    strange.label[rows] = 1 - strange.label[rows]
    monkeypatch.setattr(scores, "load_dataset", lambda folder: strange)
    assert scores.score(config, "log_loss", lambda number, value: None) == honest
    mine = inputs.rows_of(dataset, "val")
    strange.label[mine] = 1 - strange.label[mine]
    assert scores.score(config, "log_loss", lambda number, value: None) != honest


def test_each_members_fold_is_told_so_that_a_trial_can_be_stopped(here: Path) -> None:
    (here / "one.toml").write_text(SEARCH)
    config, _ = run_of(here, members=3)
    told: list[tuple[int, float]] = []
    whole = scores.score(config, "log_loss", lambda number, value: told.append((number, value)))
    assert [number for number, _ in told] == [1, 2, 3]
    assert np.mean([value for _, value in told]) == pytest.approx(whole, abs=0.02), "the folds are about equally large"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('"model.hidden_size" = { choices = [4] }', r"tune\.'model\.hidden_size': give two choices or more"),
        ('"training.dropout" = { low = 0.1 }', r"tune\.'training\.dropout': give `choices`, or `low` and `high`"),
        ('"training.learning_rate" = { low = 0.1, high = 0.01 }', "low = 0.1 must be below high = 0.01"),
        ('"training.learning_rate" = { low = 0, high = 1, log = true }', "`low` must be above 0"),
        ('"split.train" = { low = 0.1, high = 0.5 }', r"'split\.train' decides which patients there are"),
        ('"seeds" = { choices = [1, 2] }', "'seeds' cannot be tuned"),
        ('"seed" = { low = 1, high = 9 }', r"tune\.'seed' decides the split"),
        ('"paths.raw_dir" = { choices = ["a", "b"] }', r"tune\.'paths\.raw_dir' decides where data lie"),
        ('"training.members" = { low = 1, high = 3 }', "a single member judges other patients than several do"),
        (
            '"model.dropout" = { low = 0.0, high = 0.5, steps = 0.1 }',
            r"unknown key 'tune\.model\.dropout\.steps'; did you mean",
        ),
        (
            '"model.dropout" = { low = 0.1, high = 3.0 }',
            r"tune\.'model\.dropout': model\.dropout = 3\.0: input should be less",
        ),
        (
            '"model.hidden_size" = { low = 4.0, high = 8.0 }',
            r"model\.hidden_size = 4\.0: input should be a valid integer",
        ),
        ('"model.hidden_size" = { choices = [4, "a"] }', r"model\.hidden_size = 'a': input should be a valid integer"),
        ('"model.hiden_size" = { choices = [4, 8] }', "hiden_size"),
        ("", "tune"),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_a_line(here: Path, lines: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tuned(here, "wrong", f'base = "small.toml"\ntrials = 1\n[tune]\n{lines}\n')
    assert not Path("runs/wrong").exists(), "nothing is begun"


def test_what_the_base_lacks_is_told_of_the_base(here: Path) -> None:
    (here / "bare.toml").write_text('dataset = "bare"\nrun_name = "bare"\n')
    with pytest.raises(UserError, match=r"bare\.toml with the settings of .*bare search\.toml: key 'paths' is missing"):
        tuned(here, "bare search", SEARCH.replace("small.toml", "bare.toml"))
