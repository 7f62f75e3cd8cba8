"""One look for all figures: fixed colours for conditions, grids of images, alt text.

Nothing is computed here: means and intervals come in, a figure goes out.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from signseg_utils.registry import unknown

# Okabe and Ito, "Color universal design" (2008): told apart with any colour vision.
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
# Line styles say the same as the colours, for print and for screens without colour.
_LINES = {"positive": "-", "negative": "--", "intact": ":"}
_MARKERS = {"positive": "o", "negative": "s"}

PAGE_WIDTH = 7.2  # inches: the text column of the book

_STYLE: Any = {
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
    plt.rcParams.update(_STYLE)


def colour(condition: str) -> str:
    """Colour of a condition, by its name or a label that begins with it (``positive 0.5``)."""
    name = condition.split(" ")[0]
    if name not in COLOURS:
        raise KeyError(unknown("condition with a colour", name, tuple(COLOURS)))
    return COLOURS[name]


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
    paint = COLOURS.get(colour, colour)
    ax.plot(
        np.asarray(x),
        np.asarray(mean),
        color=paint,
        linestyle=_LINES.get(colour, "-"),
        marker=marker if marker is not None else _MARKERS.get(colour, ""),
        label=label,
    )
    if (low is None) != (high is None):
        raise ValueError("expected both low and high of the interval, or neither")
    if low is not None and high is not None:
        ax.fill_between(
            np.asarray(x), np.asarray(low), np.asarray(high), color=paint, alpha=0.2, linewidth=0
        )


def reference_line(ax: Axes, y: float, label: str | None = "intact") -> None:
    """A horizontal line at the intact level, as the paper draws its controls."""
    ax.axhline(y, color=COLOURS["intact"], linestyle=":", linewidth=1.2, label=label, zorder=0)


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
        rows, min(len(panels), columns), sharey=shared, squeeze=False,
        figsize=(PAGE_WIDTH, 3.2 if rows == 1 else 2.5 * rows),
    )  # fmt: skip
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for (title, curves), ax in zip(panels.items(), axes.flat, strict=False):
        for place, (condition, (x, found)) in enumerate(curves.items()):
            if place == 0:
                start = float(np.asarray(found.value)[0]) if intact is None else intact
                reference_line(ax, start)
            label = condition.split("_")[0]
            band = (found.value, found.low, found.high)
            curve_with_interval(ax, x, *band, colour=condition, label=label)
        for (name, level), dashes in zip((levels or {}).items(), ("-", "-."), strict=False):
            ax.axhline(level, color=CYCLE[2], linestyle=dashes, linewidth=1, label=name, zorder=0)
        ax.set_title(title, fontsize=9 if axes.shape[1] > 3 else None)  # neighbours do not touch
        ax.set_xlabel(xlabel)
        ax.locator_params(axis="x", nbins=3)  # the panels' ends do not touch
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=_in_a_row(labels))
    return figure


def _in_a_row(labels: Sequence[str]) -> int:
    """How many entries of a legend stand side by side: what is more goes below, as on the page."""
    return len(labels) if len(labels) < 5 else 3


def unit_dots(
    ax: Axes,
    groups: Mapping[str, ArrayLike],
    *,
    estimates: Mapping[str, Any] | None = None,
    colours: Mapping[str, str] | None = None,
    size: float = 14,
) -> None:
    """One column of dots for each group, a dot a unit; a bar with whiskers where estimates are.

    Parameters
    ----------
    groups
        Name to values ``[unit]``.
    estimates
        Name to an object with ``value``, ``low``, ``high`` (`stats.Estimate`).
    colours
        Name to a condition of `COLOURS` or a matplotlib colour; by default the group's own name
        where it is a condition, else the colour cycle.
    """
    for column, (name, values) in enumerate(groups.items()):
        wanted = (colours or {}).get(name, name)
        own = wanted.split(" ")[0]
        paint = COLOURS.get(own, wanted if colours and name in colours else CYCLE[column % 8])
        dots = np.asarray(values, dtype=float)
        # Spread sideways in a fixed order: no randomness in a figure.
        sideways = np.linspace(-0.16, 0.16, len(dots))[np.arange(len(dots)) * 7 % max(len(dots), 1)]
        ax.scatter(column + sideways, dots, s=size, color=paint, alpha=0.55, linewidths=0)
        if estimates is not None and name in estimates:
            found = estimates[name]
            ax.plot([column - 0.28, column + 0.28], [found.value] * 2, color=paint, linewidth=2.4)
            ax.plot([column + 0.28] * 2, [found.low, found.high], color=paint, linewidth=1.2)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_xlim(-0.5, len(groups) - 0.5)


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
    for (title, groups), ax in zip(panels.items(), axes[0], strict=True):
        paints = dict(zip(groups, colours, strict=True))
        found = None if estimates is None else estimates[title]
        unit_dots(ax, groups, estimates=found, colours=paints, size=size)
        reference_line(ax, level, label=None)
        ax.set_title(title)
        ax.tick_params(axis="x", labelsize=8 if len(groups) > 3 else 10)
        if len(panels) * sum(map(len, groups)) > 100:  # side by side they would touch
            ax.tick_params(axis="x", rotation=60)
    axes[0, 0].set_ylabel(ylabel)
    return figure


def ranked_dots(
    ax: Axes,
    values: ArrayLike,
    names: Sequence[str],
    *,
    ends: int = 3,
    colours: tuple[str, str] = ("positive", "negative"),
    size: float = 14,
) -> None:
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
    _check_labels("unit", names, len(heights))
    order = np.argsort(heights, kind="stable")
    above, below = (COLOURS.get(name, name) for name in colours)
    paints = [above if heights[unit] > 0 else below for unit in order]
    ax.scatter(np.arange(len(order)), heights[order], s=size, color=paints, linewidths=0)
    for words, corner, side, edge, units in (
        ("highest: ", (0.01, 0.99), "left", "top", order[::-1][:ends]),
        ("lowest: ", (0.99, 0.01), "right", "bottom", order[:ends]),
    ):
        text = words + ", ".join(names[unit] for unit in units)
        ax.text(
            *corner, text, ha=side, va=edge, fontsize=9, color="#444444", transform=ax.transAxes
        )
    ax.axhline(0, color="#999999", linewidth=1, zorder=0)
    ax.set_xlim(-1, len(order))


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
    ax.scatter(first, second, s=22, color=paint, alpha=0.75, linewidths=0, label=label)
    for name, left, up in zip(names or (), first, second, strict=False):
        ax.annotate(
            name, (left, up), xytext=(4, 3), textcoords="offset points", fontsize=9, color="#444444"
        )
    if identity:
        ax.axline((0, 0), slope=1, color="#999999", linewidth=1, linestyle="--", zorder=0)


def scatter_panels(
    panels: Mapping[str, ArrayLike], y: ArrayLike, *, ylabel: str, titles: Mapping[str, str]
) -> Figure:
    """The same ``y [unit]`` against several ``x [unit]``, side by side.

    Parameters
    ----------
    panels
        Label of the x axis to values ``[unit]``.
    titles
        Labels to what stands above each panel; a panel without is left out.
    """
    panels = {name: x for name, x in panels.items() if name in titles}
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False)
    for (name, x), ax in zip(panels.items(), axes[0], strict=True):
        scatter(ax, x, y)
        ax.set_title(titles[name], fontsize=9 if len(panels) > 3 else None)
        ax.set_xlabel(name)
        ax.locator_params(axis="x", nbins=3)  # the panels' ends do not touch
    axes[0, 0].set_ylabel(ylabel)
    return figure


def beside_reported(found: Any, *, xlabel: str, ylabel: str, zero: float = 0.0) -> Figure:
    """Curves with their intervals and what a source reports, as diamonds, side by side by sign.

    Parameters
    ----------
    found
        Data frame by (sign, x) with columns ``here``, ``low``, ``high`` and ``paper``, such as
        `signseg_utils.analysis.across_networks.beside_reported`. NaN draws no diamond.
    zero
        Where a dotted line marks no effect.
    """
    signs = list(dict.fromkeys(found.index.get_level_values(0)))
    figure, axes = plt.subplots(1, len(signs), sharey=True, squeeze=False)
    for ax, sign in zip(axes[0], signs, strict=True):
        row = found.loc[sign]
        band = row["here"], row["low"], row["high"]
        curve_with_interval(ax, row.index, *band, colour=sign, label="here")
        ax.plot(row.index, row["paper"], "D", color=COLOURS["intact"], label="paper")
        reference_line(ax, zero, None)
        ax.set(title=f"{sign} ablation", xlabel=xlabel)
        ax.legend()
    axes[0, 0].set_ylabel(ylabel)
    return figure


def small_studies(
    ax: Axes, studies: Any, levels: Mapping[str, float] | None = None, bins: int = 40
) -> None:
    """Histogram of what smaller studies find, by what each would have concluded.

    Parameters
    ----------
    studies
        With ``value``, ``low``, ``high`` [study], such as `stats.SmallerSamples`.
    levels
        Label to a value that a line marks; the first is solid, others are dashed.
    """
    values, sure = np.asarray(studies.value), np.asarray(studies.low) > 0
    wrong = np.asarray(studies.high) < 0
    parts = {
        "interval above 0": values[sure],
        "holds 0": values[~sure & ~wrong],
        "below 0": values[wrong],
    }
    kept = {label: part for label, part in parts.items() if len(part)}
    paints = [CYCLE[list(parts).index(label)] for label in kept]
    pad = 1e-6 * max(1.0, float(np.abs(values).max()))
    if np.ptp(values) < pad:  # studies of all units are alike but for rounding
        bins = 1
    edges = np.linspace(values.min() - pad, values.max() + pad, bins + 1).tolist()
    ax.hist(list(kept.values()), bins=edges, stacked=True, color=paints, label=list(kept))
    for place, (label, value) in enumerate((levels or {}).items()):
        style = "--" if place else "-"
        ax.axvline(value, color=COLOURS["intact"], linestyle=style, linewidth=1.4, label=label)
    ax.figure.legend(loc="outside upper center", ncols=len(kept) + len(levels or {}))


def forest(ax: Axes, effects: Mapping[str, Mapping[str, Any]], zero: float = 0.0) -> None:
    """Effects with their intervals, one below the other, several groups (networks) in each row.

    Parameters
    ----------
    effects
        Name of the effect, top first, to name of the group, to an object with ``value``, ``low``,
        ``high`` (`signseg_utils.analysis.stats.Estimate`).
    zero
        Where a line marks no effect.
    """
    groups = list(dict.fromkeys(group for row in effects.values() for group in row))
    for place, group in enumerate(groups):
        shift = 0.5 * (place - (len(groups) - 1) / 2) / max(len(groups), 1)
        rows = [(i, row[group]) for i, row in enumerate(effects.values()) if group in row]
        values = np.array([found.value for _, found in rows])
        ends = np.array([[found.low, found.high] for _, found in rows])
        ax.errorbar(
            values,
            [i + shift for i, _ in rows],
            xerr=np.abs(ends.T - values),
            fmt="os^Dv"[place % 5],
            color=CYCLE[place % len(CYCLE)],
            label=group,
        )
    ax.axvline(zero, color="#999999", linewidth=1, zorder=0)
    ax.set_yticks(range(len(effects)), list(effects))
    ax.set_ylim(len(effects) - 0.5, -0.5)
    if any(groups):  # one group without a name needs no legend
        ax.figure.legend(loc="outside upper center", ncols=_in_a_row(groups))


def image_grid(
    images: Any,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    *,
    captions: Sequence[Sequence[str]] | None = None,
    title: str | None = None,
    width: float = PAGE_WIDTH,
    label_width: float = 1.1,
) -> Figure:
    """Images in rows and columns.

    Parameters
    ----------
    images
        ``[row, column, 3, height, width]`` or ``[row, column, height, width, 3]`` (also one channel
        or none), floats in 0..1 or uint8; or rows of images, where None leaves a place empty.
    captions
        Short text above each image, ``[row][column]``.
    width
        Of the figure, inches. Columns share what the row labels leave.
    """
    rows = [[_pixels(image) for image in row] for row in images]
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("expected at least one image; got none")
    _check_labels("row", row_labels, len(rows))
    _check_labels("column", column_labels, columns)
    first = next((i for row in rows for i in row if i is not None), np.ones((1, 1, 3)))
    left = label_width if row_labels else 0.0
    cell = min((width - left) / columns, 1.6)
    aspect = first.shape[0] / first.shape[1]
    above = (0.22 if captions else 0.03) / cell
    top = (0.3 if column_labels else 0.05) + (0.3 if title else 0.0)
    height = len(rows) * cell * (aspect + above) + top
    figure = plt.figure(figsize=(left + columns * cell, height), layout="none")
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            bottom = height - top - (r + 1) * cell * (aspect + above)
            box = (
                (left + (c + 0.02) * cell) / (left + columns * cell),
                bottom / height,
                0.96 * cell / (left + columns * cell),
                0.96 * cell * aspect / height,
            )
            ax = figure.add_axes(box)
            ax.axis("off")
            if image is not None:
                ax.imshow(image, vmin=0, vmax=1)
            if captions is not None:
                ax.set_title(captions[r][c], fontsize=9, pad=2)
            if r == 0 and column_labels:
                ax.text(
                    0.5,
                    1.0 + (above + 0.06) / aspect,
                    column_labels[c],
                    transform=ax.transAxes,
                    ha="center",
                    va="bottom",
                    fontsize=10,
                )
            if c == 0 and row_labels:
                ax.text(
                    -0.06,
                    0.5,
                    _wrapped(row_labels[r]),
                    transform=ax.transAxes,
                    ha="right",
                    va="center",
                    fontsize=10,
                )
    if title:
        figure.text(0.5, 1 - 0.04 / height, title, ha="center", va="top", fontsize=11)
    return figure


def add_boxes(figure: Figure, boxes: ArrayLike, *, colour: str = "white") -> None:
    """Draw a box on each of the first images of an `image_grid`, in reading order.

    ``boxes`` [image, 4 or 5]: x0 y0 x1 y1 in pixel edges, and line width (default 1) where a fifth
    number is given; NaN where there is none.
    """
    for ax, (x0, y0, x1, y1, *thickness) in zip(figure.axes, np.asarray(boxes), strict=False):
        if np.isnan(x0):
            continue
        corner, wide, high = (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0  # pixel centres are whole
        width = thickness[0] if thickness else 1.0
        ax.add_patch(
            Rectangle(corner, wide, high, fill=False, edgecolor=colour, linewidth=width)
        )


def ablation_panel(
    images: Any,
    conditions: Sequence[tuple[str, float]],
    row_labels: Sequence[str],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    width: float = PAGE_WIDTH,
) -> Figure:
    """Preferred images from all positive inputs ablated, over intact, to all negative ablated.

    Parameters
    ----------
    images
        ``[row, condition, ...]`` as in `image_grid`.
    conditions
        ``(sign, alpha)`` for each column of ``images``, in any order: ``positive`` and
        ``negative``, and the intact one, ``("none", 0)``. Columns are put in order here.
    row_labels
        One for each unit.
    captions
        Such as activations, ``[row][condition]``.
    """
    order = panel_order(conditions)
    signs = [conditions[place][0] for place in order]
    heads = [
        "intact" if s == "none" else f"{conditions[p][1]:g}"
        for s, p in zip(signs, order, strict=True)
    ]
    figure = image_grid(
        [[row[place] for place in order] for row in images],
        row_labels,
        heads,
        captions=None if captions is None else [[row[p] for p in order] for row in captions],
        title=" ",
        width=width,
        label_width=0.95,
    )
    total, height = figure.get_size_inches()
    cell = (total - 0.95) / len(order)
    heading = 1 - 0.06 / height
    for sign, text in (
        ("positive", "positive inputs ablated"),
        ("negative", "negative inputs ablated"),
    ):
        places = [column for column, name in enumerate(signs) if name == sign]
        if not places:
            continue
        middle = (0.95 + cell * (places[0] + places[-1] + 1) / 2) / total
        figure.text(middle, heading, text, ha="center", va="top", color=COLOURS[sign], fontsize=11)
        ends = [
            (0.95 + cell * (places[0] + 0.05)) / total,
            (0.95 + cell * (places[-1] + 0.95)) / total,
        ]
        figure.add_artist(Line2D(ends, [1 - 0.27 / height] * 2, color=COLOURS[sign], linewidth=1.6))
    for column, ax in enumerate(figure.axes[: len(order)]):
        if signs[column] != "none":
            ax.texts[0].set_color(COLOURS[signs[column]])
    return figure


def panel_order(conditions: Sequence[tuple[str, float]]) -> list[int]:
    """Places of the conditions from positive alpha 1 over intact to negative alpha 1."""
    for sign, _ in conditions:
        if sign not in ("positive", "negative", "none"):
            raise ValueError(unknown("sign in a panel", sign, ("positive", "negative", "none")))
    place = {"positive": -1.0, "none": 0.0, "negative": 1.0}
    return sorted(range(len(conditions)), key=lambda i: place[conditions[i][0]] * conditions[i][1])


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


def _pixels(image: Any) -> np.ndarray[Any, Any] | None:
    """An image as ``[height, width, 3]`` in 0..1."""
    if image is None:
        return None
    if hasattr(image, "detach"):
        image = image.detach().cpu().float() if image.is_floating_point() else image.cpu()
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255.0
    pixels = np.asarray(pixels, dtype=np.float32)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim == 3 and pixels.shape[-1] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            "expected an image [3, height, width] or [height, width, 3]; "
            f"got shape {np.asarray(image).shape}"
        )
    return np.broadcast_to(pixels.clip(0, 1), (*pixels.shape[:2], 3))


def _check_labels(which: str, labels: Sequence[str] | None, count: int) -> None:
    if labels is not None and len(labels) != count:
        raise ValueError(f"expected {count} {which} labels; got {len(labels)}")


def _wrapped(label: str, width: int = 12) -> str:
    """A row label in lines of about ``width`` characters, broken at spaces only."""
    lines: list[str] = []
    for word in label.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
