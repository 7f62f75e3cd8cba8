"""The closed loop on a linear generator and a small backbone."""

import dataclasses

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from signseg_utils.basics import registry
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search, certify, evolve, iterate, rescore
from signseg_utils.search.scoring import Scorer, fast_bfloat16
from signseg_utils.units.readout import Readout

CODE, FEATURES = 20, 12
SEARCH = Search(generations=15)


class Linear(nn.Module):
    """Images as sigmoid of a linear map of the code."""

    initial_sigma = 0.5
    code_size, image_size = CODE, 8

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.map = nn.Parameter(torch.randn(CODE, 3 * 8 * 8, generator=draw) * 0.5)

    def initial_codes(self, seeds) -> Tensor:
        rows = [torch.Generator().manual_seed(seed) for seed in seeds]
        return torch.stack([torch.randn(CODE, generator=draw) for draw in rows]) * 0.1

    def forward(self, codes: Tensor) -> Tensor:
        return torch.sigmoid(codes @ self.map).view(-1, 3, 8, 8)


class Backbone(nn.Module):
    """Two convolutions, mean over space; counts images."""

    image_size, features = 8, FEATURES

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 16, 3)
            self.second = nn.Conv2d(16, FEATURES, 3)
        self.dropout = nn.Dropout(0.5)  # must be off in the loop

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(torch.relu(self.first(images - 0.5)))
        return self.dropout(torch.relu(maps).mean((2, 3)))


@pytest.fixture(scope="module")
def generator() -> Linear:
    return Linear()


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone()


@pytest.fixture(scope="module")
def readout() -> Readout:
    draw = torch.Generator().manual_seed(2)
    weight = torch.randn(4, FEATURES, generator=draw)
    return Readout(weight, torch.tensor([0.0, 1.0, -1.0, 0.5]), ("cat", "dog", "hen", "owl"))


SEEDS = (5, 5, 9, 9)


@pytest.fixture(scope="module")
def evolved(readout, backbone, generator):
    return evolve(readout, backbone, generator, SEEDS, SEARCH)


def same(a: evolution.Evolution, b: evolution.Evolution) -> bool:
    """Equal in every bit, apart from the time taken."""
    names = ("codes", "activations", "trace", "mean_trace", "images_seen")
    left, right = dataclasses.asdict(a), dataclasses.asdict(b)
    return all(torch.equal(torch.as_tensor(left[k]), torch.as_tensor(right[k])) for k in names)


def test_shapes_budget_and_time(evolved, readout):
    population = registry.load("optimizers", "cholesky_cma").default_population(CODE)
    assert evolved.codes.shape == (4, CODE)
    assert evolved.activations.shape == (4,)
    assert evolved.trace.shape == evolved.mean_trace.shape == (4, 15)
    assert evolved.images_seen == 4 * (1 + 14 * population)
    assert 0 < evolved.network_seconds < evolved.seconds


def test_trace_rises_and_search_works(evolved):
    assert (evolved.trace.diff(dim=1) >= 0).all()
    assert (evolved.trace >= evolved.mean_trace).all()
    assert (evolved.trace[:, -1] > evolved.trace[:, 0] + 0.05).all()


def test_stored_pair_is_consistent(evolved, readout, backbone, generator):
    assert torch.equal(evolved.codes, evolved.codes.half().float())
    again = rescore(readout, backbone, generator, evolved.codes)
    assert torch.equal(again, evolved.activations)
    torch.testing.assert_close(evolved.activations, evolved.trace[:, -1], rtol=0, atol=5e-3)
    # scored by hand: the loop hides nothing
    features = backbone.eval()(generator(evolved.codes))
    by_hand = (features * readout.weight).sum(1) + readout.bias
    torch.testing.assert_close(evolved.activations, by_hand.detach(), rtol=0, atol=1e-5)


def test_rescoring_one_row_is_exact(evolved, readout, backbone, generator):
    alone = rescore(readout.rows([2]), backbone, generator, evolved.codes[2:3])
    assert torch.equal(alone[0], evolved.activations[2])


@pytest.mark.parametrize("optimizer", registry.names("optimizers"))
def test_rows_do_not_depend_on_their_batch(optimizer, readout, backbone, generator):
    search = Search(optimizer, generations=6)
    together = evolve(readout, backbone, generator, SEEDS, search)
    for rows in ([1], [3, 1]):
        seeds = [SEEDS[row] for row in rows]
        apart = evolve(readout.rows(rows), backbone, generator, seeds, search)
        for name in ("codes", "activations", "trace", "mean_trace"):
            assert torch.equal(getattr(apart, name), getattr(together, name)[rows])


