"""Estimates and tests: facts about coverage, and agreement with scipy where it has the test."""

import numpy as np
import pytest
from scipy import stats as reference

from signseg_utils.analysis.stats import (
    above_chance,
    bootstrap,
    detectable,
    equivalence,
    from_draws,
    gap,
    holm,
    mean,
    mean_curve,
    median,
    over_networks,
    rank_among_samples,
    rho_over_networks,
    share,
    share_difference,
    smaller_samples,
    spearman,
    spearman_gap,
    trimmed,
)


def sample(n: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


# ---------------------------------------------------------------- how often the truth is held


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Mean 0, standard deviation 1, skewness 1."""
    return (rng.gamma(4.0, size=shape) - 4) / 2


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


@pytest.mark.parametrize("law", [normal, skewed])
@pytest.mark.parametrize("n", [6, 10, 12, 30])
def test_the_mean_is_held_by_93_to_97_of_100_intervals(law, n: int) -> None:
    drawn = law(np.random.default_rng(n), (3_000, n))
    found = [mean(row) for row in drawn]
    held = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.925 <= held <= 0.97  # chance moves the share of 3,000 by half a point
    assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(1 - held)


@pytest.mark.parametrize("law", [normal, skewed])
@pytest.mark.parametrize("networks", [3, 5])
@pytest.mark.parametrize(("between", "units"), [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_other_networks_and_units_are_held_by_93_to_97_of_100_intervals(
    law, networks: int, between: float, units: float
) -> None:
    """Networks crossed with 12 units, each with a level of its own, and noise in each cell."""
    rng = np.random.default_rng([networks, int(10 * between)])
    held = []
    for _ in range(2_000):
        table = between * normal(rng, (networks, 1)) + units * law(rng, (1, 12))
        found = over_networks(table + law(rng, (networks, 12)))
        held.append(found.low <= 0 <= found.high)
    assert 0.925 <= np.mean(held) <= 0.975  # of 2,000, chance moves the share by half a point


def test_where_there_is_noise_only_the_interval_is_too_wide_rather_than_too_narrow() -> None:
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(1_000, 5, 12))
    held = [found.low <= 0 <= found.high for found in map(over_networks, tables)]
    assert 0.95 < np.mean(held)


def test_resampling_networks_and_units_would_not_do() -> None:
    """Why the interval is no bootstrap: of three networks it is far too narrow."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        table = rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(3, 12))
        networks, units = rng.integers(0, 3, (500, 3, 1)), rng.integers(0, 12, (500, 1, 12))
        low, high = np.quantile(table[networks, units].mean((1, 2)), [0.025, 0.975])
        held.append(low <= 0 <= high)
    assert np.mean(held) < 0.85


@pytest.mark.parametrize(("n", "rho"), [(10, 0.0), (16, 0.5), (30, 0.8)])
def test_rank_correlations_are_held_as_often_as_said(n: int, rho: float) -> None:
    rng = np.random.default_rng(n)
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of normal pairs
    held = []
    for _ in range(1_500):
        x, noise = rng.normal(size=(2, n))
        found = spearman(x, rho * x + np.sqrt(1 - rho**2) * noise)
        held.append(found.low <= truth <= found.high)
    assert 0.925 <= np.mean(held) <= 0.98


def test_a_network_of_one_kind_has_units_but_no_sample() -> None:
    values = sample(12, 1)
    found = over_networks(values[None])
    assert (found.n, found.units, found.p) == (1, 12, None)
    assert (found.low, found.high) == (mean(values).low, mean(values).high)


def test_over_networks_is_the_two_way_analysis_of_variance() -> None:
    table = sample(12, 1).reshape(3, 4) + np.array([[0], [1], [3]])
    found = over_networks(table)
    networks, units = table.shape
    centred = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    squares = [
        units * table.mean(1).var(ddof=1),
        networks * table.mean(0).var(ddof=1),
        (centred**2).sum() / 6,
    ]
    summed = squares[0] + squares[1] - squares[2]
    assert found.value == pytest.approx(table.mean()) and (found.n, found.units) == (3, 4)
    assert found.error == pytest.approx(np.sqrt(summed / 12))
    freedom = summed**2 / (squares[0] ** 2 / 2 + squares[1] ** 2 / 3 + squares[2] ** 2 / 6)
    assert found.freedom == pytest.approx(freedom)
    one = over_networks(table.mean(1))  # networks alone
    assert one.low == pytest.approx(mean(table.mean(1)).low) and one.units == 1


def test_a_unit_that_one_network_lacks_is_left_out_there_only() -> None:
    table = sample(24, 1).reshape(3, 8) + np.array([[0], [1], [3]])
    whole = over_networks(table)
    table[0, 0] = np.nan
    lacking = over_networks(table)
    expected = np.mean([table[0, 1:].mean(), table[1].mean(), table[2].mean()])
    assert lacking.value == pytest.approx(expected)
    assert lacking.high - lacking.low == pytest.approx(whole.high - whole.low, rel=0.2)
    with pytest.raises(ValueError, match="finite value in each network"):
        over_networks(np.full((2, 3), np.nan))


# ---------------------------------------------------------------- means


def test_a_constant_has_no_width() -> None:
    for estimate in (mean(np.full(7, 2.5)), bootstrap(np.full(7, 2.5))):
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2.5, 2.5, 2.5, 7)


