"""What models share: planted sharing is found, chance is taken away, and signs have one gauge."""

import numpy as np
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import shared_filters as shared
from signseg_utils.analysis import stats
from signseg_utils.basics import draws
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import consolidation
from signseg_utils.experiments.recorded import consolidation_effects as effects
from signseg_utils.neurons import circuits
from signseg_utils.neurons.recordings import RecordingError

SMALL = dict(images=20, shown=10, randomised=4)


@pytest.fixture(scope="module")
def found() -> list[xr.Dataset]:
    plan = consolidation.plan("simulated", "shapes", **SMALL)
    return [study.compute(zoos.load_zoo("shapes")) for study in plan]


# ---------------------------------------------------------------- measures


def kernels(*counts: int) -> list[np.ndarray]:
    rng = draws.philox(1)
    return [rng.standard_normal((count, 5, 5)) for count in counts]


def test_the_closest_match_is_that_of_a_plain_search() -> None:
    models = kernels(4, 2, 7)
    similar = shared.closest(models)
    one, two = (np.array([k.ravel() for k in own]) for own in models[:2])
    forth = np.mean([max(np.corrcoef(k, other)[0, 1] for other in two) for k in one])
    back = np.mean([max(np.corrcoef(k, other)[0, 1] for other in one) for k in two])
    assert similar[0, 1] == similar[1, 0] == pytest.approx((forth + back) / 2)
    assert np.isnan(np.diag(similar)).all()
    again = shared.closest([models[0], 3 * models[0][::-1] + 5])  # order, size and level
    assert again[0, 1] == pytest.approx(1)


def test_many_kernels_find_closer_matches_by_chance() -> None:
    few, many = (np.nanmean(shared.closest(kernels(*[n] * 8))) for n in (3, 50))
    assert many > few + 0.15


@pytest.mark.parametrize("null", shared.NULLS)
def test_random_kernels_are_as_many_and_as_smooth_as_they_should(null: str) -> None:
    rough = kernels(300, 200)
    smooth = shared.random_kernels(rough, "unblurred", 0, 0)
    smooth = [(own + np.roll(own, 1, 1) + np.roll(own, 1, 2)) for own in smooth]
    drawn = shared.random_kernels(smooth, null, 3, 4)
    assert [own.shape for own in drawn] == [own.shape for own in smooth]
    real, own = (shared.smoothness(np.concatenate(part)) for part in (smooth, drawn))
    assert abs(real - own) < (0.05 if null != "unblurred" else 2)
    if null == "unblurred":
        assert own < real - 0.2


def test_cka_of_equal_activity_is_1_and_of_unrelated_activity_0() -> None:
    rng = draws.philox(2)
    one, other = rng.standard_normal((40, 3000)), rng.standard_normal((40, 2000))
    turned, _ = np.linalg.qr(rng.standard_normal((3000, 3000)))
    grams = np.stack([shared.gram(own) for own in (one, 5 * one @ turned + 2, other)])
    cka = shared.alignment(grams)
    assert cka[0, 1] == pytest.approx(1, abs=1e-6)
    assert abs(cka[0, 2]) < 0.05  # the biased estimate would be near 1


def test_cka_is_that_of_the_formula() -> None:
    rng = draws.philox(3)
    one = rng.standard_normal((12, 4))
    two = one @ rng.standard_normal((4, 5)) + rng.standard_normal((12, 5))
    n = len(one)

    def hsic(x: np.ndarray, y: np.ndarray) -> float:  # Song et al. 2012, eq. 5
        k, m = x @ x.T, y @ y.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        ones = np.ones(n)
        middle = ones @ k @ ones * (ones @ m @ ones) / ((n - 1) * (n - 2))
        total = np.trace(k @ m) + middle - 2 / (n - 2) * ones @ k @ m @ ones
        return float(total / (n * (n - 3)))

    expected = hsic(one, two) / np.sqrt(hsic(one, one) * hsic(two, two))
    grams = np.stack([shared.gram(one), shared.gram(two)])
    assert shared.alignment(grams)[0, 1] == pytest.approx(expected)


def test_the_jackknife_is_that_of_leaving_models_out() -> None:
    pairs = draws.philox(4).random((9, 9))
    pairs = (pairs + pairs.T) / 2
    np.fill_diagonal(pairs, np.nan)
    values = shared.jackknifed(shared.of_each(pairs))
    assert values.mean() == pytest.approx(np.nanmean(pairs))
    without = np.nanmean(np.delete(np.delete(pairs, 4, 0), 4, 1))
    assert values[4] == pytest.approx(9 * np.nanmean(pairs) - 8 * without)


def test_its_interval_holds_as_often_as_it_says() -> None:
    rng, covered = draws.philox(5), 0
    for _ in range(300):
        level = rng.standard_normal(20)
        pairs = level[:, None] + level[None] + 0.1 * rng.standard_normal((20, 20))
        np.fill_diagonal(pairs, np.nan)
        interval = stats.mean(shared.jackknifed(shared.of_each(pairs)))
        covered += interval.low <= 0 <= interval.high
    assert 0.91 < covered / 300 < 0.98