def test_rows_with_one_seed_start_alike(readout, backbone, generator):
    """Common random numbers: equal rows with equal seeds give equal runs."""
    twice = readout.rows([0, 0, 1])
    result = evolve(twice, backbone, generator, (5, 5, 5), SEARCH)
    assert torch.equal(result.trace[0], result.trace[1])
    loop = next(iterate(twice, backbone, generator, (5, 5, 5), SEARCH))
    codes = loop.optimizer.ask()
    assert torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_change_rounding_only(chunk, evolved, readout, backbone, generator):
    chunked = evolve(readout, backbone, generator, SEEDS, SEARCH, chunk=chunk)
    torch.testing.assert_close(chunked.trace[:, :3], evolved.trace[:, :3], rtol=0, atol=1e-5)


def test_chunks_cover_every_candidate_once(backbone, generator):
    codes = torch.zeros(5, 70, CODE)
    for chunk in (None, 1, 33, 140, 1000):
        scorer = Scorer(backbone, generator, chunk=chunk)
        seen = torch.zeros(5, 70)
        for rows, part in scorer._passes(codes):
            seen[rows, part] += 1
        assert (seen == 1).all()
    with pytest.raises(ValueError, match="at least one image"):
        Scorer(backbone, generator, chunk=0)


@pytest.mark.parametrize("optimizer", registry.names("optimizers"))
def test_stop_and_resume_equals_uninterrupted(optimizer, readout, backbone, generator, tmp_path):
    search = Search(optimizer, generations=15)
    whole = evolve(readout, backbone, generator, SEEDS, search)
    for loop in iterate(readout, backbone, generator, SEEDS, search):
        if loop.generation == 13:
            safetensors.torch.save_file(loop.state(), tmp_path / "state.safetensors")
            break
    state = safetensors.torch.load_file(tmp_path / "state.safetensors")
    resumed = evolve(readout, backbone, generator, SEEDS, search, resume=state)
    assert same(resumed, whole)


def test_checkpoints_come_and_lead_to_the_same_end(evolved, readout, backbone, generator):
    states: list = []
    args = (readout, backbone, generator, SEEDS, SEARCH)
    evolve(*args, checkpoint=states.append, checkpoint_every=5)
    assert [int(state["optimizer.generation"]) for state in states] == [5, 10]
    for state in states:
        assert same(evolve(*args, resume=state), evolved)
    with pytest.raises(ValueError, match="checkpoint_every"):
        evolve(*args, checkpoint_every=0)


def test_resuming_a_finished_search_gives_its_result(evolved, readout, backbone, generator):
    *_, loop = iterate(readout, backbone, generator, SEEDS, SEARCH)
    state = loop.state()
    again = evolve(readout, backbone, generator, SEEDS, SEARCH, resume=state)
    assert same(again, evolved)
    assert again.network_seconds >= float(state["loop.network_seconds"])


def test_foreign_checkpoints_are_refused_by_name(readout, backbone, generator):
    loop = next(iterate(readout, backbone, generator, SEEDS, SEARCH))
    state = loop.state()
    changed = Readout(readout.weight * 2, readout.bias, readout.labels)
    other = Backbone()
    nn.init.zeros_(other.first.weight)
    cases = {
        "readout": (changed, backbone, generator, SEEDS, SEARCH),
        "backbone": (readout, other, generator, SEEDS, SEARCH),
        "initial codes, seeds": (readout, backbone, generator, (5, 5, 9, 8), SEARCH),
        "generations": (readout, backbone, generator, SEEDS, Search(generations=16)),
    }
    for named, args in cases.items():
        with pytest.raises(ValueError, match=f"differs in: {named};"):
            evolve(*args, resume=state)
    with pytest.raises(ValueError, match="entry 'identity'"):
        evolve(readout, backbone, generator, SEEDS, SEARCH, resume={})


def test_nan_is_named(readout, backbone, generator):
    weight = readout.weight.clone()
    weight[2, 0] = torch.nan
    broken = Readout(weight, readout.bias, readout.labels)
    with pytest.raises(ValueError, match=r"generation 0 for row 2 \('hen', seed 9\); check"):
        evolve(broken, backbone, generator, SEEDS, SEARCH)


def test_arguments_are_checked(readout, backbone, generator):
    with pytest.raises(ValueError, match="one seed for each of the 4 rows"):
        evolve(readout, backbone, generator, (1, 2), SEARCH)
    with pytest.raises(KeyError, match="did you mean cholesky_cma"):
        evolve(readout, backbone, generator, SEEDS, Search("cholesky_cmaes"))
    with pytest.raises(TypeError, match="float32 or bfloat16"):
        evolve(readout, backbone, generator, SEEDS, SEARCH, dtype=torch.float16)


