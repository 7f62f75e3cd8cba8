"""A network that the package does not know is cut before its last linear layer."""

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from signseg_utils.files.weights import DamagedWeights
from signseg_utils.generators.spectral import Spectral
from signseg_utils.networks._cut import MEAN, STD
from signseg_utils.networks.wrapped import NoLinearReadout, by_name, wrap
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units.ablation import Ablation, ablate


class OwnNet(nn.Module):
    """A linear layer that is defined last but used in the middle, if ``shuffled``."""

    def __init__(self, shuffled: bool = False, bias: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=4)
        names = ("out", "mid") if shuffled else ("mid", "out")
        sizes = {"mid": (6, 5), "out": (5, 4)}
        for name in names:
            self.add_module(name, nn.Linear(*sizes[name], bias=bias or name == "mid"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.mid(self.conv(x).mean((2, 3))).relu())


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.mark.parametrize(
    ("name", "features"), [("mobilenet_v3_small", 1024), ("regnet_y_400mf", 440)]
)
def test_architectures_of_torchvision_by_name(name: str, features: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, num_classes=1000).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    found = by_name(name, weights=tmp_path / "mine.pth", image_size=64)
    images = torch.rand(2, 3, 64, 64)
    assert found.readout.weight.shape == (1000, features)
    torch.testing.assert_close(
        found.logits(images), model(normalised(images)), rtol=1e-4, atol=1e-5
    )
    assert found.backbone(torch.rand(1, 3, 100, 100)).shape == (1, features)
    torch.save({"classifier.bias": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(DamagedWeights, match="missing keys"):
        by_name(name, weights=tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["squeezenet1_1"])
def test_a_convolution_as_readout_is_refused(name: str) -> None:
    with pytest.raises(NoLinearReadout, match="SqueezeNet to end in a linear layer"):
        by_name(name, image_size=64)


def test_the_layer_that_gives_the_output_is_found_wherever_it_is_defined() -> None:
    for shuffled in (False, True):
        assert wrap(OwnNet(shuffled), image_size=32).readout.weight.shape == (4, 5)


def test_a_network_that_does_more_behind_its_last_linear_layer_is_refused() -> None:
    with pytest.raises(NoLinearReadout, match="none of its linear layers gives its output"):
        wrap(nn.Sequential(OwnNet(), nn.Softmax(1)), image_size=32)


def test_the_model_is_left_as_it_was_and_may_lack_a_bias() -> None:
    model = OwnNet(bias=False).train()
    found = wrap(model, ["a", "b", "c", "d"], image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    assert isinstance(model.out, nn.Linear) and model.training
    assert found.readout.labels == ("a", "b", "c", "d")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(found.logits(images), model.eval()(images))


def test_a_wrapped_network_is_searched() -> None:
    torch.manual_seed(0)
    found = wrap(OwnNet(), ["a", "b", "c", "d"], image_size=32)
    bank = ablate(found.readout.rows(["c"]), Ablation("positive", 0.5))
    search = Search(generations=3, population=4)
    made = evolve(bank, found.backbone, Spectral.pink(32, 30), [0], search)
    assert made.activations.shape == (1,)


def test_other_names_are_sought_in_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(KeyError, match="did you mean mobilenet_v3_small.*pip install timm"):
        by_name("mobilenet_v3_smal")
    timm = types.ModuleType("timm")
    timm.list_models = lambda: ["ownnet"]  # type: ignore[attr-defined]
    timm.create_model = lambda name, pretrained: OwnNet()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert by_name("ownnet", image_size=32).readout.weight.shape == (4, 5)
    with pytest.raises(KeyError, match="did you mean ownnet"):
        by_name("ownnot")
