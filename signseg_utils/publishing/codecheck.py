"""``codecheck.yml``: what `make book` must yield, for whoever checks it independently.

Configuration of the CODECHECK community process, version 1.0
(https://codecheck.org.uk/spec/config/1.0/). Who checks adds ``codechecker`` and ``report``, which
nobody can know before.
"""

from pathlib import Path
from typing import Any

import yaml

from signseg_utils.publishing import citation, stories
from signseg_utils.publishing.profiles import read_profile

FILE = "codecheck.yml"
SPECIFICATION = "https://codecheck.org.uk/spec/config/1.0/"
# What the book makes of all chapters together, below the root of the checkout.
WHOLE = {
    "book/_build/html/index.html": "The book; opens the first page, with what holds of the claims",
    "book/_build/html/book/ledger.csv": "All claims: reported, measured, 95 % interval, n, verdict",
    "book/_build/html/book/ledger.json": "The same with each network and session by itself",
}
# What the publisher writes of each chapter in each world: end of the name, words.
OF_PAGE = {
    ".ipynb": "executed notebook with all figures",
    ".ledger.json": "its claims, measured",
}
SOURCE = (
    "Code, weights, stored results and tables are all in this repository; no dataset is needed. "
    "Recordings and models of neurons that others published are described in README.md."
)
SUMMARY = (
    "No independent check has been reported yet. To check: `make book` runs every chapter with the "
    "stored results, makes a sample of them again, and builds the pages; it ends with a status "
    "other than 0 if a page fails or an audit is beyond its bounds. README.md says how long it "
    "takes. `signseg drift BEFORE AFTER` compares two folders of executed chapters line by line, "
    "and `make book RECOMPUTE=1` computes the stored results anew, which takes hours. Numbers "
    "agree within the bounds that each stored variable declares; pictures are to be compared by "
    "eye."
)
HEAD = """\
%YAML 1.1
# Made by `signseg describe`; whoever checks adds `codechecker` and `report` below.
---
"""


def pages(root: Path) -> list[tuple[str, str]]:
    """Chapter and zoo of each page of the book, those of a chapter together."""
    table = read_profile("shipped", root / "notebooks")
    return [(name, zoo) for name in sorted(table) for zoo in stories.in_order(table[name])]


def manifest(root: Path) -> list[dict[str, str]]:
    """Each output of `make book`: its file and a comment."""
    found = [{"file": file, "comment": words} for file, words in WHOLE.items()]
    for name, zoo in pages(root):
        question = stories.question(name, root / "notebooks")
        title = f"Chapter {question.number}, {question.title} ({question.world(zoo)})"
        for end, words in OF_PAGE.items():
            file = f"book/executed/{zoo}/{name}{end}"
            found.append({"file": file, "comment": f"{title}: {words}"})
    return found


def text(root: Path) -> str:
    """The whole file."""
    cited = citation.read(root)
    paper: dict[str, Any] = {
        "title": cited["title"],
        "authors": [{"name": name} for name in citation.authors(cited)],
    }
    found = {
        "version": SPECIFICATION,
        "paper": paper,
        "source": SOURCE,
        "summary": SUMMARY,
        "manifest": manifest(root),
    }
    return HEAD + yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=96)
