"""What the chapter shows of the experiment: its extreme networks, and a table of factors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.analysis.images import arranged, panel
from signseg_utils.analysis.stats import holm
from signseg_utils.experiments.factorial.analysis import by_factor, coded, interactions
from signseg_utils.experiments.factorial.design import FACTORS, Setting
from signseg_utils.experiments.factorial.running import KINDS

Dots = dict[str, dict[str, np.ndarray]]  # panel to group to one value a network

CONDITIONS = ("intact", "without positive", "without random", "without negative")
CONDITION_COLOURS = ("intact", "positive", "random", "negative")


def extremes(
    found: xr.Dataset,
    zoo: Any,
    runs: pd.DataFrame,
    settings: Sequence[Setting],
    units: Sequence[str],
    alphas: Sequence[float],
) -> tuple[Tensor, list[tuple[str, float]], list[str]]:
    """Preferred images of the most and of the least asymmetric network, for a panel.

    Parameters
    ----------
    found
        Searches of all networks, as `searches` gives them.
    runs
        From `table`, one line for each of ``settings``.

    Returns
    -------
    Tensor, list, list
        Images ``[row, condition, 3, height, width]``, (sign, alpha) of each condition, and a name
        for each row: the network's and the unit's.
    """
    ends = {"most": int(runs["similarity"].argmax()), "least": int(runs["similarity"].argmin())}
    pieces = [
        panel(arranged(found), zoo, f"{settings[place].key} raw", "scenes", units, alphas)
        for place in ends.values()
    ]
    names = [f"{word}: {unit}" for word in ends for unit in units]
    return torch.cat([images for images, _ in pieces]), pieces[0][1], names


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation, least and most over networks of each quantity but the factors."""
    measured = runs.drop(columns=[factor.name for factor in FACTORS])
    return measured.agg(["mean", "std", "min", "max"]).T


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """What each factor adds to the asymmetries, the largest effect on similarity first.

    One line a factor: its effect on each asymmetry, and on that of similarity among networks of
    equal accuracy. NaN where that cannot be asked: the gauge does not change what a network
    answers, and so not its accuracy.
    """
    effects = {kind: by_factor(runs, kind) for kind in KINDS}
    effects["similarity at equal accuracy"] = by_factor(runs, "similarity", "accuracy")
    table = pd.DataFrame(
        {
            kind: {name: effect.value for name, effect in own.items()}
            for kind, own in effects.items()
        }
    )
    return table.sort_values("similarity", key=abs, ascending=False)


def together(runs: pd.DataFrame, kind: str, most: int = 5) -> pd.DataFrame:
    """The largest interactions of two factors on one asymmetry, one line each, factors by name.

    ``p`` is corrected after Holm for all that the design can tell.
    """
    found = interactions(coded(runs), runs[kind])
    names = {factor.letter: factor.name for factor in FACTORS}
    lines = {
        " or ".join(" x ".join(names[one] for one in pair) for pair in word.split(" + ")): {
            "effect": effect.value,
            "low": effect.low,
            "high": effect.high,
            "p": p,
        }
        for (word, effect), p in zip(
            found.items(), holm([effect.p for effect in found.values()]), strict=True
        )
    }
    return pd.DataFrame(lines).T.head(most)


def left(runs: pd.DataFrame) -> Dots:
    """What scenes hold under each ablation, for a panel of dots: one dot a network."""
    return {
        title: {
            condition.removeprefix("without "): runs[f"{kind} {condition}"].to_numpy()
            for condition in CONDITIONS
        }
        for kind, title in (("presence", "any object"), ("shape", "its own shape"))
    }


def by_refusal(runs: pd.DataFrame, kind: str) -> Dots:
    """An asymmetry by loss and empty scenes, for a panel of dots: one dot a network.

    A panel each for free signs and for Dale's law.
    """
    cells = {
        f"{loss}\n{share}": (runs["loss"] == name) & (runs["empty"] == level)
        for name, loss in (("softmax", "softmax"), ("one_vs_rest", "one-vs-rest"))
        for level, share in ((0.0, "object always"), (0.15, "some empty"))
    }
    return {
        title: {
            name: runs[kind][inside & (runs["dale"] == law)].to_numpy()
            for name, inside in cells.items()
        }
        for law, title in ((False, "free signs"), (True, "Dale's law"))
    }
