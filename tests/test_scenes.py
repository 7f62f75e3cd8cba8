"""The renderer: what the code says is what the image holds."""

import pytest
import torch

from signseg_utils.generators import scenes
from signseg_utils.generators.scenes import CLASSES, HUES, SHAPES, Scenes


@pytest.fixture(scope="module")
def renderer() -> Scenes:
    return Scenes()


@pytest.fixture(scope="module")
def codes(renderer: Scenes) -> torch.Tensor:
    return renderer.sample(range(len(CLASSES)), seed=0)


def test_the_layout_fills_the_code(renderer):
    taken = sorted((s.start, s.stop) for s in scenes.layout().values())
    assert taken[0][0] == 0 and taken[-1][1] == renderer.code_size == 56
    assert all(stop == start for (_, stop), (start, _) in zip(taken, taken[1:], strict=False))


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_images_stay_in_range(renderer, scale):
    images = renderer(scale * torch.randn(8, 56, generator=torch.Generator().manual_seed(1)))
    assert images.shape == (8, 3, 48, 48)
    assert images.min() >= 0 and images.max() <= 1 and not images.isnan().any()


def test_a_scene_does_not_depend_on_its_batch(renderer, codes):
    alone = torch.cat([renderer(code[None]) for code in codes[:5]])
    assert torch.allclose(renderer(codes)[:5], alone, atol=1e-5)


def test_description_names_the_sampled_class(renderer, codes):
    content = renderer.describe(codes)
    found = [
        f"{HUES[hue]} {SHAPES[shape]}"
        for shape, hue in zip(content["shape"].argmax(1), content["hue"].argmax(1), strict=True)
    ]
    assert tuple(found) == CLASSES
    assert content["shape"].amax(1).min() > 0.9
    assert content["opacity"].min() > 0.98
    for name in ("shape", "hue", "texture", "background"):
        assert torch.allclose(content[name].sum(1), torch.ones(len(codes)))


def test_position_is_where_the_mask_is(renderer):
    codes = renderer.sample([CLASSES.index("red disc")] * 20, seed=3)
    masks, content = renderer.masks(codes), renderer.describe(codes)
    axis = torch.arange(48) + 0.5
    total = masks.sum((1, 2))
    assert torch.allclose((masks.sum(1) * axis).sum(1) / total, content["x"], atol=0.7)
    assert torch.allclose((masks.sum(2) * axis).sum(1) / total, content["y"], atol=0.7)
    # area of an ellipse: the aspect stretches one axis and shrinks the other
    expected = torch.pi * (0.92 * content["radius"]) ** 2
    assert torch.allclose(total, expected, rtol=0.12)


def test_the_object_has_its_hue(renderer, codes):
    images, masks = renderer.render(codes)
    mean = (images * masks[:, None]).sum((2, 3)) / masks.sum((1, 2))[:, None]
    hue = torch.arange(len(CLASSES)) % len(HUES)
    assert (mean.argmax(1) == hue).float().mean() > 0.95


def test_without_presence_nothing_is_left_of_the_object(renderer, codes):
    empty = codes.clone()
    empty[:, renderer.slices["presence"]] = -1.5
    other = empty.clone()
    other[:, renderer.slices["shape"]] = other[:, renderer.slices["shape"]].roll(1, 1)
    assert (renderer(empty) - renderer(other)).abs().max() < 0.01
    assert renderer.foreground(empty).max() < 0.001 < renderer.foreground(codes).min()


def test_foreground_is_opacity_times_area(renderer, codes):
    half = codes.clone()
    half[:, renderer.slices["presence"]] = 0.0
    full = codes.clone()
    full[:, renderer.slices["presence"]] = 20.0
    assert torch.allclose(renderer.foreground(half), renderer.foreground(full) / 2, rtol=1e-4)


def test_the_object_leaves_the_background_alone(renderer, codes):
    images, masks = renderer.render(codes)
    empty = codes.clone()
    empty[:, renderer.slices["presence"]] = -20.0
    outside = (masks < 1e-3)[:, None].expand_as(images)
    assert torch.allclose(images[outside], renderer(empty)[outside], atol=2e-3)


@pytest.mark.parametrize("context, share", [(0.0, 1 / 12), (0.5, 0.5 + 0.5 / 12), (1.0, 1.0)])
def test_context_ties_the_background_to_the_class(renderer, context, share):
    labels = torch.arange(36).repeat(60)
    content = renderer.describe(renderer.sample(labels, seed=5, context=context))
    own = torch.as_tensor(scenes.background_of(labels.numpy()))
    found = (content["background"].argmax(1) == own).float().mean()
    assert found == pytest.approx(share, abs=0.03)


def test_nuisances_are_independent_of_the_class(renderer):
    labels = torch.arange(36).repeat(60)
    content = renderer.describe(renderer.sample(labels, seed=6))
    for name in ("x", "y", "radius", "angle"):
        by_class = content[name].view(60, 36)
        between, within = by_class.mean(0).var(), by_class.var(0).mean() / 60
        assert between < 2.2 * within  # F(35, 2124): p about .0001


def test_sampling_repeats_with_its_seed(renderer):
    first, again, other = (renderer.sample([0, 1, -1], seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_initial_codes_depend_on_their_seed_alone(renderer):
    assert torch.equal(renderer.initial_codes([3, 8])[1], renderer.initial_codes([8])[0])
    assert renderer.initial_codes([3]).norm() < renderer.code_size**0.5 / 2


def test_the_code_is_smooth(renderer, codes):
    """Half the step, half the change: no jumps."""
    step = 0.004 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))
    far, near = (
        (renderer(codes + part * step) - renderer(codes)).square().mean().sqrt()
        for part in (1, 0.5)
    )
    assert 0 < far < 0.02
    assert near / far == pytest.approx(0.5, abs=0.05)


def test_reduced_precision_moves_nothing(renderer, codes):
    reduced = Scenes().to(torch.bfloat16)
    images = reduced(codes.to(torch.bfloat16))
    assert images.dtype == torch.bfloat16
    rounded = renderer(codes.to(torch.bfloat16).float())
    assert (images.float() - rounded).abs().mean() < 0.005


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(labels=[36]), "labels in -1..35"),
        (dict(labels=[0], context=1.2), "context in 0..1"),
    ],
)
def test_bad_requests_are_named(renderer, arguments, message):
    with pytest.raises(ValueError, match=message):
        renderer.sample(seed=0, **arguments)
    with pytest.raises(ValueError, match="expected codes"):
        renderer(torch.zeros(56))
