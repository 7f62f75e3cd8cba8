"""Grids of images: units in rows, conditions in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from signseg_utils.basics.registry import unknown
from signseg_utils.plots.style import COLOURS, PAGE_WIDTH


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
                _write(ax, 0.5, 1.0 + (above + 0.06) / aspect, column_labels[c], "center", "bottom")
            if c == 0 and row_labels:
                _write(ax, -0.06, 0.5, _wrapped(row_labels[r]), "right", "center")
    if title:
        figure.text(0.5, 1 - 0.04 / height, title, ha="center", va="top", fontsize=11)
    return figure


def _write(ax: Axes, x: float, y: float, text: str, across: str, along: str) -> None:
    """A label at a place in units of an image's side; ``across``, ``along``: how it is aligned."""
    ax.text(x, y, text, transform=ax.transAxes, ha=across, va=along, fontsize=10)


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
        ax.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=colour, linewidth=width))


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
        room = cell * len(places)  # inches; over one column the words would be cut off
        size = min(11, 11 * room / 1.8)
        figure.text(
            middle, heading, text, ha="center", va="top", color=COLOURS[sign], fontsize=size
        )
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


def _wrapped(label: str, width: int = 11) -> str:
    """A row label in lines of about ``width`` characters, broken at spaces only."""
    lines: list[str] = []
    for word in label.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
