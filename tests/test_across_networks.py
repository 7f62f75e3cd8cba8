"""Correlations over networks and the spread of an effect over units, where the answer is known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from signseg_utils.analysis import across_networks, spread, stats

NUMBERS = {"c": 0.0, "a": 1.0, "b": 8.0}


def falling() -> xr.DataArray:
    """A measure (network, unit, condition) that falls with `NUMBERS` at full strength only."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (4, 8, 3))
    noise[:, :, 2] = 0.01 * noise[:, :, 2] - np.array([1, 8, 0, 99])[:, None]
    along = {
        "sign": ("condition", ["none", "positive", "positive"]),
        "alpha": ("condition", [0.0, 0.5, 1.0]),
    }
    coords = {"network": ["a", "b", "c", "left out"], "unit": list("abcdefgh")} | along
    return xr.DataArray(noise, coords, ("network", "unit", "condition"))


def test_rho_takes_the_networks_that_have_a_number_in_any_order() -> None:
    last = falling().isel(condition=2, drop=True)
    found = across_networks.rho(last, NUMBERS)
    # Ties of the eight units in each number keep rho from -1.
    assert (found.n, found.units) == (3, 8) and -1 < found.value < -0.9
    assert across_networks.rho(last, {name: -n for name, n in NUMBERS.items()}).value > 0.9


def test_rho_by_strength_is_that_of_each_cell() -> None:
    found = across_networks.rho_by_strength(falling(), "positive", NUMBERS)
    assert list(found) == [0.5, 1.0]
    assert found[1.0] == across_networks.rho(falling().isel(condition=2, drop=True), NUMBERS)
    assert abs(found[0.5].value) < 0.5


def test_the_mean_of_cells_is_that_of_values_and_ends() -> None:
    cells = [stats.Correlation(v, v - 0.1, v + 0.3, 6, units=11) for v in (-0.2, -0.4)]
    found = across_networks.mean_of_cells(cells)
    np.testing.assert_allclose([found.value, found.low, found.high], [-0.3, -0.4, 0.0], atol=1e-12)
    assert (found.n, found.units) == (6, 11)
    with pytest.raises(ValueError, match="a correlation or more"):
        across_networks.mean_of_cells([])


def test_cells_stand_beside_what_is_reported_for_them() -> None:
    cell = stats.Correlation(-0.2, -0.3, -0.1, 11, p=0.04)
    reported = pd.DataFrame(
        {"number": [-0.5, -0.6], "spread": [0.01, 0.02]}, index=["negative 1", "positive 0.1"]
    )
    found = across_networks.beside_reported(
        {"positive": {0.1: cell, 0.2: cell}, "negative": {1.0: cell}}, reported
    )
    assert found["paper"].tolist()[::2] == [-0.6, -0.5]
    assert np.isnan(found.loc[("positive", 0.2), "paper"])
    assert found.loc[("negative", 1.0), ["paper's p", "here", "low", "high", "p"]].tolist() == [
        0.01,
        -0.2,
        -0.3,
        -0.1,
        0.04,
    ]


def test_networks_of_a_design_are_found_and_paired_by_seed() -> None:
    names = ["a", "a-seed2", "a-seed3", "b", "b-seed2", "c"]
    assert across_networks.designs(names) == ["a", "b", "c"]
    assert across_networks.of_design(names, "a", "c") == ["a", "a-seed2", "a-seed3", "c"]
    values = xr.DataArray(
        np.array([[1.0], [2], [3], [10], [20], [100]]), {"network": names}, ("network", "unit")
    )
    found = across_networks.less(values, names[:3], "b")
    assert found["network"].values.tolist() == names[:3]
    assert found.values.ravel().tolist() == [-9, -18, -7]  # seed 3 has no partner but the first


def test_units_are_shown_from_the_lowest_to_the_highest() -> None:
    values, names = [3.0, 1.0, 5.0, 2.0, 4.0], list("cadbe")
    assert spread.evenly_ranked(values, names, 3) == ["a", "c", "d"]
    assert spread.evenly_ranked(values, names) == ["a", "b", "c", "e", "d"]


def test_exceptions_are_below_zero() -> None:
    found = spread.exceptions({"one": [-1, 0, 2], "both": np.maximum([-1, 0, 2], [-3, -1, -1])})
    assert found.loc["one"].tolist() == [1, 3] and found.loc["both"].tolist() == [1, 3]


def test_correlations_are_corrected_for_their_number() -> None:
    effect = np.arange(12.0)
    ranks = np.random.default_rng(1).permutation(12)
    found = spread.correlations(
        {"same": effect, "noise": ranks, "lacking": np.full(12, np.nan)}, effect
    )
    assert list(found) == ["same", "noise"]
    assert found["noise"].level == pytest.approx(1 - 0.05 / 3)
    table = spread.correlation_table(found, 3)
    assert table.loc["same", "rho"] == "1.00"
    assert float(table.loc["noise", "p"]) == pytest.approx(min(1, 3 * found["noise"].p), rel=0.01)


def test_a_coarser_sweep_joins_at_the_conditions_that_both_have() -> None:
    whole = falling().to_dataset(name="measure")
    coarse = whole.isel(condition=[0, 2], network=[0]).assign_coords(network=["a-seed2"])
    found = across_networks.joined([whole, coarse])
    assert found["network"].values.tolist() == ["a", "b", "c", "left out", "a-seed2"]
    assert found["alpha"].values.tolist() == [0, 1] and found["sign"].values[0] == "none"
    for name, other in (("b", whole), ("a-seed2", coarse)):
        expected = other["measure"].sel(network=name).isel(condition=[0, -1])
        np.testing.assert_array_equal(found["measure"].sel(network=name), expected)
    xr.testing.assert_identical(across_networks.joined([whole]), whole)
    with pytest.raises(ValueError, match="unit"):
        across_networks.joined([whole, coarse.isel(unit=slice(3))])
