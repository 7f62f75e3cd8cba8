"""Radial spectra: facts of Fourier analysis."""

import math

import pytest
import torch

from signseg_utils.analysis.spectrum import radial_spectrum


def noise(n: int, height: int = 24, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def grating(cycles: float, size: int = 32, colour: tuple = (1, 1, 1)) -> torch.Tensor:
    wave = torch.sin(2 * math.pi * cycles * torch.arange(size) / size) / 2
    return 0.5 + torch.tensor(colour).reshape(1, 3, 1, 1) * wave.expand(1, 1, size, size)


@pytest.mark.parametrize("shape", [(24, 24), (24, 17)])
def test_power_sums_to_the_variance(shape: tuple[int, int]) -> None:
    images = noise(3, *shape)
    spectrum = radial_spectrum(images)
    luminance = torch.einsum("nchw,c->nhw", images, torch.tensor([0.299, 0.587, 0.114]))
    variance = luminance.var((1, 2), correction=0).double()
    energy = (spectrum.power * spectrum.count).sum(1)
    torch.testing.assert_close(energy, variance, rtol=1e-5, atol=1e-9)
    assert spectrum.count.sum() == shape[0] * shape[1]


@pytest.mark.parametrize("cycles", [1, 5, 12])
@pytest.mark.parametrize("window", [False, True])
def test_a_grating_lies_at_its_frequency(cycles: int, window: bool) -> None:
    spectrum = radial_spectrum(grating(cycles), window=window)
    energy = (spectrum.power * spectrum.count)[0]
    assert energy.argmax().item() == cycles
    if not window:
        assert energy.sum().item() == pytest.approx(1 / 8)  # variance of sin / 2
    near = spectrum.share(cycles - 1, cycles + 2).item()
    assert near > 0.95


def test_luminance_does_not_matter_and_contrast_is_squared() -> None:
    images = noise(2)
    power = radial_spectrum(images).power
    torch.testing.assert_close(radial_spectrum(images + 0.2).power, power, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(radial_spectrum(images * 0.5).power, power / 4, rtol=1e-4, atol=1e-9)


def test_turning_an_image_leaves_its_spectrum() -> None:
    images = noise(2)
    turned = radial_spectrum(images.rot90(1, (2, 3))).power
    torch.testing.assert_close(turned, radial_spectrum(images).power)


def test_white_noise_is_flat_and_blurred_noise_falls() -> None:
    images = noise(200)
    flat = radial_spectrum(images).power.mean(0)[1:13]
    assert flat.max() / flat.min() < 1.3
    blurred = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    before, after = (radial_spectrum(own).power.mean(0) for own in (images, blurred))
    change = (after / before).log2()
    assert change[1] > change[4] > change[8] - 0.5
    assert change[12] < -2


def test_grey_gratings_have_no_colour_and_coloured_ones_do() -> None:
    grey, red_green = grating(4), grating(4, colour=(1.0, -1.0, 0.0))
    assert radial_spectrum(grey, "red-green").power.max() < 1e-12
    assert radial_spectrum(grey, "blue-yellow").power.max() < 1e-12
    assert radial_spectrum(red_green, "red-green").power[0].argmax() == 4
    assert radial_spectrum(red_green, "blue-yellow").power.max() < 1e-12


def test_shares_make_a_whole() -> None:
    spectrum = radial_spectrum(noise(3))
    low, high = spectrum.share(0, 6), spectrum.share(6, 100)
    torch.testing.assert_close(low + high, torch.ones(3).double())
    assert radial_spectrum(torch.ones(1, 3, 8, 8)).share(0, 4).isnan().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected images"):
        radial_spectrum(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="expected a channel"):
        radial_spectrum(noise(1), "red")
    with pytest.raises(ValueError, match="low below high"):
        radial_spectrum(noise(1)).share(4, 4)
