"""What readers ask first, and where the answer stands: one click from the front page.

A question is left out where the book has not the page that answers it.
"""

import html
from pathlib import Path

import what_holds
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from signseg_utils.publishing import stories

# Question; chapter that answers it; page and place, from the folder of the front page.
ASKED = (
    (
        "Does it hold in ImageNet networks?",
        "16_does_the_method_matter",
        "chapters/16_does_the_method_matter.html",
    ),
    ("What happens with tanh?", "05_rectification", "chapters/05_rectification.html"),
    (
        "Is it the sign, or does any damage do it?",
        "03_the_ablation_sweep",
        f"chapters/03_the_ablation_sweep.html#{what_holds.AT_RANDOM}",
    ),
    (
        "What do real V4 neurons say?",
        "12_signs_in_neuron_models",
        f"#{what_holds.anchor(stories.NEURONS)}",
    ),
    ("Which claims failed?", "", "ledger.html#verdict=failed"),
)


class Asked(SphinxDirective):
    """``{asked}``: the questions, each a link to its answer."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        there = {row.chapter.name for row in what_holds.rows_of(Path(self.env.srcdir))}
        rows = "".join(
            f'<li><a href="{link}">{html.escape(question)}</a></li>'
            for question, chapter, link in ASKED
            if there and (chapter in there or not chapter)
        )
        text = f'<ul class="asked" aria-label="Asked first">{rows}</ul>' if rows else ""
        return [nodes.raw("", text, format="html")]
