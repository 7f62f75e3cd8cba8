"""Search methods are told apart by what was planted: one ends higher, one ends lower and later."""

import numpy as np
import pytest
import xarray as xr

from signseg_utils.analysis import search_methods
from signseg_utils.experiments import races

ENDS = {"cholesky_cma": 10.0, "sep_cma": 12.0, "pycma": 9.0, "random_search": 4.0}
SHARES = np.array([0.25, 0.5, 0.75, 1.0])


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    """Ends as planted, units 1 % around them; noise of 1 halves what is kept."""
    units = 1 + np.linspace(-0.01, 0.01, 8)
    ends = np.array(list(ENDS.values()))[:, None, None, None] * units[:, None, None]
    activation = ends * np.array([1.0, 0.5])[:, None] * np.ones(2)
    speed = np.array([1.0, 3.0, 0.5, 1.0])[:, None, None, None, None]
    trace = activation[..., None] * np.minimum(1, SHARES * speed * 1.5)
    coords = {
        "network": ["vgg"],
        "generator": ["scenes"],
        "optimizer": list(ENDS),
        "unit": [str(place) for place in range(8)],
        "noise": [0.0, 1.0],
        "seed": [0, 1],
        "share": SHARES,
    }
    dims = ("network", "generator", "optimizer", "unit", "noise", "seed")
    return xr.Dataset(
        {
            "activation": (dims, activation[None, None]),
            "trace": ((*dims, "share"), trace[None, None]),
        },
        coords,
    )


def test_gains_are_shares_of_what_the_reference_ends_with(found: xr.Dataset) -> None:
    gain = search_methods.gains(found)
    assert gain.dims == ("optimizer", "noise", "unit")
    mean = gain.mean("unit")
    np.testing.assert_allclose(mean.sel(noise=0), [0, 0.2, -0.1, -0.6], atol=1e-12)
    np.testing.assert_allclose(mean.sel(noise=1), [0, 0.1, -0.05, -0.3], atol=1e-12)
    kept = search_methods.kept(found).mean("unit")
    np.testing.assert_allclose(kept.sel(noise=1), [0.5, 0.6, 0.45, 0.2], atol=1e-12)


def test_delays_are_shares_of_the_budget(found: xr.Dataset) -> None:
    late = search_methods.delays(races.to_target(found, 0.9))
    assert (late.sel(optimizer="cholesky_cma") == 0).all()
    # 90 % of 10: the reference at 3/4 of the budget, the fast one at 1/4, the slow one never
    assert (late.sel(optimizer="sep_cma") == -0.5).all()
    assert (late.sel(optimizer="pycma") == 0.25).all()


def test_the_best_rival_has_the_highest_lower_end(found: xr.Dataset) -> None:
    rivals = search_methods.challengers(list(ENDS))
    assert rivals == ["sep_cma", "pycma"]
    name, gain, level = search_methods.best(search_methods.gains(found), rivals)
    assert (name, level) == ("sep_cma", 0.975)
    assert gain.low <= 0.2 <= gain.high
    narrow = search_methods.best(search_methods.gains(found), ["sep_cma"])[1]
    assert gain.low < narrow.low and narrow.high < gain.high


def test_curves_are_named_and_end_where_the_method_ends(found: xr.Dataset) -> None:
    panels = search_methods.trajectories(found)
    assert list(panels) == ["vgg, scenes"]
    curves = panels["vgg, scenes"]
    assert list(curves) == ["Cholesky CMA", "separable CMA", "full CMA", "random search"]
    share, band = curves["separable CMA"]
    np.testing.assert_array_equal(share, SHARES)
    assert band.value[-1] == pytest.approx(1.2)
    assert search_methods.titles(["sep_cma", "mine"]) == ["separable CMA", "mine"]
