"""Luminance and contrast are what they are said to be, and files hold what was evolved."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from signseg_utils.neurons import stimuli


def test_measures_of_known_images() -> None:
    grey = torch.full((3, 8, 8), 0.5)
    halves = torch.zeros(3, 8, 8)
    halves[:, :, 4:] = 1
    light, contrast = stimuli.luminance_and_contrast(torch.stack([grey, halves]))
    torch.testing.assert_close(light, torch.tensor([0.5, 0.5]), atol=1e-6, rtol=0)
    torch.testing.assert_close(contrast, torch.tensor([0.0, 0.5]), atol=1e-6, rtol=0)
    green = torch.zeros(3, 8, 8)
    green[1] = 1
    assert stimuli.luminance_and_contrast(green)[0].item() == pytest.approx(0.7152, abs=1e-6)


def test_held_images_share_both_and_keep_their_picture() -> None:
    images = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = images * torch.tensor([0.2, 1.0, 0.6])[:, None, None, None]  # dark to light
    result = stimuli.held(images, 0.45, 0.2)
    light, contrast = stimuli.luminance_and_contrast(result)
    torch.testing.assert_close(light, torch.full((2, 3), 0.45), atol=0.005, rtol=0)
    torch.testing.assert_close(contrast, torch.full((2, 3), 0.2), atol=0.01, rtol=0)
    assert result.min() >= 0 and result.max() <= 1
    for before, after in zip(images.flatten(0, 1), result.flatten(0, 1), strict=True):
        assert np.corrcoef(before.flatten(), after.flatten())[0, 1] > 0.95


def test_a_uniform_image_stays_uniform() -> None:
    result = stimuli.held(torch.full((1, 3, 8, 8), 0.9), 0.4, 0.2)
    torch.testing.assert_close(result, torch.full((1, 3, 8, 8), 0.4), atol=0.01, rtol=0)


def test_impossible_measures_are_refused() -> None:
    with pytest.raises(ValueError, match="RMS contrast that values in 0..1"):
        stimuli.held(torch.rand(1, 3, 8, 8), 0.1, 0.4)


def test_files_hold_the_images(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    written = stimuli.write_images(images, ["190923/7 intact", "b"], tmp_path / "new")
    assert [file.name for file in written] == ["190923_7_intact.png", "b.png"]
    with Image.open(written[0]) as again:
        pixels = np.asarray(again) / 255
    np.testing.assert_allclose(pixels, images[0].movedim(0, -1).numpy(), atol=0.003)
    with pytest.raises(ValueError, match="2 different names"):
        stimuli.write_images(images, ["a/b", "a b"], tmp_path)
