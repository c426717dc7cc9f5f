"""Plugs of another installed package: one at every socket, through the whole pipeline."""

import csv
import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emerge_ehr import cli, components, embeddings
from emerge_ehr.config import Config, load
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess.run import SOCKETS as OF_ARTEFACTS
from emerge_ehr.storage.artefacts import read_json
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs
from tests.places import ROOT
from tests.ward_plugs import HANDED_OUT, PACKAGE, VERSION, WRITTEN, install, name_of

OF_MODEL = ("model.series", "model.text_fusion", "model.fusion")  # EMERGE's
CONFIG = f"""
dataset = "ward"
run_name = "ward"
task = "{name_of("task")}"
knowledge_graph = "{name_of("knowledge_graph")}"
entities = "{name_of("entities")}"
retrieval = "{name_of("retrieval")}"
summary = "{name_of("summary")}"
embedding = {{ name = "{name_of("embedding")}", scale = 10.0 }}
[paths]
raw_dir = "raw"
kg_dir = "kg"
processed_dir = "processed"
table_dir = "tables"
[source]
name = "{name_of("source")}"
stays = 120
[download]
primekg = "none"
[linking]
similarity = "{name_of("linking.similarity")}"
[token_level]
note_chunks = 2
summary_chunks = 2
[model]
hidden_size = 8
heads = 2
experts = []
series = {{ name = "{name_of("model.series")}", gain = 2.0 }}
text_fusion = "{name_of("model.text_fusion")}"
fusion = "{name_of("model.fusion")}"
[training]
members = 1
max_epochs = 1
bootstrap_resamples = 10
accelerator = "cpu"
"""
GRID = f"""
base = "ward.toml"
seeds = [1]
workers = 2
[axes.method]
"EMERGE" = {{}}
"last hour" = {{ baseline = "{name_of("baseline")}" }}
"running mean" = {{ baseline = {{ name = "{name_of("model.series")}", gain = 3.0, hidden_size = 4 }} }}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with a config and a grid; the package is installed in ``site`` of it."""
    folder = tmp_path_factory.mktemp("ward")
    install(folder / "site")
    (folder / "ward.toml").write_text(CONFIG)
    (folder / "grid.toml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder / "site")
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def done(work: Path) -> Path:
    """After every stage of the pipeline."""
    assert cli.main(["--config", "ward.toml"]) == 0
    return work


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that is to be refused; gives what it said."""

    def refused(*arguments: str) -> str:
        assert cli.main([*arguments]) == 2
        return capsys.readouterr().err

    return refused


def files_of(socket: str) -> Path:
    """The file of the package's plug."""
    stem = Path(*name_of(socket).split("."))
    return Path("site", stem) / "__init__.py" if Path("site", stem).is_dir() else Path("site", stem).with_suffix(".py")


@contextmanager
def changed(path: Path) -> Iterator[None]:
    """A file with a line more, for as long as the block runs."""
    before = path.read_bytes()
    path.write_bytes(before + b"# another version\n")
    try:
        yield
    finally:
        path.write_bytes(before)


def test_the_package_has_a_plug_for_every_socket() -> None:
    assert {*WRITTEN, *HANDED_OUT} == {*components.SOCKETS}


def test_what_artefacts_and_runs_are_made_of_names_the_plugs(done: Path) -> None:
    for record, sockets in (
        ("tables/provenance.json", ("source", "task")),
        ("processed/metadata.json", OF_ARTEFACTS),
        ("runs/ward/manifest.json", OF_MODEL),
    ):
        plugs = read_json(Path(record), "train")["plugs"]
        assert plugs.keys() == {name_of(socket) for socket in sockets}, record
        assert all(plug["version"] == f"ward-plugs {VERSION}" and len(plug["sha256"]) == 64 for plug in plugs.values())
    assert (done / "runs" / "ward" / "report.html").is_file()


def test_the_plugs_did_the_work(done: Path) -> None:
    with (done / "processed" / "rag_records.csv").open() as file:
        rows = list(csv.DictReader(file))
    entities = {entity["name"] for row in rows for entity in json.loads(row["entities"])}
    assert entities == {"pneumonia", "sepsis"}
    assert read_json(done / "processed" / "metadata.json", "preprocess")["encoders"]["note"]["width"] == 10


def test_a_run_predicts_for_new_patients_what_it_predicted_for_its_own(done: Path) -> None:
    command = ["--stage", "predict", "--run", "runs/ward", "--tables", "tables", "--output", "risks.csv"]
    assert cli.main(command) == 0
    with Path("runs/ward/predictions.csv").open() as file:
        expected = {row["patient_id"]: float(row["y_prob"]) for row in csv.DictReader(file)}
    with Path("risks.csv").open() as file:
        found = {row["patient_id"]: float(row["y_prob"]) for row in csv.DictReader(file)}
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-5)


