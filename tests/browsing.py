"""A browser, and the pages that it looks at: fixtures of all tests of the book as a reader uses it.

The book under ``book/_build/html`` is looked at if it was built; else a small one made of this
book's own prose pages and a throwaway chapter.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import throwaway
from filelock import FileLock

from signseg_utils.publishing.pdf import browser_path


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> list[Path]:
    """All HTML pages of the book that is to be looked at."""
    site = throwaway.ROOT / "book" / "_build" / "html"
    if not (site / "book" / "index.html").exists():
        root = tmp_path_factory.getbasetemp()
        folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "book"
        site = folder / "book" / "_build" / "html"
        with FileLock(f"{folder}.lock"):  # one build serves all processes of a run
            if not (site / "book" / "index.html").exists():
                folder.mkdir()
                throwaway.write_book(folder)
                build(folder)
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


@pytest.fixture(params=[1300, 390], ids=["desktop", "phone"])
def view(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """An empty page of one of two widths."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    yield context.new_page()
    context.close()


def named(pages: list[Path], name: str) -> str:
    """Address of one page of the book itself."""
    (found,) = [path for path in pages if path.parts[-2:] == ("book", f"{name}.html")]
    return found.as_uri()
