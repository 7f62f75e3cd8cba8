"""Every page of the built book in a real browser, at desktop and at phone width.

The book under ``book/_build/html`` is looked at if it was built; else a small one made of this
book's own prose pages and a throwaway chapter.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import throwaway
from browsing import named

from signseg_utils.plots import drawn
from signseg_utils.publishing import citation

pytestmark = pytest.mark.browser

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

LOOK = """() => {
  const wide = document.scrollingElement;
  const pictures = [...document.querySelectorAll("article img, .bd-article img")];
  return {
    overflow: wide.scrollWidth - wide.clientWidth,
    widest: [...document.querySelectorAll(".bd-article *")]
      .filter(e => e.getBoundingClientRect().right > wide.clientWidth + 1)
      .slice(0, 3).map(e => e.tagName + "." + e.className),
    pictures: pictures.map(i => ({
      source: i.getAttribute("src").slice(-60),
      words: (i.getAttribute("alt") || "").trim(),
      loaded: i.complete && i.naturalWidth > 0,
      shown: i.getBoundingClientRect().width > 20 || i.closest("details:not([open])") !== null,
    })),
    math: document.querySelectorAll("span.math, div.math").length,
    typeset: document.querySelectorAll("mjx-container").length,
    heading: document.querySelectorAll("h1").length,
  };
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page(browser: Any, pages: list[Path], width: str) -> None:
    assert len(pages) >= 6
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(viewport=size)
    faults: list[str] = []
    for path in pages:
        page = context.new_page()
        outside: list[str] = []
        errors: list[str] = []
        page.on(
            "request",
            lambda r, o=outside: (
                None if r.url.startswith(("file:", "data:", "blob:", "about:")) else o.append(r.url)
            ),
        )
        page.on("pageerror", lambda e, found=errors: found.append(str(e)))
        page.on(
            "console",
            lambda m, found=errors: found.append(m.text) if m.type == "error" else None,
        )
        page.on("requestfailed", lambda r, found=errors: found.append(f"failed: {r.url}"))
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        if page.locator("span.math, div.math").count():
            page.wait_for_selector("mjx-container", state="attached", timeout=20_000)
        page.evaluate("for (const i of document.images) i.loading = 'eager'")
        page.wait_for_timeout(150)
        seen = page.evaluate(LOOK)
        name = f"{path.parent.name}/{path.name} ({width})"
        faults += [f"{name}: request to {url}" for url in outside]
        faults += [f"{name}: script error {error}" for error in errors]
        if seen["overflow"] > 1:
            faults.append(f"{name}: scrolls sideways by {seen['overflow']} px: {seen['widest']}")
        if seen["math"] and not seen["typeset"]:
            faults.append(f"{name}: formulas are not typeset")
        if seen["heading"] < 1:
            faults.append(f"{name}: no heading")
        for picture in seen["pictures"]:
            if not picture["words"] or "../" in picture["words"]:
                faults.append(f"{name}: {picture['source']} has no alternative text")
            if not (picture["loaded"] and picture["shown"]):
                faults.append(f"{name}: {picture['source']} is not visible")
        page.close()
    context.close()
    assert not faults, "\n".join(faults)


# ---------------------------------------------------------------- the book as a reader uses it


SHOWN = """() => [...document.querySelectorAll("#ledger-of-all tbody tr")]
  .filter(row => !row.hidden)
  .map(row => ({...row.dataset, text: row.textContent}))"""


def test_the_ledger_is_filtered_searched_and_sorted(view: Any, pages: list[Path]) -> None:
    view.goto(named(pages, "ledger"))
    every = view.evaluate(SHOWN)
    form = view.locator("form.ledger-tools")
    assert form.is_visible() and len(every) >= 2
    for name in ("verdict", "world", "chapter", "role"):
        options = form.locator(f"select[name={name}] option")
        values = options.evaluate_all("o => o.map(e => e.value)")
        groups = {"failed"} if name == "verdict" else set()  # of several verdicts
        assert set(values) == {"", *groups, *(row[name] for row in every)}
        form.locator(f"select[name={name}]").select_option(values[-1])
        shown = view.evaluate(SHOWN)
        assert shown == [row for row in every if row[name] == values[-1]]
        said = form.locator("output").inner_text()
        assert said.startswith(f"{len(shown)} of {len(every)} lines")
        form.locator("button[type=reset]").click()
        view.wait_for_timeout(50)
        assert len(view.evaluate(SHOWN)) == len(every)
    word = every[-1]["text"].split()[0].lower()
    form.locator("input[type=search]").fill(word)
    found = view.evaluate(SHOWN)
    assert found and every[-1]["text"] in [row["text"] for row in found]
    form.locator("input[type=search]").fill("no line says this")
    assert view.evaluate(SHOWN) == [] and form.locator("output").inner_text().startswith("0 of")
    form.locator("button[type=reset]").click()
    form.locator("select[name=sort]").select_option("size")
    sizes = [float(row["size"]) for row in view.evaluate(SHOWN) if row["size"]]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) >= 2
    assert view.locator("section.flat").is_visible()
    form.locator("select[name=sort]").select_option("")
    assert view.evaluate(SHOWN) == every and not view.locator("section.flat").is_visible()


def test_the_ledger_is_worked_by_keyboard(view: Any, pages: list[Path]) -> None:
    view.goto(named(pages, "ledger"))
    search = view.locator("form.ledger-tools input[type=search]")
    search.focus()
    focused = "document.activeElement.closest('details.claim') !== null"
    for _ in range(20):
        view.keyboard.press("Tab")
        if view.evaluate(focused):
            break
    assert view.evaluate(focused), "Tab leads from the search to the first claim"
    claim = view.locator("details.claim").first
    view.keyboard.press("Enter")
    assert claim.evaluate("e => e.open")
    line = claim.locator("tbody th > details").first
    for _ in range(5):
        view.keyboard.press("Tab")
        if line.locator("summary").first.evaluate("e => e === document.activeElement"):
            break
    view.keyboard.press("Enter")
    assert line.evaluate("e => e.open") and "test" in line.locator("dl").inner_text()
    view.keyboard.press("Enter")
    assert not line.evaluate("e => e.open")


