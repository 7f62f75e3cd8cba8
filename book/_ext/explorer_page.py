"""The page on which a reader turns the signs of a unit: images and numbers that were made before.

`signseg_utils.publishing.explorer` makes them of results that ship. Without a script the page
shows a panel of each world; ``explorer.js`` puts the controls in its place.
"""

import html
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from signseg_utils.publishing import explorer, stories

PAGE = "explorer"
# What is told beside an image, and what it is, in the words of the chapters.
MEASURES = {
    "activation": "how strongly the unit, without those inputs, answers this image",
    "similarity": "how alike this image is to those of the intact unit, to networks (cosine)",
    "recognition": "probability that other networks give to the unit's class",
    "objectness": "how sure a detector is that there is an object",
}
CONTROLS = {
    "world": "world",
    "network": "network",
    "generator": "images made by",
    "unit": "unit",
}

logger = logging.getLogger(__name__)


@cache
def shown() -> tuple[tuple[dict[str, Any], Path], ...]:
    """Worlds with their folders of sprites; made once a build at most."""
    return tuple(explorer.worlds(logger.info))


def as_data(worlds: list[dict[str, Any]]) -> str:
    """JSON for a script element."""
    told = [
        {"name": stories.world(one["zoo"]), **{k: v for k, v in one.items() if k != "plain"}}
        for one in worlds
    ]
    return json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")


def tools() -> str:
    """HTML of controls, stage and what stands beside; hidden until its script has begun."""
    selects = "".join(
        f'<label>{label} <select name="{name}"></select></label>'
        for name, label in CONTROLS.items()
    )
    rows = "".join(
        f'<tr data-measure="{name}"><th scope="row">{name}<small>{html.escape(words)}</small></th>'
        '<td class="now"></td><td class="intact"></td><td class="course"></td></tr>'
        for name, words in MEASURES.items()
    )
    return f"""<div id="explorer" hidden>
<form aria-label="Choose a unit and what is taken from it">
{selects}
<div class="turn"><label for="strength">inputs taken away</label>
<input type="range" id="strength" name="strength" step="1" min="0">
<div class="ends" aria-hidden="true"><span>all positive</span><span>none</span>
<span>all negative</span></div></div>
</form>
<div class="stage"><figure><canvas width="384" height="384" role="img"></canvas>
<figcaption aria-live="polite"></figcaption></figure>
<table><caption>Of this image</caption><thead><tr><th scope="col">measure</th>
<th scope="col">now</th><th scope="col">intact</th><th scope="col">from all positive to all
negative</th></tr></thead><tbody>{rows}</tbody></table></div>
<h2>Beside it, at this strength</h2>
<ul class="beside"></ul>
</div>"""


class Explorer(SphinxDirective):
    """``{explorer}``: units, networks and worlds to choose from; a panel of each without script."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        worlds = [world for world, _ in shown()]
        if not worlds:
            text = "<p>No searches are here whose images could be shown.</p>"
            return [nodes.raw("", text, format="html")]
        script = "../" * self.env.docname.count("/") + "_static/explorer.js"
        panels = "".join(world["plain"] for world in worlds)
        text = (
            f'{tools()}<details id="explorer-plain" open><summary>Some units at a glance'
            f"</summary>{panels}</details>"
            f'<script type="application/json" id="explorer-data">{as_data(worlds)}</script>'
            f'<script src="{script}" defer></script>'
        )
        return [nodes.raw("", text, format="html")]


def write_sprites(app: Sphinx, error: Exception | None) -> None:
    """Put the sprites beside the explorer's page."""
    page = Path(app.outdir) / "book" / f"{PAGE}.html"
    if error or app.builder.format != "html" or not page.exists():
        return
    target = page.with_suffix("")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for _, folder in shown():
        for sprite in folder.glob("*.webp"):
            shutil.copyfile(sprite, target / sprite.name)
