"""Every page of the built book in a real browser, at desktop and at phone width.

The book under ``book/_build/html`` is looked at if it was built; else a small one made of this
book's own prose pages and a throwaway chapter.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import throwaway

pytestmark = pytest.mark.browser

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

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


def browser_path(playwright: Any) -> str | None:
    """A Chromium that is installed: the system's own or Playwright's; None if there is none."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    own = playwright.chromium.executable_path
    return own if own and Path(own).exists() else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        path = browser_path(playwright)
        if path is None:
            pytest.skip(
                "no Chromium here; install it with your system's packages (apt-get install "
                "chromium) or with `.venv/bin/playwright install --with-deps chromium`, or leave "
                "these tests out with `make test BROWSER=no`"
            )
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> list[Path]:
    """All HTML pages of the book that is to be looked at."""
    site = throwaway.ROOT / "book" / "_build" / "html"
    if not (site / "book" / "index.html").exists():
        folder = tmp_path_factory.mktemp("book")
        throwaway.write_book(folder)
        build(folder)
        site = folder / "book" / "_build" / "html"
    found = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)
    redirect = site / "index.html"
    return [p for p in found if p != redirect and p.name not in ("genindex.html", "search.html")]


def build(folder: Path) -> None:
    """Build a book as `make html` does; a warning is an error."""
    command = str(Path(sys.executable).with_name("jupyter-book"))  # no `python -m` in version 1
    words = [command, "build", ".", "--path-output", "book", "--all", "-W", "-n", "--keep-going"]
    plain = {**os.environ, "NO_COLOR": "1"}
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=plain)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


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
