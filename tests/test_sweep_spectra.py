"""Spectra of a sweep's images, on powers whose answer is known and on a tiny sweep."""

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import made

from signseg_utils import zoos
from signseg_utils.analysis import spectra
from signseg_utils.analysis.images import arranged, rendered
from signseg_utils.analysis.spectrum import radial_spectrum
from signseg_utils.experiments import sweep
from signseg_utils.search.evolution import Search

SIGNS = ["none", "positive", "negative", "random_count"]


def powers(change: dict[str, tuple[float, float]], noise: float = 0.0) -> xr.DataArray:
    """Log powers [network, generator, unit, condition, seed, frequency] with given changes."""
    values = np.random.default_rng(0).normal(0, noise, (1, 1, 3, 4, 4, 12))
    for place, sign in enumerate(SIGNS):
        low, high = change.get(sign, (0.0, 0.0))
        values[:, :, :, place, :, :4] += low
        values[:, :, :, place, :, 4:] += high
    coords = {
        "network": ["a"],
        "generator": ["g"],
        "unit": list("xyz"),
        "seed": range(4),
        "frequency": range(1, 13),
        "sign": ("condition", SIGNS),
        "alpha": ("condition", [0.0, 1, 1, 1]),
    }
    dims = ("network", "generator", "unit", "condition", "seed", "frequency")
    return xr.DataArray(values, coords, dims)


def test_effects_are_those_put_in() -> None:
    found = spectra.effects(
        powers({"positive": (-2.0, -0.5), "negative": (0.25, 1.0), "random_count": (1.0, 1.0)}),
        5,
        5,
        "random_count",
    )
    assert {values.sizes["unit"] for values in found.values()} == {3}
    means = {name: float(own.sel(network="a", generator="g").mean()) for name, own in found.items()}
    expected = {"low": 1.75, "low random": 1.0, "low power": -2.0, "high": 0.75 - (-1.5)}
    assert means == pytest.approx(expected)


def test_another_seed_is_no_change() -> None:
    level = spectra.band(powers({}, noise=1.0), 1, 5)
    far = spectra.beyond_seeds(level)
    assert float(abs(far.isel(condition=0)).max()) == 0
    assert float(abs(far).max()) < 0.6  # differences of seeds are about as large themselves
    assert np.isnan(spectra.beyond_seeds(level.isel(seed=[0]))).all()


def test_band_takes_its_frequencies_and_refuses_an_empty_one() -> None:
    values = powers({"positive": (1.0, 3.0)})
    assert float(spectra.band(values, 5, np.inf).isel(condition=1).mean()) == 3
    assert float(spectra.band(values, 1, 5).isel(condition=1).mean()) == 1
    with pytest.raises(ValueError, match="1 to 12"):
        spectra.band(values, 40, np.inf)


def test_panels_hold_the_mean_change_at_each_frequency() -> None:
    panels = spectra.change_panels(powers({"negative": (0.5, 2.0)}), ("positive", "negative"))
    x, band = panels["a, g"]["negative"]
    assert x.tolist() == list(range(1, 13))
    assert band.value.tolist() == pytest.approx([0.5] * 4 + [2.0] * 8)
    assert panels["a, g"]["positive"][1].value.tolist() == pytest.approx([0.0] * 12)


def test_octaves_of_a_sweep_are_the_spectra_of_its_images(tiny_zoo, tmp_path) -> None:
    plan = sweep.plan(
        "shapes",
        ("resnet",),
        ("scenes",),
        ("red ring", "blue disc"),
        signs=("positive",),
        alphas=(0.0, 1.0),
        seeds=(0, 1),
        search=Search(generations=1),
    )
    found = made(plan, tmp_path, tiny_zoo)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    searches = arranged(found)
    logs = spectra.octaves(searches, zoo)
    codes = searches["codes"].sel(unit="blue disc").isel(network=0, generator=0, condition=1)
    image = rendered(zoo.generator("scenes"), codes.transpose("seed", "code"))[1:2]
    expected = radial_spectrum(image, window=True).power[0, 1:24].log2()
    mine = logs.sel(unit="blue disc").isel(network=0, generator=0, condition=1, seed=1)
    torch.testing.assert_close(torch.from_numpy(mine.values), expected.float())
    share = spectra.share_above(searches, zoo, 8)["scenes"]
    assert 0 < share < 0.5
