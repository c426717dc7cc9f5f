"""The website: every page can be reached, every link holds before it is built, and the reference has all that the code has."""

import tomllib
from pathlib import Path

import pytest

from emerge_ehr import command_line, components
from emerge_ehr.config import Config
from emerge_ehr.decides import statements
from emerge_ehr.storage import schema
from tests.documents import FENCE
from website import links, pages
from website.__main__ import main as write_pages

NAVIGATION = pages.navigation(tomllib.loads(pages.CONFIG.read_text("utf-8"))["project"]["nav"])


@pytest.fixture(scope="module")
def site() -> pages.Site:
    return pages.collect()


def test_the_navigation_has_every_document_and_every_page_of_the_reference_once(site: pages.Site) -> None:
    documents = {page for page in site.pages if not page.startswith("files/")}
    assert sorted(NAVIGATION) == sorted(documents)


def test_every_link_of_a_page_leads_to_a_page_or_a_picture_of_the_site(site: pages.Site) -> None:
    there = site.pages.keys() | site.pictures
    for page, text in site.pages.items():
        targets = {pages.resolved(page, match[2]) for match in pages.links_of(text)}
        assert targets - there == set(), page


def test_no_page_has_a_diagram_for_which_the_builder_would_fetch_a_library(site: pages.Site) -> None:
    fences = {
        match["language"] for text in site.pages.values() for line in text.splitlines() if (match := FENCE.match(line))
    }
    assert "mermaid" not in fences and {"python", "toml", "bash"} <= fences


def test_the_reference_has_every_setting_plug_option_file_and_function(site: pages.Site) -> None:
    settings, plugs, files, commands, interface = (site.pages[page] for page in pages.WRITTEN)
    for key in statements(Config):
        section, _, inner = key.rpartition(".")
        part = settings.split(f"## [{section}]\n")[-1].split("\n## ")[0] if section else settings
        assert f"| `{inner}` |" in part, key
    for socket in components.SOCKETS:
        assert f"## `{socket}`" in plugs and all(f"### {name}\n" in plugs for name in components.names(socket))
    for action in command_line.parser()._actions[1:]:
        assert action.option_strings[0] in commands
    for table in schema.TABLES:
        assert table.file in files and all(f"| `{name}` |" in files for name in table.names)
    assert "### Model.predict" in interface and "## emerge_ehr.run" in interface


def test_the_settings_say_what_the_annotated_config_says_beside_a_key(site: pages.Site) -> None:
    settings = site.pages["reference/settings.md"]
    assert (
        "| `folds` | whole number, at least 0, at most 100 | `0` | artefacts | 5: cross-validation over persons"
        in settings
    )
    assert "names data/tables/&lt;dataset>/&lt;task>" in settings


def test_the_tasks_are_those_of_the_readme(site: pages.Site) -> None:
    text = site.pages["how_to/index.md"]
    assert (
        "| `evaluate` |" in text
        and "**A risk at any hour.**" in text
        and "[A risk at any hour: landmarks](../landmarks.md)" in text
    )


def test_what_belongs_to_an_item_of_a_list_stays_in_it(site: pages.Site) -> None:
    """GitHub takes lines for an item's that are indented as its words are; the site's Markdown wants four blanks."""
    paper, graph = site.pages["paper.md"], site.pages["knowledge_graph.md"]
    assert (
        "\n        data/raw/mimiciii/1.4/ " in paper
        and "\n    or into other folders" in paper
        and "\n\n3. PrimeKG is" in paper
    )
    assert "\n    - 1 if *y* is" in graph and "\n- " in graph


def built(folder: Path, body: str) -> list[str]:
    folder.mkdir()
    (folder / "index.html").write_text('<a href="page.html#here">to the page</a><img src="data:,">', "utf-8")
    (folder / "page.html").write_text(f'<h1 id="here">Here</h1><a href="index.html">back</a>{body}', "utf-8")
    return links.problems(folder)[1]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", ""),
        ('<a href="https://example.org">elsewhere</a>', ""),
        ('<a href="gone.html">dead</a>', "leads to no file"),
        ('<a href="#gone">dead</a>', "leads to no heading"),
        ('<a href="index.html#gone">dead</a>', "leads to no heading"),
        ('<img src="picture.png">', "leads to no file"),
        ('<script src="https://example.org/a.js"></script>', "fetches https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "fetches //example.org/a.css"),
    ],
)
def test_a_built_page_may_link_elsewhere_but_neither_fetch_from_there_nor_link_to_nothing(
    tmp_path: Path, body: str, problem: str
) -> None:
    wrong = built(tmp_path / "site", body)
    assert len(wrong) == bool(problem) and problem in " ".join(wrong)


def test_a_site_that_was_not_built_is_no_site_without_mistakes(tmp_path: Path) -> None:
    assert links.main(tmp_path) == 1


def test_the_folder_of_the_builder_is_made_anew_and_no_other_folder_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    (mine / "pages").mkdir(parents=True)
    (mine / "pages" / "old.md").write_text("old")
    assert write_pages([str(mine)]) == 2 and (mine / "pages" / "old.md").is_file()
    assert "name a new or empty folder" in capsys.readouterr().err
    (mine / pages.CONFIG.name).write_text("")  # of an earlier site
    assert write_pages([str(mine)]) == 0
    written = {path.relative_to(mine / "pages").as_posix() for path in (mine / "pages").rglob("*.md")}
    assert "index.md" in written and "old.md" not in written and (mine / "pages" / "images" / "method.svg").is_file()
