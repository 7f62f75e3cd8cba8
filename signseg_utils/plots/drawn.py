"""What a figure draws, as a table: a row a dot, point of a curve, interval or level.

Read from the finished figure, so that the table holds what a reader sees and nothing else. Images
are no rows: the picture itself is their data.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import AxLine, Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

COLUMNS = (
    "panel", "mark", "series", "name", "x", "x_low", "x_high", "y", "y_low", "y_high",
    "x_label", "y_label",
)  # fmt: skip
MARKS = ("curve", "point", "dot", "bar", "level")

Row = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A whisker or a band at one place: along axis ``of`` (0: x, 1: y), at ``at`` of the other."""

    of: int
    at: float
    low: float
    high: float


def table(figure: Figure) -> list[Row]:
    """Rows of `COLUMNS`, in the order of panels and drawing; empty for a figure of images only.

    Where an axis shows names, ``x`` or ``y`` is the name: how far a dot stands beside the middle
    of its column means nothing. What has no interval leaves its columns empty.
    """
    panels = [(place, ax) for place, ax in enumerate(figure.axes) if not ax.images]
    return [row for place, ax in panels for row in _panel(ax, place)]


def as_csv(rows: Sequence[Row]) -> str:
    """Rows of `table` as text, numbers with ten digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _text(value) for key, value in row.items()})
    return text.getvalue()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())  # names on an axis may be broken into lines
    return f"{float(value):.10g}" if np.isfinite(value) else ""


def _panel(ax: Axes, place: int) -> Iterator[Row]:
    found = [*_lines(ax), *_dots(ax), *_bars(ax)]
    names = [_names(ax.xaxis), _names(ax.yaxis)]
    labels = {"x_label": _label(ax, "x"), "y_label": _label(ax, "y")}
    panel = ax.get_title() or ("" if len(ax.figure.axes) == 1 else str(place + 1))
    for row in found:
        for key, known in zip("xy", names, strict=True):
            row[key] = _named(row[key], known)
        yield {**dict.fromkeys(COLUMNS, ""), "panel": panel, **row, **labels}


def _lines(ax: Axes) -> Iterator[Row]:
    """Curves with their bands, points with the whiskers that are drawn right after them, levels."""
    shown = [line for line in ax.lines if line.get_visible() and not isinstance(line, AxLine)]
    bands = [band for band in ax.collections if isinstance(band, PolyCollection)]
    of_legend = {_look(one): one.get_label() for one in shown if not len(_numbers(one.get_xdata()))}
    for place, line in enumerate(shown):
        level = _level(ax, line)
        if level is not None:
            yield _row("level", line.get_label(), *level)
        elif not _is_whisker(line):
            own = list(itertools.takewhile(_is_whisker, shown[place + 1 :]))
            intervals = [_whisker(one) for one in own]
            mark = "point" if line.get_linestyle() in ("None", "", " ") else "curve"
            label = line.get_label()
            if str(label).startswith("_"):
                label = of_legend.get(_look(line), label)
            band = _band_of(line, bands)
            for x, y in zip(_numbers(line.get_xdata()), _numbers(line.get_ydata()), strict=True):
                if np.isfinite([x, y]).all():
                    yield _row(mark, label, x, y, [*_edges(band, x), *_through(intervals, x, y)])


def _dots(ax: Axes) -> Iterator[Row]:
    named = {_key(one.xy): one.get_text() for one in ax.texts if isinstance(one, Annotation)}
    for dots in ax.collections:
        if isinstance(dots, PathCollection) and dots.get_visible():
            for x, y in np.ma.filled(np.ma.asarray(dots.get_offsets(), float), np.nan):
                if np.isfinite([x, y]).all():
                    row = _row("dot", dots.get_label(), x, y)
                    yield {**row, "name": named.get(_key((x, y)), "")}


def _bars(ax: Axes) -> Iterator[Row]:
    series = {id(bar): group.get_label() for group in ax.containers for bar in group}
    for bar in ax.patches:
        if isinstance(bar, Rectangle) and bar.get_visible():
            (left, bottom), width = bar.get_xy(), bar.get_width()
            top = bottom + bar.get_height()
            ends = [Interval(0, top, left, left + width), Interval(1, left, bottom, top)]
            yield _row("bar", series.get(id(bar), ""), left + width / 2, top, ends)


def _row(
    mark: str, label: object, x: float | None, y: float | None, intervals: Sequence[Interval] = ()
) -> Row:
    series = str(label)
    row: Row = {"mark": mark, "series": "" if series.startswith("_") else series, "x": x, "y": y}
    for own in intervals:
        axis = "xy"[own.of]
        row |= {f"{axis}_low": own.low, f"{axis}_high": own.high}
    return row


def _look(line: Line2D) -> tuple[Any, ...]:
    """What tells one group of points from another; seaborn names it by an empty line like it."""
    return to_rgb(line.get_color()), line.get_marker()


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


# ---------------------------------------------------------------- levels, whiskers, bands


def _level(ax: Axes, line: Line2D) -> tuple[float | None, float | None] | None:
    """Where a line across the whole panel lies: x or y; None if it is no such line."""
    if line.get_transform() == ax.get_yaxis_transform():
        return None, float(_numbers(line.get_ydata())[0])
    if line.get_transform() == ax.get_xaxis_transform():
        return float(_numbers(line.get_xdata())[0]), None
    return None


def _is_whisker(line: Line2D) -> bool:
    """Whether a line is the interval of a point: two ends, upright or level, without a name."""
    x, y = _numbers(line.get_xdata()), _numbers(line.get_ydata())
    flat = len(x) == 2 and (x[0] == x[1]) != (y[0] == y[1])
    return bool(flat and str(line.get_label()).startswith("_") and line.get_marker() == "None")


def _whisker(line: Line2D) -> Interval:
    x, y = _numbers(line.get_xdata()), _numbers(line.get_ydata())
    of, at, ends = (1, x[0], y) if x[0] == x[1] else (0, y[0], x)
    return Interval(of, float(at), float(ends.min()), float(ends.max()))


def _through(intervals: Sequence[Interval], x: float, y: float) -> list[Interval]:
    """The interval that is drawn through a point, if there is one."""
    found = []
    for one in intervals:
        value, at = (x, y) if one.of == 0 else (y, x)
        if at == one.at and one.low <= value <= one.high:
            found.append(one)
    return found[:1]


def _band_of(line: Line2D, bands: Sequence[PolyCollection]) -> np.ndarray[Any, Any] | None:
    """Corners [corner, 2] of the band in a curve's colour that lies over the same x."""
    colour, x = line.get_color(), _numbers(line.get_xdata())
    for band in bands:
        faces: Any = band.get_facecolor()
        if not band.get_paths() or not len(faces):
            continue
        corners = np.asarray(band.get_paths()[0].vertices)
        over = np.isin(np.round(x[np.isfinite(x)], 9), np.round(corners[:, 0], 9)).all()
        if over and np.allclose(faces[0][:3], to_rgb(colour)):
            return corners
    return None


