"""The report in a real Chromium: nothing runs or is asked for that is not ours; search, sort and views work; it fits a phone."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.report.conftest import DESKTOP

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844}


def shown(tab: "Page") -> list[str]:
    return [view.get_attribute("id") or "" for view in tab.locator("article.patient").all() if view.is_visible()]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_the_screen_in_both_colours(
    opened: Callable[..., "Page"], size: dict[str, int], colours: str, tmp_path: Path
) -> None:
    from PIL import Image

    tab = opened(size, color_scheme=colours)
    for open_all in (False, True):
        if open_all:
            tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.evaluate("scrollTo(0, 0)")
    tab.screenshot(path=tmp_path / "screen.png")
    image = Image.open(tmp_path / "screen.png").convert("L")
    assert image.size == tuple(size.values())
    assert len(image.getcolors() or range(300)) > 50
    background = image.getpixel((2, size["height"] - 2))
    assert isinstance(background, int) and (background < 60) == (colours == "dark")


def test_no_table_is_wider_than_a_desktops_screen(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    boxes = tab.evaluate(
        "[...document.querySelectorAll('main .scroll')].map(one => [one.scrollWidth, one.clientWidth])"
    )
    assert len(boxes) > 10 and all(wide <= room for wide, room in boxes)


def test_on_a_phone_a_shade_tells_that_a_table_goes_on(opened: Callable[..., "Page"], tmp_path: Path) -> None:
    from PIL import Image, ImageStat

    tab = opened(PHONE, color_scheme="light")
    table = tab.locator("#subgroups .scroll").first

    def edges() -> tuple[float, float]:
        """Mean brightness of the leftmost and of the rightmost pixels."""
        table.screenshot(path=tmp_path / "table.png")
        image = Image.open(tmp_path / "table.png").convert("L")
        width, height = image.size
        sides = (image.crop((0, 0, 4, height)), image.crop((width - 4, 0, width, height)))
        left, right = (ImageStat.Stat(side).mean[0] for side in sides)
        return left, right

    assert table.evaluate("one => one.scrollWidth > one.clientWidth")
    left, right = edges()
    assert right < left - 20
    table.evaluate("one => one.scrollLeft = one.scrollWidth")
    left, right = edges()
    assert left < right - 20


def test_a_search_finds_patients_by_number_and_by_disease(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    items = tab.locator("#list li")
    first = items.first.get_attribute("data-id") or ""
    tab.fill("#search", first)
    assert [item.get_attribute("data-id") for item in items.all() if item.is_visible()] == [first]
    assert tab.text_content("#found").startswith("1 of 12 stays; 16 more")
    disease = (items.nth(2).get_attribute("data-diseases") or "").split("|")[0]
    tab.fill("#search", disease.upper())
    found = [item for item in items.all() if item.is_visible()]
    assert 1 <= len(found) < 12
    assert all(disease in (item.get_attribute("data-diseases") or "") for item in found)
    tab.fill("#search", "no such disease")
    assert tab.text_content("#found").startswith("0 of 12 stays;")


def test_patients_are_sorted_by_risk_number_and_outcome(opened: Callable[..., "Page"]) -> None:
    tab = opened()

    def column(name: str) -> list[float]:
        return [float(item.get_attribute(name) or "nan") for item in tab.locator("#list li").all()]

    assert column("data-risks") == sorted(column("data-risks"), reverse=True)
    tab.select_option("#sort", "id")
    assert column("data-id") == sorted(column("data-id"))
    tab.select_option("#sort", "outcome-0")
    assert column("data-outcomes") == sorted(column("data-outcomes"), reverse=True)
    tab.select_option("#sort", "risk-0")
    assert column("data-risks") == sorted(column("data-risks"), reverse=True)


def test_a_patient_is_opened_by_mouse_and_by_keyboard(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    assert shown(tab) == ["p1"]
    tab.locator("#list li a").nth(1).click()
    assert shown(tab) == ["p2"]
    assert tab.locator("#list a[aria-current=true]").get_attribute("href") == "#p2"
    tab.locator("#list li a").nth(1).focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_function("location.hash == '#p3'")
    assert shown(tab) == ["p3"]
    tab.go_back()
    tab.wait_for_function("location.hash == '#p2'")
    assert shown(tab) == ["p2"]


def test_a_statement_leads_to_its_evidence_and_lights_it_up(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    tab.locator("#list li a").nth(1).click()
    cite = tab.locator("#p2 .statements a.cite[href*='-s-'], #p2 .statements a.cite[href*='-d-']").first
    target = tab.locator(cite.get_attribute("href") or "")
    cite.hover()
    assert "lit" in (target.get_attribute("class") or "")
    cite.click()
    assert shown(tab) == ["p2"]
    tab.wait_for_timeout(50)
    assert tab.locator(":target").count() == 1 and target.is_visible()


def test_a_signal_tells_its_value_by_pointer_and_by_keys(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    figure = tab.locator("#p1-s-heart_rate")
    values = (figure.get_attribute("data-values") or "").split(",")
    resting = figure.locator(".readout").text_content()
    figure.focus()
    tab.keyboard.press("ArrowRight")
    first = next((value for value in values[:1] if value), None)
    assert (figure.locator(".readout").text_content() or "").startswith(f"hour 0: {first or 'not measured yet'}")
    figure.locator("svg").hover()
    assert "hour 2" in (figure.locator(".readout").text_content() or "")
    tab.locator("h1").hover()
    assert figure.locator(".readout").text_content() == resting


def test_the_colours_can_be_changed(opened: Callable[..., "Page"]) -> None:
    tab = opened(color_scheme="light")
    before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_without_javascript_the_first_patient_is_open_and_every_other_can_be(opened: Callable[..., "Page"]) -> None:
    tab = opened(java_script_enabled=False)
    assert shown(tab) == ["p1"]
    assert not tab.locator("#controls").is_visible() and not tab.locator("#theme").is_visible()
    assert tab.locator("#p1 .note").is_visible() and tab.locator(".charts").first.is_visible()
    tab.locator("#list li a").nth(3).click()
    assert shown(tab) == ["p4"]
    tab.locator("#p4 .statements a.cite").first.click()
    assert shown(tab) == ["p4"]


def test_text_can_be_read_against_its_background(opened: Callable[..., "Page"]) -> None:
    tab = opened()
    for colours in ("light", "dark"):
        tab.evaluate("colours => document.documentElement.dataset.theme = colours", colours)
        for text in ("ink", "soft", "accent", "high", "low", "warn"):
            for ground in ("paper", "card", "tint"):
                assert tab.evaluate(CONTRAST, [f"--{text}", f"--{ground}"]) >= 4.5, (colours, text, ground)


# WCAG 2.1, relative luminance and contrast ratio
CONTRAST = """([text, ground]) => {
  const style = getComputedStyle(document.documentElement);
  const luminance = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    const [r, g, b] = parts.map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [high, low] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}"""
