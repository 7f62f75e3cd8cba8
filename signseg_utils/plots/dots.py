"""A dot a unit: groups side by side, units by rank, one measure against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from signseg_utils.plots.style import (
    COLOURS,
    CYCLE,
    GIVEN,
    PAGE_WIDTH,
    interval_rows,
    paints,
    reference_line,
)

MOST_DOTS, FEW_DOTS = 600, 200


def unit_dots(
    ax: Axes,
    groups: Mapping[str, ArrayLike],
    *,
    estimates: Mapping[str, Any] | None = None,
    colours: Mapping[str, str] | None = None,
    size: float = 14,
) -> None:
    """One column of dots for each group, a dot a unit; a bar with whiskers where estimates are.

    Of a group of more than `MOST_DOTS` units every so-manieth by rank is drawn, `FEW_DOTS` in all:
    among more, single dots cannot be told apart.

    Parameters
    ----------
    groups
        Name to values ``[unit]``.
    estimates
        Name to an object with ``value``, ``low``, ``high`` (`stats.Estimate`).
    colours
        Name to a condition of `COLOURS` or a matplotlib colour; by default the group's own name
        where it is a condition, else the colour cycle.
    size
        Area of a dot, square points.
    """
    palette = paints(groups, colours)
    # seaborn draws the whole figure now, and again lays out all dots that it has, which takes long
    # and is for nothing, because it does so whenever the figure is drawn.
    figure: Any = ax.get_figure(root=True)
    figure.set_visible(False)
    # Beside each other as far as there is room; dots of a crowd beyond it lie at its edge.
    sns.swarmplot(
        {name: _thinned(np.asarray(values, dtype=float)) for name, values in groups.items()},
        palette=palette,
        size=size**0.5,
        alpha=0.55,
        linewidth=0,
        warn_thresh=1,
        ax=ax,
    )
    figure.set_visible(True)
    for dots in ax.collections:
        if "draw" in vars(dots):
            _laid_out_once(ax, dots)
    found = {name: e for name, e in (estimates or {}).items() if name in groups}
    if found:
        sns.pointplot(
            {name: interval_rows(e.value, e.low, e.high) for name, e in found.items()},
            order=list(groups),
            palette=palette,
            linestyle="none",
            marker="_",
            markersize=26,
            markeredgewidth=2.4,
            err_kws={"linewidth": 1.4},
            ax=ax,
            **GIVEN,
        )


def _laid_out_once(ax: Axes, dots: Any) -> None:
    """Let seaborn lay out a swarm when its axes have changed, not at every drawing."""
    anew, last = dots.draw, None

    def draw(renderer: Any) -> None:
        nonlocal last
        now = (*ax.bbox.bounds, *ax.get_xlim(), *ax.get_ylim(), ax.figure.dpi)
        if now == last:
            type(dots).draw(dots, renderer)
        else:
            anew(renderer)
        last = now

    dots.draw = draw


def _thinned(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if len(values) <= MOST_DOTS:
        return values
    return np.sort(values)[np.linspace(0, len(values) - 1, FEW_DOTS).round().astype(int)]


def dot_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    ylabel: str,
    level: float,
    colours: Sequence[str],
    estimates: Mapping[str, Mapping[str, Any]] | None = None,
    size: float = 14,
) -> Figure:
    """One panel of `unit_dots` for each network, side by side, with a dotted line at ``level``.

    Parameters
    ----------
    panels
        Title to group to values ``[unit]``; the same groups in every panel.
    colours
        One for each group, in order: conditions of `COLOURS` or matplotlib colours.
    estimates
        Title to group to an object with ``value``, ``low``, ``high``.
    """
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False)
    crowded = len(panels) * sum(map(len, next(iter(panels.values())))) > 100
    for (title, groups), ax in zip(panels.items(), axes[0], strict=True):
        paint = dict(zip(groups, colours, strict=True))
        found = None if estimates is None else estimates[title]
        unit_dots(ax, groups, estimates=found, colours=paint, size=size)
        reference_line(ax, level, label=None)
        ax.set_title(title, fontsize=9 if len(panels) > 3 else None)  # neighbours do not touch
        ax.tick_params(axis="x", labelsize=8 if len(groups) > 3 else 10)
        if crowded:  # side by side the names would touch
            ax.tick_params(axis="x", rotation=60)
    axes[0, 0].set_ylabel(ylabel)
    return figure


def measure_panels(
    measures: Mapping[str, Mapping[str, ArrayLike]],
    *,
    estimates: Mapping[str, Mapping[str, Any]] | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """One panel of `unit_dots` for each measure, each with a scale of its own.

    Parameters
    ----------
    measures
        What is measured, the label of the y axis, to group to values ``[unit]``.
    estimates
        The same labels to group to an object with ``value``, ``low``, ``high``.
    colours
        As in `unit_dots`.
    """
    width = min(PAGE_WIDTH, 3.2 * len(measures))
    figure, axes = plt.subplots(1, len(measures), squeeze=False, figsize=(width, 3.2))
    for ax, (label, groups) in zip(axes[0], measures.items(), strict=True):
        found = None if estimates is None else estimates[label]
        unit_dots(ax, groups, estimates=found, colours=colours)
        ax.set(xlabel="", ylabel=label)
    return figure


def ranked_dots(
    values: ArrayLike,
    names: Sequence[str],
    *,
    ylabel: str = "",
    ends: int = 3,
    colours: tuple[str, str] = ("positive", "negative"),
    size: float = 14,
) -> Figure:
    """One dot a unit from the lowest value to the highest, with a line at zero.

    Parameters
    ----------
    values, names
        ``[unit]`` each.
    ends
        So many of the lowest and of the highest units are named, in the corners that a rising row
        of dots leaves free.
    colours
        Of units above zero and of the others: conditions of `COLOURS` or matplotlib colours.
    """
    heights = np.asarray(values, dtype=float)
    if len(names) != len(heights):
        raise ValueError(f"expected {len(heights)} unit labels; got {len(names)}")
    figure, ax = plt.subplots()
    order = np.argsort(heights, kind="stable")
    ranked = heights[order]
    above, below = (COLOURS.get(name, name) for name in colours)
    sns.scatterplot(
        x=np.arange(len(ranked)),
        y=ranked,
        hue=ranked > 0,
        palette={True: above, False: below},
        s=size,
        linewidth=0,
        legend=False,
        ax=ax,
    )
    for words, corner, side, edge, units in (
        ("highest: ", (0.01, 0.99), "left", "top", order[::-1][:ends]),
        ("lowest: ", (0.99, 0.01), "right", "bottom", order[:ends]),
    ):
        text = words + ", ".join(names[unit] for unit in units)
        ax.text(
            *corner, text, ha=side, va=edge, fontsize=9, color="#444444", transform=ax.transAxes
        )
    ax.axhline(0, color="#999999", linewidth=1, zorder=0)
    ax.set(xlim=(-1, len(order)), xlabel="unit, by rank", ylabel=ylabel)
    return figure


def scatter(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    colour: str = CYCLE[0],
    label: str | None = None,
    names: Sequence[str] | None = None,
    identity: bool = False,
) -> None:
    """Dots, one a unit, with their names beside them if given and the line x = y if asked for."""
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    paint = COLOURS.get(colour, colour)
    sns.scatterplot(
        x=first,
        y=second,
        s=22,
        color=paint,
        alpha=0.75,
        linewidth=0,
        label=label,
        legend=False,
        ax=ax,
    )
    for name, left, up in zip(names or (), first, second, strict=False):
        ax.annotate(
            name, (left, up), xytext=(4, 3), textcoords="offset points", fontsize=9, color="#444444"
        )
    if identity:
        ax.axline((0, 0), slope=1, color="#999999", linewidth=1, linestyle="--", zorder=0)


def scatter_panels(
    panels: Mapping[str, ArrayLike],
    y: ArrayLike,
    *,
    ylabel: str,
    titles: Mapping[str, str],
    identity: bool = False,
) -> Figure:
    """The same ``y [unit]`` against several ``x [unit]``, side by side.

    Parameters
    ----------
    panels
        Label of the x axis to values ``[unit]``.
    titles
        Labels to what stands above each panel; a panel without is left out.
    identity
        Draw the line x = y.
    """
    shown = {name: x for name, x in panels.items() if name in titles}
    figure, axes = plt.subplots(1, len(shown), sharey=True, squeeze=False)
    for ax, (name, x) in zip(axes[0], shown.items(), strict=True):
        scatter(ax, x, y, identity=identity)
        ax.set_title(titles[name], fontsize=9 if len(shown) > 3 else None)
        ax.set_xlabel(name)
        ax.locator_params(axis="x", nbins=3)  # the panels' ends do not touch
    axes[0, 0].set_ylabel(ylabel)
    return figure
