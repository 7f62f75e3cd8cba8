"""The sidebar asks questions: one entry a chapter, its worlds below it.

``_toc.yml`` names the pages there are. Before Sphinx reads it, its executed chapters are sorted
here by question and story, and a landing page is written for each: the answer in every world, its
rows of the scoreboard, a figure of each world, and the way to their pages. Nothing of it is
written by hand, and all of it lies in ``book/chapters/``, made anew for each build.
"""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import answers
import what_holds
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from signseg_utils.files import paths
from signseg_utils.publishing import families, scoreboard, stories
from signseg_utils.publishing.stories import Question

EXECUTED = re.compile(r"^book/executed/(?P<zoo>[^/]+)/(?P<chapter>[^/.]+)$")
AT_RANDOM = (
    "Is it the sign, or would any damage do? As much weight of either sign, drawn at random, was "
    "taken away, too:"
)
AGAIN = "book/how_to_rerun"  # the page on running things oneself
# Chapters that ask another's question once more, of more units, stand below it in the sidebar.
ONCE_MORE = {"24_all_thousand_units": "07_a_hundred_classes"}
SENTENCES = 2  # of each world on a landing page
_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_IMAGE = re.compile(r'<img\b[^>]*?src="data:(image/[\w+]+);base64,([^"]+)"[^>]*?alt="([^"]*)"')


def folder(source: Path) -> Path:
    """Where what is made here lies."""
    return source / "book" / "chapters"


def arrange(app: Sphinx, config: Config) -> None:
    """Write landing pages and the contents that Sphinx is to read."""
    source = Path(app.srcdir)
    what_holds.rows_of.cache_clear()
    listed = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    chapters = executed(listed)
    home = folder(source)
    for stale in home.glob("*"):
        stale.unlink()
    questions = {name: stories.question(name, source / "notebooks") for name in chapters}
    for name, zoos in chapters.items():
        paths.write_text(home / f"{name}.md", landing(source, questions[name], zoos))
    target = home / "contents.yml"
    paths.write_text(target, yaml.safe_dump(arranged(listed, chapters, questions), sort_keys=False))
    config["external_toc_path"] = target.as_posix()


def entries(listed: dict[str, Any]) -> list[dict[str, Any]]:
    """All entries of the contents, whatever part they stand in."""
    parts = listed.get("parts") or [{"chapters": listed.get("chapters", [])}]
    return [entry for part in parts for entry in part["chapters"]]


def executed(listed: dict[str, Any]) -> dict[str, list[str]]:
    """Chapter to the zoos of its executed pages, as the contents name them."""
    found: dict[str, list[str]] = {}
    for entry in entries(listed):
        if match := EXECUTED.match(entry.get("file", "")):
            found.setdefault(match["chapter"], []).append(match["zoo"])
    return {name: stories.in_order(found[name]) for name in sorted(found)}


def arranged(
    listed: dict[str, Any], chapters: dict[str, list[str]], questions: dict[str, Question]
) -> dict[str, Any]:
    """The contents with one entry a chapter, those of one story together.

    How it was done stands below the page that says how to do it again, if there is one.
    """
    rest = [dict(entry) for entry in entries(listed) if not EXECUTED.match(entry.get("file", ""))]
    again = next((entry for entry in rest if entry.get("file") == AGAIN), None)
    parts = [{"caption": "The book", "chapters": rest}] if rest else []
    for story in stories.STORIES:
        own = [name for name in chapters if questions[name].story == story]
        own = [name for name in own if ONCE_MORE.get(name) not in chapters]
        rows = [_entry(name, chapters, questions) for name in own]
        if rows and story == stories.METHOD and again:
            again["sections"] = [*rows, *again.get("sections", [])]
        elif rows:
            parts.append({"caption": story, "chapters": rows})
    return {"format": "jb-book", "root": listed["root"], "parts": parts}


def _entry(
    name: str, chapters: Mapping[str, Sequence[str]], questions: Mapping[str, Question]
) -> dict[str, Any]:
    pages: list[dict[str, Any]] = [
        {"file": f"book/executed/{zoo}/{name}", "title": _capital(questions[name].world(zoo))}
        for zoo in chapters[name]
    ]
    below = [more for more in chapters if ONCE_MORE.get(more) == name]
    pages += [_entry(more, chapters, questions) for more in below]
    return {"file": f"book/chapters/{name}", "sections": pages}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_UNFOLDS = re.compile(
    r'(<a class="[^"]*\breference internal\b[^"]*" href="[^"]*">\s*(?P<title>[^<]*?)\s*</a>'
    r"<details\b[^>]*><summary)>"
)


