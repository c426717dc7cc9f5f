"""The report in a real Chromium, beyond looking: printed, judged by axe-core, and with what it lets one take away."""

import csv
import io
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from tests.report.html_text import Element, read

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def squeezed(text: str) -> str:
    """The text without white space, and with letters apart that a font joins, such as "fi"."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Callable[..., "Page"], colours: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab = opened(color_scheme=colours)
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(tab).response
    assert len(found["passes"]) > 20
    serious = [
        (problem["id"], problem["nodes"][0]["html"][:200])
        for problem in found["violations"]
        if problem["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("scripted", [True, False], ids=["with script", "without script"])
def test_everything_that_is_on_the_page_is_on_paper(
    opened: Callable[..., "Page"], page: Path, tmp_path: Path, scripted: bool
) -> None:
    from pypdf import PdfReader

    tab = opened(java_script_enabled=scripted)
    tab.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    sheets = PdfReader(tmp_path / "report.pdf").pages
    printed = squeezed("".join(sheet.extract_text() for sheet in sheets))
    main = read(page.read_text("utf-8")).one("main")
    cells = [cell for table in main.all("table") for cell in table.all() if cell.tag in ("th", "td", "caption")]
    texts = [
        *cells,
        *main.all("p"),
        *main.all("li"),
        *main.all("dt"),
        *main.all("dd"),
        *main.all("h3"),
        *main.all("h4"),
    ]
    finder = main.one("div", class_="finder")
    left_out = {id(part) for part in [*finder.all(), *main.one("form", class_="alerting").all()]}
    shown = [text for text in texts if id(text) not in left_out]
    missing = []
    for text in shown:
        # what a line break divides is joined, and what only a screen reader gets is not printed
        words = [squeezed(word) for word in visible(text).split()]
        missing += [word for word in words if word not in printed and word.isascii()]
    assert len(shown) > 1000 and len(missing) < 0.001 * len(shown), missing[:20]
    widths = {round(float(sheet.mediabox.width)) for sheet in sheets}
    assert widths == {595}, "A4, and nothing so wide that the page was made larger"
    for metric in ("ECE", "calibration slope", "calibration intercept", "alert rate"):
        assert squeezed(metric) in printed


def visible(element: Element) -> str:
    """The text of the element without what is left out on paper: links back, buttons, words for screen readers, titles."""
    parts = []
    for child in element.children:
        if isinstance(child, str):
            parts.append(child)
        elif child.tag != "title" and not child.has("class_", "unseen") and child.attributes.get("href") != "#patients":
            parts.append(visible(child))
    return "".join(parts)


def test_the_slider_says_what_the_table_says_and_the_filter_follows_it(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    tab.locator("#threshold").fill("20")
    row = tab.locator('#every-threshold tr[data-percent="20"]').locator("th, td").all_text_contents()
    words = tab.text_content("#threshold-words") or ""
    assert tab.text_content("#threshold-shown") == "20 %"
    assert f"{row[1]} raise an alert" in words and f"sensitivity {row[5]}" in words and f"PPV {row[7]}" in words
    items = tab.locator("#list li")
    counted = {}
    for kind in ("miss", "false", "right", "quiet"):
        tab.select_option("#shown", kind)
        visible_items = [item for item in items.all() if item.is_visible()]
        counted[kind] = len(visible_items)
        for item in visible_items:
            risk, outcome = float(item.get_attribute("data-risks") or ""), item.get_attribute("data-outcomes")
            expected = {(True, "1"): "right", (False, "1"): "miss", (True, "0"): "false", (False, "0"): "quiet"}
            assert expected[risk >= 0.2, outcome or ""] == kind
        assert f"{len(visible_items)} of 12 stays, for alerts from 20 % on" in (tab.text_content("#found") or "")
        open_views = [view for view in tab.locator("article.patient").all() if view.is_visible()]
        assert len(open_views) == min(1, len(visible_items)), "the open patient is one that fits"
        assert tab.locator("#none-shown").is_visible() == (not visible_items)
    assert sum(counted.values()) == 12
    tab.select_option("#shown", "all")
    signal = (items.first.get_attribute("data-signals") or "").split("|")[0]
    tab.fill("#search", signal)
    found = [item for item in items.all() if item.is_visible()]
    assert 1 <= len(found) <= 12
    for word in signal.split():
        assert all(word in (item.get_attribute("data-signals") or "") for item in found)


def saved(tab: "Page", button: Any) -> tuple[str, str]:
    """The name and the text of the file that the button gives."""
    with tab.expect_download() as waiting:
        button.click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text("utf-8")


def test_tables_and_figures_can_be_taken_away(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    table = tab.locator("#characteristics")
    box = tab.locator("div.gets:has(+ div.scroll > #characteristics)")
    name, text = saved(tab, box.get_by_role("button"))
    assert name.startswith("table-1") and name.endswith(".csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == table.locator("tr").count() and len({len(row) for row in rows}) == 1
    assert rows[0][-1] == "test" and rows[1][0] == "stays"
    metrics = tab.locator("table.metrics[data-split=test]").first
    box = tab.locator("div.gets:has(+ div.scroll > table.metrics[data-split=test])").first
    _, text = saved(tab, box.get_by_role("button"))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["metric", "value", "value, low", "value, high", "remark"]
    assert len(rows) == metrics.locator("tr").count() and {len(row) for row in rows} == {5}
    estimates = [[float(end) for end in row[1:4]] for row in rows[1:] if row[2]]
    assert estimates and all(low <= value <= high for value, low, high in estimates)
    assert all((row[2] and row[3]) or not row[2] + row[3] for row in rows[1:])
    name, text = saved(tab, tab.locator("figure.chart .get").first)
    drawn = ElementTree.fromstring(text)
    assert name.endswith(".svg") and drawn.tag == "{http://www.w3.org/2000/svg}svg"
    lines = [path for path in drawn.iter("{http://www.w3.org/2000/svg}path") if path.get("fill") == "none"]
    assert lines and all(re.match(r"rgb", line.get("stroke") or "") for line in lines)
    legend = tab.locator("figure.chart").first.locator(".legend li").all_text_contents()
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert legend and texts[-len(legend) :] == [name.strip() for name in legend]
    assert tab.locator("main table").count() <= tab.locator(".get", has_text="CSV").count() + 12 * 20
    patient = tab.locator("#p1 .signal .get").first
    tab.locator("#p1 .signal").first.focus()
    name, text = saved(tab, patient)
    assert name.endswith(".svg") and "class=" not in text
