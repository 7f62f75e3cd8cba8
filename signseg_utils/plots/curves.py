"""Curves with the bands of their intervals, one panel or many; the intervals are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from signseg_utils.plots.style import (
    COLOURS,
    CYCLE,
    GIVEN,
    LINES,
    MARKERS,
    PAGE_WIDTH,
    interval_rows,
    legend_above,
    reference_line,
)


def curve_with_interval(
    ax: Axes,
    x: ArrayLike,
    mean: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    *,
    colour: str,
    label: str | None = None,
    marker: str | None = None,
) -> None:
    """Draw a curve and a band from ``low`` to ``high``, all ``[point]``.

    ``colour`` is a condition of `COLOURS` (which also sets line style and marker) or a matplotlib
    colour.
    """
    if (low is None) != (high is None):
        raise ValueError("expected both low and high of the interval, or neither")
    x, mean = np.asarray(x, dtype=float), np.asarray(mean, dtype=float)
    sns.lineplot(
        x=x if low is None or high is None else np.tile(x, 3),
        y=mean if low is None or high is None else interval_rows(mean, low, high),
        color=COLOURS.get(colour, colour),
        linestyle=LINES.get(colour, "-"),
        marker=MARKERS.get(colour, "") if marker is None else marker,
        markeredgewidth=0,
        label=label,
        legend=False,
        sort=False,
        err_kws={"alpha": 0.2, "linewidth": 0},
        ax=ax,
        **({"estimator": None} if low is None else GIVEN),
    )


def curve_panels(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, Any]]],
    *,
    ylabel: str,
    xlabel: str = r"ablation $\alpha$",
    shared: bool = True,
    columns: int = 4,
    levels: Mapping[str, float] | None = None,
    intact: float | None = None,
) -> Figure:
    """One panel of curves for each network, side by side, under one legend.

    Parameters
    ----------
    panels
        Title to condition to (x ``[point]``, an object with ``value``, ``low``, ``high``
        ``[point]``, such as `signseg_utils.analysis.stats.Curve`). The first point of the first
        condition is the intact unit: a dotted line is drawn at its level.
    shared
        All panels have the same scale.
    columns
        Panels in a row; what is more goes below.
    levels
        Name to value of levels to compare with, at most two: a thin line each, in all panels.
    intact
        Where the dotted line lies instead.
    """
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows,
        min(len(panels), columns),
        sharey=shared,
        squeeze=False,
        figsize=(PAGE_WIDTH, 3.2 if rows == 1 else 2.5 * rows),
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        _, first = next(iter(curves.values()))
        reference_line(ax, float(np.asarray(first.value)[0]) if intact is None else intact)
        for condition, (x, found) in curves.items():
            band, label = (found.value, found.low, found.high), condition.split("_")[0]
            curve_with_interval(ax, x, *band, colour=condition, label=label)
        for (name, level), dashes in zip((levels or {}).items(), ("-", "-."), strict=False):
            ax.axhline(level, color=CYCLE[2], linestyle=dashes, linewidth=1, label=name, zorder=0)
        ax.set_title(title, fontsize=9 if axes.shape[1] > 3 else None)  # neighbours do not touch
        ax.set_xlabel(xlabel)
        ax.locator_params(axis="x", nbins=3)  # the panels' ends do not touch
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    legend_above(axes[0, 0])
    return figure


def _measured_at(ax: Axes, points: NDArray[np.float64]) -> None:
    """A tick at each point; the axis is straight up to the first above 0, logarithmic beyond."""
    ax.set_xscale("symlog", linthresh=float(points[points > 0].min()))
    ax.set_xticks(points, [f"{point:g}" for point in points])


def named_curves(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, Any]]],
    *,
    xlabel: str,
    ylabel: str,
    columns: int = 2,
    level: float | None = None,
    points: ArrayLike | None = None,
    colours: Mapping[str, str] | None = None,
    shared: bool = False,
    marker: str | None = None,
) -> Figure:
    """Panels of curves that are no ablations, such as one for each method, in the order of `CYCLE`.

    Parameters
    ----------
    panels
        Title, empty for none, to name to (x ``[point]``, an object with ``value``, ``low``,
        ``high`` ``[point]``).
    columns
        Panels in a row; what is more goes below.
    level
        Where a dotted line lies to compare with.
    points
        Where measurements lie that are few and unevenly spread: a marker and a tick at each, on
        an axis that is straight up to the first above 0 and logarithmic beyond.
    colours
        Name to a condition of `COLOURS`, whose line style it takes too, or a matplotlib colour, in
        place of `CYCLE`.
    shared
        All panels have the same scale.
    marker
        At each point of a curve, by default where ``points`` are given.
    """
    if points is not None:
        marker = marker or "o"
    across = min(len(panels), columns)
    rows = -(-len(panels) // across)
    figure, axes = plt.subplots(
        rows,
        across,
        sharex=True,
        sharey=shared,
        squeeze=False,
        figsize=(PAGE_WIDTH, 2.6 * rows + 0.7),
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        for paint, (name, (x, found)) in zip(CYCLE, curves.items(), strict=False):
            curve_with_interval(
                ax,
                x,
                found.value,
                found.low,
                found.high,
                colour=(colours or {}).get(name, paint),
                label=name,
                marker=marker,
            )
        if level is not None:
            reference_line(ax, level, label=None)
        if points is not None:
            _measured_at(ax, np.asarray(points, dtype=float))
        ax.set_title(title)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    legend_above(axes[0, 0])
    return figure
