"""Gradient ascent on a small generator and backbone: contracts of `evolve`, and the gradient."""

import dataclasses

import pytest
import safetensors.torch
import torch
from test_evolution import Backbone, Linear
from torch import nn

from signseg_utils import zoos
from signseg_utils.analysis.spectrum import radial_spectrum
from signseg_utils.basics import draws
from signseg_utils.generators.pixels import Pixels
from signseg_utils.search import ascent
from signseg_utils.search.ascent import Ascent, ascend, certify, iterate, view
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.search.scoring import rescore
from signseg_utils.units.readout import Readout

SEEDS = (5, 5, 9, 9)
CLIMB = Ascent(steps=8)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone()


@pytest.fixture(scope="module", params=["code", "pixels"])
def generator(request) -> nn.Module:
    return Linear() if request.param == "code" else Pixels(8)


@pytest.fixture(scope="module")
def readout() -> Readout:
    weight = draws.normal((4, Backbone.features), 2)
    return Readout(weight, torch.tensor([0.0, 1.0, -1.0, 0.5]), ("cat", "dog", "hen", "owl"))


@pytest.fixture(scope="module")
def ascended(readout, backbone, generator):
    return ascend(readout, backbone, generator, SEEDS, CLIMB)


def same(a, b) -> bool:
    """Equal in every bit, apart from the time taken."""
    names = ("codes", "activations", "trace", "images_seen")
    left, right = dataclasses.asdict(a), dataclasses.asdict(b)
    return all(torch.equal(torch.as_tensor(left[k]), torch.as_tensor(right[k])) for k in names)


def test_shapes_budget_and_time(ascended, generator):
    assert ascended.codes.shape == (4, generator.code_size)
    assert ascended.activations.shape == (4,)
    assert ascended.trace.shape == (4, 8)
    assert ascended.images_seen == 4 * 8
    assert 0 < ascended.network_seconds < ascended.seconds


def test_it_climbs(ascended, readout, backbone, generator):
    start = generator.initial_codes(SEEDS)
    assert (ascended.activations > rescore(readout, backbone, generator, start)).all()


class Asleep(nn.Module):
    """A feature that answers to bright images only, and has no gradient at others."""

    features = 1

    def forward(self, images):
        return (images.mean((1, 2, 3)) - 0.8).relu()[:, None]


class Grey(nn.Module):
    """A code's sigmoid, as brightness."""

    code_size, image_size, initial_sigma = 1, 4, 2.0

    def initial_codes(self, seeds):
        return torch.zeros(len(seeds), 1)

    def forward(self, codes):
        return codes.sigmoid()[:, :, None, None].expand(-1, 3, 4, 4)


def test_a_unit_asleep_at_its_start_is_woken_by_others_of_them():
    unit = Readout(torch.ones(1, 1), torch.zeros(1), ("bright",))
    still = Ascent(steps=3, jitter=0, zoom=0)
    assert ascend(unit, Asleep(), Grey(), [4], still).activations == 0
    few = dataclasses.replace(still, starts=16)
    tried = ascend(unit, Asleep(), Grey(), [4], few)
    assert tried.activations > 0 and tried.images_seen == 16 + 3
    states = []
    ascend(unit, Asleep(), Grey(), [4], few, checkpoint=states.append, checkpoint_every=1)
    assert same(ascend(unit, Asleep(), Grey(), [4], few, resume=states[0]), tried)
    twice = unit.rows([0, 0, 0])
    beside = ascend(twice, Asleep(), Grey(), [2, 4, 4], few)
    assert beside.codes[1] == beside.codes[2] == tried.codes[0] and beside.images_seen == 32 + 9


def test_the_gradient_is_that_of_the_plain_model(readout, backbone, generator):
    codes = generator.initial_codes(SEEDS).requires_grad_()
    features = backbone.eval()(generator(codes))
    total = ((features * readout.weight).sum(1) + readout.bias).sum()
    (expected,) = torch.autograd.grad(total, codes)
    plain = ascent.Climb(readout, backbone, generator, SEEDS, Ascent(jitter=0, zoom=0))
    found, scores = plain.gradients()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(scores.sum(), total.detach())


def test_steps_are_those_of_adam(readout, backbone, generator):
    """PyTorch's own optimiser on the plain model, all rows at once."""
    climb = Ascent(steps=5, jitter=0, zoom=0)
    *_, mine = iterate(readout, backbone, generator, SEEDS, climb)
    codes = generator.initial_codes(SEEDS).requires_grad_()
    theirs = torch.optim.Adam([codes], climb.rate * generator.initial_sigma, maximize=True)
    for _ in range(climb.steps):
        theirs.zero_grad()
        (backbone.eval()(generator(codes)) * readout.weight).sum().backward()
        theirs.step()
    torch.testing.assert_close(mine.codes, codes.detach(), rtol=1e-3, atol=1e-3)


PARTLY = Ascent(steps=4, views=3, crop=0.4)


