"""Occlusion: regions are what they claim, and what reads only objects is recognised."""

import numpy as np
import pytest
import torch
from conftest import made, needs_data
from torch import nn

from signseg_utils import zoos
from signseg_utils.cli import experiment as command
from signseg_utils.experiments import base, occlusion
from signseg_utils.networks import Network
from signseg_utils.units.readout import Readout
from signseg_utils.zoos import Images


@pytest.fixture(scope="module")
def images():
    """Red or green squares on a blue ground of random brightness, some too large to move."""
    rng = np.random.default_rng(0)
    pixels = torch.zeros(60, 3, 24, 24, dtype=torch.uint8)
    masks = torch.zeros(60, 24, 24, dtype=torch.bool)
    labels = torch.arange(60) % 2
    for number in range(60):
        side = 20 if number % 10 == 9 else int(rng.integers(4, 7))
        y, x = rng.integers(0, 24 - side, 2)
        masks[number, y : y + side, x : x + side] = True
        pixels[number, 2] = int(rng.integers(100, 250))
        pixels[number, :, masks[number]] = 0
        pixels[number, labels[number], masks[number]] = 255
    return Images(pixels, labels, torch.full((60, 4), torch.nan), masks)


class Colours(nn.Module):
    """Features: mean red, green and blue."""

    def forward(self, pixels):
        return pixels.mean((2, 3))


@pytest.fixture(scope="module")
def network():
    """Positive weights read the object's colour only, negative ones only the ground."""
    weight = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, -3.0]])
    return Network("colours", Colours(), Readout(weight, torch.zeros(2), ("red", "green")))


def test_displaced_masks_keep_their_shape_and_touch_nothing(images):
    moved, free = occlusion.displaced(images.masks, 0)
    assert free.tolist() == [number % 10 != 9 for number in range(60)]
    assert not (moved & images.masks).any()
    assert torch.equal(moved[free].sum((1, 2)), images.masks[free].sum((1, 2)))
    for mask, other in zip(images.masks[free], moved[free], strict=True):
        assert torch.equal(mask[mask.any(1)][:, mask.any(0)], other[other.any(1)][:, other.any(0)])
    assert not moved[~free].any()


def test_a_place_is_found_exactly_where_there_is_one():
    masks = torch.zeros(2, 10, 10, dtype=torch.bool)
    masks[0, :, :5] = True  # fits beside itself, once
    masks[1, :, :6] = True
    moved, free = occlusion.displaced(masks, 3)
    assert free.tolist() == [True, False]
    assert moved[0, :, 5:].all() and not moved[0, :, :5].any()