def test_mean_is_the_t_interval_of_scipy() -> None:
    values = sample(9, 3, 0.5)
    found, theirs = mean(values), reference.ttest_1samp(values, 0)
    interval = theirs.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(theirs.pvalue)
    assert mean(values[:1]).low == values[0]


def test_what_could_have_been_seen_is_about_what_power_says() -> None:
    values = sample(14, 2)
    assert mean(values).detectable == pytest.approx(detectable(values), rel=0.01)


def test_within_a_margin_is_two_one_sided_tests() -> None:
    values = sample(15, 1)
    assert mean(values).p_within(0.9) == pytest.approx(equivalence(values, 0 * values, 0.9).p)
    assert mean(values + 2).p_within(0.9, of=2) == pytest.approx(mean(values).p_within(0.9))
    assert share(3, 5).p_within(0.1) is None


def test_trimmed_mean_is_scipys_and_lone_values_do_not_move_it() -> None:
    values = sample(20, 4, 1.0)
    low, high = reference.mstats.trimmed_mean_ci(values, (0.2, 0.2))
    found = trimmed(values)
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))
    values[np.argmax(values)] = 1000.0
    assert trimmed(values).value == pytest.approx(found.value)


def test_bootstrap_is_scipys_bca_and_fixed_by_its_seed() -> None:
    values = sample(30) ** 2
    ours = bootstrap(values, np.median, seed=3, resamples=2_000)
    theirs = reference.bootstrap(
        (values,), np.median, n_resamples=2_000, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours.value == np.median(values)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs))
    assert ours == bootstrap(values, np.median, seed=3, resamples=2_000)


def test_higher_level_gives_a_wider_interval() -> None:
    values = sample(20)
    for estimate in (mean, bootstrap):
        narrow, wide = estimate(values, level=0.8), estimate(values, level=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("trim", [0.0, 0.2])
def test_curve_is_pointwise_the_mean(trim: float) -> None:
    values = np.stack([sample(12, seed) for seed in range(3)], axis=1)
    curve = mean_curve(values, trim=trim)
    for point in range(3):
        one = trimmed(values[:, point], trim) if trim else mean(values[:, point])
        assert curve.value[point] == pytest.approx(one.value)
        assert (curve.low[point], curve.high[point]) == pytest.approx((one.low, one.high))


def test_the_gap_of_two_groups_is_welchs() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 40), rng.normal(0, 3, 10)
    found = gap(first, second)
    theirs = reference.ttest_ind(first, second, equal_var=False)
    assert found.value == pytest.approx(first.mean() - second.mean()) and found.n == 10
    assert found.p == pytest.approx(theirs.pvalue)
    width = np.hypot(reference.sem(first), reference.sem(second))  # both scatter
    assert found.error == pytest.approx(width)
    swapped = gap(second, first)
    assert (swapped.value, swapped.low) == pytest.approx((-found.value, -found.high))
    with pytest.raises(ValueError, match="at least one unit"):
        gap(first, [])


# ---------------------------------------------------------------- tests


def test_equivalence_is_two_one_sided_t_tests() -> None:
    a, b, margin = sample(15, 1), sample(15, 2), 0.9
    found = equivalence(a, b, margin)
    low = reference.ttest_rel(a, b - margin, alternative="greater").pvalue
    high = reference.ttest_rel(a, b + margin, alternative="less").pvalue
    assert found.p == pytest.approx(max(low, high))
    interval = reference.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    narrow = reference.ttest_rel(a, b).confidence_interval(0.9)
    assert found.equivalent == (-margin < narrow.low and narrow.high < margin)


