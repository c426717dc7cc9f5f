"""Files that others made are data: nothing in them is executed, and what cannot be read is refused in one line.

``Trap`` is an object whose unpickling creates a file: if that is there, code of the file was run.
"""

import ast
import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import load
from emerge_ehr.datasets.sources.meds import source as meds
from emerge_ehr.embeddings import huggingface, sentence_transformers
from emerge_ehr.fields import UserError
from emerge_ehr.models import boosted_trees
from emerge_ehr.models.linear_classifier import LinearClassifier
from emerge_ehr.storage import dataset, mapped_arrays
from emerge_ehr.training import trained
from tests.faults.conftest import TALLY, Hospital
from tests.places import ROOT
from tests.run_records import record_files

SOURCES = sorted((ROOT / "src").rglob("*.py"))
EXECUTING_MODULES = {
    "pickle",
    "joblib",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "yaml",
    "subprocess",
    "tarfile",
    "imp",
    "runpy",
}
EXECUTING_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "os.system",
    "os.popen",
    "pl.read_database_uri",
}
EXTRACTING = {"extractall", "unpack_archive"}
REQUIRED = {"np.load": ("allow_pickle", False), "np.save": ("allow_pickle", False)}
ONLY = {"trust_remote_code": False, "weights_only": True, "allow_pickle": False, "verify": True, "shell": False}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def checked_contexts(tree: ast.Module) -> set[str]:
    """Names that only ever hold httpx's default context, which knows the servers it trusts."""
    assigned = [(target, n.value) for n in ast.walk(tree) if isinstance(n, ast.Assign) for target in n.targets]
    made = {
        dotted(target)
        for target, value in assigned
        if isinstance(value, ast.Call) and dotted(value.func) == "httpx.create_ssl_context"
    }
    changed = {dotted(target).split(".")[0] for target, _ in assigned if isinstance(target, ast.Attribute)}
    return made - changed


def offences(tree: ast.Module) -> Iterator[str]:
    """What in a module could execute a file, unpack it anywhere, or trust an unknown server."""
    contexts = checked_contexts(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if a.name.split(".")[0] in EXECUTING_MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in EXECUTING_MODULES:
            yield from (f"imports {a.name}" for a in node.names if not a.name.endswith("Error"))
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = [(str(k.value), v) for k, v in pairs if isinstance(k, ast.Constant)]
        elif isinstance(node, ast.Call):
            name, named = dotted(node.func), [(k.arg or "", k.value) for k in node.keywords]
            method = name.rpartition(".")[2]
            if name in EXECUTING_CALLS or method in EXTRACTING:
                yield f"calls {name}"
            key, wanted = REQUIRED.get(name, ("", None))
            if key and not any(k == key and getattr(v, "value", None) is wanted for k, v in named):
                yield f"calls {name} without {key}={wanted}"
        else:
            continue
        for key, value in named:
            harmless = key == "verify" and dotted(value) in contexts
            if key in ONLY and getattr(value, "value", None) is not ONLY[key] and not harmless:
                yield f"{key}={ast.unparse(value)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_execute_a_file_or_trusts_an_unknown_server(path: Path) -> None:
    # the one program that is run is aces-cli: another that a config names is refused (tests/datasets/tasks/test_aces.py)
    known = ["imports subprocess"] if path.parts[-2:] == ("aces", "extraction.py") else []
    assert list(offences(ast.parse(path.read_text("utf-8")))) == known


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "AutoModel.from_pretrained(folder, weights_only=False)",
        "settings = {'weights_only': False}",
        "httpx.Client(verify=False)",
        "httpx.Client(verify=context)",
        "context = httpx.create_ssl_context(verify=False); httpx.Client(verify=context)",
        "context = httpx.create_ssl_context(); context.check_hostname = False; httpx.Client(verify=context)",
        "zipfile.ZipFile(path); zip.extractall(folder)",
        "import subprocess",
    ],
)
def test_the_rule_finds_what_it_looks_for(code: str) -> None:
    assert list(offences(ast.parse(code)))


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "sprung")


@pytest.fixture
def sprung(tmp_path: Path) -> Iterator[Path]:
    """Where a trap leaves its mark; afterwards it must not be there."""
    mark = tmp_path / "sprung"
    yield mark
    assert not mark.exists()
    TALLY["hostile files refused or read as data"] += 1


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))  # noqa: S301 (ours)
    assert (tmp_path / "sprung").read_text() == "sprung"


