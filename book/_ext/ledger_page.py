"""The ledger as a reader can use it: a claim a row, its lines unfold, all of it to download.

Without a script it is a list of folded tables. ``ledger.js`` adds search, filters and sorting, and
needs nothing from outside.
"""

import csv
import html
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import what_holds
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from signseg_utils.chapter import ledger
from signseg_utils.files import paths
from signseg_utils.publishing import scoreboard, stories
from signseg_utils.publishing.families import Corrected
from signseg_utils.publishing.scoreboard import Row

FILES = ("ledger.csv", "ledger.json")
_SCALAR = (str, int, float, type(None))
_PLACEHOLDER = re.compile(r"\{\w+\}")


def record(row: Row, one: Corrected) -> dict[str, Any]:
    """A line as it is downloaded, with what its claim says of it."""
    line = one.line
    claim = scoreboard.claim_of(line.id, scoreboard.stated_in(row.chapter.number))
    margin = claim.margin if claim and not _PLACEHOLDER.search(claim.margin) else ""
    return {
        "id": line.id,
        "claim": row.words,
        "statement": line.statement,
        "zoo": line.zoo,
        "world": row.chapter.world(line.zoo),
        "chapter": one.chapter,
        "role": line.role,
        "source": claim.source if claim else "",
        "figure": claim.figure if claim else "",
        "reported": line.reported,
        "measured": line.measured,
        "ci_low": line.ci_low,
        "ci_high": line.ci_high,
        "n": line.n,
        "units": line.units,
        "test": line.test,
        "margin": margin,
        "seed": line.seed,
        "p": line.p,
        "p_corrected": one.p,
        "verdict": one.verdict,
        "verdict_before_correction": line.verdict,
        "holding": line.holding,
        "detectable": line.detectable,
        "page": f"executed/{line.zoo}/{one.chapter}.html",
        "cells": [
            {"name": c.name, "value": c.value, "low": c.low, "high": c.high, "n": c.n}
            for c in line.cells
        ],
    }


def as_csv(records: Sequence[dict[str, Any]]) -> str:
    """All lines as CSV; cells of networks and sessions are in the JSON only."""
    names = [name for name, value in records[0].items() if isinstance(value, _SCALAR)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def downloads(app: Sphinx, error: Exception | None) -> None:
    """Put all lines as CSV and JSON beside the ledger's page."""
    if error or app.builder.format != "html":
        return
    rows = what_holds.rows_of(Path(app.srcdir))
    records = [record(row, one) for row in rows for one in row.lines]
    if not records:
        return
    folder = Path(app.outdir) / "book"
    paths.write_text(folder / FILES[0], as_csv(records))
    paths.write_text(folder / FILES[1], json.dumps(records, indent=1, ensure_ascii=False) + "\n")


# ---------------------------------------------------------------- the page


def claims_list(rows: Sequence[Row]) -> str:
    """HTML of all rows, folded, story by story; each holds the table of its lines.

    Stories are open; ``ledger.js`` closes all but the first.
    """
    parts = []
    for story in dict.fromkeys(row.chapter.story for row in rows):
        own = [row for row in rows if row.chapter.story == story]
        zoos = stories.in_order(one.line.zoo for row in own for one in row.lines)
        recorded = any(row.chapter.recorded for row in own)
        worlds = [stories.world(zoo, recorded) for zoo in zoos]
        heads = "".join(f"<span>{html.escape(name)}</span>" for name in worlds)
        groups = "".join(_group(row, zoos, worlds) for row in own)
        parts.append(
            f'<section class="claims" style="--worlds:{len(zoos)}"><details class="story" open>'
            f'<summary><h2 class="claim-heads"><span>{story}</span>{heads}<span>lines</span></h2>'
            f"</summary>{groups}</details></section>"
        )
    return "".join(parts)


def _group(row: Row, zoos: Sequence[str], worlds: Sequence[str]) -> str:
    cells = "".join(
        f'<span class="world" data-label="{html.escape(name)}">{_cell(row, zoo)}</span>'
        for zoo, name in zip(zoos, worlds, strict=True)
    )
    lines = "".join(_line(row, one) for one in row.lines)
    caveat = f'<p class="caveat">But: {html.escape(row.caveat)}.</p>' if row.caveat else ""
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("line", "world", "measured (95 %)", "verdict")
    )
    chapter = (
        f'<p>Chapter {row.chapter.number}: <a href="chapters/{row.chapter.name}.html">'
        f"{html.escape(row.chapter.title)}</a></p>"
    )
    return (
        f'<details class="claim" id="{anchor(row.id)}"><summary><span class="words">'
        f"{html.escape(row.words)}{what_holds.where(row)}</span>{cells}"
        f'<span class="count">{len(row.lines)}</span></summary>{chapter}{caveat}'
        f'<table class="lines"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        "</details>"
    )


def _cell(row: Row, zoo: str) -> str:
    """What a world says of a claim; of what the book asks of itself, how often it says so."""
    if row.figure:
        found = row.cells.get(zoo)
        if found is None:
            return '<span class="nothing">–</span>'
        if found.verdict == "arithmetic":  # nothing else could come out
            return what_holds.mark(found.verdict)
        return (
            f'{what_holds.mark(found.verdict)} <span class="effect">{found.effect}</span> '
            f'<span class="share">{found.share}</span>'
        )
    own = [one.verdict for one in row.lines if one.line.zoo == zoo]
    counted = {verdict: own.count(verdict) for verdict in ledger.WORDS if verdict in own}
    return " ".join(f"{what_holds.mark(verdict)} {n}" for verdict, n in counted.items()) or "–"


