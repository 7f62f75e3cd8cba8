"""What a notebook and a page show of a figure: with words for those who do not see it."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from signseg_utils.basics.registry import unknown

MIMES = {"svg": "image/svg+xml", "png": "image/png", "webp": "image/webp"}
# Of `savefig`: no date, no version, so that the same figure gives the same bytes.
PLAIN: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "png": {"metadata": {"Software": None}},
    "webp": {"pil_kwargs": {"quality": 80, "method": 6}},
}


@dataclass(frozen=True)
class Shown:
    """A figure as a notebook and a page show it: ``<figure>`` with alt text and caption."""

    html: str
    alt: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


def figure_with_alt(
    figure: Figure, alt: str, caption: str = "", *, kind: str | None = None
) -> Shown:
    """Close a figure and return it with alt text, to stand last in a cell or go to ``display``.

    Parameters
    ----------
    alt
        What the figure shows, in words, for those who do not see it. Not empty.
    caption
        Below the figure; may hold inline HTML such as ``<em>``.
    kind
        ``svg``, ``png`` or ``webp``; by default ``png`` where the figure holds images, else
        ``svg``. WebP loses a little, and keeps many photograph-like images in a tenth of the room.
    """
    if not alt.strip():
        raise ValueError("expected alt text, because some readers hear the figure; got none")
    if kind is None:
        kind = "png" if any(ax.images for ax in figure.axes) else "svg"
    if kind not in MIMES:
        raise ValueError(unknown("kind of figure", kind, tuple(MIMES)))
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "signseg"}):
        figure.savefig(buffer, format=kind, **PLAIN[kind])
    width = round(figure.get_size_inches()[0] * 100)
    plt.close(figure)
    mime = MIMES[kind]
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(" ".join(alt.split()), quote=True)
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    page = (
        f'<figure class="signseg-figure" style="margin:0 0 1em 0">'
        f'<img src="data:{mime};base64,{data}" alt="{text}" '
        f'style="width:100%;max-width:{width}px;height:auto;background:#fff">{below}</figure>'
    )
    return Shown(page, " ".join(alt.split()))
