"""What chapters say about a sweep's measures, against curves whose answer is known."""

import numpy as np
import pytest
import xarray as xr

from signseg_utils.analysis.by_sign import (
    asymmetry,
    both_signs,
    curves,
    every_other,
    halfway,
    of_sign,
    over_alphas,
    relative,
    rise,
    sign_gap,
    trend,
)

SIGNS = ["none", "positive", "positive", "negative", "negative"]
ALPHAS = [0.0, 1.0, 0.5, 0.5, 1.0]  # out of order, as a store may hold them


def measure(*rows: list[float]) -> xr.DataArray:
    """Measures (network, unit, condition) of one network."""
    along = {"sign": ("condition", SIGNS), "alpha": ("condition", ALPHAS)}
    names = {"network": ["one"], "unit": [f"unit {i}" for i in range(len(rows))]}
    return xr.DataArray([list(rows)], coords=names | along, dims=("network", "unit", "condition"))


def test_a_sign_comes_by_rising_strength_and_intact_first() -> None:
    line = of_sign(measure([9, 1, 5, 8, 7]), "positive")
    assert line["alpha"].values.tolist() == [0, 0.5, 1]
    assert line.values[0, 0].tolist() == [9, 5, 1]
    assert of_sign(line, "positive", intact=False)["alpha"].values.tolist() == [0.5, 1]


def test_an_absent_sign_is_named() -> None:
    with pytest.raises(ValueError, match="'random_count'; got conditions of none, positive"):
        of_sign(measure([9, 1, 5, 8, 7]), "random_count")


def test_the_mean_over_strengths_leaves_the_intact_unit_out() -> None:
    assert over_alphas(measure([9, 1, 5, 8, 7]), "positive").item() == 3
    assert over_alphas(measure([9, 1, 5, 8, 7]), "negative").item() == 7.5


def test_a_gap_between_signs_keeps_each_network_and_unit() -> None:
    values = measure([9, 1, 5, 8, 7], [7, 2, 4, 3, 3])
    gap = sign_gap(values.transpose("condition", "unit", "network"))
    assert gap.dims == ("network", "unit") and gap.values.tolist() == [[4.5, 0]]
    assert sign_gap(values, "positive", "negative").values.tolist() == [[-4.5, 0]]


def test_a_trend_follows_strength_not_the_order_of_conditions() -> None:
    values = measure([9, 1, 5, 8, 7], [1, 9, 5, 3, 2])
    assert trend(values, "positive").values.tolist() == [[-1, 1]]
    assert trend(values, "negative").values.tolist() == [[-1, 0.5]]


def test_a_share_is_taken_after_seeds_and_before_generators() -> None:
    values = measure([2, 1, 1, 2, 4]).expand_dims(generator=["a", "b"], seed=[0, 1]).copy()
    values.loc[{"generator": "b"}] *= 10  # images of b drive the unit harder
    values.loc[{"seed": 1}] += 2
    a, b = (2 * 0.5 + 1) / 3, (20 * 0.5 + 1) / 21  # condition 1 over condition 0, seeds averaged
    assert relative(values).isel(condition=1).item() == pytest.approx((a + b) / 2)
    assert relative(values).isel(condition=0).item() == pytest.approx(1)


def test_every_other_strength_where_there_are_many() -> None:
    assert every_other((0, 0.5, 1)) == (0, 0.5, 1)
    assert every_other([i / 10 for i in range(11)]) == (0, 0.2, 0.4, 0.6, 0.8, 1)


def test_a_rise_is_counted_from_the_intact_unit() -> None:
    values = measure([9, 1, 5, 8, 7])
    assert rise(values, "positive").item() == -6
    assert rise(values, "negative").item() == -1.5
    assert [one.item() for one in both_signs(values)] == [7.5, 3]


def test_curves_are_means_over_units() -> None:
    found = curves(measure([9, 1, 5, 8, 7], [7, 1, 3, 8, 7]), ["positive", "negative"])
    x, band = found["one"]["positive"]
    assert x.tolist() == [0, 0.5, 1] and band.value.tolist() == [8, 4, 1]
    assert (band.low <= band.value).all() and (band.value <= band.high).all()


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([1.0, 0.0, 0.5], 0.5),  # at a strength that was measured
        ([1.0, 0.0, 0.75], 2 / 3),  # between two
        ([1.0, 0.9, 0.8], 1.0),  # never
        ([1.0, 0.9, 0.2], 0.3125),  # the first time counts, though it rises again
        ([0.0, 0.0, 0.0], np.nan),  # there was nothing to halve
    ],
)
def test_halfway_of_known_curves(heights: list[float], expected: float) -> None:
    intact, whole, half = heights
    found = halfway(measure([intact, whole, half, 0, 0]), "positive")
    assert found.dims == ("network", "unit")
    np.testing.assert_allclose(found.values, [[expected]])


def test_halfway_takes_another_intact_value() -> None:
    values = measure([1.0, 0.0, 0.5, 0, 0])
    intact = xr.DataArray([[0.8]], dims=("network", "unit"))
    np.testing.assert_allclose(halfway(values, "positive", intact).values, [[0.6]])


def test_asymmetry_is_negative_less_positive_for_each_unit() -> None:
    values = measure([9, 1, 5, 8, 7], [7, 6, 6, 2, 4])
    np.testing.assert_allclose(asymmetry(values, "one"), [4.5, -3])
    np.testing.assert_allclose(asymmetry(values, "one", "positive", "negative"), [-4.5, 3])
    with pytest.raises(ValueError, match="dimensions network, unit, condition, seed; average"):
        asymmetry(values.expand_dims("seed", axis=-1), "one")