def test_equivalence_needs_data_and_a_margin() -> None:
    noisy = equivalence(sample(3, 1), sample(3, 2), 0.1)
    assert not noisy.equivalent
    alike = equivalence(sample(200, 1), sample(200, 1) + 0.01, 0.1)
    assert alike.equivalent
    assert not equivalence(sample(200, 1), sample(200, 1) + 0.5, 0.1).equivalent
    with pytest.raises(ValueError, match="margin above 0"):
        equivalence([1.0, 2.0], [1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        equivalence([1.0], [1.0], 0.1)


def test_equivalence_rarely_errs_at_the_margin() -> None:
    wrong = [equivalence(sample(20, s, 0.5), np.zeros(20), 0.5).equivalent for s in range(300)]
    assert np.mean(wrong) < 0.09


def test_spearman_agrees_with_scipy() -> None:
    x = sample(25, 1).round(1)  # with ties
    y = x + sample(25, 2)
    ours = spearman(x, y)
    theirs = reference.spearmanr(x, y)
    assert ours.value == pytest.approx(theirs.statistic)
    assert ours.low < ours.value < ours.high
    assert ours.p < 0.05


def test_spearman_sees_order_only() -> None:
    x = np.arange(10.0)
    assert spearman(x, np.exp(x)).value == pytest.approx(1)
    assert spearman(x, -(x**3)).value == pytest.approx(-1)
    assert np.isnan(spearman(x, np.ones(10)).value)
    with pytest.raises(ValueError, match="as many x as y"):
        spearman(x, x[:5])


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, float("nan")]])
def test_bad_samples_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match="expected"):
        mean(values)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="paired"):
        equivalence([1.0, 2.0], [1.0], 0.5)


def test_results_print_what_a_reader_needs() -> None:
    a, b = sample(8, 1), sample(8, 2)
    assert "n = 8" in str(mean(a))
    assert "n = 2 networks of 4 units" in str(over_networks(a.reshape(2, 4)))
    assert "within 0.5" in str(equivalence(a, b, 0.5))
    assert "rho" in str(spearman(a, b))
    assert "3 points" in str(mean_curve(np.ones((4, 3))))


def test_share_is_wilsons_interval() -> None:
    found = share(15, 50)
    z = 1.959964  # by hand: (p + z^2/2n -+ z sqrt(p q/n + z^2/4n^2)) / (1 + z^2/n)
    centre, reach = 0.3 + z**2 / 100, z * (0.21 / 50 + z**2 / 10_000) ** 0.5
    assert found.low == pytest.approx((centre - reach) / (1 + z**2 / 50), abs=1e-6)
    assert found.high == pytest.approx((centre + reach) / (1 + z**2 / 50), abs=1e-6)
    assert (found.value, found.n, found.seed) == (0.3, 50, None)
    assert share(50, 50).low < 1 == share(50, 50).high
    with pytest.raises(ValueError, match="6 of 5"):
        share(6, 5)


def test_difference_of_shares_as_published() -> None:
    # Newcombe 1998, table II, example (a): 56/70 and 48/80, method 10
    found = share_difference(share(56, 70), share(48, 80))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_rho_over_networks_is_that_of_all_pairs() -> None:
    x = [0, 0.5, 1, 2, 4, 8]
    y = np.random.default_rng(0).normal(size=(6, 11)) + np.arange(6)[:, None]
    found = rho_over_networks(x, y)
    expected = reference.spearmanr(np.repeat(x, 11), y.ravel())
    assert found.value == pytest.approx(expected.statistic) and (found.n, found.units) == (6, 11)
    assert found.low < found.value < found.high and found.p < 0.05


def test_rho_over_networks_does_not_mistake_units_for_networks() -> None:
    """Each network has a level of its own: 72 pairs, but six networks."""
    rng = np.random.default_rng(1)
    x, alarms, naive = np.arange(6), [], []
    for _ in range(200):
        y = rng.normal(size=(6, 1)) + 0.3 * rng.normal(size=(6, 12))
        alarms.append(rho_over_networks(x, y).p < 0.05)
        naive.append(spearman(np.repeat(x, 12), y.ravel()).p < 0.05)
    assert np.mean(alarms) < 0.15 and np.mean(naive) > 0.4


def test_rho_over_networks_of_a_constant_is_nan_and_shapes_are_checked() -> None:
    assert np.isnan(rho_over_networks([1, 2], np.ones((2, 3))).value)
    with pytest.raises(ValueError, match=r"expected y \[3, unit\]"):
        rho_over_networks([1, 2, 3], np.ones((2, 3)))


