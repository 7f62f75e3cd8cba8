"""Sphinx extension of this book: provenance strips, ledger, costs, links; nothing from outside.

It reads what `signseg_utils.publishing` left beside each executed chapter (``*.run.json``,
``*.ledger.json``, ``*.failure.json``) while the book is built, so the notebooks themselves stay
free of timings. Each part has a module of its own; here they are registered.
"""

from typing import Any

import asked
import book_tables
import contents
import data_page
import explorer_page
import failed_pages
import ledger_page
import readers_order
import speed_tables
import theme
import what_holds
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLAB_CELL = """\
!git clone --depth 1 {url} signseg
%cd signseg
%pip install -q -c requirements/constraints.txt -e ".[all]\""""


class ColabCell(SphinxDirective):
    """``{colab-cell}``: what installs the package in Google Colab, with this book's address."""

    def run(self) -> list[nodes.Node]:
        url = self.env.config.html_theme_options.get("repository_url")
        text = COLAB_CELL.format(url=url or "<address of this repository>")
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; called by Sphinx."""
    # Stand-ins for missing pages come before the contents are read.
    app.connect("config-inited", failed_pages.fill_gaps, priority=100)
    app.connect("config-inited", contents.arrange, priority=200)
    app.connect("config-inited", theme.set_defaults, priority=900)
    app.connect("html-page-context", theme.stay_local, priority=950)
    app.connect("source-read", readers_order.in_readers_order)
    app.connect("build-finished", failed_pages.tell, priority=950)
    for name in ("scoreboard.css", "ledger.css", "explorer.css"):
        app.add_css_file(name)
    app.add_js_file("zoom.js")
    app.connect("build-finished", contents.write_figures)
    app.connect("build-finished", ledger_page.downloads)
    app.connect("build-finished", data_page.copy)
    app.connect("build-finished", explorer_page.write_sprites)
    app.connect("build-finished", theme.finish, priority=900)
    app.add_directive("asked", asked.Asked)
    app.add_directive("explorer", explorer_page.Explorer)
    app.add_directive("questions", contents.Questions)
    app.add_directive("scoreboard", what_holds.Scoreboard)
    app.add_directive("figure-data", data_page.FigureData)
    app.add_directive("data-dictionary", data_page.DataDictionary)
    app.add_directive("colab-cell", ColabCell)
    app.add_directive("ledger-table", book_tables.LedgerTable)
    app.add_directive("changes-table", book_tables.ChangesTable)
    app.add_directive("cost-table", book_tables.CostTable)
    app.add_directive("speed-table", speed_tables.SpeedTable)
    app.add_directive("time-table", speed_tables.TimeTable)
    app.add_directive("portable-table", book_tables.PortableTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
