"""Localisation by shuffled discs: a planted field is found, and none where there is none."""

import math

import numpy as np
import pytest
import torch

from signseg_utils.analysis import localize
from signseg_utils.analysis.localize import (
    clear_background,
    elsewhere,
    localise,
    locate,
    overlap,
    perturb,
)
from signseg_utils.neurons.simulated import Cell, Simulated


@pytest.fixture(scope="module")
def image():
    return torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(0))


def test_discs_are_shuffled_and_nothing_else(image):
    shown = perturb(image, 0, count=7)
    assert shown.images.shape == (7, 3, 64, 48) and shown.discs.shape == (7, 64, 48)
    for one, disc in zip(shown.images, shown.discs, strict=True):
        assert torch.equal(one[:, ~disc], image[:, ~disc])
        assert not torch.equal(one, image)
        # pixels keep their three colours: the same columns in another order
        before = {tuple(pixel) for pixel in image[:, disc].T.tolist()}
        assert before == {tuple(pixel) for pixel in one[:, disc].T.tolist()}
    assert len({int(disc.sum()) for disc in shown.discs}) == 1  # none is cut by the border


def test_a_disc_has_the_size_of_the_paper():
    shown = perturb(torch.rand(3, 256, 256), 1)
    assert len(shown.images) == 30
    assert shown.discs[0].sum().item() == pytest.approx(math.pi * 25**2, rel=0.02)
    assert 0.4 < shown.discs.any(0).float().mean() < 0.75  # independent places overlap


def test_the_seed_decides(image):
    assert torch.equal(perturb(image, 3).images, perturb(image, 3).images)
    assert not torch.equal(perturb(image, 3).images, perturb(image, 4).images)


@pytest.mark.parametrize("place", [(0.3, 0.65), (0.62, 0.4)])
def test_a_planted_receptive_field_is_recovered(place):
    cell = Cell(x=place[0], y=place[1], radius=0.27, excitatory="red cross")
    neuron = Simulated({"n": cell})
    field = neuron.receptive_fields()[0]
    found = localise(neuron, neuron.preferred("n"), seed=0, count=120)
    assert found.found and found.why == ""
    assert overlap(found.mask, field) > 0.45
    rows, columns = found.mask.nonzero().float().mean(0) / 48
    assert math.hypot(columns - place[0], rows - place[1]) < 0.08
    # a field elsewhere would not pass
    assert overlap(found.mask, torch.roll(field, (-16, 16), (0, 1))) < 0.3


def test_thirty_discs_point_at_the_field():
    neuron = Simulated({"n": Cell(x=0.35, y=0.6, radius=0.27, excitatory="blue bowtie")})
    field = neuron.receptive_fields()[0]
    overlaps = [
        overlap(localise(neuron, neuron.preferred("n"), seed=seed).mask, field) for seed in range(5)
    ]
    assert np.median(overlaps) > 0.4


def test_an_insensitive_neuron_has_no_place(image):
    found = localise(lambda images: torch.full((len(images),), 5.0), image, seed=0)
    assert not found.found and not found.mask.any() and found.share == 0
    assert "no place takes more than 0% of the response away" in found.why
    silent = localise(lambda images: torch.zeros(len(images)), image, seed=0)
    assert not silent.found and "gives no response" in silent.why
    mean = localise(lambda images: images.mean((1, 2, 3)), image, seed=0)
    assert not mean.found  # shuffling keeps the mean, so a photometer is not localised


def test_the_mask_is_the_full_width_at_half_maximum_or_half_the_response(image):
    shown = perturb(image, 0, count=200)
    corner = torch.zeros(64, 48, dtype=torch.bool)
    corner[8:24, 8:24] = True
    hit = (shown.discs & corner).sum((1, 2)) / shown.discs[0].sum()
    weak = locate(shown, 10.0, 10 - 4 * hit)
    assert weak.found and weak.map.max() < 0.5
    assert torch.equal(weak.mask, weak.map >= 0.5 * weak.map.max())
    strict = locate(shown, 10.0, 10 - 4 * hit, absolute=True)
    assert not strict.found and "50%" in strict.why
    strong = locate(shown, 10.0, 10 - 10 * hit, absolute=True)
    assert strong.found and torch.equal(strong.mask, strong.map >= 0.5)
    # the same with another zero and unit
    shifted = locate(shown, -3.0, -3 - 2 * hit, floor=-8.0)
    torch.testing.assert_close(shifted.map, weak.map)


def test_missing_responses_are_left_out(image):
    shown = perturb(image, 0, count=60)
    responses = 10 - 5 * shown.discs[:, 16, 16].float()
    kept = np.arange(60) % 3 > 0
    some = np.where(kept, responses, np.nan)
    found = locate(shown, 10.0, some)
    fewer = localize.Perturbed(shown.images[kept], shown.discs[kept])
    torch.testing.assert_close(found.map, locate(fewer, 10.0, responses[kept]).map)
    assert found.changes.isnan().sum() == 20
    with pytest.raises(ValueError, match="0 of 60"):
        locate(shown, 10.0, np.full(60, np.nan))
    with pytest.raises(ValueError, match="expected 60 responses"):
        locate(shown, 10.0, some[:59])


def test_clearing_keeps_what_is_inside(image):
    mask = torch.zeros(64, 48, dtype=torch.bool)
    mask[10:30, 12:30] = True
    for fill in localize.FILLS:
        cleared = clear_background(image, mask, fill)
        assert torch.equal(cleared[:, mask], image[:, mask])
        assert cleared[:, 50:].std() < 0.6 * image[:, 50:].std()
    grey = clear_background(image, mask, "grey")
    assert (grey[:, 55:] - 0.5).abs().max() < 1e-3
    mean = clear_background(image * 0.5, mask, "mean")
    around = image[:, ~mask].mean(1) * 0.5
    torch.testing.assert_close(mean[:, ~mask].mean(1), around, atol=0.02, rtol=0)
    assert torch.equal(clear_background(image, torch.ones_like(mask), "mean"), image)
    edge = clear_background(torch.ones_like(image), mask)[0, 20, 12:]
    assert (edge.diff() <= 0).all() and edge.diff().abs().max() < 0.25  # soft, no new contour


def test_the_control_mask_has_the_same_shape_elsewhere():
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[4:18, 6:20] = True
    other = elsewhere(mask, 0)
    assert other.sum() == mask.sum() and overlap(mask, other) < 0.05
    assert torch.equal(other, elsewhere(mask, 0))
    assert overlap(mask, mask) == 1 and overlap(mask & ~mask, mask & ~mask) == 0


def test_wrong_arguments_say_what_to_do(image):
    mask = torch.zeros(64, 48, dtype=torch.bool)
    with pytest.raises(ValueError, match="one image"):
        perturb(image[None], 0)
    with pytest.raises(ValueError, match="narrower than the image"):
        perturb(image, 0, diameter=1.0)
    with pytest.raises(ValueError, match="no localisation"):
        clear_background(image, mask)
    with pytest.raises(ValueError, match="grey, mean, blur"):
        clear_background(image, ~mask, "black")
    with pytest.raises(ValueError, match="bool mask"):
        clear_background(image, mask.float())
    with pytest.raises(ValueError, match="pick one neuron"):
        localise(lambda images: torch.zeros(len(images), 2), image, 0)
