"""Estimates and tests: facts about coverage, and agreement with scipy where it has the test."""

import itertools

import numpy as np
import pytest
from scipy import stats as reference

from signseg_utils.analysis.stats import (
    above_chance,
    bootstrap,
    bootstrap_cells,
    bootstrap_curve,
    bootstrap_gap,
    detectable,
    equivalence,
    from_draws,
    holm,
    paired_permutation,
    rank_among_samples,
    share,
    share_difference,
    smaller_samples,
    spearman,
    spearman_gap,
    spearman_over_units,
)


def sample(n: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def test_bootstrap_of_a_constant_has_no_width() -> None:
    estimate = bootstrap(np.full(7, 2.5))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (2.5, 2.5, 2.5, 7)


def test_bootstrap_is_fixed_by_its_seed() -> None:
    values = sample(20)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        estimate = bootstrap(sample(40, seed, mean=1.0), seed=seed, resamples=500)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 0.89 < covered / 300 < 0.98


def test_bootstrap_agrees_with_scipy() -> None:
    values = sample(30) ** 2
    ours = bootstrap(values, np.median, resamples=5_000)
    theirs = reference.bootstrap(
        (values,), np.median, n_resamples=5_000, method="percentile", random_state=0
    ).confidence_interval
    assert ours.value == np.median(values)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.1)


def test_higher_level_gives_a_wider_interval() -> None:
    values = sample(20)
    narrow, wide = bootstrap(values, level=0.8), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_curve_is_pointwise_the_bootstrap() -> None:
    values = np.stack([sample(12, seed) for seed in range(3)], axis=1)
    curve = bootstrap_curve(values, seed=5, resamples=800)
    for point in range(3):
        estimate = bootstrap(values[:, point], seed=5, resamples=800)
        assert curve.value[point] == pytest.approx(estimate.value)
        assert curve.low[point] == pytest.approx(estimate.low)
        assert curve.high[point] == pytest.approx(estimate.high)


def test_exact_permutation_by_enumeration() -> None:
    a, b = sample(6, 1, 0.7), sample(6, 2)
    difference = a - b
    means = [np.mean(np.array(s) * difference) for s in itertools.product((1, -1), repeat=6)]
    two_sided = np.mean(np.abs(means) >= abs(difference.mean()) - 1e-12)
    greater = np.mean(np.array(means) >= difference.mean() - 1e-12)
    found = paired_permutation(a, b)
    assert found.exact
    assert found.p == two_sided
    assert paired_permutation(a, b, alternative="greater").p == greater
    assert paired_permutation(b, a, alternative="less").p == greater


def test_smallest_exact_p_of_all_positive_differences() -> None:
    found = paired_permutation(np.arange(1.0, 9.0), np.zeros(8))
    assert found.p == 2 / 2**8


def test_sampled_permutation_agrees_with_scipy() -> None:
    a, b = sample(30, 1, 0.3), sample(30, 2)
    ours = paired_permutation(a, b, seed=0)
    theirs = reference.permutation_test(
        (a, b),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=5_000,
        random_state=0,
    )
    assert not ours.exact
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)


def test_permutation_p_is_uniform_without_an_effect() -> None:
    p = [paired_permutation(sample(9, s), sample(9, s + 999)).p for s in range(200)]
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.1


def test_permutation_of_equal_samples_is_one() -> None:
    assert paired_permutation(sample(5), sample(5)).p == 1.0
    with pytest.raises(ValueError, match="alternative"):
        paired_permutation([1.0], [2.0], alternative="bigger")


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
    assert spearman(x, np.exp(x)).value == 1.0
    assert spearman(x, -(x**3)).value == -1.0
    assert np.isnan(spearman(x, np.ones(10)).value)
    with pytest.raises(ValueError, match="as many x as y"):
        spearman(x, x[:5])


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, float("nan")]])
def test_bad_samples_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap(values)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_permutation([1.0, 2.0], [1.0])


def test_results_print_what_a_reader_needs() -> None:
    a, b = sample(8, 1), sample(8, 2)
    assert "n = 8" in str(bootstrap(a))
    assert "exact" in str(paired_permutation(a, b))
    assert "seed 0" in str(paired_permutation(sample(20), sample(20, 1)))
    assert "within 0.5" in str(equivalence(a, b, 0.5))
    assert "rho" in str(spearman(a, b))
    assert "3 points" in str(bootstrap_curve(np.ones((4, 3))))


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


