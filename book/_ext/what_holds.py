"""The scoreboard of this book, "What holds?": one row a claim of the sources, one cell a world.

`signseg_utils.publishing.scoreboard` computes it from the ledgers; here it becomes a table that is
a stack of cards on a narrow screen. Verdicts are told by a word and a shape, not by colour alone.
"""

import html
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from signseg_utils.chapter import ledger
from signseg_utils.publishing import scoreboard, stories
from signseg_utils.publishing.scoreboard import Cell, Row

AT_RANDOM = "at-random"  # place on a chapter's page of what ablation at random did
BRIEF = 50  # letters of a claim that keeps to one line


@cache
def rows_of(source: Path) -> list[Row]:
    """All rows of the book whose sources lie in ``source``; read once a build."""
    return scoreboard.of_book(source / "book" / "executed", source / "notebooks")


def mark(verdict: str) -> str:
    """HTML of a verdict: a shape and a word."""
    shape, _ = ledger.MARKS[verdict]
    kind = verdict.replace(" ", "-")
    return (
        f'<span class="found {kind}" title="{verdict}"><span class="shape" aria-hidden="true">'
        f"{shape}</span> {scoreboard.PLAIN.get(verdict, verdict)}</span>"
    )


def cell(found: Cell | None, base: str, world: str) -> str:
    """HTML of what one world says: verdict, effect, interval, in how many; a link to its page."""
    if found is None:
        return '<span class="nothing">–</span>'
    told = found.effect and found.verdict not in ("arithmetic", "not testable")
    share = f' <span class="share">{found.share}</span>' if found.share and told else ""
    effect = f' <span class="effect">{found.effect}</span>' if told else ""
    return (
        f'<a href="{base}executed/{found.page}.html" aria-label="{html.escape(_aloud(found))}; '
        f'to the page of {html.escape(world)}">{mark(found.verdict)}{effect}{share}</a>'
    )


def where(row: Row) -> str:
    """HTML of a row's figure or table in its source."""
    return f" <small>{html.escape(row.figure)}</small>" if row.figure[:3] in ("Fig", "Tab") else ""


def _aloud(found: Cell) -> str:
    """A cell as a screen reader says it."""
    words = [found.verdict]
    if found.effect:
        words.append(f"effect {found.effect}")
    if found.of is not None:
        words.append(f"in {found.holding} of {found.of}")
    elif found.share:
        words.append(found.share)
    return ", ".join(words)


def anchor(story: str) -> str:
    """Name of the part of the front page's scoreboard that tells a story."""
    return "holds-" + story.lower().replace(" ", "-")


def table(
    rows: Sequence[Row], base: str, caption: str = "What holds?", *, folds: bool = False
) -> str:
    """HTML of rows, those of networks and those of neurons under heads of their own.

    Parameters
    ----------
    base
        Way from the page to the folder ``book/``: empty or ``../``.
    folds
        Whether the main rows are shown first, and all when they are asked for; then each story
        can be linked to (`anchor`).
    """
    bodies, most = [], 0
    briefly = folds and any(row.main for row in rows)
    for story in dict.fromkeys(row.chapter.story for row in rows):
        own = [row for row in rows if row.chapter.story == story]
        zoos = stories.in_order(zoo for row in own for zoo in row.cells)
        most = max(most, len(zoos))
        recorded = any(row.chapter.recorded for row in own)
        worlds = [stories.world(zoo, recorded) for zoo in zoos]
        heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in worlds)
        id = f' id="{anchor(story)}"' if folds else ""
        bodies.append(
            f'<tbody{id} style="--worlds:{len(zoos)}"><tr class="heads">'
            f'<th scope="col">{story}</th>{heads}'
            '<th scope="col">but</th></tr>'
            + "".join(_row(row, zoos, worlds, base, briefly and not row.main) for row in own)
            + "</tbody>"
        )
    brief = all(len(row.words) <= BRIEF for row in rows)
    narrow = " narrow" if most < 3 and brief else ""
    head = f"<caption>{html.escape(caption)}</caption>"
    switch = (
        '<input type="checkbox" id="all-claims"><label for="all-claims">show all '
        f"{len(rows)} claims</label>"
    )
    return (
        f'{switch if briefly else ""}<table class="scoreboard{narrow}">{head}{"".join(bodies)}'
        "</table>"
    )


def _row(row: Row, zoos: Sequence[str], worlds: Sequence[str], base: str, lesser: bool) -> str:
    cells = "".join(
        f'<td data-label="{html.escape(name)}">{cell(row.cells.get(zoo), base, name)}</td>'
        for zoo, name in zip(zoos, worlds, strict=True)
    )
    kind = ' class="lesser"' if lesser else ""
    link = f"{base}chapters/{row.chapter.name}.html"
    caveat = f'<td class="caveat" data-label="but">{html.escape(row.caveat)}</td>'
    return (
        f'<tr{kind}><th scope="row"><a href="{link}">{html.escape(row.words)}</a>{where(row)}</th>'
        f"{cells}{caveat}</tr>"
    )


def legend(rows: Sequence[Row]) -> str:
    """HTML of what the marks that occur mean."""
    there = {found.verdict for row in rows for found in row.cells.values()}
    meaning = {
        "replicated": "as reported",
        "reversed": "on the other side",
        "absent": "too small to count",
        "differs": "another number",
        "networks disagree": "in some networks, not in others",
        "inconclusive": "the interval allows both",
        "not testable": "what it needs is not here",
        "arithmetic": "follows from the equation",
    }
    told = "; ".join(f"{mark(v)} {meaning[v]}" for v in ledger.VERDICTS if v in there)
    return (
        f'<p class="legend">{told}. Effect with 95 % interval; 2/3: by itself in two of three '
        "networks or sessions. Claims are corrected for their number. A click leads to the page."
        "</p>"
    )


class Scoreboard(SphinxDirective):
    """``{scoreboard}``: what holds of the claims of the sources, in each world."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = scoreboard.of_sources(rows_of(Path(self.env.srcdir)))
        if not rows:
            text = "<p>No chapter has been published yet.</p>"
        else:
            base = "../" * (self.env.docname.count("/") - 1)
            caption = "Each claim of the paper, in each world"
            text = table(rows, base, caption, folds=True) + legend(rows)
        return [nodes.raw("", text, format="html")]
