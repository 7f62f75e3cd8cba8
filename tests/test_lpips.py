"""Perceptual distance: a distance, and the reference implementation's where that is to be had."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from signseg_utils.metrics.lpips import ALEXNET_FILE, Perceptual


class Stages(nn.Module):
    """Two convolutions that show both their maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3, 2)

    def stages(self, images: torch.Tensor) -> list[torch.Tensor]:
        first = self.first(images).relu()
        return [first, self.second(first).relu()]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stages(images)[-1].mean((2, 3))


def images(n: int, seed: int, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


BACKBONE = Stages().requires_grad_(False)
UNWEIGHTED = Perceptual.unweighted(BACKBONE, None, None)


def test_distance_to_itself_is_zero_and_to_others_is_not() -> None:
    a, b = images(3, 0), images(3, 1)
    assert UNWEIGHTED.distance(a, a).values.tolist() == [0, 0, 0]
    assert (UNWEIGHTED.distance(a, b).values > 0).all()


def test_symmetric() -> None:
    a, b = images(3, 0), images(3, 1)
    one, other = UNWEIGHTED.distance(a, b), UNWEIGHTED.distance(b, a)
    torch.testing.assert_close(one.values, other.values)


def test_grows_with_noise() -> None:
    a, noise = images(4, 0), images(4, 1) - 0.5
    found = [UNWEIGHTED.distance(a, (a + s * noise).clamp(0, 1)).mean() for s in (0.02, 0.1, 0.5)]
    assert found == sorted(found)
    assert found[-1] < 2  # unit vectors without negative entries


def test_by_hand_on_one_layer_of_one_pixel() -> None:
    measure = Perceptual(lambda x: [x], "by hand")
    a = torch.tensor([3.0, 4.0, 0.0]).reshape(1, 3, 1, 1)
    b = torch.tensor([0.0, 4.0, 3.0]).reshape(1, 3, 1, 1)
    assert measure.distance(a, b).mean() == pytest.approx(0.36 + 0.36)


def test_pairs_hold_each_distance() -> None:
    a, b = images(3, 0), images(2, 1)
    measure = Perceptual.unweighted(BACKBONE)
    pairs = measure.pairs(a, b)
    assert pairs.values.shape == (3, 2)
    torch.testing.assert_close(pairs.values[:, 1], measure.distance(a, b[1:].expand_as(a)).values)


def test_named_layers_give_the_same_as_stages() -> None:
    chain = nn.Sequential(BACKBONE.first, nn.ReLU(), BACKBONE.second, nn.ReLU()).eval()
    a, b = images(2, 0), images(2, 1)
    by_name = Perceptual.unweighted(chain, ["1", "3"], "chain").distance(a, b)
    torch.testing.assert_close(by_name.values, UNWEIGHTED.distance(a, b).values)
    assert by_name.form == "unweighted, chain"


def test_unweighted_form_is_the_one_of_the_reference_implementation() -> None:
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(lpips=False, pretrained=False, pnet_rand=True, verbose=False).eval()
    ours = Perceptual(lambda x: model.net(model.scaling_layer(2 * x - 1)), "alexnet")
    a, b = images(2, 0, 64), images(2, 1, 64)
    with torch.no_grad():
        theirs = model(a, b, normalize=True).flatten()
    torch.testing.assert_close(ours.distance(a, b).values * 5, theirs)  # mean of 5 layers


def test_linear_weights_are_those_of_the_package() -> None:
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    ours = Perceptual._reference(None)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    a, b = images(2, 0, 64), images(2, 1, 64)
    with torch.no_grad():
        theirs = model(a, b, normalize=True).flatten()
    torch.testing.assert_close(ours.distance(a, b).values, theirs)


def test_alexnet_weights_are_loaded_into_their_places(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    torch.manual_seed(1)
    shapes = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    state = {}
    for place, (outs, ins, kernel) in shapes.items():
        state[f"features.{place}.weight"] = torch.randn(outs, ins, kernel, kernel) * 0.05
        state[f"features.{place}.bias"] = torch.randn(outs)
    torch.save(state, tmp_path / "alexnet.pth")
    measure = Perceptual.real(tmp_path / "alexnet.pth")
    assert measure.form == "lpips alexnet"
    image = images(1, 0, 64)
    shift = torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)
    first = torch.nn.functional.conv2d(
        (2 * image - 1 - shift) / scale,
        state["features.0.weight"],
        state["features.0.bias"],
        stride=4,
        padding=2,
    ).relu()
    with torch.no_grad():
        torch.testing.assert_close(measure.maps(image)[0], first)
    assert not measure.distance(image, image).deviates


def test_result_says_which_form_it_is() -> None:
    measure = Perceptual.unweighted(BACKBONE, None, "resnet of shapes")
    found = measure.distance(images(1, 0), images(1, 1))
    assert found.form == "unweighted, resnet of shapes"
    assert found.deviates


def test_missing_imagenet_weights_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="unweighted form") as error:
        Perceptual.real().distance(images(1, 0), images(1, 1))
    assert ALEXNET_FILE in str(error.value)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="method stages"):
        Perceptual.unweighted(nn.Linear(3, 3))
    measure = Perceptual.unweighted(BACKBONE)
    with pytest.raises(ValueError, match="of one shape"):
        measure.distance(images(2, 0), images(3, 0))
    with pytest.raises(ValueError, match="of one shape"):
        measure.pairs(images(2, 0), images(2, 0, 12))
