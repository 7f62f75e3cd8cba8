"""How values are spread: a histogram for each group, one over the other."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from signseg_utils.plots.style import legend_above, paints


def histogram_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    edges: ArrayLike,
    *,
    xlabel: str,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """One panel of outlined histograms for each network, side by side, under one legend.

    Parameters
    ----------
    panels
        Title to group to values; the same groups in every panel. Each group's bars add up to 1,
        whatever its size; NaN is left out.
    edges
        Of the bins, from left to right.
    colours
        Group to a condition of `COLOURS` or a matplotlib colour.
    """
    bins = np.asarray(edges, dtype=float)
    figure, axes = plt.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)
    for ax, (title, groups) in zip(axes[0], panels.items(), strict=True):
        for name, paint in paints(groups, colours).items():
            values = np.asarray(groups[name], dtype=float).ravel()
            sns.histplot(
                x=values[np.isfinite(values)],
                bins=bins.tolist(),
                stat="proportion",
                element="step",
                fill=False,
                color=paint,
                label=name,
                ax=ax,
            )
        ax.set(title=title, xlabel=xlabel, ylabel="")
    axes[0, 0].set_ylabel(ylabel)
    legend_above(axes[0, 0])
    return figure
