"""Grids: what is refused and how it is said, which points there are, what they share."""

import re
from pathlib import Path

import pytest

from src.comparison import grid, preparation
from src.config import load
from src.fields import Component, UserError

HEAD = 'base = "base.toml"\nseeds = [1]\n'


def points(workplace: Path, text: str) -> list[grid.Point]:
    path = workplace / "grid.toml"
    path.write_text(text)
    return grid.points(grid.load(Path("grid.toml")), Path("grid.toml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base = "base.toml"', "grid.toml: key 'seeds' is missing"),
        (HEAD + "sed = 1", "grid.toml: unknown key 'sed'; did you mean 'seeds'?"),
        ('base = "base.toml"\nseeds = []', "grid.toml: seeds = []"),
        ('base = "base.toml"\nseeds = [1, 1]', "grid.toml: seeds = [1, 1]: 1 stands twice"),
        ("seeds = [1]", "grid.toml: settings: no base: give 'base'"),
        ('base = "nowhere.toml"\nseeds = [1]', "nowhere.toml: no such config file"),
        (HEAD + 'metrics = ["auc"]', "grid.toml: metrics.0 = 'auc'"),
        (
            HEAD + "[settings]\nmodel.hiden_size = 8",
            "settings: unknown key 'model.hiden_size'; did you mean 'model.hidden_size'?",
        ),
        (HEAD + '[axes.m]\n"A" = { baselin = "gru" }', "axes.m.'A': unknown key 'baselin'; did you mean 'baseline'?"),
        (
            HEAD + '[axes.m]\n"A" = { baseline = "gruu" }',
            "axes.m.'A': baseline.name = 'gruu': there are: gradient_boosting",
        ),
        (
            HEAD + '[axes.m]\n"A" = { baseline = { name = "gru", width = 1 } }',
            "[baseline] name = 'gru': unknown key 'width'",
        ),
        (
            HEAD + '[axes.m]\n"A" = { model.heads = 3 }',
            "axes.m.'A': model.hidden_size must be a multiple of model.heads",
        ),
        (HEAD + '[axes.m]\n"A" = { base = 3 }', "axes.m.'A': base = 3: expected the path of a config"),
        (HEAD + "[axes.m]", "grid.toml: axes.m has no value"),
        (HEAD + "[axes.seed]\nA = {}", "axes.seed: results.csv has a column of this name"),
        (HEAD + 'columns = ["task"]\n[axes.m]\nA = {}', "columns: there is no axis 'task'; there are: m"),
        (HEAD + 'reference = "B"\n[axes.m]\nA = {}', "reference = 'B' is no row; there are: A"),
        (HEAD + '[axes.m]\n"A b" = {}\n"A_b" = { baseline = "gru" }', "'A b' and 'A_b' would share the folder A_b"),
        (HEAD + "[sparsity]\nnotes = [1.5]", "grid.toml: sparsity.notes.0 = 1.5"),
        (HEAD + "[sparsity]\npatients = [1.0]", "grid.toml: sparsity.patients.0 = 1.0"),
        (HEAD + "[settings]\nsparsity.notes = 0.5\n[sparsity]\nnotes = [0.9]", "not in both"),
        (HEAD + "[axes.m]\nA = {}\nB = { source.stays = 9 }", "give each its own paths.raw_dir"),
        (
            HEAD + '[axes.m]\nA = { model.text_fusion = "note_only", model.modalities = ["summary"] }',
            "needs 'note' in model.modalities",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line_that_names_the_key(workplace: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refusal:
        points(workplace, text)
    assert "\n" not in str(refusal.value)


def test_points_are_the_product_of_the_axes_in_the_files_order(workplace: Path) -> None:
    text = (
        HEAD
        + '[axes.a]\nx = {}\ny = { model.hidden_size = 4 }\n[axes.b]\nu = {}\nv = { baseline = "gru" }\nw = { seed = 7 }'
    )
    found = points(workplace, text)
    assert [tuple(point.values.values()) for point in found] == [
        ("x", "u"),
        ("any", "v"),
        ("x", "w"),
        ("y", "u"),
        ("y", "w"),
    ]
    assert found[1].config.baseline == Component("gru") and found[3].config.model.hidden_size == 4


def test_sparsity_adds_a_point_a_share_to_each(workplace: Path) -> None:
    found = points(
        workplace, HEAD + "[axes.a]\nx = {}\ny = { seed = 7 }\n[sparsity]\npatients = [0.0, 0.5]\nnotes = [0.9]"
    )
    assert [point.folder for point in found] == [
        "x",
        "x__patients_-50",
        "x__notes_-90",
        "y",
        "y__patients_-50",
        "y__notes_-90",
    ]
    assert found[1].config.sparsity.patients == 0.5 and found[2].config.sparsity.patients == 0.0


@pytest.mark.parametrize(
    ("method", "other", "one"),
    [
        ('baseline = "gru"', "embedding.width = 8", True),
        ('baseline = "note_only"', "embedding.width = 8", False),
        ('baseline = "note_only"', "linking.threshold = 0.9", True),
        ('baseline = "gru"', "model.hidden_size = 4", True),
        ('baseline = { name = "m3care", texts = ["summary"] }', "retrieval.triples = 2", False),
        ('model.modalities = ["ehr"]', 'model.fusion = "concat"', True),
        ('model.modalities = ["ehr"]', 'model.series = "lstm"', False),
        ('model.modalities = ["ehr", "note"]', 'model.text_fusion = "add"', True),
        ('model.modalities = ["ehr", "note"]', "abnormal.threshold = 3.0", True),
        ('model.modalities = ["note", "summary"]', 'model.series = "lstm"', True),
        ('model.modalities = ["note", "summary"]', "embedding.width = 8", False),
        (
            'model.modalities = ["summary"]',
            'summary = "openai_compatible"\nllm.api_base_url = "http://127.0.0.1:1/v1"',
            False,
        ),
        ('model.text_fusion = "note_only"', "retrieval.triples = 2", True),
        ("model.heads = 2", "split.train = 0.6", False),
        ('baseline = "gru"', "sparsity.patients = 0.5", False),
    ],
)
def test_points_are_one_exactly_where_the_method_reads_nothing_that_differs(
    workplace: Path, method: str, other: str, one: bool
) -> None:
    text = HEAD + f"[settings]\n{method}\n[axes.other]\nwithout = {{}}\n[axes.other.with]\n{other}\n"
    found = points(workplace, text)
    assert len(found) == (1 if one else 2)
    assert found[0].values["other"] == ("any" if one else "without")


def test_a_component_with_another_name_leaves_the_old_ones_options_behind(workplace: Path) -> None:
    (workplace / "base.toml").write_text(Path("base.toml").read_text() + '[embedding]\nname = "tfidf_svd"\nwidth = 8\n')
    text = HEAD + '[axes.e]\nA = { embedding.max_terms = 9 }\nB = { embedding = { name = "huggingface", model = "x" } }'
    same, other = points(workplace, text)
    assert same.config.embedding.options == {"width": 8, "max_terms": 9}
    assert other.config.embedding == Component("huggingface", {"model": "x"})


def test_a_value_may_bring_its_own_base_but_not_two(workplace: Path) -> None:
    (workplace / "other.toml").write_text(
        Path("base.toml").read_text().replace('dataset = "synthetic"', 'dataset = "other"')
    )
    found = points(workplace, HEAD + '[axes.data]\nA = {}\nB = { base = "other.toml" }')
    assert [point.config.dataset for point in found] == ["synthetic", "other"]
    with pytest.raises(UserError, match="2 bases"):
        points(workplace, HEAD + '[axes.a]\nA = { base = "base.toml" }\n[axes.b]\nB = { base = "other.toml" }')


def test_folders_of_shared_artefacts_depend_on_what_matters_and_on_nothing_else(workplace: Path) -> None:
    def folders(settings: str) -> tuple[Path, Path]:
        (point,) = points(workplace, HEAD + f"[settings]\n{settings}")
        config = preparation.placed(point.config)
        return config.table_dir, config.processed_dir

    tables, processed = folders("")
    for same in ("model.hidden_size = 4", "training.patience = 3", 'baseline = "gru"', 'run_name = "x"'):
        assert folders(same) == (tables, processed)
    for other in (
        "embedding.width = 8",
        "sparsity.notes = 0.5",
        "split.train = 0.6",
        "summary = { max_characters = 999 }",
    ):
        assert folders(other)[0] == tables and folders(other)[1] != processed
    for all_other in ("seed = 7", "cohort.window_hours = 24", 'task = "readmission"'):
        assert folders(all_other)[0] != tables and folders(all_other)[1] != processed
    assert folders('paths.table_dir = "own"')[0] == Path("own")


def test_the_base_alone_is_a_grid_of_one_point(workplace: Path) -> None:
    (point,) = points(workplace, HEAD)
    assert point.folder == "all" and point.config == load(Path("base.toml"))
