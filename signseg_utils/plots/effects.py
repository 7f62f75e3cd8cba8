"""Effects with their intervals, and what smaller studies would have found of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from signseg_utils.plots.curves import curve_with_interval
from signseg_utils.plots.style import (
    COLOURS,
    CYCLE,
    GIVEN,
    GROUP_MARKERS,
    PAGE_WIDTH,
    interval_rows,
    legend_above,
    reference_line,
)


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
    frame = pd.concat(
        pd.DataFrame(
            {
                "effect": name,
                "group": group,
                "value": interval_rows(found.value, found.low, found.high),
            }
        )
        for name, row in effects.items()
        for group, found in row.items()
    )
    groups = list(frame["group"].unique())
    label = ax.get_xlabel()
    sns.pointplot(
        frame,
        x="value",
        y="effect",
        hue="group",
        order=list(effects),
        hue_order=groups,
        palette=[CYCLE[place % len(CYCLE)] for place in range(len(groups))],
        markers=[GROUP_MARKERS[place % len(GROUP_MARKERS)] for place in range(len(groups))],
        dodge=0.5 * (1 - 1 / len(groups)),
        linestyle="none",
        markersize=4.5,
        err_kws={"linewidth": 1.8},
        legend=any(groups),
        ax=ax,
        **GIVEN,
    )
    ax.axvline(zero, color="#999999", linewidth=1, zorder=0)
    ax.set(xlabel=label, ylabel="")
    if any(groups):  # one group without a name needs no legend
        ax.legend().remove()
        legend_above(ax)


def effect_rows(effects: Mapping[str, Mapping[str, Any]], xlabel: str) -> Figure:
    """`forest` as a figure of its own, as high as its rows ask for."""
    most = max(map(len, effects.values()))
    height = 1 + len(effects) * (0.28 if most == 1 else 0.4)
    figure, ax = plt.subplots(figsize=(PAGE_WIDTH, height))
    forest(ax, effects)
    ax.set_xlabel(xlabel)
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
        ax.set(title=f"{sign} ablation", xlabel=xlabel, ylabel=ylabel)
        ax.legend()
    return figure


def small_studies(
    studies: Any, levels: Mapping[str, float] | None = None, bins: int = 40, *, xlabel: str = ""
) -> Figure:
    """Histogram of what smaller studies find, by what each would have concluded.

    Parameters
    ----------
    studies
        With ``value``, ``low``, ``high`` [study], such as `stats.SmallerSamples`.
    levels
        Label to a value that a line marks; the first is solid, others are dashed.
    """
    figure, ax = plt.subplots()
    values = np.asarray(studies.value)
    conclusions = ("interval above 0", "holds 0", "below 0")
    above, below = np.asarray(studies.low) > 0, np.asarray(studies.high) < 0
    concluded = np.select([above, below], [conclusions[0], conclusions[2]], conclusions[1])
    kept = [name for name in conclusions if name in concluded]
    pad = 1e-6 * max(1.0, float(np.abs(values).max()))
    if np.ptp(values) < pad:  # studies of all units are alike but for rounding
        bins = 1
    colours = dict(zip(conclusions, CYCLE, strict=False))
    sns.histplot(
        x=values,
        hue=concluded,
        hue_order=kept,
        palette=colours,
        bins=np.linspace(values.min() - pad, values.max() + pad, bins + 1).tolist(),
        multiple="stack",
        alpha=1,
        linewidth=0,
        legend=False,
        ax=ax,
    )
    for name, bars in zip(reversed(kept), ax.containers, strict=True):  # drawn from the top
        bars.set_label(name)
    for place, (label, value) in enumerate((levels or {}).items()):
        style = "--" if place else "-"
        ax.axvline(value, color=COLOURS["intact"], linestyle=style, linewidth=1.4, label=label)
    legend_above(ax)
    ax.set(xlabel=xlabel, ylabel="studies")
    return figure
