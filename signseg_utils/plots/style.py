"""One look for all figures: a colour, a line style and a marker for each condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

COLOURS = {
    "intact": "#000000",
    "positive": "#D55E00",
    "negative": "#0072B2",
    "random": "#7F7F7F",
    "random_magnitude": "#7F7F7F",
    "random_count": "#B0A000",
}
# For networks, generators and other categories.
CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
# Line styles and markers say the same as the colours, for print and screens without colour.
LINES = {"positive": "-", "negative": "--", "intact": ":"}
MARKERS = {"positive": "o", "negative": "s"}
GROUP_MARKERS = "os^Dv"  # of networks and other categories, beside `CYCLE`

PAGE_WIDTH = 7.2  # inches: the text column of the book

STYLE: Any = {
    "figure.figsize": (PAGE_WIDTH, 3.6),
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=CYCLE),
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "svg.hashsalt": "signseg",  # the same figure gives the same bytes
}


def use_style() -> None:
    """Apply the book's look to figures made from here on."""
    plt.rcParams.update(STYLE)


def reference_line(ax: Axes, y: float, label: str | None = "intact") -> None:
    """A horizontal line at the intact level, as the paper draws its controls."""
    ax.axhline(y, color=COLOURS["intact"], linestyle=":", linewidth=1.2, label=label, zorder=0)


def paints(names: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """A matplotlib colour for each name.

    It is the chosen one (a condition of `COLOURS` or a matplotlib colour), else that of the
    condition with which the name begins, else the next of `CYCLE`.
    """
    found = {}
    for place, name in enumerate(dict.fromkeys(names)):
        wanted = (chosen or {}).get(name, name)
        cycled = CYCLE[place % len(CYCLE)] if wanted == name else wanted
        found[name] = COLOURS.get(wanted.split(" ")[0], cycled)
    return found


def interval_rows(value: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray[Any, Any]:
    """Points and the ends of their intervals as seaborn reads them with `GIVEN`: ``[3 point]``.

    seaborn computes intervals from samples; here they were computed before, over units, so each
    point is given as three rows in this order.
    """
    return np.concatenate([np.atleast_1d(np.asarray(of, dtype=float)) for of in (value, low, high)])


# Of three rows of a point the first is drawn, and the others are the ends of its interval.
GIVEN: Any = {
    "estimator": lambda rows: rows.iloc[0],
    "errorbar": lambda rows: (rows.iloc[1], rows.iloc[2]),
}


def legend_above(ax: Axes) -> None:
    """One legend above all panels of a figure, of what is labelled in the panel ``ax``."""
    handles, labels = ax.get_legend_handles_labels()
    in_a_row = len(labels) if len(labels) < 5 else 3  # what is more goes below
    if labels:
        ax.figure.legend(handles, labels, loc="outside upper center", ncols=in_a_row)
