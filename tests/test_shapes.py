"""The zoo of rendered scenes: labels, boxes and masks agree."""

import pytest
import torch

from signseg_utils.generators.scenes import BACKGROUNDS, Scenes, background_of
from signseg_utils.zoos import load_zoo
from signseg_utils.zoos.shapes import boxes


@pytest.fixture(scope="module")
def zoo():
    return load_zoo("shapes")


@pytest.fixture(scope="module")
def drawn(zoo):
    return zoo.images("train", 1200)


def test_classes_and_units(zoo):
    assert len(set(zoo.classes)) == 36
    assert len(set(zoo.default_units)) == 12 and set(zoo.default_units) <= set(zoo.classes)
    assert {unit.split()[1] for unit in zoo.default_units} == {c.split()[1] for c in zoo.classes}
    assert {unit.split()[0] for unit in zoo.default_units} == {"red", "green", "blue"}


def test_shape_and_type(drawn):
    assert drawn.pixels.shape == (1200, 3, 48, 48) and drawn.pixels.dtype == torch.uint8
    assert drawn.masks.shape == (1200, 48, 48) and drawn.masks.dtype == torch.bool
    assert drawn.labels.max() == 35


def test_no_object_no_label_no_box_no_mask(drawn):
    empty = drawn.labels == -1
    assert empty.float().mean() == pytest.approx(0.15, abs=0.04)
    assert torch.equal(drawn.boxes.isnan().all(1), empty)
    assert torch.equal(~drawn.masks.flatten(1).any(1), empty)


def test_boxes_hold_their_masks_and_touch_them():
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 9, 11] = True
    assert boxes(masks)[:2].tolist() == [[3, 2, 9, 5], [11, 9, 12, 10]]
    assert boxes(masks)[2].isnan().all()


def test_a_short_set_is_the_start_of_a_long_one(zoo, drawn):
    short = zoo.images("train", 70)
    assert torch.equal(short.pixels, drawn.pixels[:70])
    assert torch.equal(short.labels, drawn.labels[:70])


def test_splits_and_seeds_differ(zoo, drawn):
    for other in (zoo.images("val", 20), zoo.images("train", 20, seed=1)):
        assert not torch.equal(other.pixels, drawn.pixels[:20])


def test_every_class_is_drawn_and_is_balanced(drawn):
    counts = drawn.labels[drawn.labels >= 0].bincount(minlength=36)
    assert counts.min() > 10 and counts.max() < 60


def test_context_dial_shows_in_the_pixels(zoo):
    """With context, the pixels outside the object say more about the class."""
    plain = BACKGROUNDS.index("plain")

    def spread_of_plain(context: float) -> float:
        drawn = zoo.dataset("val", 600, context=context, empty=0.0)
        own = torch.as_tensor(background_of(drawn.labels.numpy())) == plain
        pixels = drawn.pixels[own].float().masked_fill(drawn.masks[own][:, None], torch.nan)
        return float((pixels - pixels.nanmean((2, 3), keepdim=True)).square().nanmean())

    assert spread_of_plain(1.0) < 0.6 * spread_of_plain(0.0)


def test_the_generator_of_the_zoo_is_the_renderer(zoo):
    generator = zoo.generator("scenes")
    assert isinstance(generator, Scenes) and generator.image_size == zoo.image_size


def test_bad_requests_are_named(zoo):
    with pytest.raises(ValueError, match="'train' or 'val'"):
        zoo.images("test")
    with pytest.raises(ValueError, match="empty in 0..1"):
        zoo.dataset("train", 10, empty=2.0)