def test_gap_of_correlations_is_their_difference() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y, z = x + 0.1 * rng.normal(size=60), rng.normal(size=60)
    gap = spearman_gap(x, y, z, resamples=500)
    parts = [spearman(x, other).value for other in (y, z)]
    assert gap.value == pytest.approx(parts[0] - parts[1])
    assert 0 < gap.low < gap.value < gap.high
    assert spearman_gap(x, y, y, resamples=50).high == 0
    with pytest.raises(ValueError, match="same items"):
        spearman_gap(x, y, z[:5])


def test_smaller_samples_centre_on_the_whole_and_scatter_as_theory_says() -> None:
    values = sample(40, seed=3, mean=1.0)
    found = smaller_samples(values, 10, draws=4_000)
    assert found.value.shape == found.low.shape == (4_000,)
    assert found.value.mean() == pytest.approx(values.mean(), abs=0.02)
    # a finite population of 40: s.d. of the mean is s / sqrt(10), times sqrt(1 - 10/40)
    expected = values.std(ddof=1) / np.sqrt(10) * np.sqrt(0.75)
    assert found.value.std() == pytest.approx(expected, rel=0.05)
    assert found.above > 0.5 and found.below == 0
    assert smaller_samples(-values, 10, draws=4_000).below == found.above  # the same draws


def test_smaller_samples_take_no_unit_twice_and_give_the_t_interval() -> None:
    values = np.arange(5.0)
    found = smaller_samples(values, 5, draws=20)
    np.testing.assert_allclose(found.value, 2)
    low, high = reference.t.interval(0.95, 4, 2, reference.sem(values))
    np.testing.assert_allclose([found.low[0], found.high[0]], [low, high])
    for size in (1, 6):
        with pytest.raises(ValueError, match=f"to 5, the number of units; got {size}"):
            smaller_samples(values, size)


def test_rank_tells_typical_units_from_chosen_ones() -> None:
    values = np.arange(30.0)
    assert rank_among_samples(values, values < 5) < 0.01
    assert rank_among_samples(values, values >= 25) == 1
    assert 0.3 < rank_among_samples(values, values % 6 == 2) < 0.5  # mean 14, of all 14.5
    assert rank_among_samples(values, values == 14) == pytest.approx(0.5, abs=0.03)
    assert np.isnan(rank_among_samples(values, values > 99))
    with pytest.raises(ValueError, match=r"expected chosen bool \[30\]"):
        rank_among_samples(values, [True])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.04]) == pytest.approx([0.04])


def test_holm_keeps_false_alarms_at_its_level() -> None:
    """Under the null: the least of eight is corrected by eight, and one in twenty families errs."""
    p = np.random.default_rng(0).uniform(size=(4000, 8))
    for row in p[:20]:
        assert holm(row).min() == pytest.approx(min(1, 8 * row.min()))
    assert 0.04 < np.mean(8 * p.min(1) < 0.05) < 0.06


def test_holm_refuses_what_is_no_p() -> None:
    with pytest.raises(ValueError, match="0..1"):
        holm([0.2, 1.2])


def test_detectable_effects_are_found_as_often_as_said() -> None:
    """Of samples with that effect, four in five give p < .05."""
    sample = np.random.default_rng(0).normal(size=20)
    sample = (sample - sample.mean()) / sample.std(ddof=1)
    least = detectable(sample)
    drawn = np.random.default_rng(1).normal(least, 1, (10_000, 20))
    found = (reference.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.015)
    assert detectable(3 * sample) == pytest.approx(3 * least)
    assert detectable(sample, power=0.9) > least > detectable(np.tile(sample, 4))
    assert detectable([1.0, 1.0]) == 0
    with pytest.raises(ValueError, match="at least 2 units"):
        detectable([1.0])
    with pytest.raises(ValueError, match="power"):
        detectable(sample, power=1.0)


def test_above_chance_means_above_nearly_all_draws() -> None:
    draws = np.linspace(0, 1, 1001)
    assert above_chance(0.99, draws, n=8, seed=0).low > 0
    inside = above_chance(0.96, draws, n=8, seed=0)
    assert inside.low < 0 < inside.high and inside.value == pytest.approx(0.46)
    assert above_chance(0.01, draws, n=8, seed=0).high < 0


def test_from_draws_is_their_percentile_interval() -> None:
    found = from_draws(0.4, np.linspace(0, 1, 1001), n=5, seed=2)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975)) and found.value == 0.4


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (12, 87):
        held = [
            found.low <= 3 <= found.high
            for found in (median(rng.poisson(3.2, n)) for _ in range(400))
        ]
        assert np.mean(held) > 0.94
        found = median(np.arange(n))
        assert found.value == (n - 1) / 2 and found.low + found.high == n - 1
    assert (median([1, 2, 4]).low, median([1, 2, 4]).high) == (1, 4)