def ended(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The runs of the grid that need not be trained again."""
    capsys.readouterr()
    assert cli.main(["--stage", "benchmark", "--config", "grid.toml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.split("/")[0].strip() for line in lines if line.endswith("(ended already)")]


@pytest.mark.slow
def test_a_grid_compares_plugs_of_both_and_trains_again_what_a_changed_one_is_part_of(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--stage", "benchmark", "--config", "grid.toml"]) == 0
    table = capsys.readouterr().out
    assert all(f"| {row} |" in table for row in ("EMERGE", "last hour", "running mean"))
    assert ended(capsys) == ["EMERGE", "last_hour", "running_mean"]
    with changed(files_of("model.series")):
        assert ended(capsys) == ["last_hour"]
    with changed(files_of("baseline")):
        assert ended(capsys) == ["EMERGE", "running_mean"]
    with changed(files_of("embedding")):
        assert ended(capsys) == []


@pytest.mark.parametrize("socket", OF_ARTEFACTS)
def test_artefacts_of_a_plug_that_has_changed_are_not_trained_on(done: Path, socket: str) -> None:
    config = load(Path("ward.toml"))
    dataset = load_dataset(config.processed_dir)
    inputs.check(config, dataset)
    said = f"another version of the plug '{name_of(socket)}'; run --stage preprocess again"
    with changed(files_of(socket)), pytest.raises(UserError, match=said):
        inputs.check(config, dataset)


@pytest.mark.parametrize("socket", ["source", "task"])
def test_tables_of_a_plug_that_has_changed_are_not_preprocessed(
    done: Path, said: Callable[..., str], socket: str
) -> None:
    with changed(files_of(socket)):
        told = said("--stage", "preprocess", "--config", "ward.toml")
    assert f"another version of the plug '{name_of(socket)}'; run --stage convert again" in told


@pytest.mark.parametrize("socket", ["embedding", *OF_MODEL])
def test_a_run_of_a_plug_that_has_changed_does_not_predict(done: Path, said: Callable[..., str], socket: str) -> None:
    with changed(files_of(socket)):
        told = said("--stage", "predict", "--run", "runs/ward", "--tables", "tables", "--output", "none.csv")
    assert f"another version of the plug '{name_of(socket)}'; bring that back" in told


def test_every_file_of_a_plug_that_is_a_package_is_part_of_it(done: Path, said: Callable[..., str]) -> None:
    letters = Path("site", PACKAGE, "letters")
    with changed(letters / "alphabet.py"):
        assert "the plug 'ward_plugs.letters'" in said("--stage", "train", "--config", "ward.toml")
    (letters / "more.py").write_text("")
    assert "the plug 'ward_plugs.letters'" in said("--stage", "train", "--config", "ward.toml")
    (letters / "more.py").unlink()


def test_a_plug_that_another_plugs_options_name_is_recorded_too(work: Path) -> None:
    config = config_of("linking.similarity", Component("embedding", {"encoder": name_of("embedding")}))
    assert components.record(config, ["linking.similarity"])["plugs"].keys() == {name_of("embedding")}


def config_of(socket: str, chosen: Component) -> Config:
    """The config with another plug at a socket of a section."""
    part, key = socket.split(".")
    config = load(Path("ward.toml"))
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **{key: chosen})})


def test_plugs_of_our_own_are_not_recorded() -> None:
    assert components.record(load(ROOT / "configs" / "synthetic.toml"), components.SOCKETS) == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.plug", "no module 'no_such_package' is installed here; there are: "),
        ("ward_plugs.nothing", "no module 'ward_plugs.nothing' is installed here; there are: "),
        ("ward_plugs.no_plug", "has a dataclass Options and a function build; there are: "),
        ("ward_plugs.lacks_a_library", "needs 'no_such_library', which is not installed here"),
    ],
)
@pytest.mark.parametrize("socket", components.SOCKETS)
def test_a_module_that_is_not_there_or_no_plug_is_the_users_mistake(
    work: Path, socket: str, name: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        components.options(socket, Component(name))
    assert str(caught.value).startswith(f"{socket}.name = '{name}'")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def added(stem: str, text: str) -> str:
    """The name of a further module of the package, with ``Options`` and ``text``."""
    opening = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    width: int = 1\n"
    Path("site", PACKAGE, f"{stem}.py").write_text(opening + text)
    importlib.invalidate_caches()
    return f"{PACKAGE}.{stem}"


@pytest.mark.parametrize("other", components.SOCKETS)
@pytest.mark.parametrize("socket", components.SOCKETS)
def test_a_plug_of_another_socket_is_the_users_mistake(socket: str, other: str) -> None:
    name = f"{components.SOCKETS[other]}.{components.names(other)[0]}"
    if other in (socket, *components.ADAPTED.get(socket, ())):
        components.plug(socket, name)
        return
    with pytest.raises(UserError) as caught:
        components.plug(socket, name)
    message = str(caught.value)
    assert re.match(
        rf"{socket}.name = '{name}': its build gives \w+, as {other} needs it, not \w+( or \w+)?; ", message
    )
    assert f"there are: {', '.join(components.names(socket))}" in message and "\n" not in message


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_a_plug_of_another_socket_is_told_in_one_line_with_exit_code_2(
    done: Path, said: Callable[..., str], stage: str
) -> None:
    right, wrong = name_of("model.fusion"), "emerge_ehr.models.series.gru"
    (done / "wrong.toml").write_text(CONFIG.replace(f'fusion = "{right}"', f'fusion = "{wrong}"'))
    told = said("--config", "wrong.toml", "--stage", stage)
    assert told.startswith("error: ") and told.endswith(
        f"model.fusion.name = '{wrong}': its build gives Series, as model.series needs it, not Fusion; "
        f"there are: {', '.join(components.names('model.fusion'))}\n"
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has a dataclass Options and a function build; there are: "),
        (
            "def build(options, *, input_size):\n    return None\n",
            "its Options have no 'pieces', which this socket needs",
        ),
        (
            "    pieces = False\ndef build(options, *, input_size, heads, **more):\n    return None\n",
            "build asks for input_size, which this socket does not give; it gives: modalities, hidden_size, heads, dropout",
        ),
    ],
)
def test_a_plug_without_annotations_is_told_what_it_lacks(
    done: Path, said: Callable[..., str], text: str, message: str
) -> None:
    name = added(f"plain_{len(text)}", text)
    right = name_of("model.fusion")
    (done / "plain.toml").write_text(CONFIG.replace(f'fusion = "{right}"', f'fusion = "{name}"'))
    told = said("--config", "plain.toml", "--stage", "train")
    assert message in told and f"model.fusion.name = '{name}': " in told and told.count("\n") == 1


def test_an_embedding_without_load_or_download_is_the_users_mistake(work: Path) -> None:
    name = added("only_built", "def build(options):\n    return None\n")
    with pytest.raises(UserError, match="has no function 'download', which this socket needs"):
        components.call("download", "embedding", Component(name), offline=True)
    (work / "encoder.json").write_text(json.dumps({"encoder": name}))
    with pytest.raises(UserError, match="has no function 'load', which this socket needs"):
        embeddings.load(work, "encoder", work)


def test_a_plug_is_imported_only_when_it_is_asked_for(work: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from emerge_ehr import components, config\n"
        "components.check(config.load(Path('ward.toml')), ('entities',))\n"
        "print(sorted(name for name in sys.modules if name.startswith('ward_plugs')))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "['ward_plugs', 'ward_plugs.words']"


@pytest.mark.full
def test_ray_takes_the_package_along(done: Path) -> None:
    """The driver alone has it on its path; the workers import what was sent."""
    pytest.importorskip("ray")
    on_ray = CONFIG.replace('"processed"', '"on_ray"') + '[compute]\nbackend = "ray"\npartition_patients = 40\n'
    (done / "on_ray.toml").write_text(on_ray)
    (done / "ray_grid.toml").write_text(GRID.replace("ward.toml", "on_ray.toml"))
    for command in (
        ["--stage", "preprocess", "--config", "on_ray.toml"],
        ["--stage", "benchmark", "--config", "ray_grid.toml"],
    ):
        path = f"import sys; sys.path.insert(0, {str(done / 'site')!r})"
        code = f"{path}; from emerge_ehr.cli import main; sys.exit(main({command}))"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
        assert ran.returncode == 0, ran.stderr
    for name in ("metadata.json", "emerge_dataset.npz", "rag_records.csv"):
        assert (done / "on_ray" / name).read_bytes() == (done / "processed" / name).read_bytes()
    assert len(list(Path("runs/ray_grid").glob("*/seed_1/manifest.json"))) == 3