def test_a_step_follows_the_mean_of_its_views(readout, backbone, generator):
    several = ascent.Climb(readout, backbone, generator, SEEDS, PARTLY)
    mean, scores = several.gradients()
    seen = [several._seen(number) for number in range(3)]
    torch.testing.assert_close(mean, sum(gradient for gradient, _ in seen) / 3)
    torch.testing.assert_close(scores, sum(score for _, score in seen) / 3)
    assert not torch.equal(seen[0][0], seen[1][0])
    first = ascent.Climb(readout, backbone, generator, SEEDS, dataclasses.replace(PARTLY, views=1))
    assert torch.equal(first.gradients()[0], seen[0][0])  # further views leave the first as it was


def test_an_ascent_by_parts_goes_on_and_knows_no_neighbours(readout, backbone, generator):
    states = []
    whole = ascend(
        readout, backbone, generator, SEEDS, PARTLY, checkpoint=states.append, checkpoint_every=1
    )
    assert same(ascend(readout, backbone, generator, SEEDS, PARTLY, resume=states[1]), whole)
    assert whole.images_seen == 4 * 4 * 3
    alone = ascend(readout.rows([2]), backbone, generator, SEEDS[2:3], PARTLY)
    assert torch.equal(alone.codes[0], whole.codes[2])


def test_parts_lie_within_the_image():
    places = torch.stack([ascent.drawn_place(PARTLY, 3, s, v) for s in range(99) for v in range(2)])
    shown = 1 / places[:, 2]
    assert ((shown >= 0.4) & (shown <= 1)).all()
    assert shown.min() < 0.45 and shown.max() > 0.95
    ramp = torch.linspace(0, 1, 64).expand(len(places), 3, 64, 64)
    seen = view(ramp, places)[:, 0, 0]
    assert (seen.diff(dim=1) >= 0).all()  # beyond the edge it is mirrored and would fall
    torch.testing.assert_close(seen[:, -1] - seen[:, 0], shown, atol=0.03, rtol=0)


@pytest.mark.parametrize("wrong", [{"views": 0}, {"crop": 0.0}, {"crop": 1.5}])
def test_views_that_show_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Ascent(**wrong)


def test_stored_pair_is_consistent(ascended, readout, backbone, generator):
    assert torch.equal(ascended.codes, ascended.codes.half().float())
    assert torch.equal(rescore(readout, backbone, generator, ascended.codes), ascended.activations)


def test_rows_do_not_depend_on_their_batch(ascended, readout, backbone, generator):
    for rows in ([1], [3, 1]):
        seeds = [SEEDS[row] for row in rows]
        apart = ascend(readout.rows(rows), backbone, generator, seeds, CLIMB)
        for name in ("codes", "activations", "trace"):
            assert torch.equal(getattr(apart, name), getattr(ascended, name)[rows])


def test_rows_with_one_seed_share_start_and_views(readout, backbone, generator):
    twice = ascend(readout.rows([0, 0, 1]), backbone, generator, (5, 5, 5), CLIMB)
    assert torch.equal(twice.codes[0], twice.codes[1])
    assert not torch.equal(twice.codes[0], twice.codes[2])


def test_chunks_change_rounding_only(ascended, readout, backbone, generator):
    for chunk in (3, 64):
        chunked = ascend(readout, backbone, generator, SEEDS, CLIMB, chunk=chunk)
        torch.testing.assert_close(chunked.trace[:, :3], ascended.trace[:, :3], rtol=0, atol=1e-4)


def test_stop_and_resume_equals_uninterrupted(ascended, readout, backbone, generator, tmp_path):
    for climb in iterate(readout, backbone, generator, SEEDS, CLIMB):
        if climb.steps_done == 3:
            safetensors.torch.save_file(climb.state(), tmp_path / "state.safetensors")
            break
    state = safetensors.torch.load_file(tmp_path / "state.safetensors")
    assert same(ascend(readout, backbone, generator, SEEDS, CLIMB, resume=state), ascended)


def test_checkpoints_come_and_lead_to_the_same_end(ascended, readout, backbone, generator):
    states: list = []
    args = (readout, backbone, generator, SEEDS, CLIMB)
    ascend(*args, checkpoint=states.append, checkpoint_every=4)
    assert [int(state["steps_done"]) for state in states] == [4]
    assert same(ascend(*args, resume=states[0]), ascended)
    with pytest.raises(ValueError, match="checkpoint_every"):
        ascend(*args, checkpoint_every=0)
    *_, climb = iterate(*args)
    assert same(ascend(*args, resume=climb.state()), ascended)


def test_foreign_checkpoints_are_refused_by_name(readout, backbone, generator):
    state = next(iterate(readout, backbone, generator, SEEDS, CLIMB)).state()
    changed = Readout(readout.weight * 2, readout.bias, readout.labels)
    other = Backbone()
    nn.init.zeros_(other.first.weight)
    cases = {
        "readout": (changed, backbone, generator, SEEDS, CLIMB),
        "backbone": (readout, other, generator, SEEDS, CLIMB),
        "initial codes, seeds": (readout, backbone, generator, (5, 5, 9, 8), CLIMB),
        "steps": (readout, backbone, generator, SEEDS, Ascent(steps=9)),
    }
    for named, args in cases.items():
        with pytest.raises(ValueError, match=f"differs in: {named};"):
            ascend(*args, resume=state)
    with pytest.raises(ValueError, match=r"checkpoint of ascend\(\)"):
        ascend(readout, backbone, generator, SEEDS, CLIMB, resume={})


