"""Contributions of channels, against what follows from a layer that is linear behind them."""

import pytest
import torch
from torch import nn

from signseg_utils.units.ablation import Ablation
from signseg_utils.units.contributions import (
    by_sign,
    contributions,
    maps,
    removed_channels,
    without_channels,
)
from signseg_utils.units.readout import Readout


@pytest.fixture
def backbone() -> nn.Module:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True))
    deep = nn.Sequential(nn.Conv2d(5, 6, 3), nn.ReLU(inplace=True))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(stem, deep, head).requires_grad_(False)


@pytest.fixture
def units() -> Readout:
    torch.manual_seed(1)
    return Readout(torch.randn(2, 6), torch.randn(2), ("a", "b"))


IMAGES = torch.rand(7, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def test_before_the_readout_it_is_weight_times_mean_feature(backbone, units) -> None:
    found = contributions(backbone, "1", units, IMAGES)
    expected = units.weight * backbone(IMAGES).mean(0)
    torch.testing.assert_close(found, expected.double())


def test_below_it_is_the_change_that_a_small_dimming_of_the_channel_makes(backbone, units) -> None:
    found = contributions(backbone, "0", units, IMAGES)
    step = 1e-3
    for channel in range(5):
        scale = torch.ones(5)
        scale[channel] -= step
        changed = without_channels(backbone, "0", torch.zeros(5, dtype=torch.bool))
        changed[0][1].keep.copy_(scale)
        change = (units.responses(backbone(IMAGES)) - units.responses(changed(IMAGES))).mean(0)
        torch.testing.assert_close(found[:, channel].float(), change / step, rtol=0.05, atol=2e-3)


def test_each_unit_may_have_images_of_its_own(backbone, units) -> None:
    own = torch.stack([IMAGES[:3], IMAGES[3:6]])
    found = contributions(backbone, "0", units, own)
    for row in range(2):
        alone = contributions(backbone, "0", units.rows([row]), own[row])
        torch.testing.assert_close(found[row : row + 1], alone)
    with pytest.raises(ValueError, match="one set for each of 2 units"):
        contributions(backbone, "0", units, own[:1])


def test_network_is_left_as_it_was_and_images_may_come_from_inference(backbone, units) -> None:
    with torch.inference_mode():
        images = IMAGES * 1.0
        inside = contributions(backbone, "0", units, images)
    torch.testing.assert_close(inside, contributions(backbone, "0", units, IMAGES))
    assert not any(module._forward_hooks for module in backbone.modules())


def test_maps_leave_the_layer(backbone) -> None:
    found = maps(backbone, "0", IMAGES, batch=3)
    torch.testing.assert_close(found, backbone[0](IMAGES))


def test_unknown_layer_is_named(backbone, units) -> None:
    for call in (
        lambda: maps(backbone, "trunk.1", IMAGES),
        lambda: contributions(backbone, "trunk.1", units, IMAGES),
        lambda: without_channels(backbone, "", torch.zeros(5, dtype=torch.bool)),
    ):
        with pytest.raises(KeyError, match="layer of this backbone"):
            call()


def test_removed_channels_are_silent_and_the_others_as_before(backbone) -> None:
    removed = torch.tensor([True, False, True, False, False])
    changed = without_channels(backbone, "0", removed)
    before, after = backbone[0](IMAGES), changed[0](IMAGES)
    assert not after[:, removed].any()
    assert torch.equal(after[:, ~removed], before[:, ~removed])
    assert not torch.allclose(changed(IMAGES), backbone(IMAGES))
    same = without_channels(backbone, "0", torch.zeros(5, dtype=torch.bool))
    assert torch.equal(same(IMAGES), backbone(IMAGES))


def test_all_of_a_sign_goes_at_full_strength_and_the_largest_first(backbone) -> None:
    share = torch.tensor([3.0, -5.0, 1.0, -0.5, 0.0])
    full = removed_channels(share, Ablation("positive", 1.0), "a")
    assert full.tolist() == [True, False, True, False, False]
    half = removed_channels(share, Ablation("negative", 0.5), "a")
    assert half.tolist() == [False, True, False, False, False]
    most = removed_channels(share, Ablation("negative", 0.5, rule="largest"), "a")
    assert not most.any()


def test_means_by_sign_weigh_by_contribution_and_leave_out_what_is_unknown() -> None:
    values = torch.tensor([1.0, 3.0, 10.0, float("nan")])
    share = torch.tensor([[1.0, 3.0, -2.0, 9.0], [1.0, 1.0, 1.0, -1.0]])
    positive, negative = by_sign(values, share)
    torch.testing.assert_close(positive, torch.tensor([2.5, 14 / 3], dtype=torch.float64))
    assert negative[0] == 10 and negative[1].isnan()
    with pytest.raises(ValueError, match="4 channels"):
        by_sign(values[:2], share)
