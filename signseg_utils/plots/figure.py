"""What a notebook and a page show of a figure: with words for those who do not see it."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from signseg_utils.registry import unknown


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
        ``svg`` or ``png``; by default ``png`` where the figure holds images, else ``svg``.
    """
    if not alt.strip():
        raise ValueError("expected alt text, because some readers hear the figure; got none")
    if kind is None:
        kind = "png" if any(ax.images for ax in figure.axes) else "svg"
    if kind not in ("svg", "png"):
        raise ValueError(unknown("kind of figure", kind, ("svg", "png")))
    buffer = io.BytesIO()
    # No date, no version: the same figure gives the same bytes.
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "signseg"}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    width = round(figure.get_size_inches()[0] * 100)
    plt.close(figure)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(" ".join(alt.split()), quote=True)
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    page = (
        f'<figure class="signseg-figure" style="margin:0 0 1em 0">'
        f'<img src="data:{mime};base64,{data}" alt="{text}" '
        f'style="width:100%;max-width:{width}px;height:auto;background:#fff">{below}</figure>'
    )
    return Shown(page, " ".join(alt.split()))