def test_nan_is_named(readout, backbone, generator):
    weight = readout.weight.clone()
    weight[2, 0] = torch.nan
    broken = Readout(weight, readout.bias, readout.labels)
    with pytest.raises(ValueError, match=r"step 0 for row 2 \('hen', seed 9\); check"):
        ascend(broken, backbone, generator, SEEDS, CLIMB)


def test_arguments_are_checked(readout, backbone, generator):
    with pytest.raises(ValueError, match="one seed for each of the 4 rows"):
        ascend(readout, backbone, generator, (1, 2), CLIMB)
    with pytest.raises(TypeError, match="float32 or bfloat16"):
        ascend(readout, backbone, generator, SEEDS, CLIMB, dtype=torch.float16)
    wrong = [
        ({"steps": 0}, "one step"),
        ({"starts": 0}, "one start"),
        ({"rate": 0.0}, "above 0"),
        ({"zoom": 1.0}, "shares"),
    ]
    for values, why in wrong:
        with pytest.raises(ValueError, match=why):
            Ascent(**values)


def test_modules_are_left_alone(readout, backbone, generator):
    backbone.train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    ascend(readout, backbone, generator, SEEDS, Ascent(steps=2), dtype=torch.bfloat16)
    assert backbone.training and backbone.first.weight.requires_grad
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    backbone.eval()


def test_it_says_how_many_images_are_left(readout, backbone, generator, talking):
    ascend(readout, backbone, generator, SEEDS, Ascent(steps=2))
    said = talking()
    assert "4 ascents: about 0 s in all" in said[0]
    assert "8 of 8 images in" in said[-1]


def test_certificate(readout, backbone, generator):
    exact = certify(readout, backbone, generator, dtype=torch.float32)
    assert exact.worst == pytest.approx(1.0) and exact.error == 0
    fast = certify(readout, backbone, generator)
    assert fast.dtype == "bfloat16" and fast.rows == 4
    assert 0.9 < fast.worst <= fast.rank_agreement < 1


def test_a_view_of_nothing_is_the_image_and_shifts_go_where_they_say():
    images = draws.uniform((2, 3, 16, 16), 0)
    still = view(images, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3))
    torch.testing.assert_close(still, images, rtol=0, atol=1e-5)
    right = view(images, torch.tensor([[0.25, 0.0, 1.0]]).expand(2, 3))
    torch.testing.assert_close(right[..., 4:], images[..., :-4], rtol=0, atol=1e-5)
    down = view(images, torch.tensor([[0.0, 0.25, 1.0]]).expand(2, 3))
    torch.testing.assert_close(down[..., 4:, :], images[..., :-4, :], rtol=0, atol=1e-5)
    larger = view(images, torch.tensor([[0.0, 0.0, 2.0]]).expand(2, 3))
    wide = nn.functional.interpolate(images, scale_factor=2, mode="bilinear")[..., 8:24, 8:24]
    torch.testing.assert_close(larger, wide, rtol=0, atol=1e-5)


def test_views_lie_within_their_limits_and_depend_on_seed_and_step():
    drawn = torch.stack([ascent.drawn_place(CLIMB, 0, step) for step in range(200)])
    assert 0.05 < drawn[:, :2].abs().max() <= CLIMB.jitter
    assert 0.9 < drawn[:, 2].min() < 0.95 and 1.05 < drawn[:, 2].max() <= 1.1
    assert torch.equal(ascent.drawn_place(CLIMB, 0, 7), drawn[7])
    assert not torch.equal(ascent.drawn_place(CLIMB, 1, 7), drawn[7])


def test_natural_codes_have_natural_contrast_and_long_ones_no_more():
    pixels = Pixels(32)
    codes = draws.normal((100, pixels.code_size), 0)
    logits = torch.logit(pixels(codes).clamp(1e-6, 1 - 1e-6))
    assert float(logits.std()) == pytest.approx(1.0, rel=0.1)
    torch.testing.assert_close(pixels(5 * codes), pixels(3 * codes))
    power = radial_spectrum(logits).power.mean(0)
    assert float(power[3] / power[9]) == pytest.approx(9, rel=0.2)  # 1/f in amplitude
    with pytest.raises(ValueError, match="even"):
        Pixels(7)


def test_gradient_through_the_code_needs_far_fewer_images_than_evolution(tiny_zoo):
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    network, generator = zoo.network("resnet"), zoo.generator("scenes")
    rows = network.readout.rows([0, 1])
    climbed = ascend(rows, network.backbone, generator, (0, 0), Ascent(40, jitter=0, zoom=0))
    evolved = evolve(rows, network.backbone, generator, (0, 0), Search(generations=10))
    assert evolved.images_seen > 4 * climbed.images_seen
    assert (climbed.activations > evolved.trace[:, 0]).all()