def test_rho_over_units_is_that_of_all_pairs() -> None:
    y = np.random.default_rng(0).normal(size=(11, 6)) + np.arange(6)
    found = spearman_over_units([0, 0.5, 1, 2, 4, 8], y, resamples=200)
    expected = reference.spearmanr(np.tile([0, 0.5, 1, 2, 4, 8], 11), y.ravel())
    assert found.value == pytest.approx(expected.statistic) and found.n == 11
    assert found.low < found.value < found.high and found.p < 0.01


def test_rho_over_units_does_not_mistake_one_unit_for_many() -> None:
    """Units that each keep a level of their own: wider than if all pairs were independent."""
    rng = np.random.default_rng(1)
    x = np.arange(6)
    y = rng.normal(size=(12, 1)) * x + rng.normal(size=(12, 6))  # a slope of its own each
    over_units = spearman_over_units(x, y, resamples=500)
    over_pairs = spearman(np.tile(x, 12), y.ravel(), resamples=500)
    assert over_units.high - over_units.low > over_pairs.high - over_pairs.low


def test_rho_over_units_of_a_constant_is_nan_and_shapes_are_checked() -> None:
    assert np.isnan(spearman_over_units([1, 2], np.ones((3, 2))).value)
    with pytest.raises(ValueError, match=r"expected y \[unit, 3\]"):
        spearman_over_units([1, 2, 3], np.ones((3, 2)))


def test_gap_of_correlations_is_their_difference() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y, z = x + 0.1 * rng.normal(size=60), rng.normal(size=60)
    gap = spearman_gap(x, y, z, resamples=500)
    parts = [spearman(x, other, resamples=2).value for other in (y, z)]
    assert gap.value == pytest.approx(parts[0] - parts[1])
    assert 0 < gap.low < gap.value < gap.high
    assert spearman_gap(x, y, y, resamples=50).high == 0
    with pytest.raises(ValueError, match="same items"):
        spearman_gap(x, y, z[:5])


def test_cells_are_bootstrapped_alone_and_together() -> None:
    cells = {"a": [1.0, 2.0, np.nan, 3.0], "b": [3.0, 4.0, 5.0, np.nan], "c": [np.nan] * 4}
    each, together = bootstrap_cells(cells)
    assert {name: (e.value, e.n) for name, e in each.items()} == {"a": (2, 3), "b": (4, 3)}
    assert together.value == pytest.approx(np.mean([2, 3, 5, 3])) and together.n == 4
    with pytest.raises(ValueError, match="finite value"):
        bootstrap_cells({"c": [np.nan]})


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
    p = np.random.default_rng(0).uniform(size=(4000, 8))
    assert 0.04 < np.mean([holm(row).min() < 0.05 for row in p]) < 0.06


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


def test_the_gap_of_two_groups_is_as_uncertain_as_both() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 40), rng.normal(0, 3, 10)
    found = bootstrap_gap(first, second, seed=1)
    assert found.value == pytest.approx(first.mean() - second.mean()) and found.n == 10
    width = np.hypot(first.std() / np.sqrt(40), second.std() / np.sqrt(10))  # both scatter
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(width, rel=0.1)
    known = bootstrap(first - second.mean(), seed=1)  # the second mean taken for known
    assert found.high - found.low > 2 * (known.high - known.low)
    swapped = bootstrap_gap(second, first, seed=1)
    assert swapped.value == -found.value
    with pytest.raises(ValueError, match="at least one unit"):
        bootstrap_gap(first, [])


def test_above_chance_means_above_nearly_all_draws() -> None:
    draws = np.linspace(0, 1, 1001)
    assert above_chance(0.99, draws, n=8, seed=0).low > 0
    inside = above_chance(0.96, draws, n=8, seed=0)
    assert inside.low < 0 < inside.high and inside.value == pytest.approx(0.46)
    assert above_chance(0.01, draws, n=8, seed=0).high < 0


def test_from_draws_is_their_percentile_interval() -> None:
    found = from_draws(0.4, np.linspace(0, 1, 1001), n=5, seed=2)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975)) and found.value == 0.4
