"""Every setting does what it states, and no other: checked for all settings there are, by changing one after the other."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from emerge_ehr import decides
from emerge_ehr.comparison import points, preparation
from emerge_ehr.compute import kept
from emerge_ehr.config import Config, Llm, Paths, Sparsity, TokenLevel
from emerge_ehr.decides import NOTHING, SUMMARIES, TABLES, TRAINING, statements
from emerge_ehr.fields import Component, to_dict
from emerge_ehr.training import methods, run_folder
from tests.other_values import changed

SETTINGS = statements(Config)
CONFIG = Config(
    dataset="d",
    run_name="r",
    paths=Paths(raw_dir=Path("raw")),
    source=Component("synthetic"),
    sparsity=Sparsity(notes=0.1, measurements=0.1),
    entities=Component("openai_compatible"),
    llm=Llm(api_base_url="http://127.0.0.1:9/v1"),
    token_level=TokenLevel(4, 4),
)
BY_PIECES = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, fusion=Component("token_level")))
every_setting = pytest.mark.parametrize("key", SETTINGS)


@every_setting
def test_a_setting_names_other_shared_tables_and_artefacts_where_it_decides_them(key: str) -> None:
    before, after = preparation.placed(CONFIG), preparation.placed(changed(CONFIG, key))
    assert (after.table_dir != before.table_dir) == (SETTINGS[key].first == "tables")
    assert (after.processed_dir != before.processed_dir) == (SETTINGS[key].first in ("tables", "artefacts"))


@every_setting
def test_pieces_of_work_are_found_again_unless_a_setting_that_decides_them_changed(key: str) -> None:
    before, after = (kept.of_run(config, {}).folder.name for config in (CONFIG, changed(CONFIG, key)))
    assert (before != after) == (SETTINGS[key].first in ("tables", "artefacts"))


@every_setting
def test_two_points_of_a_grid_are_one_where_the_setting_decides_nothing(key: str) -> None:
    other = [points.identity(base) != points.identity(changed(base, key)) for base in (CONFIG, BY_PIECES)]
    assert any(other) == (SETTINGS[key].first is not None)


@every_setting
def test_a_finished_run_counts_only_with_the_settings_that_decided_it(key: str) -> None:
    before, after = (methods.fingerprint(config, {}, exactly=True) for config in (CONFIG, changed(CONFIG, key)))
    assert (before != after) == (key == "seed" or SETTINGS[key].first in ("training", "ending", "evaluation"))


@every_setting
def test_a_stopped_run_goes_on_unless_a_setting_of_its_epochs_changed(key: str) -> None:
    before, after = (methods.fingerprint(config, {}, exactly=False) for config in (CONFIG, changed(CONFIG, key)))
    assert (before != after) == (key == "seed" or SETTINGS[key].first == "training")


def test_a_stopped_run_whose_learning_rate_falls_over_all_epochs_does_not_go_on_with_more() -> None:
    falling = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, scheduler="cosine"))
    longer = changed(falling, "training.max_epochs")
    assert methods.fingerprint(longer, {}, exactly=False) != methods.fingerprint(falling, {}, exactly=False)


@every_setting
def test_the_config_of_a_run_records_what_it_should(key: str) -> None:
    before, after = (json.dumps(to_dict(run_folder.recorded(config))) for config in (CONFIG, changed(CONFIG, key)))
    assert (before != after) == SETTINGS[key].recorded


@dataclass(frozen=True)
class Split:
    train: float = 0.7
    test: Annotated[float, TABLES] = 0.2


def test_a_setting_that_states_nothing_does_not_load() -> None:
    with pytest.raises(TypeError, match=r"Split\.train must state once what it decides"):
        statements(Split)
    forgotten = dataclasses.make_dataclass("Forgotten", [("top_p", float, 1.0)], bases=(Llm,), frozen=True)
    with pytest.raises(TypeError, match=r"Forgotten\.top_p must state"):
        statements(dataclasses.make_dataclass("Other", [("llm", forgotten)]))


def test_a_setting_that_states_two_things_does_not_load() -> None:
    twice = dataclasses.make_dataclass("Twice", [("train", Annotated[float, TABLES, TRAINING])])
    with pytest.raises(TypeError, match=r"Twice\.train must state once"):
        statements(twice)
    both = dataclasses.make_dataclass("Both", [("split", Annotated[Split, NOTHING])])
    with pytest.raises(TypeError, match=r"Both\.split states what its keys decide, and test does so itself"):
        statements(both)


def test_a_new_setting_of_the_language_model_is_compared_because_it_says_so() -> None:
    added = [("top_p", Annotated[float, SUMMARIES], 1.0)]
    more = dataclasses.make_dataclass("More", added, bases=(Llm,), frozen=True)
    whole = dataclasses.make_dataclass("Whole", [("llm", more)], frozen=True)
    assert decides.compared(whole(more()), "artefacts")["llm"]["top_p"] == 1.0
