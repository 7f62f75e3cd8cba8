"""The whole book as one PDF: each built page printed by Chromium, then bound with pypdf.

Contents with page numbers come first, bookmarks follow the sidebar, and links between pages lead
to pages of the same file. What is folded on a page stays folded; formulas are typeset before a page
is printed.
"""

import html
import importlib.util
import io
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from signseg_utils.basics.refusals import BadFile, Refusal
from signseg_utils.files import paths

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PAPER: dict[str, Any] = {
    "format": "A4",
    "margin": {"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
    "scale": 0.8,
}
# What belongs to a screen; tables must not be cut at the right.
PRINTED = """
  .figure-data, .to-cite, .prev-next-footer, .headerlink, .bd-header-article, form.ledger-tools,
  .copybtn, #jb-print-toc { display: none !important; }
  h1 { margin-bottom: 1.2rem !important; }
  .book-table.changes { font-size: 0.7rem; }
  .book-table.changes th:last-child { width: 40%; }
  figure, table.scoreboard tr, .answer { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  a { text-decoration: none; }
  .book-wide, .cell_output .output { overflow: visible !important; }
  body { background: #fff !important; }
"""
READY = """async () => {
  document.documentElement.dataset.theme = "light";
  for (const one of document.images) one.loading = "eager";
  await Promise.all([...document.images].map(one => one.decode().catch(() => null)));
}"""
HEADING = """() => [...document.querySelector("h1").childNodes]
  .filter(node => !node.classList?.contains("headerlink"))
  .map(node => node.textContent).join("").trim()"""
CONTENTS = """<style>
  body { font: 12pt sans-serif } p { margin: 3pt 0 } h2 { font-size: 13pt; margin: 12pt 0 4pt }
  a { display: flex; justify-content: space-between; gap: 2em; color: #000; text-decoration: none }
</style>"""
NUMBERS = """<style>
  @page { margin: 0 } body { margin: 0; font: 9pt sans-serif; color: #444 }
  div { height: 297mm; box-sizing: border-box; padding-top: 284mm; text-align: center;
        break-after: page; overflow: hidden } div:last-child { break-after: avoid }
</style>"""

Listed = tuple[str, str, int]  # address below the built book, title or '', depth


class Unprintable(Refusal, RuntimeError):
    """What prints and binds pages is not here; the message says how to get it."""


@dataclass(frozen=True)
class Part:
    """A page of the book as it was printed, or the caption above some of them."""

    title: str
    depth: int
    file: Path | None = None
    printed: Any = None


def browser_path(playwright: Any) -> str | None:
    """A Chromium that is installed: the system's own or Playwright's; None if there is none."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    own = playwright.chromium.executable_path
    return own if own and Path(own).exists() else None


def entries(root: Path) -> list[Listed]:
    """Pages in the order of the sidebar; the caption of a part has no address."""
    path = root / "book" / "chapters" / "contents.yml"
    if not path.exists():
        raise BadFile(f"expected {path}, which a build of the book writes; run `make html` first")
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = [(f"{listed['root']}.html", "", 0)]
    for part in listed["parts"]:
        found.append(("", part.get("caption", ""), 0))
        found += _below(part["chapters"], 1)
    return found


def _below(chapters: Sequence[Mapping[str, Any]], depth: int) -> list[Listed]:
    """Entries of the sidebar, each with those that stand below it."""
    found = []
    for entry in chapters:
        found.append((f"{entry['file']}.html", entry.get("title", ""), depth))
        found += _below(entry.get("sections", []), depth + 1)
    return found


def make(root: Path, output: Path, report: Callable[[str], None] = print) -> int:
    """Print the book that was built in ``root`` into ``output``; returns its number of pages.

    Raises
    ------
    Unprintable
        If there is no Chromium, or Playwright or pypdf is not installed.
    BadFile
        If the book was not built, or pages of its contents are missing.
    """
    site = root / "book" / "_build" / "html"
    listed = entries(root)
    lacking = [name for name, _, _ in listed if name and not (site / name).exists()]
    if lacking:
        raise BadFile(
            f"expected the built pages of the contents below {site}; {len(lacking)} are not there, "
            f"such as {lacking[0]}; run `make book` first"
        )
    for name in ("playwright", "pypdf"):
        if importlib.util.find_spec(name) is None:
            raise Unprintable(
                f"expected the package {name}, because the PDF is made with it; it is not "
                "installed; run `pip install 'signseg-utils[pdf]'`"
            )
    with ThreadPoolExecutor(1) as apart:  # a thread in which nobody, such as Jupyter, runs a loop
        return apart.submit(_with_browser, site, listed, output, report).result()


def _with_browser(
    site: Path, listed: Sequence[Listed], output: Path, report: Callable[[str], None]
) -> int:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        path = browser_path(running)
        if path is None:
            raise Unprintable(
                "expected Chromium, because it prints the pages; found none on the path; install "
                "it with your system's packages (apt-get install chromium) or with `.venv/bin/"
                "playwright install --with-deps chromium`; the book itself needs none"
            )
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            return _bind(chromium, site, listed, output, report)
        finally:
            chromium.close()


def _bind(
    chromium: Any, site: Path, listed: Sequence[Listed], output: Path, report: Callable[[str], None]
) -> int:
    import pypdf

    page = chromium.new_page(viewport={"width": 1000, "height": 1300})
    parts = []
    for place, (name, title, depth) in enumerate(listed):
        if not name:
            parts.append(Part(title, depth))
            continue
        heading, printed = _printed(page, site / name)
        own = pypdf.PdfReader(io.BytesIO(printed))
        parts.append(Part(title or heading, depth, site / name, own))
        report(f"{place + 1} of {len(listed)}: {name}, {len(own.pages)} pages")
    front = _contents(page, parts)
    begins = _begins(parts, len(front.pages))
    writer = pypdf.PdfWriter()
    writer.append(front, import_outline=False)
    for part in parts:
        if part.printed is not None:
            _anchors_away(part.printed)
            writer.append(part.printed, import_outline=False)
    _bookmarks(writer, parts, begins)
    _links(writer, dict(zip((part.file for part in parts), begins, strict=True)))
    _numbers(page, writer)
    writer.add_metadata({"/Title": parts[0].title})
    with paths.replacing(output) as temporary:
        writer.write(temporary)
    return len(writer.pages)


def _printed(page: Any, file: Path) -> tuple[str, bytes]:
    """A page's heading, and the page as a PDF, formulas and pictures waited for."""
    page.goto(file.as_uri())
    page.wait_for_load_state("load")
    if page.locator("span.math, div.math").count():
        page.wait_for_selector("mjx-container", state="attached", timeout=30_000)
    page.add_style_tag(content=PRINTED)
    page.evaluate(READY)
    return page.evaluate(HEADING), page.pdf(**PAPER)


def _begins(parts: Sequence[Part], before: int) -> list[int]:
    """Number, from 0, of the page on which each part begins; a caption's is that of the next."""
    sizes = [0 if part.printed is None else len(part.printed.pages) for part in parts]
    return [before + at for at in itertools.accumulate([0, *sizes[:-1]])]


def _contents(page: Any, parts: Sequence[Part]) -> Any:
    """Pages of contents; printed again until they are as many as were counted with."""
    import pypdf

    pages = 0
    while True:
        pages += 1
        rows = "".join(
            _row(part, begin + 1) for part, begin in zip(parts, _begins(parts, pages), strict=True)
        )
        page.set_content(f"{CONTENTS}<h1>{html.escape(parts[0].title)}</h1>{rows}")
        found = pypdf.PdfReader(io.BytesIO(page.pdf(**PAPER)))
        if len(found.pages) == pages:
            return found


def _row(part: Part, number: int) -> str:
    title = html.escape(part.title)
    if part.file is None:
        return f"<h2>{title}</h2>"
    return (
        f'<p style="margin-left:{part.depth}em"><a href="{part.file.as_uri()}"><span>{title}</span>'
        f"<b>{number}</b></a></p>"
    )


def _bookmarks(writer: Any, parts: Sequence[Part], begins: Sequence[int]) -> None:
    above: list[Any] = []
    for part, begin in zip(parts, begins, strict=True):
        del above[part.depth :]
        parent = above[-1] if above else None
        above.append(writer.add_outline_item(title=part.title, page_number=begin, parent=parent))


def _anchors_away(printed: Any) -> None:
    """Take links within a page out: in one file with other pages their names are not unique."""
    for sheet in printed.pages:
        if "/Annots" in sheet:
            kept = [one for one in sheet["/Annots"] if "/Dest" not in one.get_object()]
            sheet[_name("/Annots")] = _array(kept)


def _links(writer: Any, begins: Mapping[Path | None, int]) -> None:
    """Let links to pages lead to their place in this file; other files on disk are none here."""
    for sheet in writer.pages:
        kept = []
        for one in sheet.get("/Annots", []):
            link = one.get_object()
            address = urlsplit(str(link.get("/A", {}).get("/URI", "")))
            if address.scheme == "file":
                target = begins.get(Path(unquote(address.path)))
                if target is None:
                    continue
                del link["/A"]
                place = [writer.pages[target].indirect_reference, _name("/Fit")]
                link[_name("/Dest")] = _array(place)
            kept.append(one)
        if "/Annots" in sheet:
            sheet[_name("/Annots")] = _array(kept)


def _numbers(page: Any, writer: Any) -> None:
    """Print the number of each page at its foot."""
    import pypdf

    sheets = "".join(f"<div>{number + 1}</div>" for number in range(len(writer.pages)))
    page.set_content(f"{NUMBERS}{sheets}")
    numbers = pypdf.PdfReader(io.BytesIO(page.pdf(format="A4", print_background=False)))
    for sheet, number in zip(writer.pages, numbers.pages, strict=True):
        sheet.merge_page(number)


def _name(text: str) -> Any:
    from pypdf.generic import NameObject

    return NameObject(text)


def _array(items: Sequence[Any]) -> Any:
    from pypdf.generic import ArrayObject

    return ArrayObject(items)
