"""What can be taken away of the book's numbers: figures as CSV, and what their columns mean.

A chapter writes what each figure draws beside its executed page (`signseg_utils.plots.drawn`).
Here these files are put beside the HTML page and listed in one place; ``data/dictionary.csv``
explains their columns, and those of all other tables.
"""

import csv
import html
import json
import re
import shutil
from pathlib import Path

import contents
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from signseg_utils.publishing import stories

DICTIONARY = "dictionary.csv"
COLUMNS = ("file", "column", "meaning", "unit")
WRITTEN = (".*csv", ".ledger.json")  # what chapters write that is published with their pages
_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_ALT = re.compile(r'\balt="([^"]*)"')
_DATA = re.compile(r'class="figure-data" href="([^"]+)"')


def dictionary(source: Path) -> list[dict[str, str]]:
    """Rows of ``data/dictionary.csv``: file, column, meaning, unit."""
    with open(source / "data" / DICTIONARY, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def figures(page: Path) -> list[tuple[str, str]]:
    """File of data and words of each figure of an executed page that has such a file.

    The words are HTML already.
    """
    found = []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/html", ""))
            for figure in _FIGURE.findall(text):
                file, words = _DATA.search(figure), _ALT.search(figure)
                if file and words:
                    found.append((file[1], words[1]))
    return found


def published(source: Path) -> list[Path]:
    """Executed pages that are there and that the contents name, chapter by chapter."""
    listed = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    pages = [
        source / "book" / "executed" / zoo / f"{name}.ipynb"
        for name, zoos in contents.executed(listed).items()
        for zoo in zoos
    ]
    return [page for page in pages if page.exists()]


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put what chapters wrote beside their pages, and the dictionary beside the page of data."""
    if error or app.builder.format != "html":
        return
    source, target = Path(app.srcdir), Path(app.outdir) / "book"
    for page in published(source):
        folder = target / "executed" / page.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in WRITTEN:
            for file in page.parent.glob(page.stem + pattern):
                shutil.copyfile(file, folder / file.name)
    if (source / "data" / DICTIONARY).exists():
        shutil.copyfile(source / "data" / DICTIONARY, target / DICTIONARY)


class FigureData(SphinxDirective):
    """``{figure-data}``: files of all figures, folded by chapter and world."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        source = Path(self.env.srcdir)
        parts = []
        for page in published(source):
            question = stories.question(page.stem, source / "notebooks")
            zoo = page.parent.name
            way = f"executed/{zoo}"
            rows = [
                f'<li><a href="{way}/{file}" download>{html.escape(file)}</a>: {words}</li>'
                for file, words in figures(page)
            ]
            title = f"{question.number}. {html.escape(question.title)}"
            count = f"{len(rows)} figure{'s' if len(rows) != 1 else ''}"
            parts.append(
                f'<details class="figure-files"><summary>{title} '
                f"<small>{html.escape(question.world(zoo))}, {count}</small></summary>"
                f'<ul>{"".join(rows)}</ul><p><a href="{way}/{page.stem}.html">The page</a>, '
                f'<a href="{way}/{page.stem}.ledger.json" download>its ledger (JSON)</a></p>'
                "</details>"
            )
        text = "".join(parts) or "<p>No chapter has been published yet.</p>"
        return [nodes.raw("", text, format="html")]


class DataDictionary(SphinxDirective):
    """``{data-dictionary}``: every column of every table, with its unit, folded by file."""

    def run(self) -> list[nodes.Node]:
        source = Path(self.env.srcdir)
        self.env.note_dependency(str(source / "data" / DICTIONARY))
        if not (source / "data" / DICTIONARY).exists():
            return [nodes.paragraph(text="The dictionary lies in the repository.")]
        rows = dictionary(source)
        text = ""
        for file in dict.fromkeys(row["file"] for row in rows):
            own = "".join(
                f'<tr><td data-label="column"><code>{html.escape(row["column"])}</code></td>'
                f'<td data-label="meaning">{html.escape(row["meaning"])}</td>'
                f'<td data-label="unit">{html.escape(row["unit"]) or "–"}</td></tr>'
                for row in rows
                if row["file"] == file
            )
            heads = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS[1:])
            text += (
                f"<details><summary><code>{html.escape(file)}</code></summary>"
                f'<div class="book-wide"><table class="book-table"><thead><tr>{heads}</tr></thead>'
                f"<tbody>{own}</tbody></table></div></details>"
            )
        return [nodes.raw("", text, format="html")]