def test_pairs_of_one_group_alone() -> None:
    pairs = np.array([[np.nan, 1, 5], [1, np.nan, 5], [5, 5, np.nan]])
    own = shared.of_each(pairs, ["a", "a", "b"])
    assert own[:2].tolist() == [1, 1] and np.isnan(own[2])


def test_weights_of_one_sign_are_told_from_coins() -> None:
    size = np.abs(kernels(6)[0].reshape(6, 25))
    found, tossed = shared.one_sided(size, 0, 0)
    assert found == 1 and 0.5 < tossed < 0.7
    coins = [
        shared.one_sided(size * draws.philox(6, n).choice([-1, 1], size.shape), 0, n)
        for n in range(40)
    ]
    assert np.mean([own - chance for own, chance in coins]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shared.closest([np.ones((1, 5, 5)), np.ones((0, 5, 5))]), "at least one kernel"),
        (lambda: shared.gram(np.ones((3, 4))), "at least four images"),
        (lambda: shared.jackknifed(np.ones(2)), "at least three models"),
    ],
)
def test_too_little_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- models


def test_shared_filters_are_found_where_they_were_planted_and_nowhere_else(
    found: list[xr.Dataset],
) -> None:
    same, own = (effects.of_kernels(one) for one in found)
    assert stats.mean(same["C-4 kernels beyond chance"]).low > 0.3
    assert abs(own["C-4 kernels beyond chance"].mean()) < 0.05
    assert stats.mean(own["C-4 kernels"]).low > 0.02  # chance alone: early layers have more
    activity = [effects.of_activity(one)["W-early activity beyond random"] for one in found]
    assert stats.mean(activity[0]).low > 0 and activity[1].mean() < 0.1


def test_planted_signs_are_found_in_the_gauge_of_what_is_passed_on(
    found: list[xr.Dataset],
) -> None:
    told = effects.of_signs(found[0])
    assert stats.mean(told["W-signs"]).low > 0.05
    assert told["W-signs raw"].mean() < told["W-signs"].mean() - 0.05


def test_turning_a_kernel_over_changes_neither_model_nor_numbers() -> None:
    images = circuits.scenery()[:6]
    one, other = circuits.model("simulated", "shared-0"), circuits.model("simulated", "shared-0")
    other.depthwise[1].weight.data[3] *= -2
    other.pointwise[1].weight.data[:, 3] /= -2
    torch.testing.assert_close(one(images), other(images))
    parts = [consolidation.parts(own, images)["3"] for own in (one, other)]
    torch.testing.assert_close(parts[0].passed, parts[1].passed)
    assert (parts[0].weight[:, 3] * parts[1].weight[:, 3] <= 0).all()


def test_without_all_weights_of_a_sign_is_a_model_with_these_weights_at_0() -> None:
    images = circuits.scenery()[:6]
    own = circuits.model("simulated", "shared-1")
    part = consolidation.parts(own, images)["4"]
    ablation = consolidation.CONDITIONS["positive full"]
    found = consolidation.without(own, "4", part, *ablation)
    own.pointwise[2].weight.data[part.passed[..., None, None] > 0] = 0
    torch.testing.assert_close(found, own(images))


def test_redrawn_models_keep_the_level_of_each_filter() -> None:
    images = circuits.scenery()[:6]
    own = circuits.model("simulated", "unshared-2")
    other = circuits.redrawn(own, images, 0, 1)
    for one, two in zip(circuits.levels(own, images), circuits.levels(other, images), strict=True):
        torch.testing.assert_close(one.mean, two.mean, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(one.spread, two.spread, atol=1e-3, rtol=1e-3)
    assert abs(np.corrcoef(own.kernels(3).flatten(), other.kernels(3).flatten())[0, 1]) < 0.3


def test_audits_agree_and_a_changed_number_is_found(found: list[xr.Dataset]) -> None:
    plan, zoo = consolidation.plan("simulated", "shapes", **SMALL)[:1], zoos.load_zoo("shapes")
    assert base.demand(base.audit(plan, found[:1], zoo, sample=1)) > 100
    other = found[0].copy(deep=True)
    other["kept"] += 0.1
    with pytest.raises(AuditError, match="kept"):
        base.demand(base.audit(plan, [other], zoo, sample=1))


def test_nothing_of_it_is_a_weight_or_an_image(found: list[xr.Dataset]) -> None:
    assert not {"image", "filter", "row", "column"} & set(found[0].dims)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(RecordingError, match="expected recording v4 or simulated"):
        consolidation.plan("mine.csv", "shapes")
    with pytest.raises(KeyError, match="population"):
        circuits.names("simulated", "shard")
    with pytest.raises(KeyError, match="simulated model"):
        circuits.model("simulated", "shard-0")
    few = consolidation.plan("simulated", "shapes", images=5000)[0]
    with pytest.raises(RecordingError, match="expected 5000 images"):
        few.compute(zoos.load_zoo("shapes"))