def test_the_ledger_is_three_screens_and_can_be_downloaded(view: Any, pages: list[Path]) -> None:
    address = named(pages, "ledger")
    view.goto(address)
    end = view.locator("#ledger-of-all").evaluate("e => e.getBoundingClientRect().bottom")
    assert end <= 3 * 844
    lines = view.evaluate(SHOWN)
    for name in ("ledger.csv", "ledger.json"):
        link = view.locator(f"#ledger-of-all a[href='{name}']")
        assert link.is_visible() and link.get_attribute("download") is not None
    folder = Path(address.removeprefix("file://")).parent
    assert len(json.loads((folder / "ledger.json").read_text(encoding="utf-8"))) == len(lines)
    with open(folder / "ledger.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(lines)


def test_without_scripts_the_ledger_is_a_list_that_unfolds(browser: Any, pages: list[Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(named(pages, "ledger"))
    assert not page.locator("form.ledger-tools").is_visible()
    claim = page.locator("details.claim").first
    row = claim.locator("tbody tr").first
    assert not row.is_visible()
    claim.locator("summary").first.click()
    assert row.is_visible()
    context.close()


def test_the_scoreboard_fits_a_screen_and_leads_to_pages(view: Any, pages: list[Path]) -> None:
    address = named(pages, "index")
    view.goto(address)
    board = view.locator("table.scoreboard")
    if not board.count():  # no chapter of a source's claims is published
        assert "No chapter has been published" in view.content() or len(pages) < 12
        return
    wide = view.viewport_size["width"] > 500
    if wide:
        assert board.bounding_box()["height"] <= 900
    for link in board.locator("a").all():
        target = link.evaluate("e => e.href")
        assert Path(target.removeprefix("file://")).exists(), target
    words = board.locator("td .found").all_inner_texts()
    assert words and all(len(text.split()) >= 2 for text in words), "a shape and a word"


def test_the_sidebar_asks_at_most_25_questions(browser: Any, pages: list[Path]) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(named(pages, "index"))
    entries = page.locator(".bd-sidebar-primary li a").all()
    shown = [entry.inner_text() for entry in entries if entry.is_visible()]
    page.close()
    assert 3 <= len(shown) <= 25, shown
    assert len(set(shown)) == len(shown)


def test_answer_and_first_figure_are_near_the_top(browser: Any, pages: list[Path]) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    faults = []
    for path in [path for path in pages if "executed" in path.parts]:
        page.goto(path.as_uri())
        page.wait_for_load_state("load")
        seen = page.evaluate("""() => {
          const top = name => document.querySelector(name)?.getBoundingClientRect().top ?? null;
          return {answer: top("ul.answer"), title: top("h1"), strip: top(".provenance"),
            figure: top(".bd-article figure img, .bd-article .cell_output img"),
            failed: document.querySelector(".page-notice, .beyond-bounds") !== null}; }""")
        if seen["figure"] is not None and not seen["failed"] and seen["figure"] > 1350:
            faults.append(f"{path}: the first figure begins at {seen['figure']:.0f} px")
        if seen["answer"] is not None and not seen["title"] < seen["answer"] < 300:
            faults.append(f"{path}: the answer begins at {seen['answer']:.0f} px")
        if path.stat().st_size > 1_500_000:
            faults.append(f"{path}: {path.stat().st_size} bytes")
    page.close()
    assert not faults, "\n".join(faults)


def test_a_picture_opens_large_and_closes(view: Any, pages: list[Path]) -> None:
    view.goto(named(pages, "index"))
    picture = view.locator(".bd-article figure img").first
    picture.focus()
    small = picture.bounding_box()["width"]
    view.keyboard.press("Enter")
    large = view.locator("dialog.zoomed img")
    assert large.is_visible() and large.get_attribute("alt")
    assert large.bounding_box()["width"] >= small
    view.keyboard.press("Escape")
    assert not large.is_visible()
    picture.click()
    assert large.is_visible()
    large.click()
    assert not large.is_visible()


def test_what_can_be_taken_away_is_there(view: Any, pages: list[Path]) -> None:
    site = next(path.parent for path in pages if path.parts[-2:] == ("book", "data.html"))
    view.goto(named(pages, "data"))
    links = view.locator("article a[download]").evaluate_all("a => a.map(e => e.href)")
    assert {"dictionary.csv", "ledger.csv", "ledger.json"} <= {Path(link).name for link in links}
    for link in links:
        assert Path(link.removeprefix("file://")).exists(), link
    for summary in view.locator("article details > summary").all():
        summary.click()
    assert view.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0
    for page in (path for path in pages if "executed" in path.parts):
        view.goto(page.as_uri())
        for link in view.locator("a.figure-data").evaluate_all("a => a.map(e => e.href)"):
            with open(link.removeprefix("file://"), encoding="utf-8", newline="") as file:
                assert tuple(next(csv.reader(file))) == drawn.COLUMNS
    assert any(site.glob("executed/*/*.csv"))


def test_each_page_says_at_its_foot_how_to_cite_it(view: Any, pages: list[Path]) -> None:
    title = citation.read(throwaway.ROOT)["title"]
    for page in pages[:3]:
        view.goto(page.as_uri())
        words = view.locator("footer .to-cite")
        assert words.is_visible() and title in words.inner_text(), page
