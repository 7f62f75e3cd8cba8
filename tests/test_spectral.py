"""Linear generators: statistics of the basis, recovery of known components, files."""

import math

import pytest
import torch

from signseg_utils.files import weights
from signseg_utils.generators.spectral import Spectral, fit_pca


@pytest.fixture(scope="module")
def pink() -> Spectral:
    return Spectral.pink(32, 90)


@pytest.fixture(scope="module")
def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Images of three known directions with standard deviations 0.08, 0.04, 0.02; and those."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(3 * 8 * 8, 3, generator=draw))[0].T
    codes = torch.randn(2000, 3, generator=draw) * torch.tensor([0.8, 0.4, 0.2])
    return 0.5 + (codes @ directions).view(-1, 3, 8, 8), directions


def test_waves_of_different_frequency_are_orthogonal(pink):
    flat = pink.basis[::3].flatten(1).double()  # one colour
    overlap = flat @ flat.T
    off = overlap - overlap.diag().diag()
    assert off.abs().max() < 1e-5 * overlap.diag().max()


def test_power_falls_with_squared_frequency(pink):
    power = torch.fft.fft2(pink.basis[::3].mean(1)).abs().square().sum((1, 2))
    frequency = torch.tensor([math.hypot(*pair) for pair in [(0, 1), (1, 0), (1, 1)]])
    found = power[[1, 3, 5]]
    assert torch.allclose(found * frequency**2, found[0].expand(3), rtol=1e-4)


def test_standard_codes_give_natural_contrast(pink):
    codes = torch.randn(400, 90, generator=torch.Generator().manual_seed(0))
    linear = torch.einsum("nk,kcyx->ncyx", codes, pink.basis)
    assert linear.std() == pytest.approx(0.22, rel=0.1)


def test_principal_components_are_found(planted):
    images, directions = planted
    fitted = fit_pca(images, 3, chunk=300)
    flat = fitted.basis.flatten(1)
    assert torch.allclose(flat.norm(dim=1), torch.tensor([0.8, 0.4, 0.2]), rtol=0.06)
    unit = flat / flat.norm(dim=1, keepdim=True)
    assert (unit * directions).sum(1).abs().min() > 0.99
    assert torch.allclose(fitted.mean, images.mean(0), atol=1e-5)


def test_agrees_with_a_dense_decomposition():
    images = torch.rand(150, 3, 6, 6, generator=torch.Generator().manual_seed(0)) ** 2
    fitted = fit_pca(images, 100)
    values = torch.linalg.eigvalsh(torch.cov(images.flatten(1).T, correction=0)).flip(0)
    assert torch.allclose(fitted.basis.flatten(1).norm(dim=1)[:40], values[:40].sqrt(), rtol=2e-3)


def test_codes_of_the_images_are_white(planted):
    codes = fit_pca(planted[0], 3).encode(planted[0])
    assert torch.allclose(torch.cov(codes.T), torch.eye(3), atol=0.02)


def test_encoding_inverts_generating(planted):
    fitted = fit_pca(planted[0], 3)
    codes = torch.tensor([[0.5, -1.0, 0.3], [0.0, 0.0, 0.1]])
    assert torch.allclose(fitted.encode(fitted(codes)), codes, atol=1e-4)


def test_bytes_and_floats_give_the_same_components(planted):
    pixels = (planted[0].clamp(0, 1) * 255).round().to(torch.uint8)
    from_bytes, from_floats = fit_pca(pixels, 2), fit_pca(pixels.float() / 255, 2)
    assert torch.allclose(from_bytes.basis, from_floats.basis, atol=1e-5)


def test_the_norm_is_capped_and_short_codes_are_untouched(pink):
    direction = torch.randn(1, 90, generator=torch.Generator().manual_seed(0))
    longest = direction / direction.norm() * math.sqrt(90)
    assert torch.allclose(pink(longest * 7), pink(longest), atol=1e-5)
    assert torch.equal(pink.capped(longest / 2), longest / 2)


def test_images_in_range_and_seeded_starts(pink):
    codes = 20 * torch.randn(4, 90, generator=torch.Generator().manual_seed(0))
    assert pink(codes).shape == (4, 3, 32, 32)
    assert 0 <= pink(codes).min() and pink(codes).max() <= 1
    assert torch.equal(pink.initial_codes([3, 8])[1], pink.initial_codes([8])[0])


def test_saved_and_loaded(planted, tmp_path):
    fitted = fit_pca(planted[0], 3, norm_cap=1.5)
    manifest = fitted.save(tmp_path, "pca", {"zoo": "planted", "seed": 0})
    loaded = Spectral.from_folder(tmp_path, "pca")
    codes = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert (loaded(codes) - fitted(codes)).abs().max() < 1e-3  # half precision
    assert loaded.norm_cap == 1.5 and manifest["config"]["components"] == 3
    assert manifest["kind"] == "generator"


def test_files_that_are_missing_or_damaged_are_named(planted, tmp_path):
    with pytest.raises(FileNotFoundError, match="pca"):
        Spectral.from_folder(tmp_path, "pca")
    fit_pca(planted[0], 2).save(tmp_path, "pca", {})
    path = tmp_path / "pca.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(weights.DamagedWeights, match="sha256"):
        Spectral.from_folder(tmp_path, "pca")


def test_untrained_basis_needs_no_file(tmp_path):
    assert Spectral.from_folder(tmp_path, "pink").code_size == 300


def test_bad_requests_are_named(pink, planted):
    with pytest.raises(ValueError, match="expected codes"):
        pink(torch.zeros(2, 7))
    with pytest.raises(ValueError, match="at most 192 components"):
        fit_pca(planted[0], 500)
    with pytest.raises(ValueError, match="components at 4 pixels"):
        Spectral.pink(4, 300)
