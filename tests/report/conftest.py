"""A finished run on a small generated hospital whose notes try to break out of the page; reports are made of copies of it."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from emerge_ehr.config import Config, Model, Report, Training, load
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.report import report
from emerge_ehr.storage import artefacts
from emerge_ehr.training import train

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ATTACK = (
    "<script>window.pwned=1</script></script><img src=x onerror=window.pwned=1> ]]> <!-- <style>* {display:none}</style> "
    "'\" onmouseover=window.pwned=1 \u202egnihtemos\u202c \x07\x1b[31m \u2028 {{ 7 * 7 }} &lt;b&gt; "
)
DESKTOP = {"width": 1280, "height": 900}
TOML = """
dataset = "generated"
run_name = "report 1"
[paths]
raw_dir = "raw"
kg_dir = "kg"
[source]
name = "synthetic"
stays = 150
[download]
primekg = "none"
"""


def configured(folder: Path, **replaced: Any) -> Config:
    """A small model; everything in ``folder``."""
    (folder / "report.toml").write_text(TOML)
    config = load(folder / "report.toml")
    names = ("raw_dir", "kg_dir", "table_dir", "processed_dir", "run_dir", "cache_dir")
    paths = dataclasses.replace(config.paths, **{name: folder / name for name in names})
    training = Training(members=1, max_epochs=2, bootstrap_resamples=20, accelerator="cpu")
    config = dataclasses.replace(
        config, paths=paths, model=Model(hidden_size=8, heads=2, experts=()), training=training
    )
    return dataclasses.replace(config, credentialed=False, **replaced)


def rewrite_notes(config: Config, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Other notes, as if ``convert`` had written them."""
    path = config.table_dir / "notes.csv"
    change(pl.read_csv(path, infer_schema=False)).write_csv(path)
    record = config.table_dir / "provenance.json"
    provenance = json.loads(record.read_text())
    provenance["tables"]["notes.csv"] = artefacts.checksum(path)
    artefacts.write_json(record, provenance)


def converted(folder: Path, **replaced: Any) -> Config:
    config = configured(folder, **replaced)
    download.run(config)
    convert.run(config)
    return config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run; do not change its files."""
    config = converted(tmp_path_factory.mktemp("report"))
    rewrite_notes(config, lambda notes: notes.with_columns(text=pl.lit(ATTACK) + pl.col("text")))
    preprocess.run(config)
    train.run(config)
    return config


@pytest.fixture(scope="session")
def both_outcomes(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run with two labels, of patients without any note."""
    config = converted(tmp_path_factory.mktemp("labels"), task=Component("mortality_readmission"))
    rewrite_notes(config, lambda notes: notes.head(0))
    preprocess.run(config)
    train.run(config)
    return config


@pytest.fixture
def copied(finished: Config, tmp_path: Path) -> Config:
    """The run in a folder of its own, on the same artefacts."""
    shutil.copytree(finished.run_dir, tmp_path / "run")
    return in_folder(finished, tmp_path / "run")


def in_folder(config: Config, run_dir: Path, **settings: Any) -> Config:
    """The same run, or another on the same artefacts, in ``run_dir``."""
    paths = dataclasses.replace(config.paths, run_dir=run_dir)
    return dataclasses.replace(config, paths=paths, report=Report(**settings))


@pytest.fixture(scope="session")
def page(finished: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report, twelve patients shown."""
    folder = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(finished.run_dir, folder)
    return report.write(in_folder(finished, folder, patients=12))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The Chromium of this machine, without a window.

    While it is open an event loop runs in this thread, so that no test of another module may find it open.
    """
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        pytest.skip(f"none of {', '.join(names)} is installed: the report was not looked at in a browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found[0], args=["--no-sandbox"])  # root has no sandbox
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: "Browser", page: Path) -> Iterator[Callable[..., "Page"]]:
    """Opens the report; at the end nothing may have complained, run, or been asked for."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def go(size: dict[str, int] = DESKTOP, **options: Any) -> "Page":
        contexts.append(browser.new_context(viewport=size, **options))  # type: ignore[arg-type]
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        return tab

    yield go
    for context in contexts:
        for tab in context.pages:
            if tab.evaluate("'pwned' in window"):
                complaints.append("a note's markup ran")
            assert tab.url.split("#")[0] == page.as_uri()
        context.close()
    assert complaints == []
    assert set(asked) == {page.as_uri()}