def _edges(corners: np.ndarray[Any, Any] | None, x: float) -> list[Interval]:
    """Both edges of a band at ``x``."""
    if corners is None:
        return []
    own = corners[np.isclose(corners[:, 0], x, rtol=0, atol=1e-9), 1]
    return [Interval(1, x, float(own.min()), float(own.max()))] if len(own) else []


# ---------------------------------------------------------------- words


def _names(axis: Axis) -> Mapping[int, str]:
    """Place to name, of an axis whose ticks are names."""
    units = getattr(axis, "units", None)
    mapping = getattr(units, "_mapping", None)
    return {} if mapping is None else {place: str(name) for name, place in mapping.items()}


def _named(value: float | None, names: Mapping[int, str]) -> float | str:
    if value is None or not np.isfinite(value):
        return ""
    return names.get(round(value), "") if names else value


def _label(ax: Axes, axis: str) -> str:
    """An axis' label; where panels share it, that of the panel that bears it."""
    own = getattr(ax, f"get_{axis}label")()
    if own:
        return str(own)
    together = (ax.get_shared_x_axes() if axis == "x" else ax.get_shared_y_axes()).get_siblings(ax)
    labels = [getattr(other, f"get_{axis}label")() for other in together]
    return str(next(filter(None, labels), ""))


def _key(xy: Any) -> tuple[float, float]:
    return round(float(xy[0]), 9), round(float(xy[1]), 9)
