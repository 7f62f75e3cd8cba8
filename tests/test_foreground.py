"""What lies inside object masks."""

import pytest
import torch

from signseg_utils.metrics.foreground import (
    change_inside_and_outside,
    contrast_share,
    overlap,
    pixel_share,
)


def half(n: int = 2, size: int = 8) -> torch.Tensor:
    masks = torch.zeros(n, size, size)
    masks[:, : size // 2] = 1
    return masks


def noise(n: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_pixel_share_of_half_a_mask_is_one_half() -> None:
    assert pixel_share(half()).tolist() == [0.5, 0.5]
    torch.testing.assert_close(pixel_share(1 - half() * 0.5), torch.full((2,), 0.75))


def test_contrast_share_of_mask_and_rest_make_a_whole() -> None:
    images, masks = noise(2), torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1))
    total = contrast_share(images, masks) + contrast_share(images, 1 - masks)
    torch.testing.assert_close(total, torch.ones(2))


def test_contrast_share_finds_a_small_bright_object() -> None:
    images, masks = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8)
    images[0, :, 2:4, 2:4] = 1
    masks[0, 2:4, 2:4] = 1
    # Mean 1/16: energy 4 (15/16)^2 inside, 60 (1/16)^2 outside.
    assert contrast_share(images, masks).item() == pytest.approx(900 / 960)
    assert pixel_share(masks).item() == pytest.approx(1 / 16)


def test_even_contrast_gives_the_pixel_share() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[..., ::2] = 1
    assert contrast_share(images, half(1)).item() == pytest.approx(0.5)
    assert contrast_share(torch.ones(1, 3, 8, 8), half(1)).isnan().all()


def test_change_is_where_it_was_made() -> None:
    control, masks = noise(2), half()
    changed = control.clone()
    changed[:, :, 4:] += 0.25  # outside
    inside, outside = change_inside_and_outside(control, changed, masks)
    assert inside.tolist() == [0, 0]
    torch.testing.assert_close(outside, torch.full((2,), 0.25))
    empty, _ = change_inside_and_outside(control, changed, torch.zeros(2, 8, 8))
    assert empty.isnan().all()


def test_overlap_by_hand() -> None:
    masks = half(1)
    assert overlap(masks, masks).item() == 1
    assert overlap(masks, 1 - masks).item() == 0
    assert overlap(masks, torch.ones(1, 8, 8)).item() == 0.5
    assert overlap(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)).item() == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected masks"):
        pixel_share(torch.zeros(8, 8))
    with pytest.raises(ValueError, match=r"masks in 0\.\.1"):
        pixel_share(torch.full((1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="fit masks"):
        contrast_share(noise(3), half(2))
    with pytest.raises(ValueError, match="one shape"):
        overlap(half(1), half(1, 6))