def test_modules_are_left_alone(readout, backbone, generator):
    backbone.train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    evolve(readout, backbone, generator, SEEDS, Search(generations=2), dtype=torch.bfloat16)
    assert backbone.training and backbone.first.weight.dtype == torch.float32
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_a_search_says_how_many_images_are_left_and_is_silent_where_asked(
    readout, backbone, generator, talking
):
    search = Search(generations=3)
    seen = evolve(readout, backbone, generator, SEEDS, search).images_seen
    said = talking()
    assert "4 searches: about 0 s in all" in said[0]
    assert f"{seen} of {seen} images in" in said[-1]
    evolve(readout, backbone, generator, SEEDS, search, progress=False)
    assert not talking()


def test_sigma_and_population_are_arguments(readout, backbone, generator):
    search = Search(generations=2, sigma=0.01, population=8)
    loop = next(iterate(readout, backbone, generator, SEEDS, search))
    codes = loop.optimizer.ask()
    assert codes.shape == (4, 8, CODE)
    assert (codes - loop.optimizer.initial[:, None]).std() == pytest.approx(0.01, rel=0.2)


def test_bfloat16_reaches_the_same_height(evolved, readout, backbone, generator):
    fast = evolve(readout, backbone, generator, SEEDS, SEARCH, dtype=torch.bfloat16)
    gain = evolved.trace[:, -1] - evolved.trace[:, 0]
    assert fast.activations.dtype == torch.float32
    assert (fast.activations > evolved.trace[:, 0] + 0.5 * gain).all()


def test_certificate(readout, backbone, generator):
    exact = certify(readout, backbone, generator, dtype=torch.float32, images=64)
    assert exact.worst == pytest.approx(1.0) and exact.error == 0.0
    fast = certify(readout, backbone, generator, images=64)
    assert fast.dtype == "bfloat16" and (fast.rows, fast.images) == (4, 64)
    assert 0.9 < fast.worst <= fast.rank_agreement < 1
    assert 0 < fast.error < 0.2
    flat = Readout(readout.weight * 0, readout.bias, readout.labels)
    assert certify(flat, backbone, generator, images=16).worst == 0.0
    codes = generator.initial_codes(range(9))
    assert certify(readout, backbone, generator, codes).images == 9


def test_bfloat16_support_is_known():
    assert fast_bfloat16("cpu") in (True, False)


def test_noise_of_nothing_changes_nothing(readout, backbone, generator, evolved):
    silent = evolve(readout, backbone, generator, SEEDS, SEARCH, noise=[0.0] * 4)
    assert torch.equal(silent.codes, evolved.codes)
    assert torch.equal(silent.trace, evolved.trace)


def test_noise_decides_but_is_not_reported(readout, backbone, generator, evolved):
    """Run 0 hears no noise among noisy ones; a noisy run reports what its code really gives."""
    noisy = evolve(readout, backbone, generator, SEEDS, SEARCH, noise=[0, 1, 1, 1])
    assert torch.equal(noisy.codes[0], evolved.codes[0])
    assert not torch.equal(noisy.codes[1], evolved.codes[1])
    torch.testing.assert_close(noisy.trace[:, -1], noisy.activations, rtol=0.01, atol=0.01)


def test_noise_depends_on_seed_and_generation_only(readout, backbone, generator):
    noisy = evolve(readout, backbone, generator, SEEDS, SEARCH, noise=[0.3] * 4)
    alone = evolve(readout.rows([2]), backbone, generator, SEEDS[2:3], SEARCH, noise=[0.3])
    assert torch.equal(noisy.codes[2], alone.codes[0])
    loops = iterate(readout, backbone, generator, SEEDS, SEARCH, noise=[0.3] * 4)
    state = [next(loops) for _ in range(6)][-1].state()
    resumed = evolve(readout, backbone, generator, SEEDS, SEARCH, noise=[0.3] * 4, resume=state)
    assert torch.equal(resumed.codes, noisy.codes)
    with pytest.raises(ValueError, match="differs in: noise"):
        evolve(readout, backbone, generator, SEEDS, SEARCH, resume=state)


@pytest.mark.parametrize("noise", [[0.1], [0.1, 0.1, 0.1, -1.0], [float("nan")] * 4])
def test_noise_is_checked(readout, backbone, generator, noise):
    with pytest.raises(ValueError, match="one standard deviation of 0 or more"):
        evolve(readout, backbone, generator, SEEDS, SEARCH, noise=noise)
