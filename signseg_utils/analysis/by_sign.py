"""What chapters say about a sweep's measures: by sign, over strengths, and where a curve has sunk.

Measures have a dimension ``condition`` with coordinates ``sign`` and ``alpha``, as `collect` and
`signseg_utils.analysis.images.measure` give them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats


def of_sign(values: xr.DataArray, sign: str, intact: bool = True) -> xr.DataArray:
    """Conditions of one sign by rising strength, the intact one first or left out."""
    kept = [sign, "none"] if intact else [sign]
    chosen = values.isel(condition=np.flatnonzero(values["sign"].isin(kept)))
    if not np.any(chosen["sign"] == sign):
        known = ", ".join(dict.fromkeys(values["sign"].values.tolist()))
        raise ValueError(f"expected conditions of sign {sign!r}; got conditions of {known}")
    return chosen.isel(condition=np.argsort(chosen["alpha"].values, kind="stable"))


def over_alphas(values: xr.DataArray, sign: str) -> xr.DataArray:
    """Mean over all strengths above zero of one sign."""
    return of_sign(values, sign, intact=False).mean("condition")


def every_other(alphas: Sequence[float], most: int = 7) -> tuple[float, ...]:
    """Strengths for a panel of images: every other one where there are more than ``most``."""
    return tuple(alphas[::2] if len(alphas) > most else alphas)


def relative(activation: xr.DataArray) -> xr.DataArray:
    """Activation as a share of the intact unit's: (network, unit, condition).

    ``activation`` (network, generator, unit, condition, seed). Seeds are averaged before the share
    is taken, generators after it, because their images drive a unit to different heights.
    """
    mean = activation.mean("seed")
    return (mean / mean.isel(condition=0, drop=True)).mean("generator")


def sign_gap(values: xr.DataArray, high: str = "negative", low: str = "positive") -> xr.DataArray:
    """Mean over strengths under ablation of ``high`` less that under ``low``: (network, unit).

    ``values`` (network, unit, condition), or without networks, as of recorded neurons. Above 0, a
    measure stays higher where ``high`` goes.
    """
    gap = over_alphas(values, high) - over_alphas(values, low)
    return gap.transpose("network", "unit", ..., missing_dims="ignore")


def rise(values: xr.DataArray, sign: str) -> xr.DataArray:
    """Mean over strengths under ablation of one sign less the intact unit's value.

    ``values`` (..., condition), the first condition intact.
    """
    return over_alphas(values, sign) - values.isel(condition=0, drop=True)


def both_signs(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Means over strengths under negative and under positive ablation, to ask if they are alike."""
    return over_alphas(values, "negative"), over_alphas(values, "positive")


def ends(values: xr.DataArray, sign: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Intact, and at the largest strength of one sign, to ask if they are alike."""
    line = of_sign(values, sign)
    return line.isel(condition=0, drop=True), line.isel(condition=-1, drop=True)


def trend(values: xr.DataArray, sign: str) -> xr.DataArray:
    """Spearman's rho of a measure with the strength of ablation, of each unit: (network, unit).

    ``values`` (network, unit, condition); the intact unit counts as strength 0.
    """
    line = of_sign(values, sign).transpose("network", "unit", "condition")
    rho = [[stats.spearman(line["alpha"], unit).value for unit in rows] for rows in line.values]
    return line.isel(condition=0, drop=True).copy(data=rho)


def asymmetry(
    values: xr.DataArray, network: str, high: str = "negative", low: str = "positive"
) -> np.ndarray:
    """Mean over strengths under one ablation less that under another, of each unit: [unit].

    ``values`` (network, unit, condition).
    """
    own = values.sel(network=network)
    gap = over_alphas(own, high) - over_alphas(own, low)
    if gap.dims != ("unit",):
        raise ValueError(
            "expected a measure of each network, unit and condition; got the dimensions "
            f"{', '.join(map(str, values.dims))}; average over the others first"
        )
    return gap.values


def curves(values: xr.DataArray, signs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Mean over units with its interval, for `signseg_utils.plots.curve_panels`.

    ``values`` (network, unit, condition). Returns network to sign to (strengths, `stats.Curve`).
    """
    panels: dict[str, dict[str, Any]] = {}
    for name in values["network"].values.tolist():
        panels[name] = {}
        for sign in signs:
            line = of_sign(values.sel(network=name), sign).transpose("unit", "condition")
            band = stats.mean_curve(line.values)
            panels[name][sign] = line["alpha"].values, band
    return panels


def halfway(values: xr.DataArray, sign: str, intact: xr.DataArray | None = None) -> xr.DataArray:
    """Strength at which a measure has first fallen to half its intact value.

    Between two strengths the curve is taken as straight. Where it never falls so far the answer
    is 1, which can make a difference between two curves smaller but never turn it round; where the
    intact value is not above 0 there is no half, and the answer is NaN.

    Parameters
    ----------
    values
        With dimension ``condition``.
    intact
        The intact value where it is not that of condition ``none``.
    """
    line = of_sign(values, sign).transpose(..., "condition")
    start = line.isel(condition=0, drop=True) if intact is None else intact
    start = start.transpose(*line.dims[:-1])
    heights = line.values.copy()
    heights[..., 0] = start.values
    found = [
        _crossing(line["alpha"].values, row, top / 2)
        for row, top in zip(heights.reshape(-1, heights.shape[-1]), start.values.flat, strict=True)
    ]
    return start.copy(data=np.reshape(found, start.shape))


def _crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """First ``x`` at which ``y`` has come down to ``level``."""
    if not level > 0:  # NaN fails too
        return float("nan")
    below = np.flatnonzero(y <= level)
    if len(below) == 0:
        return 1.0
    after = int(below[0])
    share = (y[after - 1] - level) / (y[after - 1] - y[after])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))
