"""Grids: what is refused and how it is said, which points there are, what they share."""

import re
from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.comparison import grid, preparation
from emerge_ehr.comparison.points import Point, rows
from emerge_ehr.comparison.points import points as points_of
from emerge_ehr.config import load
from emerge_ehr.fields import Component, UserError

HEAD = 'base = "base.toml"\nseeds = [1]\n'


def points(work_folder: Path, text: str) -> list[Point]:
    path = work_folder / "grid.toml"
    path.write_text(text)
    return points_of(grid.load(Path("grid.toml")), Path("grid.toml"))


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
            f"axes.m.'A': baseline.name = 'gruu': there are: {components.names('baseline')[0]}, ",
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
        (HEAD + '[axes.m]\n".." = {}', "grid.toml: the folder of '..' = '..': names a folder"),
        (HEAD + '[axes.m]\n"." = {}', "grid.toml: the folder of '.' = '.': names a folder"),
        (HEAD + '[axes.m]\n".benchmark" = {}', "the folder of '.benchmark' = '.benchmark': names a folder"),
        (HEAD + f"[axes.m]\n{'x' * 300} = {{}}", "rename the values of [axes]"),
        (HEAD + f"[axes.m]\n{'x' * 97} = {{}}", "with the grid's name"),
        (HEAD + '[axes.m]\n"Results.csv" = {}', "'Results.csv': the grid writes a file of this name"),
        (HEAD + '[axes.m]\n"sparsity notes.svg" = {}', "'sparsity_notes.svg': the grid writes a file of this name"),
        (HEAD + 'name = "../x"', "grid.toml: name = '../x': names a folder"),
        (HEAD + "[settings]\nseeds = [3]", "grid.toml: settings: 'seeds' cannot be set in a grid: the grid's own"),
        (HEAD + "[settings]\npaths.run_dir = 'x'", "grid.toml: settings: 'paths.run_dir' cannot be set in a grid"),
        (HEAD + "[axes.m]\nA = { resume = true }", "grid.toml: axes.m.'A': 'resume' cannot be set in a grid"),
        (HEAD + "[axes.m]\nA = { run_name = 'x' }", "grid.toml: axes.m.'A': 'run_name' cannot be set in a grid"),
        (HEAD + "[axes.m]\nA = { paths.processed_dir = 'x' }", "'paths.processed_dir' cannot be set in a grid"),
        (HEAD + 'columns = ["m", "m"]\n[axes.m]\nA = {}', "columns = ['m', 'm']: 'm' stands twice"),
        (
            HEAD + '[axes.a]\nx = {}\n"x, y" = { seed = 7 }\n[axes.b]\n"y, z" = {}\nz = { split.train = 0.5 }',
            "'x, y, z' and 'x, y, z' would share the row x, y, z; rename one",
        ),
        (
            HEAD + 'columns = ["a", "b"]\n[axes.a]\nx = {}\n"x, y" = { seed = 7 }\n[axes.b]\n"y, z" = {}\nz = {}',
            "the columns' names",
        ),
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
def test_a_mistake_is_refused_in_one_line_that_names_the_key(work_folder: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refusal:
        points(work_folder, text)
    assert "\n" not in str(refusal.value)


def test_points_are_the_product_of_the_axes_in_the_files_order(work_folder: Path) -> None:
    text = (
        HEAD
        + '[axes.a]\nx = {}\ny = { model.hidden_size = 4 }\n[axes.b]\nu = {}\nv = { baseline = "gru" }\nw = { seed = 7 }'
    )
    found = points(work_folder, text)
    assert [tuple(point.values.values()) for point in found] == [
        ("x", "u"),
        ("any", "v"),
        ("x", "w"),
        ("y", "u"),
        ("y", "w"),
    ]
    assert found[1].config.baseline == Component("gru") and found[3].config.model.hidden_size == 4


def test_sparsity_adds_a_point_a_share_to_each(work_folder: Path) -> None:
    found = points(
        work_folder, HEAD + "[axes.a]\nx = {}\ny = { seed = 7 }\n[sparsity]\npatients = [0.0, 0.5]\nnotes = [0.9]"
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
        ('baseline = "gru"', "sparsity.notes = 0.5", True),
        ('baseline = "gru"', 'sparsity = { notes = 0.5, splits = "all" }', True),
        ('baseline = "gru"', "sparsity.measurements = 0.5", False),
        ('baseline = "note_only"', "sparsity.measurements = 0.5", True),
        ('baseline = "note_only"', "sparsity.notes = 0.5", False),
        ('model.modalities = ["summary"]', "sparsity.measurements = 0.5", False),
        ('model.modalities = ["ehr", "summary"]', "sparsity.notes = 0.5", False),
        ("model.heads = 2", 'sparsity.splits = "all"', True),
    ],
)
def test_points_are_one_exactly_where_the_method_reads_nothing_that_differs(
    work_folder: Path, method: str, other: str, one: bool
) -> None:
    text = HEAD + f"[settings]\n{method}\n[axes.other]\nwithout = {{}}\n[axes.other.with]\n{other}\n"
    found = points(work_folder, text)
    assert len(found) == (1 if one else 2)
    assert found[0].values["other"] == ("any" if one else "without")


