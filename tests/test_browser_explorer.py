"""The explorer as a reader uses it: slider, choices, links, keys, and without a script."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from browsing import named

pytestmark = pytest.mark.browser

MOST_BYTES = 6_000_000
PAINTED = """() => document.querySelector("#explorer .stage canvas").dataset.painted"""


def opened(view: Any, pages: list[Path], state: str = "") -> None:
    """The page, once its image is there."""
    view.goto(named(pages, "explorer") + state)
    view.wait_for_function(PAINTED)


def state(view: Any) -> dict[str, str]:
    return {name: found[0] for name, found in parse_qs(view.url.partition("#")[2]).items()}


def shows_the_image_that_the_page_says(view: Any) -> bool:
    """Whether pixels on the canvas are those of the sprite there."""
    return bool(
        view.evaluate("""async () => {
          const canvas = document.querySelector("#explorer .stage canvas");
          const [file, unit, column] = canvas.dataset.painted.split(" ");
          const data = JSON.parse(document.getElementById("explorer-data").textContent);
          const bank = data.flatMap(w => w.banks).find(b => b.sprite === file);
          return bank.units[unit] !== undefined && bank.conditions[column] !== undefined
            && canvas.getAttribute("aria-label").includes(bank.units[unit]);
        }""")
    )


def test_the_slider_is_worked_by_keys_and_a_step_back_undoes_it(
    view: Any, pages: list[Path]
) -> None:
    opened(view, pages)
    slider = view.locator("#strength")
    assert slider.get_attribute("aria-valuetext") == "intact"
    intact = view.evaluate(PAINTED)
    slider.focus()
    view.keyboard.press("ArrowLeft")
    view.wait_for_function(f"() => ({PAINTED})() !== {intact!r}")
    assert "positive" in str(slider.get_attribute("aria-valuetext"))
    assert float(state(view)["strength"]) < 0 and shows_the_image_that_the_page_says(view)
    view.keyboard.press("End")
    view.wait_for_function("() => location.hash.includes('strength=1')")
    assert slider.get_attribute("aria-valuetext") == "without its negative inputs"
    view.go_back()
    view.go_back()
    view.wait_for_function(f"() => ({PAINTED})() === {intact!r}")
    assert slider.get_attribute("aria-valuetext") == "intact"


def test_every_choice_shows_an_image_with_its_numbers(view: Any, pages: list[Path]) -> None:
    opened(view, pages)
    worlds = view.locator("select[name=world] option").evaluate_all("o => o.map(e => e.value)")
    assert len(worlds) >= 2
    for world in worlds:
        view.locator("select[name=world]").select_option(world)
        view.wait_for_function(f"() => location.hash.includes('world={world}')")
        networks = view.locator("select[name=network] option").all_inner_texts()
        for network in networks:
            view.locator("select[name=network]").select_option(network)
            view.locator("select[name=unit]").select_option(index=2)
            view.wait_for_function(f"() => location.hash.includes('network={network}&')")
            view.wait_for_timeout(50)
            assert shows_the_image_that_the_page_says(view)
            shown = view.locator("#explorer tr[data-measure]:not([hidden]) .now")
            assert shown.count() >= 2 and "–" not in shown.all_inner_texts()
            assert view.locator("#explorer .beside canvas").count() >= 2


def test_a_link_carries_the_state_and_leads_to_the_unit_elsewhere(
    view: Any, pages: list[Path]
) -> None:
    opened(view, pages, "#world=shapes&network=vgg&generator=decoder&unit=red+star&strength=-0.4")
    label = view.locator("#explorer .stage canvas").get_attribute("aria-label")
    assert label == "Preferred image of unit red star of vgg, without 40 % of its positive inputs"
    values = [view.locator(f"select[name={n}]").input_value() for n in ("generator", "unit")]
    assert values == ["decoder", "red star"]
    beside = view.locator("#explorer .beside li")
    assert "at random" in beside.first.inner_text()
    link = view.locator("#explorer .beside a", has_text="resnet, scenes")
    link.focus()
    view.keyboard.press("Enter")
    view.wait_for_function("() => location.hash.includes('network=resnet')")
    told = state(view)
    assert (told["unit"], told["strength"], told["generator"]) == ("red star", "-0.4", "scenes")


def test_a_link_to_what_is_not_there_shows_something(view: Any, pages: list[Path]) -> None:
    opened(view, pages, "#world=nowhere&network=%3Cb%3E&unit=7&strength=much")
    assert view.locator("#strength").get_attribute("aria-valuetext") == "intact"
    assert shows_the_image_that_the_page_says(view)


def test_without_scripts_there_are_panels_of_a_few_units(browser: Any, pages: list[Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(named(pages, "explorer"))
    assert not page.locator("#explorer").is_visible()
    panels = page.locator("#explorer-plain figure img")
    assert panels.count() >= 2
    assert all(panel.is_visible() and panel.get_attribute("alt") for panel in panels.all())
    context.close()


def test_page_and_sprites_are_light(pages: list[Path]) -> None:
    page = Path(named(pages, "explorer").removeprefix("file://"))
    assert page.stat().st_size < 1_500_000
    sprites = sum(file.stat().st_size for file in page.with_suffix("").iterdir())
    assert 0 < sprites + page.stat().st_size < MOST_BYTES