def one_line(caught: pytest.ExceptionInfo[UserError], *words: str) -> None:
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("form", ["objects in an npz", "objects in an npy", "a bare pickle", "a pickle as a member"])
@pytest.mark.parametrize("mapped", [True, False])
def test_a_pickle_in_an_array_file_is_refused(form: str, mapped: bool, sprung: Path, tmp_path: Path) -> None:
    trap = np.array([Trap(sprung)], dtype=object)
    path = tmp_path / ("tokens.npy" if "npy" in form else "arrays.npz")
    if form == "objects in an npz":
        np.savez(path, ehr=trap, allow_pickle=True)
    elif form == "objects in an npy":
        np.save(path, trap, allow_pickle=True)
    elif form == "a bare pickle":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ehr.npy", pickle.dumps(Trap(sprung)))
    with pytest.raises(UserError) as caught:
        if path.suffix == ".npy":
            mapped_arrays.map_array(path, "preprocess")
        elif mapped:
            mapped_arrays.map_arrays(path, "preprocess")
        else:
            dataset.read_arrays(path, "preprocess")
    one_line(caught, str(path), "run --stage preprocess again")


def test_members_of_an_npz_that_climb_out_of_it_are_not_written_anywhere(sprung: Path, tmp_path: Path) -> None:
    path = tmp_path / "inner" / "arrays.npz"
    path.parent.mkdir()
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros(3), allow_pickle=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../sprung.npy", content.getvalue())
        archive.writestr(str(sprung), content.getvalue())
    dataset.read_arrays(path, "preprocess")
    assert sorted(found.name for found in tmp_path.rglob("*")) == ["arrays.npz", "inner"]


# --- pretrained models ---


def model(folder: Path, config: dict[str, Any], sprung: Path) -> Path:
    """A model folder with code of its own, and just enough of a tokenizer to be looked at."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsepsis\n")
    code = f"from pathlib import Path\nPath({str(sprung)!r}).write_text('sprung')\nclass Own: pass\nclass OwnConfig: pass\n"
    (folder / "own.py").write_text(code)
    return folder


AUTO_MAP = {
    "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.Own", "AutoTokenizer": ["own.Own", "own.Own"]}
}
BERT = {
    "model_type": "bert",
    "vocab_size": 6,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 32,
}


@pytest.mark.parametrize("kind", ["own", "bert"])
@pytest.mark.parametrize("plug", ["huggingface", "sentence_transformers"])
def test_a_models_own_code_is_not_run(plug: str, kind: str, sprung: Path, tmp_path: Path) -> None:
    config = {**BERT, **AUTO_MAP, "model_type": kind}
    folder = model(tmp_path / "model", config, sprung)
    (folder / "tokenizer_config.json").write_text(json.dumps(AUTO_MAP))
    module = {"huggingface": huggingface, "sentence_transformers": sentence_transformers}[plug]
    with pytest.raises(UserError) as caught:
        module.build(module.Options(str(folder)), cache_dir=tmp_path).encode(["sepsis"])
    one_line(caught, str(folder))


def test_pickled_weights_are_read_as_tensors_or_not_at_all(sprung: Path, tmp_path: Path) -> None:
    folder = model(tmp_path / "model", BERT, sprung)
    (folder / "pytorch_model.bin").write_bytes(
        pickle.dumps({"embeddings.word_embeddings.weight": Trap(sprung)}, protocol=2)
    )
    for module in (huggingface, sentence_transformers):
        with pytest.raises(UserError) as caught:
            module.build(module.Options(str(folder)), cache_dir=tmp_path).encode(["sepsis"])
        one_line(caught, str(folder))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("own.Own", ""),
        ("os.path.join", ""),
        ("sentence_transformers.base.model.pickle", "evil.pkl"),
        ("sentence_transformers.models.Transformer", "../elsewhere"),
        ("sentence_transformers.models.Transformer", "/elsewhere"),
    ],
)
def test_modules_of_others_in_a_sentence_encoder_are_refused(
    kind: str, path: str, sprung: Path, tmp_path: Path
) -> None:
    folder = model(tmp_path / "model", BERT, sprung)
    (folder / "evil.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": path, "type": kind}]))
    with pytest.raises(UserError) as caught:
        sentence_transformers.build(sentence_transformers.Options(str(folder)), cache_dir=tmp_path)
    one_line(caught, "modules.json", "refused")


# --- trained models ---


def trees() -> str:
    """LightGBM's text, of trees large and small."""
    import lightgbm

    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 5))
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(float)
    settings = {"objective": "binary", "verbosity": -1, "num_leaves": 31, "min_data_in_leaf": 5, "seed": 1}
    return str(lightgbm.train(settings, lightgbm.Dataset(x, y), 20).model_to_string())


