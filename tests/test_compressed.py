"""Students of neurons: side by side as alone, pruned where it hurts least, small if the neuron is.

Simulated neurons with a known number of subunits are the planted truth.
"""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr
from torch.nn import functional as F

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import compressed, published, sizes
from signseg_utils.files import paths
from signseg_utils.files.store import Store
from signseg_utils.neurons import compact, subunits
from signseg_utils.neurons.recordings import RecordingError
from signseg_utils.training import students
from signseg_utils.training.students import Course, Lessons, Students

TINY = compressed.Compressed(
    "simulated",
    "simulated",
    "shapes",
    "alexnet",
    neurons=4,
    channels=5,
    images=64,
    epochs=1,
    retrained=2,
)


def taught(count: int = 2, channels: int = 4, seed: int = 0) -> Students:
    """Students whose numbers are drawn, as if they had learnt."""
    made = students.new(count, channels, seed)
    with torch.no_grad():
        for name, own in made.state_dict().items():
            if own.ndim and name != "kept":
                own.copy_(
                    torch.rand(own.shape, generator=torch.Generator().manual_seed(seed)) + 0.1
                )
    return made


PIXELS = subunits.pictures(24, seed=7)


def test_a_subunit_is_a_rectified_match_in_its_window() -> None:
    cells = subunits.population(4, seed=3)
    assert cells.numbers() == [1, 2, 4, 8]
    cell, images = cells.cells[1], PIXELS.float() / 255
    maps = F.conv2d(images - 0.5, cell.patterns, padding=2).clamp(min=0)
    z = ((maps * cell.windows).sum((2, 3)) - cell.mean) / cell.spread
    drive = 1 + (z[:, 0] - z[:, 1]) / 2**0.5
    torch.testing.assert_close(cells(images)[:, 1], 10 * F.softplus(drive))
    torch.testing.assert_close(cells.pick([1])(images)[:, 0], cells(images)[:, 1])
    assert (cells(torch.full((1, 3, 32, 32), 0.5)) >= 0).all()
    with pytest.raises(ValueError, match="at least one neuron"):
        subunits.population(0)


def test_each_student_is_what_it_is_alone() -> None:
    both, alone = taught(2), students.new(1, 4, 1)
    theirs = both.state_dict()
    with torch.no_grad():
        for name, own in alone.state_dict().items():
            if own.ndim:
                own.copy_(theirs[name][-len(own) :])
    torch.testing.assert_close(both.asked(PIXELS)[:, 1:], alone.asked(PIXELS))


def test_a_pruned_channel_has_no_say_and_the_one_that_counts_least_goes_first() -> None:
    made = taught()
    with torch.no_grad():
        made.beta[:, 2] *= 1e-4  # hardly read
    before = made.asked(PIXELS)
    made.narrow(4, 3, PIXELS)
    assert (made.kept[:, 4, 2] == 0).all() and made.widths[:, 0].tolist() == [4, 4, 4, 4, 3]
    torch.testing.assert_close(made.asked(PIXELS), before, rtol=1e-3, atol=1e-3)
    for layer in range(compact.DEPTH):
        made.narrow(layer, 2, PIXELS)
    answers = made.asked(PIXELS)
    again = Students.unpacked(made.packed(), 2, 4)
    assert again.widths.equal(made.widths)
    torch.testing.assert_close(again.asked(PIXELS), answers, rtol=0.02, atol=0.02)
    with pytest.raises(ValueError, match="give the numbers"):
        Students.unpacked(made.packed()[1:], 2, 4)


def test_worth_is_the_harm_done_in_a_linear_readout() -> None:
    made = taught(1)
    worth = made.worth(4, PIXELS)[0]
    maps = made.layers(PIXELS.float() / 255)[4]
    by_hand = maps.transpose(0, 1).flatten(1).var(1) * made.beta[0].square().sum((1, 2))
    torch.testing.assert_close(worth, by_hand)


def test_only_students_that_are_named_take_what_others_are() -> None:
    made, other = taught(seed=0), taught(seed=1)
    mine, theirs = made.asked(PIXELS), other.asked(PIXELS)
    made.take(other, torch.tensor([False, True]))
    torch.testing.assert_close(made.asked(PIXELS), torch.stack([mine[:, 0], theirs[:, 1]], 1))


def test_layers_shrink_to_the_floor_and_not_below() -> None:
    assert students.ladder(16, 3) == [11, 7, 4, 3] and students.ladder(16, 1)[-1] == 1
    assert students.ladder(3, 3) == []
    widths = torch.tensor([[1, 2], [3, 4], [1, 1], [2, 2], [4, 3]])
    assert students.small(widths, 4, 0).widths.equal(widths)


def test_filters_and_parameters_are_counted_as_a_published_model_has_them() -> None:
    filters = (6, 5, 3, 4, 2)
    assert compact.kernels(filters) == 6 + 6 + 5 + 3 + 4
    learned = {
        name: shape
        for name, shape in compact.layout(filters).items()
        if "running" not in name and "tracked" not in name
    }
    assert compact.parameters(filters) == sum(int(np.prod(s)) for s in learned.values())
    assert compact.parameters(filters) - compact.parameters(filters, 8) == 2 * (28**2 - 8**2)


