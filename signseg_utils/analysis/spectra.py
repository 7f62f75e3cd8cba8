"""How ablation changes the spatial frequencies of preferred images, beside another seed's change.

Claim F-S of the final version (ICLR 2026): positive ablation destroys low spatial frequencies,
negative ablation changes high ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.analysis.by_sign import over_alphas
from signseg_utils.analysis.images import rendered
from signseg_utils.analysis.spectrum import radial_spectrum
from signseg_utils.zoos import Zoo


def octaves(searches: xr.Dataset, zoo: Zoo) -> xr.DataArray:
    """Log2 power of every image of `arranged` searches by spatial frequency.

    Returns
    -------
    DataArray
        (network, generator, unit, condition, seed, frequency), luminance under a Hann window;
        frequency in cycles per image, 1 to half the image's side less one. Where an image has no
        power at all, a floor (1e-12 of full contrast) stands for it.
    """
    codes = searches["codes"].transpose("network", "generator", "unit", "condition", "seed", "code")
    top = zoo.image_size // 2
    found = np.empty((*codes.shape[:-1], top - 1), np.float32)
    for place, name in enumerate(codes["generator"].values):
        generator = zoo.generator(str(name))
        for network in range(codes.sizes["network"]):
            for unit in range(codes.sizes["unit"]):
                images = rendered(generator, codes[network, place, unit])
                power = radial_spectrum(images.flatten(0, 1), window=True).power[:, 1:top]
                shape = images.shape[:2]
                logs = power.clamp_min(1e-12).log2().unflatten(0, shape)
                found[network, place, unit] = logs.numpy()
    kept = ("network", "generator", "unit", "condition", "sign", "alpha", "seed")
    coords = {name: searches[name] for name in kept}
    coords["frequency"] = xr.DataArray(np.arange(1, top), dims="frequency")
    return xr.DataArray(found, coords, (*codes.dims[:-1], "frequency"))


def band(powers: xr.DataArray, low: float, high: float) -> xr.DataArray:
    """Mean log power at frequencies ``low <= f < high``.

    Raises
    ------
    ValueError
        If there is no such frequency.
    """
    chosen = (powers["frequency"] >= low) & (powers["frequency"] < high)
    if not bool(chosen.any()):
        raise ValueError(
            f"expected frequencies from {low:g} to below {high:g} cycles per image; images of "
            f"this zoo hold {int(powers['frequency'].min())} to {int(powers['frequency'].max())}"
        )
    return powers.isel(frequency=np.flatnonzero(chosen)).mean("frequency")


def beyond_seeds(levels: xr.DataArray, intact: int = 0) -> xr.DataArray:
    """How much farther an ablated image is from intact images than these are from each other.

    Parameters
    ----------
    levels
        With dimensions condition and seed, such as a `band`.
    intact
        Place of the intact condition.

    Returns
    -------
    DataArray
        Without seed: the mean ``|difference|`` over all pairs of an ablated and an intact image
        of different seeds, less the same between intact images. NaN with a single seed.
    """
    values = levels.transpose(..., "condition", "seed").values.astype(np.float64)
    control = values[..., intact : intact + 1, :]
    apart = np.abs(values[..., :, None] - control[..., None, :])
    other = ~np.eye(values.shape[-1], dtype=bool)
    if not other.any():
        return levels.isel(seed=0, drop=True) * np.nan
    mean = apart[..., other].mean(-1)
    template = levels.transpose(..., "condition", "seed").isel(seed=0, drop=True)
    return template.copy(data=mean - mean[..., intact : intact + 1])


def share_above(searches: xr.Dataset, zoo: Zoo, frequency: float) -> dict[str, float]:
    """Share of the variance of intact images at or above a frequency, for each generator."""
    shares = {}
    intact = searches["codes"].isel(condition=0)
    for name in intact["generator"].values:
        codes = intact.sel(generator=name).transpose(..., "code").values
        flat = codes.reshape(-1, codes.shape[-1])
        images = rendered(zoo.generator(str(name)), flat)
        found = radial_spectrum(images, window=True).share(frequency, zoo.image_size)
        shares[str(name)] = float(torch.nanmean(found))
    return shares


def change_panels(powers: xr.DataArray, signs: Sequence[str]) -> dict[str, Any]:
    """Change of log power from the intact images, for `signseg_utils.plots.curve_panels`.

    Mean over seeds, strengths above 0 and units with its interval: "network, generator" to sign to
    (frequencies, `signseg_utils.analysis.stats.Curve`).
    """
    mean = powers.mean("seed")
    change = mean - mean.isel(condition=0, drop=True)
    panels: dict[str, Any] = {}
    for network in change["network"].values.tolist():
        for generator in change["generator"].values.tolist():
            own = change.sel(network=network, generator=generator)
            panels[f"{network}, {generator}"] = {
                sign: (
                    own["frequency"].values,
                    stats.mean_curve(over_alphas(own, sign).transpose("unit", "frequency").values),
                )
                for sign in signs
            }
    return panels


def effects(powers: xr.DataArray, low: float, high: float, control: str) -> dict[str, xr.DataArray]:
    """How ablation shifts low and high frequencies, for each unit, as a mean over strengths.

    Parameters
    ----------
    powers
        From `octaves`.
    low, high
        Frequencies below ``low`` are low, those from ``high`` on are high.
    control
        The random ablation among the conditions.

    Returns
    -------
    dict
        Line to values (network, generator, unit). ``low``: how much farther than negative
        ablation positive moves low frequencies (see `beyond_seeds`); ``low random``: farther than
        random ablation. ``high``: change at high less that at low frequencies, under negative less
        under positive ablation. ``low power``: signed change of log power at low frequencies under
        positive ablation.
    """
    below, above = band(powers, 1, low), band(powers, high, np.inf)
    moved = beyond_seeds(below)
    tilt = beyond_seeds(above) - moved
    fall = below.mean("seed") - below.mean("seed").isel(condition=0, drop=True)
    return {
        "low": over_alphas(moved, "positive") - over_alphas(moved, "negative"),
        "low random": over_alphas(moved, "positive") - over_alphas(moved, control),
        "low power": over_alphas(fall, "positive"),
        "high": over_alphas(tilt, "negative") - over_alphas(tilt, "positive"),
    }