FORGED = {
    "a child far away": (r"left_child=-?\d+", "left_child=100000000"),
    "a leaf far away": (r"left_child=-?\d+", "left_child=-99999999"),
    "a split that is its own child": (r"left_child=-?\d+", "left_child=0"),
    "a feature that is not there": (r"split_feature=\d+", "split_feature=90000000"),
    "more leaves than there are": (r"num_leaves=\d+", "num_leaves=1000000"),
    "another number of trees": (r"num_tree_per_iteration=1", "num_tree_per_iteration=5000"),
    "fewer features": (r"max_feature_idx=4", "max_feature_idx=1"),
    "categories": (r"num_cat=0", "num_cat=5"),
    "a categorical split": (r"decision_type=\d+", "decision_type=1"),
    "linear trees": (r"is_linear=0", "is_linear=1"),
    "a letter in a number": (r"leaf_value=(.)", "leaf_value=x"),
    "a line twice": (r"num_cat=0", "num_cat=0\nnum_cat=0"),
    "nothing": (r"(?s).*", ""),
    "prose": (r"(?s).*", "tree\nmodel of my own\n\n"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_trees_do_not_reach_lightgbm(forgery: str) -> None:
    text = trees()
    boosted_trees.require_sound(text)
    forged = re.sub(*FORGED[forgery], text, count=1)  # with sizes that fit
    sizes = [len(tree) for tree in re.findall(r"(?s)Tree=\d+\n.*?(?=Tree=|end of trees)", forged)]
    forged = re.sub(r"tree_sizes=.*", f"tree_sizes={' '.join(map(str, sizes))}", forged)
    assert forged != text
    with pytest.raises(ValueError, match=r"damaged|not the text|repeated|should"):
        boosted_trees.require_sound(forged)
    TALLY["hostile files refused or read as data"] += 1


def test_trees_cut_off_anywhere_do_not_reach_lightgbm() -> None:
    text = trees()
    end = text.index("end of trees")
    for cut in range(0, end + len("end of trees"), 97):
        with pytest.raises(ValueError, match=r"damaged|not the text|repeated|should"):
            boosted_trees.require_sound(text[:cut])


@pytest.mark.parametrize("name", ["gradient_boosting", "logistic_regression", "emerge"])
def test_a_damaged_checkpoint_is_one_line(
    name: str, hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sprung: Path
) -> None:
    from emerge_ehr.training import train

    work = hospital.whole(tmp_path)
    monkeypatch.chdir(work)
    if name != "emerge":
        config = work / "small.toml"
        config.write_text(f'{config.read_text()}[baseline]\nname = "{name}"\n')
        train.run(load(config))
    trained.load(Path("runs/small"))
    for path in sorted(Path("runs/small/checkpoints").iterdir()):
        if path.name.endswith("_state.safetensors") or path.name == "last.safetensors":
            continue
        whole = path.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2], b"\0" * 64, b"{}", pickle.dumps(Trap(sprung))):
            path.write_bytes(damaged)
            with pytest.raises(UserError) as caught:
                trained.load(Path("runs/small"))
            one_line(caught, "checkpoints", "changed since --stage train wrote it")
            record_files(Path("runs/small"))
            with pytest.raises(UserError) as caught:
                trained.load(Path("runs/small"))
            one_line(caught, "checkpoints", "run --stage train again")
        path.write_bytes(whole)
        record_files(Path("runs/small"))
    trained.load(Path("runs/small"))


def test_arrays_that_do_not_fit_together_are_no_classifier(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    names = ("mean", "scale", "coefficients", "intercept")
    save_file({name: np.zeros((2, 3)) for name in names}, tmp_path / "a.safetensors")
    save_file({"mean": np.zeros(3)}, tmp_path / "b.safetensors")
    for name in "ab":
        with pytest.raises(ValueError, match="does not hold"):
            LinearClassifier.load(tmp_path / f"{name}.safetensors")


# --- parquet ---


@pytest.mark.parametrize("content", ["a pickle", "pickled text", "cut off"])
def test_a_parquet_of_others_is_read_as_data(content: str, sprung: Path, tmp_path: Path) -> None:
    folder = tmp_path / "meds" / "data"
    folder.mkdir(parents=True)
    shard = folder / "0.parquet"
    table = pl.DataFrame({"subject_id": [1], "time": [None], "code": ["ICU"], "text_value": [pickle.dumps(1).hex()]})
    table.with_columns(pl.col("time").cast(pl.Datetime("us"))).write_parquet(shard)
    if content == "a pickle":
        shard.write_bytes(pickle.dumps(Trap(sprung)))
    elif content == "pickled text":
        trap = pl.lit(pickle.dumps(Trap(sprung)), pl.Binary).alias("code")
        pl.read_parquet(shard).with_columns(trap).write_parquet(shard)
    else:
        shard.write_bytes(shard.read_bytes()[:-20])
    source = meds.build(
        meds.Options(signals={"heart_rate": ("HR",)}), raw_dir=tmp_path / "meds", kg_dir=tmp_path, seed=0
    )
    with pytest.raises(UserError) as caught:
        source.stays()
    one_line(caught, "0.parquet")


@pytest.mark.parametrize("name", ["own", "..own", "../../own", "synthetic.generate", "os"])
def test_a_plugs_name_is_no_path_to_import_from(
    name: str, sprung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(f"from pathlib import Path\nPath({str(sprung)!r}).write_text('sprung')\n")
    config = tmp_path / "c.toml"
    config.write_text(f'dataset = "d"\nrun_name = "r"\n[paths]\nraw_dir = "raw"\n[source]\nname = "{name}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError) as caught:
        components.check(load(config), ("source",))
    one_line(caught, "there are:")
