"""Five questions that readers ask, walked by links alone: at most two clicks, answer in sight."""

from pathlib import Path
from typing import Any

import pytest
from browsing import named
from conftest import needs_data

pytestmark = pytest.mark.browser

MOST_CLICKS = 2
# Question; words of the links from the front page on; what answers it; words in it.
WALKS = {
    "does the main claim hold in ImageNet networks": (
        ["Does it hold in ImageNet networks?"],
        "dl.answer dd",
        "networks",
    ),
    "what happens with tanh": (["What happens with tanh?"], "dl.answer dd", "Tanh"),
    "is it special to sign": (
        ["Is it the sign, or does any damage do it?"],
        "#at-random td .found",
        "",
    ),
    "what do V4 neurons say": (
        ["What do real V4 neurons say?"],
        "#holds-the-neuron-story td[data-label='macaque V4'] a",
        "",
    ),
    "which claims failed": (["Which claims failed?"], "form.ledger-tools output", " of "),
}


@pytest.mark.parametrize("question", WALKS)
def test_a_question_is_answered_within_two_clicks(
    browser: Any, pages: list[Path], question: str
) -> None:
    links, answer, words = WALKS[question]
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(named(pages, "index"))
    clicks = 0
    for link in links:
        found = page.locator(".bd-article ul.asked a", has_text=link)
        if not found.count():
            page.close()
            needs_data(f"the book here has no page that answers: {link} (make book)")
        found.click()
        clicks += 1
    shown = page.locator(answer, has_text=words)
    shown.first.wait_for(state="attached", timeout=10_000)
    page.wait_for_timeout(300)
    assert clicks <= MOST_CLICKS and shown.count()
    boxes = [one.bounding_box() for one in shown.all()]
    tops = [(box["y"], box["y"] + box["height"]) for box in boxes if box]
    assert any(top >= 0 and bottom <= 900 for top, bottom in tops), tops
    page.close()


def test_the_link_to_what_failed_filters_the_ledger(view: Any, pages: list[Path]) -> None:
    view.goto(named(pages, "ledger") + "#verdict=failed")
    rows = view.locator("#ledger-of-all tbody tr")
    shown = rows.evaluate_all("rows => rows.filter(r => !r.hidden).map(r => r.dataset.verdict)")
    every = rows.evaluate_all("rows => rows.map(r => r.dataset.verdict)")
    failed = ("reversed", "absent", "differs")
    assert sorted(shown) == sorted(verdict for verdict in every if verdict in failed)
    assert view.locator("form.ledger-tools select[name=verdict]").input_value() == "failed"


def test_a_phone_shows_the_main_claims_first(browser: Any, pages: list[Path]) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(named(pages, "index"))
    switch = page.locator("#all-claims")
    if not switch.count():
        page.close()
        needs_data("the book here has no main claim of a source (make book)")
    board, rows = page.locator("table.scoreboard"), page.locator("table.scoreboard tr.lesser")
    assert board.bounding_box()["height"] <= 844
    assert not any(row.is_visible() for row in rows.all())
    switch.focus()
    page.keyboard.press("Space")
    assert all(row.is_visible() for row in rows.all())
    page.close()
