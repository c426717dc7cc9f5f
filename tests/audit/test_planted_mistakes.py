"""Mistakes of kinds that papers were corrected for: each is planted in a copy of one hospital, and the audit must name it.

The honest hospital must pass. A mistake counts as found if the finding that is meant for it fails or warns.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emerge_ehr import command_line
from emerge_ehr.audit import audit
from emerge_ehr.audit.deep import chance, deep, swapped
from emerge_ehr.config import Config, Download, Model, Paths, Training
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources.synthetic import source as synthetic
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.training import train
from tests.audit import careless_plugs, plants

STAYS = 800
FOLDERS = [Path(name) for name in ("raw", "kg", "tables", "processed", "run", "cache")]
SETTINGS = Config(
    "synthetic",
    "r",
    Paths(*FOLDERS),
    Component("synthetic", {"stays": STAYS}),
    model=Model(hidden_size=16, experts=()),
    training=Training(members=1, max_epochs=8, bootstrap_resamples=20, accelerator="cpu"),
)
Plant = Callable[[Config], Config | None]

# mistake -> the check that must name it
OF_ARTEFACTS: dict[Plant, str] = {
    plants.statistics_of_everyone: "fitted on training patients only",
    plants.tested_by_their_own_statistics: "series standardised by training statistics",
    plants.gaps_filled_from_the_future: "series standardised by training statistics",
    plants.encoder_of_all_notes: "fitted on training patients only",
    plants.embedding_that_knows_the_outcome: "inputs are those of the tables",
    plants.labels_a_row_off: "outcomes are those of the tables",
    plants.labels_inverted_in_the_arrays: "outcomes are those of the tables",
    plants.split_by_admission: "no person in two splits",
    plants.lab_of_the_next_day: "measurements inside the window",
}
OF_TABLES: dict[Plant, str] = {
    plants.outcome_as_a_feature: "single features against mortality",
    plants.orders_of_the_dying: "the outcome from missingness alone",
    plants.discharge_summaries_in_the_window: "words that tell the outcome",
    plants.last_values_of_the_stay: "single features against mortality",
    plants.windows_that_end_at_death: "the outcome from missingness alone",
    plants.oversampled_before_the_split: "no stay in two splits under two ids",
    plants.persons_under_a_second_id: "no stay in two splits under two ids",
    plants.rows_joined_twice: "no stay twice within a split",
    plants.sicker_measured_more: "the outcome from missingness alone",
    plants.survivors_cut_off_earlier: "the outcome from missingness alone",
    plants.notes_copied_forward: "no note in two splits",
    plants.ids_by_outcome: "order of ids tells no outcome",
    plants.outcomes_a_row_off: "inputs tell the outcome",
    plants.outcomes_inverted: "no sample begins after its person's death",
}
OF_RUNS: dict[Plant, str] = {
    plants.stopped_on_test: "run: stopped on validation",
    plants.threshold_chosen_on_test: "run: figures follow from its predictions",
    plants.hard_cases_left_out: "run: samples of its splits",
    plants.predictions_of_another_model: "run: predictions are the model's",
    plants.careless("of_the_batch"): "run: the same in other orders and batches",
    plants.careless("of_nothing"): "run: predictions tell samples apart",
    plants.careless("of_the_outcome"): "run: reads nothing that it must not know",
}
OF_MANY_FITS = ("order of ids tells no outcome", "inputs tell the outcome")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a hospital, its tables, artefacts and a finished run. Read it only."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        raw, kg = FOLDERS[:2]
        synthetic.build(synthetic.Options(STAYS), raw_dir=raw, kg_dir=kg, seed=42).download(Download(), offline=False)
        convert.run(SETTINGS)
        preprocess.run(SETTINGS)
        train.run(SETTINGS)
        yield folder


@pytest.fixture
def copy(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The config of a copy, which is the current folder; its tables count as a user's own."""
    for name in ("kg", "tables", "processed", "run", "cache"):
        shutil.copytree(honest / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (SETTINGS.table_dir / "provenance.json").unlink()
    return SETTINGS


def verdicts(config: Config) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each check."""
    found = json.loads((config.processed_dir / audit.AUDIT).read_text())["findings"]
    return {finding["check"]: (finding["verdict"], finding["detail"]) for finding in found}


def audited(config: Config, meant: str = "") -> dict[str, tuple[str, str]]:
    """The verdicts of all checks, or of one that is ``meant`` and all but those that fit a method many times."""
    many = {swapped.check, chance.check} if meant and meant not in OF_MANY_FITS else set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "CHECKS", [each for each in deep.CHECKS if each not in many])
        return audited_by_these_checks(config)


def audited_by_these_checks(config: Config) -> dict[str, tuple[str, str]]:
    try:
        audit.run_deep(config)
    except UserError as error:
        if not str(error).startswith("audit:"):
            raise
    return verdicts(config)


def names(plant: Plant) -> str:
    return plant.__name__


@pytest.fixture(scope="module")
def found(honest: Path) -> dict[str, tuple[str, str]]:
    """What the audit finds there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(honest)
        return audited(SETTINGS)


def test_an_honest_hospital_and_run_pass_every_check(found: dict[str, tuple[str, str]]) -> None:
    assert {check: verdict for check, verdict in found.items() if verdict[0] != "passed"} == {}
    meant = {*OF_ARTEFACTS.values(), *OF_TABLES.values(), *OF_RUNS.values()}
    assert meant <= found.keys()


@pytest.mark.slow
@pytest.mark.parametrize("plant", OF_ARTEFACTS, ids=names)
def test_a_mistake_in_the_artefacts_is_named(plant: Plant, copy: Config) -> None:
    plant(copy)
    assert audited(copy, OF_ARTEFACTS[plant])[OF_ARTEFACTS[plant]][0] in ("failed", "warning")


@pytest.mark.slow
@pytest.mark.parametrize("plant", OF_TABLES, ids=names)
def test_a_mistake_in_the_tables_is_named(plant: Plant, copy: Config) -> None:
    plant(copy)
    preprocess.run(copy)
    found = audited(copy, OF_TABLES[plant])
    assert found[OF_TABLES[plant]][0] in ("failed", "warning"), found


@pytest.mark.slow
@pytest.mark.parametrize("plant", OF_RUNS, ids=names)
def test_a_mistake_in_the_run_is_named(
    plant: Plant, copy: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    careless_plugs.install(site)
    monkeypatch.syspath_prepend(site)
    config = plant(copy) or copy
    found = audited(config, OF_RUNS[plant])
    for module in [name for name in sys.modules if name.startswith(careless_plugs.PACKAGE)]:
        del sys.modules[module]
    assert found[OF_RUNS[plant]][0] == "failed", found


def test_without_a_run_this_is_told_and_nothing_else_missed(copy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emerge_ehr.audit.deep.deep.CHECKS", deep.CHECKS[-1:])
    shutil.rmtree(copy.run_dir)
    found = audited(copy)
    assert found["the finished run"] == ("skipped", "no finished run in run; run --stage train, and audit again")


def test_a_run_on_other_artefacts_is_not_judged_by_these(copy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emerge_ehr.audit.deep.deep.CHECKS", deep.CHECKS[-1:])
    path = copy.processed_dir / "metadata.json"
    path.write_text(path.read_text().replace('"seed": 42', '"seed": 43'))
    verdict, detail = audited(copy)["the finished run"]
    assert verdict == "skipped" and "not what run was trained on" in detail


def test_deep_is_an_option_of_the_audit_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.arguments(["--config", "x.toml", "--stage", "audit", "--deep"]).deep
    with pytest.raises(SystemExit):
        command_line.arguments(["--config", "x.toml", "--stage", "train", "--deep"])
    assert "--deep only works with --stage audit" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_audit_twice_gives_the_same_findings(
    honest: Path, found: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(honest)
    assert audited(SETTINGS) == found
