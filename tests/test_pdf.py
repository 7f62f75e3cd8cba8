"""The book as one PDF: contents, bookmarks, links and page numbers lead to the right page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from signseg_utils.basics.refusals import BadFile
from signseg_utils.cli import main as signseg
from signseg_utils.publishing import pdf

CONTENTS = {
    "format": "jb-book",
    "root": "book/index",
    "parts": [
        {"caption": "The book", "chapters": [{"file": "book/ledger"}]},
        {
            "caption": "A story",
            "chapters": [
                {"file": "book/chapters/01", "sections": [{"file": "book/a/01", "title": "Scenes"}]}
            ],
        },
    ],
}
LONG = "".join(f"<p>Row {row}</p>" for row in range(120))
PAGES = {
    "book/index": '<h1>A book<a class="headerlink">#</a></h1><a href="a/01.html#part">scenes</a>',
    "book/ledger": f'<h1>Ledger</h1><a href="#end">end</a>{LONG}<h2 id="end">End</h2>',
    "book/chapters/01": '<h1>Why?</h1><a href="../ledger.html">l</a><a href="../x.csv">table</a>',
    "book/a/01": '<h1>Why? (scenes)</h1><a href="https://example.org/">out</a>',
}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A checkout with a small book that was built."""
    for name, body in PAGES.items():
        path = tmp_path / "book" / "_build" / "html" / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<!doctype html><html><body>{body}</body></html>", encoding="utf-8")
    listed = tmp_path / "book" / "chapters" / "contents.yml"
    listed.parent.mkdir(parents=True)
    listed.write_text(yaml.safe_dump(CONTENTS))
    return tmp_path


def bookmarks(read: Any, items: Any, depth: int = 0) -> list[tuple[int, str, int]]:
    """Depth, title and page (from 1) of each bookmark."""
    found = []
    for item in items:
        if isinstance(item, list):
            found += bookmarks(read, item, depth + 1)
        else:
            found.append((depth, item.title, read.get_destination_page_number(item) + 1))
    return found


@pytest.mark.browser
def test_the_book_is_printed_beside_another_loop(built: Path, browser: Any) -> None:
    """As in Jupyter, or in a test whose process has a browser open."""
    pytest.importorskip("pypdf", reason="pypdf is not installed")
    assert pdf.make(built, built / "book.pdf", lambda line: None) > 4


@pytest.mark.browser
def test_pages_are_bound_in_order_and_links_lead_to_them(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    output = built / "book.pdf"
    assert signseg(["pdf", "--book", str(built), "--output", str(output)]) == 0
    read = pypdf.PdfReader(output)
    assert f"{output}, {len(read.pages)} pages" in capsys.readouterr().out
    text = [page.extract_text() for page in read.pages]
    starts = {
        title: next(n for n, words in enumerate(text) if n and words.startswith(title)) + 1
        for title in ("A book", "Ledger", "Why?", "Why? (scenes)")
    }
    assert starts["Ledger"] == 3 and starts["Why?"] > 4  # the ledger takes more than a page
    assert bookmarks(read, read.outline) == [
        (0, "A book", 2),
        (0, "The book", 3),
        (1, "Ledger", 3),
        (0, "A story", starts["Why?"]),
        (1, "Why?", starts["Why?"]),
        (2, "Scenes", starts["Why? (scenes)"]),
    ]
    for title, number in (("Ledger", 3), ("Scenes", starts["Why? (scenes)"])):
        assert re.search(rf"{title}\s*{number}\b", text[0]), text[0]
    assert all(words.rstrip().endswith(str(n + 1)) for n, words in enumerate(text))
    targets, addresses = links(read)
    assert targets[1] == [starts["Why? (scenes)"]] and targets[starts["Why?"] - 1] == [3]
    assert targets[0] == [2, 3, starts["Why?"], starts["Why? (scenes)"]]
    assert addresses == {"https://example.org/"}  # and none that leads to this disk
    assert str(built).encode() not in output.read_bytes()


def links(read: Any) -> tuple[dict[int, list[int]], set[str]]:
    """Pages that links of each page lead to (from 1), and addresses outside."""
    targets: dict[int, list[int]] = {}
    addresses = set()
    for number, page in enumerate(read.pages):
        for one in page.get("/Annots", []):
            link = one.get_object()
            if "/Dest" in link:
                sheet = link["/Dest"][0].get_object()
                place = next(n for n, page in enumerate(read.pages) if page.get_object() == sheet)
                targets.setdefault(number, []).append(place + 1)
            else:
                addresses.add(str(link["/A"]["/URI"]))
    return targets, addresses


def test_what_is_missing_is_said(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pypdf", reason="pypdf is not installed")
    words = ["pdf", "--book", str(built)]
    monkeypatch.setattr(pdf, "browser_path", lambda playwright: None)
    assert signseg(words) == 1
    said = capsys.readouterr().err
    assert "error: expected Chromium" in said and "apt-get install chromium" in said
    with monkeypatch.context() as gone:
        gone.setattr(pdf.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(pdf.Unprintable, match="expected the package playwright"):
            pdf.make(built, built / "book.pdf")
    (built / "book" / "_build" / "html" / "book" / "ledger.html").unlink()
    with pytest.raises(
        BadFile, match=r"1 are not there, such as book/ledger.html; run `make book`"
    ):
        pdf.make(built, built / "book.pdf")
    (built / "book" / "chapters" / "contents.yml").unlink()
    with pytest.raises(BadFile, match="contents.yml"):
        pdf.make(built, built / "book.pdf")
    assert not (built / "book.pdf").exists()
