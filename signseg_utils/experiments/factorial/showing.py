"""What the chapter shows of the experiment: its extreme networks, and a table of factors."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.analysis.images import arranged, panel
from signseg_utils.experiments.factorial.analysis import by_factor
from signseg_utils.experiments.factorial.design import Setting


def extremes(
    found: xr.Dataset, zoo: Any, runs: pd.DataFrame, settings: Sequence[Setting],
    units: Sequence[str], alphas: Sequence[float],
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


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """What each factor adds to the asymmetries, the largest effect on similarity first.

    One line a factor: its effect on the asymmetry of similarity and of presence, and on that of
    similarity among networks of equal accuracy. NaN where that cannot be asked: the gauge does not
    change what a network answers, and so not its accuracy.
    """
    effects = {
        "similarity": by_factor(runs, "similarity"),
        "presence": by_factor(runs, "presence"),
        "similarity at equal accuracy": by_factor(runs, "similarity", "accuracy"),
    }
    table = pd.DataFrame({
        kind: {name: effect.value for name, effect in own.items()} for kind, own in effects.items()
    })
    return table.sort_values("similarity", key=abs, ascending=False)