def test_places_depend_on_the_seed_only(images):
    first, again, other = (occlusion.displaced(images.masks, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_boxes_stand_in_where_there_are_no_masks():
    boxes = torch.tensor([[2.0, 1.0, 5.0, 3.0], [torch.nan] * 4])
    pixels = torch.zeros(2, 3, 8, 9, dtype=torch.uint8)
    masks = occlusion.object_masks(Images(pixels, torch.tensor([0, -1]), boxes))
    assert masks[0, 1:3, 2:5].all() and masks[0].sum() == 6 and not masks[1].any()


def test_exact_masks_grow_by_a_pixel(images):
    masks = occlusion.object_masks(images[:1])[0]
    inside = images.masks[0].nonzero()
    low, high = (inside.amin(0) - 1).clamp(min=0), (inside.amax(0) + 1).clamp(max=23)
    assert masks[low[0] : high[0] + 1, low[1] : high[1] + 1].all()
    assert masks.sum() == (high - low + 1).prod()


@pytest.mark.parametrize("fill", occlusion.FILLS)
def test_only_the_region_changes(images, fill):
    pixels = images.pixels.float() / 255
    regions, free = occlusion.displaced(images.masks, 0)
    pixels, regions, masks = pixels[free], regions[free], images.masks[free]
    painted = occlusion.occluded(pixels, masks, fill, (pixels, masks))
    outside = ~masks[:, None].expand_as(pixels)
    assert torch.equal(painted[outside], pixels[outside])
    assert not torch.equal(painted, pixels)


def test_another_image_lends_background_only(images):
    pixels, masks = images.pixels.float() / 255, images.masks
    small = masks.flatten(1).sum(1) < 100
    places = small.nonzero()[:, 0]
    painted = occlusion.occluded(pixels[small], masks[small], "other", (pixels, masks), places)
    assert painted[:, :2].max() == 0 and painted[:, 2].min() > 0.3  # no red, no green: no object
    moved = occlusion.displaced(masks, 0)[0][small]
    again = occlusion.occluded(pixels[small], moved, "other", (pixels, masks), places)
    changed = (again != pixels[small]).flatten(1).any(1)
    assert changed.float().mean() > 0.9  # the image itself, with its own ground, is no lender


def test_fills_that_cannot_be_had_are_named(images):
    pixels, whole = images.pixels.float() / 255, torch.ones_like(images.masks)
    with pytest.raises(ValueError, match="mean"):
        occlusion.occluded(pixels, images.masks, "grey")
    with pytest.raises(ValueError, match="lenders"):
        occlusion.occluded(pixels, images.masks, "other")
    with pytest.raises(ValueError, match="more images"):
        occlusion.occluded(pixels, whole, "other", (pixels, images.masks))


def test_drives_add_up_to_the_response():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator)
    features = torch.rand(3, 7, generator=generator)
    positive, negative = occlusion.drive(weight, features)
    assert torch.allclose(positive - negative, features @ weight.T, atol=1e-5)
    assert positive.min() >= 0 and negative.min() >= 0


def test_a_network_whose_positive_weights_read_objects_is_recognised(network, images):
    found = occlusion.measure_drives(network, images, fills=("other",))
    lost = occlusion.losses(found["drive"]).sel(fill="other", whose="own")
    assert np.allclose(lost.sel(sign="positive", place="object"), 1)
    assert np.allclose(lost.sel(sign="positive", place="background"), 0, atol=1e-6)
    assert (lost.sel(sign="negative", place="object") < 0).all()  # the ground comes through
    # Painted ground is ground again: what negative weights read there does not depend on it
    assert np.abs(lost.sel(sign="negative", place="background")).max() < 0.05
    assert (lost.sel(sign="positive", place="object") > 0.9).all()


def test_the_opposite_network_is_recognised_too(images):
    weight = torch.tensor([[-1.0, 0.0, 1.0], [0.0, -2.0, 3.0]])
    flipped = Network("flipped", Colours(), Readout(weight, torch.zeros(2), ("red", "green")))
    found = occlusion.measure_drives(flipped, images, fills=("other",))
    lost = occlusion.losses(found["drive"]).sel(fill="other", whose="own", place="object")
    assert np.allclose(lost.sel(sign="negative"), 1) and (lost.sel(sign="positive") < 0).all()


def test_contrasts_are_differences_of_losses(network, images):
    found = occlusion.measure_drives(network, images, fills=("mean", "other"))
    loss = occlusion.losses(found["drive"]).expand_dims(network=["colours"])
    gap = occlusion.contrast(loss, ("positive", "object"), ("positive", "background"))
    assert gap.dims == ("network", "fill", "unit") and gap.sel(fill="other").min() > 0.9


def test_predictions_are_above_zero_where_they_hold(network, images):
    found = occlusion.measure_drives(network, images, fills=("other",))
    loss = occlusion.losses(found["drive"]).expand_dims(network=["a"])
    both = loss.sel(network=["a", "a"]).assign_coords(network=["a", "a-untrained"])
    asked = occlusion.predictions(both, ["a", "a-untrained"])
    assert list(asked) == ["object", "context", "negative", "others", "untrained"]
    assert all(values["network"].values.tolist() == ["a"] for values in asked.values())
    # Positive weights read objects, negative ones the ground, which comes through where one goes
    assert (asked["object"] > 0.9).all() and (asked["negative"] > 0).all()
    assert np.array_equal(asked["untrained"], 0 * asked["object"])  # the twin is the same here
    assert "untrained" not in occlusion.predictions(loss, ["a"])
    dots, signs = occlusion.shares_lost(loss, ["a"])
    assert list(dots["a"]) == [
        "pos., object",
        "pos., background",
        "neg., object",
        "neg., background",
    ]
    assert signs == ["positive", "positive", "negative", "negative"]
    assert np.allclose(dots["a"]["pos., object"], 1)


def test_examples_lack_what_they_say(images):
    rows, lacking = occlusion.examples(images, 0)
    assert lacking == ["object", "background"] * 2
    masks = occlusion.object_masks(images)
    free = occlusion.displaced(masks, 0)[1].nonzero()[:, 0]
    for place, (row, what) in enumerate(zip(rows, lacking, strict=True)):
        number = int(free[place // 2])
        assert len(row) == 1 + len(occlusion.FILLS)
        assert torch.equal(row[0], images.pixels[number] / 255)
        for painted in row[1:]:
            changed = ((painted - row[0]).abs() > 1e-6).any(0)
            outside = changed & ~masks[number] if what == "object" else changed & masks[number]
            assert not outside.any()


def test_own_and_other_images_are_told_apart(network, images):
    found = occlusion.measure_drives(network, images)
    assert found["images"].sel(whose="own").sum() == found["images"].sel(whose="other").sum() == 54
    drives = found["drive"].sel(sign="positive", place="intact", fill="mean")
    assert (drives.sel(whose="own") > 0.03).all() and (drives.sel(whose="other") == 0).all()


def test_images_without_room_are_refused(network, images):
    with pytest.raises(ValueError, match="room"):
        occlusion.measure_drives(network, images[[9, 19]])


def test_stored_numbers_are_used_until_something_differs(tiny_zoo, tmp_path, monkeypatch):
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    plan = occlusion.plan("shapes", ["alexnet"], limit=120)
    first = made(plan, tmp_path / "results" / "shapes" / "occlusion", tiny_zoo)
    assert first["drive"].dims[0] == "network"
    own = base.obtain(plan, zoo)
    assert own.source == "shipped"
    assert occlusion.Occlusion.joined(plan, own.found).equals(first)
    monkeypatch.chdir(tmp_path)
    other = occlusion.plan("shapes", ["alexnet"], limit=50)
    assert base.obtain(other, zoo).source == "recomputed"


def test_drives_are_measured_again_and_compared(tiny_zoo, tmp_path):
    plan, zoo = occlusion.plan("shapes", ["alexnet"], limit=60), zoos.load_zoo("shapes", tiny_zoo)
    found = base.run(plan, zoo, tmp_path)
    assert base.demand(base.audit(plan, found, zoo)) == found[0]["drive"].isel(fill=0).size
    found[0]["drive"] *= 1.01
    with pytest.raises(base.AuditError, match="alexnet"):
        base.demand(base.audit(plan, found, zoo))


def test_the_command_stores_and_continues(tmp_path, capsys, monkeypatch):
    zoo = zoos.load_zoo("shapes")
    if not zoo.path("alexnet").exists():
        needs_data("the weights of shapes are not here; `make zoo` trains them")
    words = ["occlusion", "--zoo", "shapes", "--networks", "alexnet", "--limit", "120"]
    words += ["--folder", str(tmp_path)]
    command.main(words)
    assert "alexnet" in capsys.readouterr().out
    monkeypatch.setattr(occlusion, "measure_drives", lambda *_, **__: pytest.fail("measured again"))
    command.main(words)