def test_subunits_that_tell_of_each_other_are_not_all_needed() -> None:
    cells = subunits.population(8, seed=0)
    needed, numbers = np.array(cells.needed()), np.array(cells.numbers())
    assert (needed <= numbers).all() and (needed[numbers == 1] == 1).all()
    twice = subunits.Subunits(["n"], [subunits.Cell(*(own[[0, 0]] for own in cells.cells[3]))])
    assert twice.needed() == [1]


@pytest.mark.slow
def test_students_of_simple_neurons_end_smaller_than_of_complex_ones() -> None:
    cells = subunits.population(12, seed=0)
    needed = np.array(cells.needed())
    chosen = [*np.flatnonzero(needed == 1)[:2].tolist(), *np.argsort(-needed)[:2].tolist()]
    pool = subunits.pictures(1536, 5, 2)
    answers = cells.pick(chosen).responses(pool)
    answers = (answers - answers.mean(0)) / answers.std(0)
    seen, held = (Lessons(pool[part], answers[part]) for part in (slice(512, None), slice(512)))
    course = Course(epochs=8, retrained=25)
    made = students.new(4, 8, 5)
    students.distil(made, seen, course)
    before = students.agreement(made, held)
    assert (before > 0.6).all()
    free = students.prune(made, seen, held, course, (4, 3, 2, 1, 0), 1, 0.9)
    assert (students.agreement(free, held) >= 0.9 * before - 1e-6).all()
    filters = [compact.kernels(own) for own in free.widths.T.tolist()]
    assert max(filters[:2]) < min(filters[2:])


def test_the_shipped_students_know_how_many_subunits_are_needed() -> None:
    (plan,) = compressed.plan("simulated", "shapes", "alexnet")
    found = Store(paths.results_folder("simulated")).read(plan.key)
    needed = np.array(subunits.population(plan.neurons, plan.seed).needed())
    free = found["filters"].sel(student="no floor").values
    assert spearmanr(needed, free).statistic > 0.4
    assert free[needed == 1].max() < free[needed >= 4].min()


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return TINY.measured(TINY.recorded(), zoos.load_zoo("shapes"))


def test_students_stay_on_the_floor_and_those_small_from_the_start_have_their_size(
    found: xr.Dataset,
) -> None:
    channels = found["channels"]
    assert (channels.sel(student=["pruned", "reversed"]) >= compressed.FLOOR).all()
    small = channels.sel(student="small from the start")
    np.testing.assert_array_equal(small, channels.sel(student="pruned"))
    assert (channels.sel(student="unpruned") == TINY.channels).all()
    assert found["subunits"].values.tolist() == [1, 2, 4, 8]
    assert (found["r2"].sel(model="teacher") > 0.9).all()  # the truth, but for the spikes


def test_what_was_stopped_goes_on_and_ends_the_same(found: xr.Dataset) -> None:
    saved: list[dict[str, torch.Tensor]] = []

    def stop(state: dict[str, torch.Tensor]) -> None:
        saved.append(dict(state))
        if len(saved) == 2:
            raise KeyboardInterrupt

    zoo = zoos.load_zoo("shapes")
    with pytest.raises(KeyboardInterrupt):
        TINY.measured(TINY.recorded(), zoo, None, stop)
    again = TINY.measured(TINY.recorded(), zoo, saved[-1])
    xr.testing.assert_identical(again, found)


def test_audits_agree_and_another_number_is_found(found: xr.Dataset) -> None:
    zoo = zoos.load_zoo("shapes")
    assert base.demand(base.audit([TINY], [found], zoo)) == 6 * found.sizes["neuron"]
    other = found.copy(deep=True)
    other["r2"] += 0.05
    with pytest.raises(AuditError, match="r2"):
        base.demand(base.audit([TINY], [other], zoo))


def test_bad_input_is_refused() -> None:
    zoo = zoos.load_zoo("shapes")
    few = dataclasses.replace(TINY, recording="other.csv")
    with pytest.raises(RecordingError, match="ask for fewer with neurons="):
        few.measured(TINY.recorded().isel(neuron=[0]), zoo)
    lessons = Lessons(PIXELS, torch.zeros(len(PIXELS), 2))
    with pytest.raises(ValueError, match="at least 32 images"):
        students.distil(taught(), lessons, Course())
    plan = published.plan("simulated", "shapes", "alexnet", images=100)
    with pytest.raises(RecordingError, match="published models"):
        plan[0].compute(zoo)


def test_size_and_ability_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    ability = rng.normal(size=200)
    size, r2 = ability + 0.3 * rng.normal(size=200), ability + 0.3 * rng.normal(size=200)
    assert spearmanr(size, r2).statistic > 0.7
    assert abs(sizes.within_ability(size, r2, ability).value) < 0.25
    r2 += 2 * size
    assert sizes.within_ability(size, r2, ability).value > 0.5
