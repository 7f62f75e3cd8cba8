"""Contracts of every optimiser, and Cholesky CMA against an independent dense implementation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from signseg_utils.basics import registry
from signseg_utils.optimizers import response_noise
from signseg_utils.optimizers._base import ordered_sum
from signseg_utils.optimizers._noise import standard_normal
from signseg_utils.optimizers.cholesky_cma import CholeskyCMA
from signseg_utils.optimizers.csa_es import CSAES
from signseg_utils.optimizers.random_search import RandomSearch
from signseg_utils.optimizers.sep_cma import SepCMA
from signseg_utils.optimizers.sphere_cma import SphereCMA

NAMES = registry.names("optimizers")
CODE = 37  # odd, so that no vector width divides it
SEEDS = (3, 11, 3, 2**40 + 5, 0)


def make(name: str, seeds=SEEDS, code=CODE, generations=30, dtype=torch.float32, **options):
    generator = torch.Generator().manual_seed(1)
    initial = torch.randn(len(SEEDS), code, generator=generator)
    initial = initial[[SEEDS.index(s) for s in seeds]].to(dtype)
    return registry.load("optimizers", name)(
        initial, options.pop("sigma", 0.5), seeds, generations=generations, **options
    )


def ellipsoid(codes: Tensor) -> Tensor:
    """Quadratic with condition number 100, its maximum 0 at 0.3."""
    scale = torch.logspace(0, 2, codes.shape[-1], dtype=torch.float64)
    return -ordered_sum((codes.double() - 0.3) ** 2 * scale)


def drive(optimizer, generations, score=ellipsoid) -> list[Tensor]:
    asked = []
    for _ in range(generations):
        asked.append(optimizer.ask())
        optimizer.tell(score(asked[-1]))
    return asked


# Contracts, for every optimiser ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_budget(name):
    optimizer = make(name)
    for generation in range(3):
        codes = optimizer.ask()
        assert codes.shape == (len(SEEDS), optimizer.candidates(generation), CODE)
        assert codes.dtype == torch.float32 and torch.isfinite(codes).all()
        optimizer.tell(ellipsoid(codes))
        assert optimizer.generation == generation + 1


@pytest.mark.parametrize("name", NAMES)
def test_population_is_an_argument(name):
    optimizer = make(name, population=6)
    drive(optimizer, 1)
    assert optimizer.ask().shape[1] == 6


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_share_noise_and_others_do_not(name):
    code = torch.zeros(3, CODE) + 0.1
    optimizer = registry.load("optimizers", name)(code, 0.5, (4, 4, 5), generations=5)
    codes = drive(optimizer, 2)[1]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_alone_equals_the_run_in_any_batch(name, dtype):
    together = drive(make(name, dtype=dtype), 26)
    for chosen in ((SEEDS[1],), (SEEDS[3], SEEDS[1])):
        apart = drive(make(name, seeds=chosen, dtype=dtype), 26)
        for a, b in zip(apart, together, strict=True):
            assert torch.equal(a, b[[SEEDS.index(seed) for seed in chosen]])


@pytest.mark.parametrize("name", NAMES)
def test_scores_matter_by_their_order_only(name):
    plain = drive(make(name), 15)
    bent = drive(make(name), 15, lambda codes: -torch.log1p(-ellipsoid(codes)) * 1e-3 + 7)
    assert all(torch.equal(a, b) for a, b in zip(plain, bent, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_stop_and_resume_equals_uninterrupted(name):
    whole = drive(make(name), 28)
    stopped = make(name)
    drive(stopped, 13)
    stopped.ask()  # asked but not told when the state is taken
    state = {k: torch.as_tensor(v).clone() for k, v in stopped.state_dict().items()}
    resumed = make(name)
    resumed.load_state_dict(state)
    rest = drive(resumed, 15)
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[13:], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_state_is_a_copy(name):
    optimizer = make(name)
    drive(optimizer, 3)
    state = {k: torch.as_tensor(v).clone() for k, v in optimizer.state_dict().items()}
    held = optimizer.state_dict()
    drive(optimizer, 12)
    assert all(torch.equal(torch.as_tensor(held[k]), state[k]) for k in state)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("sphere_cma", "random_search")])
def test_improves_on_an_ellipsoid(name):
    optimizer = make(name, generations=250, code=10)
    asked = drive(optimizer, 250)
    first, last = ellipsoid(asked[0]).amax(1), ellipsoid(asked[-1]).amax(1)
    assert (last > first / 100).all()  # the loss falls a hundredfold at least


def test_sphere_cma_finds_a_direction():
    target = torch.nn.functional.normalize(torch.arange(CODE) - 10.0, dim=0)
    optimizer = make("sphere_cma", generations=60)
    asked = drive(optimizer, 60, lambda codes: codes @ target)
    cosine = asked[-1][:, 0] @ target / optimizer.radius
    assert (asked[0][:, 0] @ target / optimizer.radius < 0.5).all()
    assert (cosine > 0.97).all()


@pytest.mark.parametrize("name", NAMES)
def test_global_random_state_is_neither_used_nor_changed(name):
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = drive(make(name), 3)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(9)
    assert all(torch.equal(a, b) for a, b in zip(first, drive(make(name), 3), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_errors_at_the_boundary(name):
    plugin = registry.load("optimizers", name)
    zeros = torch.zeros(2, CODE)
    with pytest.raises(ValueError, match=r"shape \[run, code\]"):
        plugin(zeros[0], 1.0, (0,), generations=2)
    with pytest.raises(ValueError, match="one seed for each of the 2 runs"):
        plugin(zeros, 1.0, (0,), generations=2)
    with pytest.raises(ValueError, match="seeds in"):
        plugin(zeros, 1.0, (0, -1), generations=2)
    with pytest.raises(ValueError, match="sigma > 0"):
        plugin(zeros, 0.0, (0, 1), generations=2)
    with pytest.raises(ValueError, match="at least one generation"):
        plugin(zeros, 1.0, (0, 1), generations=0)
    with pytest.raises(ValueError, match="population of at least 4"):
        plugin(zeros, 1.0, (0, 1), generations=2, population=3)
    with pytest.raises(ValueError, match=r"finite initial codes.*runs \[1\]"):
        plugin(torch.stack([zeros[0], zeros[0] / 0]), 1.0, (0, 1), generations=2)
    with pytest.raises(TypeError, match="float32 or float64"):
        plugin(zeros.half(), 1.0, (0, 1), generations=2)
    optimizer = plugin(zeros, 1.0, (0, 1), generations=2)
    with pytest.raises(RuntimeError, match="call ask"):
        optimizer.tell(torch.zeros(2, 1))
    scores = torch.zeros(optimizer.ask().shape[:2])
    with pytest.raises(ValueError, match="expected scores of shape"):
        optimizer.tell(scores[:, :0])
    scores[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN in generation 0, runs \[1\]"):
        optimizer.tell(scores)


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_state_is_refused(name):
    state = make(name).state_dict()
    with pytest.raises(ValueError, match="population"):
        make(name, population=8).load_state_dict(state)
    with pytest.raises(ValueError, match="same seeds"):
        make(name, seeds=SEEDS[:4] + (3,)).load_state_dict(state)
    with pytest.raises(KeyError, match="missing"):
        make(name).load_state_dict({})


def test_noise_is_normal_and_keyed():
    draws = standard_normal(5, 7, (400, 50))
    assert abs(draws.mean()) < 0.02 and abs(draws.std() - 1) < 0.02
    assert torch.equal(draws, standard_normal(5, 7, (400, 50)))
    others = [standard_normal(5, 8, (400, 50)), standard_normal(6, 7, (400, 50))]
    for other in others:
        assert abs(torch.corrcoef(torch.stack([draws.flatten(), other.flatten()]))[0, 1]) < 0.03


def test_noise_of_responses_is_a_stream_of_its_own():
    drawn = response_noise(5, 7, 4000)
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    assert torch.equal(drawn, response_noise(5, 7, 4000))
    for other in (standard_normal(5, 7, (4000,)), response_noise(5, 8, 4000)):
        assert abs(torch.corrcoef(torch.stack([drawn, other]))[0, 1]) < 0.05


@pytest.mark.parametrize("length", [1, 2, 3, 37, 256])
def test_ordered_sum_sums(length):
    values = torch.randn(4, length, dtype=torch.float64)
    torch.testing.assert_close(ordered_sum(values), values.sum(-1), rtol=0, atol=1e-12)


# Cholesky CMA against a dense implementation ------------------------------------------------------


class Dense:
    """One run of Cholesky CMA with matrices A and A^-1, in float64, written from the equations."""

    def __init__(self, start: np.ndarray, sigma: float, population: int) -> None:
        n = self.n = len(start)
        self.x, self.sigma, self.population = start.copy(), sigma, population
        mu = population / 2
        w = np.log(mu + 0.5) - np.log(np.arange(1, math.floor(mu) + 1))
        self.w = w / w.sum()
        self.mueff = 1 / (self.w**2).sum()
        self.cc, self.c1 = 4 / (n + 4), 2 / (n + math.sqrt(2)) ** 2
        self.cs = math.sqrt(self.mueff) / (math.sqrt(self.mueff) + math.sqrt(n))
        self.damps = 1 + self.cs + 2 * max(0, math.sqrt((self.mueff - 1) / (n + 1)) - 1)
        self.chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        self.A, self.Ainv = np.eye(n), np.eye(n)
        self.pc, self.ps = np.zeros(n), np.zeros(n)
        self.evaluated = self.updated_at = self.updates = 0

    def ask(self, z: np.ndarray) -> np.ndarray:
        self.z = z
        self.codes = self.x + self.sigma * (z @ self.A)
        self.evaluated += self.population
        return self.codes

    def tell(self, scores: np.ndarray) -> None:
        best = np.argsort(-scores)[: len(self.w)]
        self.x = self.w @ self.codes[best]
        z = self.w @ self.z[best]
        cs, cc, c1 = self.cs, self.cc, self.c1
        self.ps = (1 - cs) * self.ps + math.sqrt(cs * (2 - cs) * self.mueff) * z
        self.pc = (1 - cc) * self.pc + math.sqrt(cc * (2 - cc) * self.mueff) * (z @ self.A)
        self.sigma *= math.exp(cs / self.damps * (np.linalg.norm(self.ps) / self.chi - 1))
        if self.evaluated - self.updated_at > 10 * self.population:
            self.updated_at = self.evaluated
            self.updates += 1
            v = self.pc @ self.Ainv
            q, a = v @ v, math.sqrt(1 - c1)
            root = math.sqrt(1 + q * c1 / (1 - c1))
            self.A = a * self.A + a / q * (root - 1) * np.outer(v, self.pc)
            shrink = (1 - 1 / root) / (a * q)
            self.Ainv = self.Ainv / a - shrink * np.outer(self.Ainv @ v, v)


@pytest.mark.parametrize(("code", "population"), [(20, None), (37, None), (64, 9)])
def test_low_rank_form_equals_dense_matrices_step_by_step(code, population):
    seeds = (3, 11)
    low = make("cholesky_cma", seeds, code, dtype=torch.float64, population=population)
    dense = [Dense(start.numpy(), 0.5, low.population) for start in low.initial]
    assert torch.equal(low.ask()[:, 0], low.initial)
    low.tell(torch.zeros(2, 1))
    for generation in range(1, 100):
        z = [standard_normal(s, generation, (low.population, code)).double() for s in seeds]
        expected = np.stack([d.ask(draws.numpy()) for d, draws in zip(dense, z, strict=True)])
        codes = low.ask()
        np.testing.assert_allclose(codes.numpy(), expected, rtol=1e-12, atol=1e-12)
        scores = ellipsoid(codes)
        low.tell(scores)
        for run, d in enumerate(dense):
            d.tell(scores[run].numpy())
            np.testing.assert_allclose(low.sigma[run].item(), d.sigma, rtol=1e-12)
            np.testing.assert_allclose(low.path_c[run].numpy(), d.pc, rtol=0, atol=1e-12)
            np.testing.assert_allclose(low.path_sigma[run].numpy(), d.ps, rtol=0, atol=1e-12)
    assert [d.updates for d in dense] == [9, 9] == [low.v.shape[1]] * 2
    probe = torch.eye(code, dtype=torch.float64)
    for run, d in enumerate(dense):
        rows = low._times_factor(probe[None].expand(2, -1, -1))[run]
        np.testing.assert_allclose(rows.numpy(), d.A, rtol=0, atol=1e-12)
        inverse = torch.stack([low._times_inverse(row.expand(2, -1))[run] for row in probe])
        np.testing.assert_allclose(inverse.numpy(), d.Ainv, rtol=0, atol=1e-12)
        # limiting case: the two factors stay inverse to each other
        np.testing.assert_allclose((rows @ inverse).numpy(), np.eye(code), rtol=0, atol=1e-12)


def test_published_constants_at_paper_size():
    optimizer = CholeskyCMA(torch.zeros(1, 4096), 3.0, (0,), generations=100)
    assert optimizer.population == 40
    assert optimizer.c_sigma == pytest.approx(0.05, abs=0.005)
    assert optimizer.c_c == pytest.approx(0.0009756, rel=1e-4)
    assert optimizer.c_1 == pytest.approx(1.1912701410022985e-07, rel=1e-12)
    assert sum(optimizer.candidates(g) for g in range(100)) == 3961
    assert CholeskyCMA.default_population(256) == 28
    small = CholeskyCMA(torch.zeros(1, 256), 3.0, (0,), generations=100)
    assert sum(small.candidates(g) for g in range(100)) == 2773


def test_factor_has_full_rank_terms():
    """A rank-one term that collapses to a scalar (a known fault) would only rescale A."""
    optimizer = make("cholesky_cma", generations=20)
    drive(optimizer, 20)
    factor = optimizer._times_factor(torch.eye(CODE)[None].expand(len(SEEDS), -1, -1))
    off_diagonal = factor - torch.diag_embed(factor.diagonal(dim1=1, dim2=2))
    assert (off_diagonal.abs().amax((1, 2)) > 1e-5).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("pycma", "random_search")])
def test_weights_meet_draws_sorted_by_score(name):
    """Weights in rank order times draws in asked order is a known fault: it ignores the scores."""
    along = torch.zeros(CODE)
    along[5] = 1.0
    up, down = make(name), make(name)
    drive(up, 12, lambda codes: codes @ along)
    drive(down, 12, lambda codes: -codes @ along)
    difference = (up.ask().mean(1) - down.ask().mean(1)) @ along
    assert (difference > 0.5).all()


def test_learning_rate_of_the_rank_one_term_enters_once():
    """c_1 twice is a known fault. One update: A A' = a^2 I + c_1 p'p where A = I before it."""
    optimizer = make("cholesky_cma", dtype=torch.float64)
    drive(optimizer, 12)  # updates in generation 11
    assert optimizer.v.shape[1] == 1
    eye = torch.eye(CODE, dtype=torch.float64)[None].expand(len(SEEDS), -1, -1)
    factor = optimizer._times_factor(eye)
    covariance = factor.transpose(1, 2) @ factor
    p = optimizer.p[:, 0]
    expected = (1 - optimizer.c_1) * eye + optimizer.c_1 * p[:, :, None] * p[:, None, :]
    torch.testing.assert_close(covariance, expected, rtol=0, atol=1e-12)


# Separable and spherical -------------------------------------------------------------------------


def test_separable_learns_the_axes():
    optimizer = SepCMA(torch.zeros(2, 12).double(), 1.0, (0, 1), generations=200)
    drive(optimizer, 200)
    variance = optimizer.variance.log().mean(0)
    scale = -torch.logspace(0, 2, 12).log()
    assert torch.corrcoef(torch.stack([variance, scale]))[0, 1] > 0.95


def test_separable_update_against_equations():
    """One step of Ros & Hansen 2008, table 1, written out in numpy."""
    code, population = 9, 8
    optimizer = SepCMA(
        torch.zeros(1, code).double(), 0.7, (4,), generations=5, population=population
    )
    x = optimizer.ask()
    optimizer.tell(ellipsoid(x))
    z = standard_normal(4, 0, (population, code)).double().numpy()
    best = np.argsort(-ellipsoid(x)[0].numpy())[:4]
    w = math.log(5) - np.log(np.arange(1, 5))
    w /= w.sum()
    m = 1 / (w**2).sum()
    c_sigma = (m + 2) / (code + m + 3)
    path = math.sqrt(c_sigma * (2 - c_sigma) * m) * (w @ z[best])
    np.testing.assert_allclose(optimizer.path_sigma[0].numpy(), path, atol=1e-12)
    np.testing.assert_allclose(optimizer.mean[0].numpy(), 0.7 * (w @ z[best]), atol=1e-12)
    c_full = 2 / (m * (code + math.sqrt(2)) ** 2)
    c_full += (1 - 1 / m) * min(1, (2 * m - 1) / ((code + 2) ** 2 + m))
    c = c_full * (code + 2) / 3
    pc = optimizer.path_c[0].numpy()
    expected = (1 - c) + c / m * pc**2 + c * (1 - 1 / m) * (w @ z[best] ** 2)
    np.testing.assert_allclose(optimizer.variance[0].numpy(), expected, atol=1e-12)


def test_sphere_keeps_the_norm_and_narrows():
    optimizer = SphereCMA(torch.ones(1, 4096), 3.0, (0,), generations=100)
    assert optimizer.radius == pytest.approx(300)
    asked = drive(optimizer, 3, lambda codes: codes[..., 0])
    norms = torch.cat(asked).norm(dim=-1)
    torch.testing.assert_close(norms, torch.full_like(norms, 300.0), rtol=1e-4, atol=0)
    cosine = (asked[0][0, 1:] @ asked[0][0, 0]) / 300**2
    assert torch.allclose(cosine.acos().rad2deg(), torch.tensor(50.0), atol=3)
    assert math.degrees(optimizer.angle(0)) == pytest.approx(50)
    assert math.degrees(optimizer.angle(99)) == pytest.approx(7.33)


def test_sphere_starts_zero_codes_from_a_drawn_direction():
    optimizer = SphereCMA(torch.zeros(2, 12), 1.0, (0, 1), generations=3)
    codes = optimizer.ask()
    assert torch.isfinite(codes).all() and not torch.equal(codes[0, 0], codes[1, 0])
    with pytest.raises(ValueError, match="no angles"):
        SphereCMA(torch.ones(1, 1), 1.0, (0,), generations=3, population=4)


def test_sphere_stays_when_the_mean_is_the_basis():
    optimizer = SphereCMA(torch.ones(1, 12), 1.0, (0,), generations=3)
    before = optimizer.basis.clone()
    optimizer.ask()
    optimizer.noise.draws = torch.zeros_like(optimizer.noise.draws) + 1e-30
    optimizer.tell(torch.zeros(1, optimizer.population))
    torch.testing.assert_close(optimizer.basis, before)


# Baselines ---------------------------------------------------------------------------------------


def test_random_search_learns_nothing():
    up, down = make("random_search"), make("random_search")
    drive(up, 5)
    drive(down, 5, lambda codes: -ellipsoid(codes))
    codes = up.ask()
    assert torch.equal(codes, down.ask())
    assert not torch.equal(codes[0], codes[1])
    wide = RandomSearch(torch.ones(1, 4000), 0.5, (0,), generations=2).ask()[0]
    assert abs(wide.mean() - 1) < 0.01 and abs(wide.std() - 0.5) < 0.01


def test_isotropic_step_against_equations():
    """One step of the (mu/mu_w, lambda)-ES with a search path, written out in numpy."""
    code, population = 9, 8
    optimizer = CSAES(
        torch.zeros(1, code).double(), 0.7, (4,), generations=5, population=population
    )
    x = optimizer.ask()
    optimizer.tell(ellipsoid(x))
    z = standard_normal(4, 0, (population, code)).double().numpy()
    best = np.argsort(-ellipsoid(x)[0].numpy())[:4]
    w = math.log(4.5) - np.log(np.arange(1, 5))
    w /= w.sum()
    m = 1 / (w**2).sum()
    c, d = math.sqrt(m / (code + m)), 1 + math.sqrt(m / code)
    path = math.sqrt(c * (2 - c) * m) * (w @ z[best])
    chi = math.sqrt(code) * (1 - 1 / (4 * code) + 1 / (21 * code**2))
    np.testing.assert_allclose(optimizer.mean[0].numpy(), 0.7 * (w @ z[best]), atol=1e-12)
    expected = 0.7 * math.exp(c / d * (np.linalg.norm(path) / chi - 1))
    assert optimizer.sigma[0].item() == pytest.approx(expected, rel=1e-12)
