"""Backbones that end before the readout."""

import pytest
import torch

from signseg_utils.basics import registry
from signseg_utils.networks import Network, mirrored
from signseg_utils.networks.small import FAMILIES, SmallConfig
from signseg_utils.units.readout import Readout

SMALL = {
    "alexnet": dict(widths=(8, 8, 8), depths=(1, 1)),
    "vgg": dict(widths=(8, 8, 8, 8), depths=(1, 2, 1)),
    "resnet": dict(widths=(8, 8, 12), depths=(1, 2)),
}


def build(family, **changes):
    torch.manual_seed(0)
    config = dict(family=family, features=16, image_size=32, **SMALL[family]) | changes
    return registry.load("networks", "small")(config)


def trained_looking(backbone):
    """Batch norms with statistics other than 0 and 1, so that folding has something to do."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
    return backbone.eval()


def test_every_family_is_tested():
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_non_negative_with_relu_and_signed_with_tanh(family):
    images = torch.rand(3, 3, 32, 32)
    relu = build(family).eval()(images)
    tanh = build(family, activation="tanh").eval()(images)
    assert relu.shape == tanh.shape == (3, 16)
    assert (relu >= 0).all()
    assert tanh.min() < 0 < tanh.max()
    assert tanh.abs().max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_folding_the_batch_norm_changes_nothing(family):
    backbone = trained_looking(build(family))
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = backbone(images)
    folded = backbone.folded()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_another_size_are_resized(family):
    backbone = build(family).eval()
    images = torch.full((2, 3, 50, 50), 0.3)
    smaller = torch.full((2, 3, 32, 32), 0.3)
    torch.testing.assert_close(backbone(images), backbone(smaller))


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_end_where_the_head_begins(family):
    backbone = build(family).eval()
    images = torch.rand(2, 3, 32, 32)
    maps = backbone.stages(images)
    assert len(maps) == len(SMALL[family]["depths"]) + 1
    torch.testing.assert_close(backbone.head(maps[-1]), backbone(images))


def test_logits_are_the_readout_of_the_features():
    backbone = build("resnet").eval()
    readout = Readout(torch.randn(5, 16), torch.randn(5), tuple("abcde"))
    images = torch.rand(2, 3, 32, 32)
    logits = Network("net", backbone, readout).logits(images)
    torch.testing.assert_close(logits, backbone(images) @ readout.weight.T + readout.bias)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(family="resnest"), KeyError, "did you mean resnet"),
        (dict(family="vgg", activation="rely"), KeyError, "did you mean relu"),
        (dict(family="vgg", widths=(8,)), ValueError, "1 widths for 3 stages"),
    ],
)
def test_impossible_configurations_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        SmallConfig(**(SMALL["vgg"] | change))


@pytest.mark.parametrize(("activation", "same"), [("tanh", True), ("relu", False)])
def test_turning_features_round_changes_nothing_behind_an_odd_activation(activation, same):
    backbone = trained_looking(build("alexnet", activation=activation)).folded()
    readout = Readout(torch.randn(3, 16), torch.randn(3), ("a", "b", "c"))
    network, chosen = Network("one", backbone, readout), torch.arange(16) % 2 == 0
    turned, images = mirrored(network, chosen), torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(turned.readout.weight[:, 1::2], readout.weight[:, 1::2])
    torch.testing.assert_close(turned.readout.weight[:, ::2], -readout.weight[:, ::2])
    difference = (turned.logits(images) - network.logits(images)).abs().max()
    assert (difference < 1e-5) == same
    torch.testing.assert_close(mirrored(turned, chosen).logits(images), network.logits(images))


def test_only_features_of_a_linear_layer_can_be_turned_round():
    readout = Readout(torch.randn(3, 16), torch.randn(3), ("a", "b", "c"))
    with pytest.raises(ValueError, match="AlexNet- or VGG-like"):
        mirrored(Network("two", build("resnet"), readout), torch.zeros(16, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected chosen bool \[16\]"):
        mirrored(Network("one", build("alexnet"), readout), torch.zeros(5, dtype=torch.bool))