def test_a_component_with_another_name_leaves_the_old_ones_options_behind(work_folder: Path) -> None:
    (work_folder / "base.toml").write_text(
        Path("base.toml").read_text() + '[embedding]\nname = "tfidf_svd"\nwidth = 8\n'
    )
    text = HEAD + '[axes.e]\nA = { embedding.max_terms = 9 }\nB = { embedding = { name = "huggingface", model = "x" } }'
    same, other = points(work_folder, text)
    assert same.config.embedding.options == {"width": 8, "max_terms": 9}
    assert other.config.embedding == Component("huggingface", {"model": "x"})


def test_a_value_may_bring_its_own_base_but_not_two(work_folder: Path) -> None:
    (work_folder / "other.toml").write_text(
        Path("base.toml").read_text().replace('dataset = "synthetic"', 'dataset = "other"')
    )
    found = points(work_folder, HEAD + '[axes.data]\nA = {}\nB = { base = "other.toml" }')
    assert [point.config.dataset for point in found] == ["synthetic", "other"]
    with pytest.raises(UserError, match="2 bases"):
        points(work_folder, HEAD + '[axes.a]\nA = { base = "base.toml" }\n[axes.b]\nB = { base = "other.toml" }')


def test_folders_of_shared_artefacts_depend_on_what_matters_and_on_nothing_else(work_folder: Path) -> None:
    def folders(settings: str) -> tuple[Path, Path]:
        (point,) = points(work_folder, HEAD + f"[settings]\n{settings}")
        config = preparation.placed(point.config)
        return config.table_dir, config.processed_dir

    tables, processed = folders("")
    for same in ("model.hidden_size = 4", "training.patience = 3", 'baseline = "gru"', "report.patients = 3"):
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


def test_the_base_alone_is_a_grid_of_one_point(work_folder: Path) -> None:
    (point,) = points(work_folder, HEAD)
    assert point.folder == "all" and point.config == load(Path("base.toml"))


def test_seeds_in_the_base_are_refused_as_the_grid_would_ignore_them(work_folder: Path) -> None:
    (work_folder / "seeded.toml").write_text("seeds = [1, 2]\n" + Path("base.toml").read_text())
    with pytest.raises(UserError, match=r"seeded\.toml: 'seeds' has no meaning in the base of a grid"):
        points(work_folder, 'base = "seeded.toml"\nseeds = [1]')


def test_a_value_named_any_stands_for_itself_alone(work_folder: Path) -> None:
    text = HEAD + 'columns = ["a"]\n[axes.a]\nany = {}\nother = { seed = 7 }'
    itself, other = points(work_folder, text)
    assert itself.stands_in({"a": "any"}) and not itself.stands_in({"a": "other"})
    assert other.stands_in({"a": "other"}) and not other.stands_in({"a": "any"})


def test_a_row_of_some_values_names_them_and_is_found_by_each(work_folder: Path) -> None:
    text = HEAD + 'reference = "B"\n[axes.m]\nA = {}\nB = {}\nC = { model.hidden_size = 4 }'
    both, other = points(work_folder, text)
    assert (both.named(["m"]), other.named(["m"])) == ("A or B", "C")
    assert both.is_row("A", ["m"]) and both.is_row("B", ["m"]) and not both.is_row("C", ["m"])
    assert both.folder == "A"  # as before B was added, so that nothing is trained again
    with pytest.raises(UserError, match="reference = 'D' is no row; there are: A or B; C"):
        points(work_folder, text.replace('reference = "B"', 'reference = "D"'))


def test_removing_what_a_method_does_not_read_adds_no_point(work_folder: Path) -> None:
    text = HEAD + '[axes.m]\nEMERGE = {}\nGRU = { baseline = "gru" }\n[sparsity]\nnotes = [0.5, 1.0]'
    found = points(work_folder, text)
    names = ["EMERGE", "EMERGE, −50 % notes", "EMERGE, −100 % notes", "GRU"]
    assert rows(grid.load(Path("grid.toml")), found) == names
    assert [one.removed for one in found[3].combinations] == [None, ("notes", 0.5), ("notes", 1.0)]
    assert found[3].config.sparsity.notes == 0.0
