"""Each tutorial is done as it is written: its files are written, its commands and its Python run, and print what it shows."""

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests import in_process
from tests.chat_server import ChatServer, copying_model
from tests.documents import blocks, follow, importable
from tests.places import ROOT, SHARED

TUTORIALS = ROOT / "docs" / "tutorials"
CONVERT = ["--stage", "convert"]
QUICK = {"model": "experts = []", "training": "members = 1\nmax_epochs = 3\nbootstrap_resamples = 50"}


def quick(config: str) -> str:
    """The config with a model that is trained at once."""
    for section, keys in QUICK.items():
        begun = f"[{section}]\n"
        config = config.replace(begun, begun + keys + "\n") if begun in config else f"{config}\n{begun}{keys}\n"
    return config


@pytest.mark.slow
def test_synthetic(small_pipeline: Path, tmp_path: Path) -> None:
    """In a smaller hospital than that of ``make demo``."""
    here = tmp_path / "here"
    shutil.copytree(small_pipeline, here)
    (here / "runs" / "small").rename(here / "runs" / "synthetic_mortality")
    *_, patient, truth = follow(TUTORIALS / "synthetic.md", here)
    assert patient.startswith("diseases: [") and "summary: " in patient
    assert 0 < float(truth.removeprefix("rank correlation: ")) <= 1


@pytest.mark.slow
def test_mimic4_demo(demo_raw: Path, tmp_path: Path) -> None:
    """With the open part of PrimeKG, and a model that is trained at once."""
    for folder, target in (("raw/mimic-iv-demo/2.2", demo_raw), ("kg/primekg", SHARED / "primekg-open")):
        (tmp_path / "data" / folder).parent.mkdir(parents=True)
        (tmp_path / "data" / folder).symlink_to(target)
    (tmp_path / "configs").mkdir()
    config = (ROOT / "configs" / "mimic4_demo.toml").read_text("utf-8")
    (tmp_path / "configs" / "mimic4_demo.toml").write_text(quick(config))
    *_, audited = follow(TUTORIALS / "mimic4_demo.md", tmp_path)
    assert "surrogate notes" in audited
    cohort = pl.read_csv(tmp_path / "data" / "tables" / "mimic-iv-demo" / "mortality" / "cohort.csv")
    persons, stays = cohort["subject_id"].n_unique(), cohort.height
    assert f"divides the {persons} persons, not the {stays} stays" in (TUTORIALS / "mimic4_demo.md").read_text("utf-8")


@pytest.mark.slow
def test_own_tables(tmp_path: Path) -> None:
    page = (TUTORIALS / "own_tables.md").read_text("utf-8")
    (config,) = [block.text for block in blocks(TUTORIALS / "own_tables.md") if block.title]
    copy = tmp_path / "own_tables.md"
    copy.write_text(page.replace(config, quick(config)))
    printed = follow(copy, tmp_path)
    assert (tmp_path / "runs" / "my_hospital" / "report.html").is_file()
    risks = next(one for one in printed if "above_threshold" in one)
    assert (
        len(re.findall(r"v00\d +0\.\d+", risks)) == 5 and len((tmp_path / "risks.csv").read_text().splitlines()) == 401
    )


def changed(table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        change(pl.read_csv(folder / f"{table}.csv", infer_schema=False)).write_csv(folder / f"{table}.csv")

    return write


MISTAKES = {
    "a column for each signal": changed("dynamic", lambda all: all.pivot("code", index=["patient_id", "event_time"])),
    "dates as `01/31/2024`": changed(
        "dynamic", lambda all: all.with_columns(pl.col("event_time").str.to_datetime().dt.strftime("%m/%d/%Y %H:%M"))
    ),
    "other ids in one table": changed("label", lambda all: all.with_columns(pl.col("patient_id").str.slice(1))),
    "an id twice": changed("static", lambda all: pl.concat([all, all.head(1)])),
    "an empty note": changed("notes", lambda all: pl.concat([all[:1].with_columns(text=pl.lit("")), all[1:]])),
    "a column `unit` that changes within a code": changed(
        "dynamic",
        lambda all: all.with_row_index().with_columns(
            unit=pl.when(pl.col("code") == "lactate")
            .then(pl.when(pl.col("index") % 2 == 0).then(pl.lit("mmol/L")).otherwise(pl.lit("mg/dL")))
            .otherwise(pl.lit("/min"))
        ),
    ),
    "a label only of those who died": changed("label", lambda all: all.filter(pl.col("label_value") == "1")),
    "`label_time` is the admission": changed(
        "label", lambda all: all.with_columns(label_time=pl.col("label_time").str.to_datetime() - pl.duration(days=9))
    ),
}


@pytest.mark.slow
def test_the_mistakes_in_own_tables_are_told_as_their_page_says(tmp_path: Path) -> None:
    page = TUTORIALS / "own_tables.md"
    frames, tables, config = [one for one in blocks(page) if one.language in ("python", "toml")][:3]
    with contextlib.chdir(tmp_path):
        known: dict[str, object] = {}
        exec(frames.text + tables.text, known)
    listed = (ROOT / "docs" / "own_tables_mistakes.md").read_text("utf-8").partition("| what to do |")[2]
    told = dict(re.findall(r"^\| (.+?) \| `(.+?)` \| .+ \|$", listed, re.MULTILINE))
    assert told.keys() == MISTAKES.keys()
    raw = tmp_path / "data" / "raw" / "my_hospital"
    for number, (mistake, make) in enumerate(MISTAKES.items()):
        here = tmp_path / str(number)
        shutil.copytree(raw, here / "data" / "raw" / "my_hospital")
        make(here / "data" / "raw" / "my_hospital")
        (here / "my_hospital.toml").write_text(config.text)
        both = [in_process.run(here, *how, "--config", "my_hospital.toml") for how in (CONVERT, [*CONVERT, "--check"])]
        assert told[mistake] in " ".join(one.stdout + one.stderr for one in both), mistake


@pytest.mark.slow
def test_language_model(tmp_path: Path, serve: Callable[..., ChatServer]) -> None:
    """With a server of the tests in place of the small model; ``test_llama_server.py`` has the real one."""
    page = (TUTORIALS / "language_model.md").read_text("utf-8")
    copy = tmp_path / "language_model.md"
    copy.write_text(page.replace("http://127.0.0.1:8000/v1", serve(copying_model("pneumonia", "sepsis")).url))
    printed = follow(copy, tmp_path)
    assert "openai_compatible" in next(one for one in printed if one.startswith("who read the notes"))


@pytest.mark.slow
def test_own_plug(tmp_path: Path) -> None:
    with importable(tmp_path / "ward"):
        *_, compared, audited = follow(TUTORIALS / "own_plug.md", tmp_path)
    assert "AUROC" in compared and "run: reads nothing that it must not know" in audited


def test_every_tutorial_is_done_by_a_test_of_its_name() -> None:
    pages = {f"test_{path.stem}" for path in TUTORIALS.glob("*.md")}
    assert pages <= globals().keys() and len(pages) == 5


def test_a_tutorial_skips_little() -> None:
    """What is not run installs, downloads or compiles: one block in a page, at most."""
    for page in TUTORIALS.glob("*.md"):
        assert sum(bool(block.reason) for block in blocks(page)) <= 1, page.name