def with_names(text: str) -> str:
    """A page whose sidebar says what each of its arrows unfolds: the theme's say nothing."""
    return _UNFOLDS.sub(lambda found: f'{found[1]} aria-label="below: {found["title"]}">', text)


# ---------------------------------------------------------------- a chapter's landing page


def landing(source: Path, question: Question, zoos: Sequence[str]) -> str:
    """MyST of the page that a chapter's entry in the sidebar leads to."""
    own = [row for row in what_holds.rows_of(source) if row.chapter.name == question.name]
    rows = [part for row in own for part in scoreboard.apart(row)]
    random = [part for row in own for part in scoreboard.at_random(row)]
    blocks = [_answers(source, question, zoos)]
    if rows:
        blocks.append(what_holds.table(rows, "../", "What holds?"))
    if random:
        told = what_holds.table(random, "../", "Is it the sign? Beside weights drawn at random")
        blocks.append(f'<div id="{what_holds.AT_RANDOM}"><p>{AT_RANDOM}</p>{told}</div>')
    blocks.append(_worlds(source, question, zoos))
    text = "\n".join(blocks).replace("`", "&#96;")
    return f"# {question.title}\n\n```{{raw}} html\n{text}\n```\n"


def _answers(source: Path, question: Question, zoos: Sequence[str]) -> str:
    """HTML of what each world answers, in a sentence or two."""
    rows = []
    for zoo in zoos:
        page = source / "book" / "executed" / zoo / f"{question.name}.ipynb"
        if not page.exists():
            answer = "This page has not been made yet."
        else:
            cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
            opening = answers.taken(cells)
            lines = [one for one in families.of_folder(page.parent) if one.chapter == page.stem]
            answer = answers.told(opening, lines, SENTENCES) or "The page tells."
        name = _capital(question.world(zoo))
        rows.append(f"<dt>{html.escape(name)}</dt><dd>{html.escape(answer)}</dd>")
    return f'<dl class="answer">{"".join(rows)}</dl>'


def _worlds(source: Path, question: Question, zoos: Sequence[str]) -> str:
    """HTML of a figure of each world, side by side, each with the way to its page."""
    rows = []
    for zoo in zoos:
        name = html.escape(question.world(zoo))
        link = f"../executed/{zoo}/{question.name}.html"
        shown = first_figure(source / "book" / "executed" / zoo / f"{question.name}.ipynb")
        picture = ""
        if shown:
            file = f"{question.name}-{zoo}.{shown[0]}"
            picture = f'<img src="{file}" alt="{shown[2]}">'
        rows.append(
            f'<li><a href="{link}">{picture}<span>The whole analysis: <b>{name}</b></span></a></li>'
        )
    return f'<ul class="worlds">{"".join(rows)}</ul>'


def first_figure(page: Path) -> tuple[str, str, str] | None:
    """The first figure of an executed page: kind of file, its bytes in base64, words for it."""
    if not page.exists():
        return None
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/html", ""))
            figure = _FIGURE.search(text)
            if figure and (image := _IMAGE.search(figure[0])):
                return answers.KINDS[image[1]], image[2], image[3]
    return None


class Questions(SphinxDirective):
    """``{questions}``: the chapters there are, each with its question, story by story."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        source = Path(self.env.srcdir)
        listed = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
        asked = [stories.question(name, source / "notebooks") for name in executed(listed)]
        text = ""
        for story in stories.STORIES:
            rows = "".join(
                f'<li value="{one.number}"><a href="chapters/{one.name}.html">'
                f"{html.escape(one.title)}</a></li>"
                for one in asked
                if one.story == story
            )
            text += f"<h3>{story}</h3><ol>{rows}</ol>" if rows else ""
        return [nodes.raw("", text, format="html")]


def write_figures(app: Sphinx, error: Exception | None) -> None:
    """Put the figures of landing pages beside them, once the pages are written."""
    if error or app.builder.format != "html":
        return
    source = Path(app.srcdir)
    listed = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    for name, zoos in executed(listed).items():
        for zoo in zoos:
            shown = first_figure(source / "book" / "executed" / zoo / f"{name}.ipynb")
            if shown:
                target = Path(app.outdir) / "book" / "chapters" / f"{name}-{zoo}.{shown[0]}"
                target.write_bytes(base64.b64decode(shown[1]))