def anchor(id: str) -> str:
    """Name of an element for a claim's id."""
    return "claim-" + "".join(c if c.isalnum() else "-" for c in id)


def _line(row: Row, one: Corrected) -> str:
    """A line as a row; its first cell unfolds to all that is known of it."""
    line, told = one.line, record(row, one)
    world = row.chapter.world(line.zoo)
    facts = {
        "id": line.id,
        "reported": line.reported,
        "test": line.test,
        "n": line.sample,
        "margin": told["margin"],
        "seed": "" if line.seed is None else str(line.seed),
        "p": "" if line.p is None else f"{line.p:.2g}",
        "p, Holm": "" if one.p is None else f"{one.p:.2g}",
        "found": one.found,
    }
    items = "".join(
        f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items() if text
    )
    link = f'<a href="{told["page"]}#ledger">figure and text</a>'
    role = "" if line.role == "primary" else f" <small>{line.role}</small>"
    size = "" if line.measured is None else abs(line.measured)
    data = {
        "verdict": one.verdict,
        "world": world,
        "chapter": str(row.chapter.number),
        "role": line.role,
        "size": size,
        "n": line.n or "",
        "p": "" if line.p is None else line.p,
    }
    attributes = " ".join(f'data-{k}="{html.escape(str(v))}"' for k, v in data.items())
    return (
        f'<tr {attributes}><th scope="row"><details><summary>{html.escape(line.statement)}{role}'
        f"</summary><dl>{items}</dl>{ledger.spread(line)}<p>{link}</p></details></th>"
        f'<td data-label="world">{html.escape(world)}</td>'
        f'<td data-label="measured">{ledger.measured(line)}</td>'
        f'<td data-label="verdict">{what_holds.mark(one.verdict)}</td></tr>'
    )


def controls(rows: Sequence[Row]) -> str:
    """HTML of search, filters and order; hidden until the script that they need has begun."""
    lines = [one for row in rows for one in row.lines]
    verdicts = [v for v in ledger.WORDS if any(one.verdict == v for one in lines)]
    failed = {"failed": "did not hold (reversed, absent, differs)"}
    worlds = list(
        dict.fromkeys(row.chapter.world(one.line.zoo) for row in rows for one in row.lines)
    )
    chapters = {
        str(row.chapter.number): f"{row.chapter.number}: {row.chapter.title}"
        for row in sorted(rows, key=lambda row: row.chapter.number)
    }
    roles = [role for role in ledger.ROLES if any(one.line.role == role for one in lines)]
    order = {
        "": "by claim",
        "verdict": "by verdict",
        "size": "largest effect first",
        "p": "smallest p first",
        "n": "largest n first",
    }
    return (
        '<form class="ledger-tools" hidden aria-label="Find lines of the ledger">'
        '<label>search <input type="search" name="search" autocomplete="off"></label>'
        + _select("verdict", failed | {v: v for v in verdicts})
        + _select("world", {w: w for w in worlds})
        + _select("chapter", chapters)
        + _select("role", {r: r for r in roles})
        + _select("sort", order, anything=False)
        + '<button type="reset">show all</button>'
        f'<output aria-live="polite">{len(lines)} lines in {len(rows)} rows</output></form>'
    )


def _select(name: str, values: dict[str, str], *, anything: bool = True) -> str:
    first = '<option value="">any</option>' if anything else ""
    options = "".join(
        f'<option value="{html.escape(value)}">{html.escape(label)}</option>'
        for value, label in values.items()
    )
    return f'<label>{name} <select name="{name}">{first}{options}</select></label>'


def _counts(every: Sequence[Corrected]) -> str:
    """How many primary claims ended in each verdict, by zoo, after correction."""
    text = f"<p>{len(every)} lines."
    for zoo in dict.fromkeys(one.line.zoo for one in every):
        own = [one for one in every if one.line.zoo == zoo and one.line.role == "primary"]
        told = [one.verdict for one in own if one.verdict in ledger.VERDICTS]
        said = "; ".join(f"{told.count(v)} {v}" for v in ledger.VERDICTS if v in told)
        lost = sum(one.changed for one in own)
        text += f" Primary claims in {html.escape(zoo)}: {said} ({lost} by correction)."
    return text + "</p>"


class LedgerTable(SphinxDirective):
    """``{ledger-table}``: the lines of all ledgers that were published, and their verdicts."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = what_holds.rows_of(Path(self.env.srcdir))
        if not rows:
            text = "<p>No chapter has been published yet.</p>"
            return [nodes.raw("", text, format="html")]
        links = " · ".join(
            f'<a href="{name}" download>{name.rpartition(".")[2].upper()}</a>' for name in FILES
        )
        script = "../" * self.env.docname.count("/") + "_static/ledger.js"
        text = (
            f'<div id="ledger-of-all">{controls(rows)}'
            f'<p class="legend">Unfold a claim for its lines, a line for its test. '
            f"All lines to download: {links}.</p>"
            f'{claims_list(rows)}<section class="flat" hidden></section></div>'
            f"<details><summary>What the marks mean, and how many there are</summary>"
            f"{what_holds.legend(rows)}{_counts([one for row in rows for one in row.lines])}"
            f"</details>"
            f'<script src="{script}" defer></script>'
        )
        return [nodes.raw("", text, format="html")]
