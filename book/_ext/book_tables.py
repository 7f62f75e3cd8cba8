"""Tables of the book that are made from files while it is built."""

import html
import json
from pathlib import Path
from typing import Any

import ledger_page
from docutils import nodes
from failed_pages import gap_list
from markup import duration, table
from provenance_strip import origin, read_runs
from sphinx.util.docutils import SphinxDirective

from signseg_utils.chapter import ledger
from signseg_utils.publishing import changes, families


class LedgerTable(ledger_page.LedgerTable):
    """``{ledger-table}``, below what is to be said of pages that are not as they should be."""

    def run(self) -> list[nodes.Node]:
        gaps = nodes.raw("", gap_list(Path(self.env.srcdir)), format="html")
        return [gaps, *super().run()]


class ChangesTable(SphinxDirective):
    """``{changes-table}``: lines of the first version whose verdict is another now, and why."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        found = changes.of_book(Path(self.env.srcdir) / "book" / "executed")
        shown = [one for one in found if not one.same]
        text = f"<p>{len(found) - len(shown)} of {len(found)} lines have the verdict that they had."
        heads = ["was", "verdict", "measured", "is now", "verdict", "measured (95 %)", "why"]
        rows = [
            [
                f"{html.escape(one.was_id)} {html.escape(one.zoo)}",
                html.escape(one.was),
                one.was_measured,
                *_now(one.now),
                html.escape(one.why),
            ]
            for one in shown
        ]
        return [nodes.raw("", f"{text}</p>" + table(heads, rows, "changes"), format="html")]


def _now(one: families.Corrected | None) -> list[str]:
    """Id, verdict and number of a line of today, or that it is gone."""
    if one is None:
        return ["–", "no longer told", "–"]
    link = f"executed/{one.line.zoo}/{one.chapter}.html"
    name = f'<a href="{link}">{html.escape(one.line.id)}</a>'
    return [name, html.escape(one.found), ledger.measured(one.line)]


class CostTable(SphinxDirective):
    """``{cost-table}``: seconds and memory of each page, from the runs that made them."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = [
            [
                f'<a href="executed/{run["zoo"]}/{run["chapter"]}.html">'
                f"{html.escape(run['chapter'])}</a>",
                html.escape(run["zoo"]),
                duration(run["seconds"]),
                f"{run['peak_memory_mib']} MiB",
                html.escape(run["hardware"].get("gpu") or f"{run['hardware']['cores']} cores"),
                html.escape(origin(run.get("audit"))),
            ]
            for run in read_runs(Path(self.env.srcdir))
        ]
        if not rows:
            return [nodes.paragraph(text="No chapter has been published yet.")]
        heads = ["chapter", "zoo", "time", "peak memory", "on", "results"]
        return [nodes.raw("", table(heads, rows, "costs"), format="html")]


class PortableTable(SphinxDirective):
    """``{portable-table}``: how each page ended on each machine of ``make portable``."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        path = Path(self.env.srcdir) / "benchmarks" / "results" / "portable.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"pages": {}}
        if not found["pages"]:
            return [nodes.paragraph(text="`make portable` has not been run yet.")]
        machines = [
            name for name in found["machines"] if any(name in r for r in found["pages"].values())
        ]
        rows = []
        for page, cells in sorted(found["pages"].items()):
            zoo, chapter = page.split("/")
            link = f'<a href="executed/{page}.html">{html.escape(chapter)}</a> {html.escape(zoo)}'
            rows.append([link, *(_ended(cells.get(name)) for name in machines)])
        words = {name: _imitated(found["machines"][name]) for name in machines}
        described = "".join(
            f"<li><b>{html.escape(name)}</b>: {html.escape(said)}</li>"
            for name, said in words.items()
        )
        versions = sorted({c["commit"] for row in found["pages"].values() for c in row.values()})
        text = (
            table(["page", *machines], rows, "portable")
            + f"<ul>{described}</ul><p>Code: {html.escape(', '.join(versions))}.</p>"
        )
        return [nodes.raw("", text, format="html")]


def _ended(cell: dict[str, Any] | None) -> str:
    """One cell of the table of machines: how the page ended there, and its seconds."""
    if cell is None:
        return "not run"
    return html.escape(f"{cell['outcome']} ({duration(cell['seconds'])})")


def _imitated(machine: dict[str, Any]) -> str:
    """A machine of that table in words."""
    names = " ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return (
        f"{machine['machine']}, instructions {machine['instructions']}, BLAS {machine['blas']}, "
        f"threads {machine['threads']}; {names or 'nothing set'}"
    )
