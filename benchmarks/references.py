"""Searches that a user would take instead: one image at a time, by published code.

Each of them is asked for codes and told their scores, of which higher is better; `EvoTorch` alone
looks at its candidates itself. The packages ``cmaes`` and ``evotorch`` are optional, so they are
imported where they are used.
"""

import logging
import math
from typing import Protocol

import cma
import numpy as np
import torch
from torch import Tensor

from benchmarks.setting import Score


class Strategy(Protocol):
    """A search that can be asked for codes and told their scores."""

    def ask(self) -> Tensor:
        """Codes [candidate, code] to be scored."""

    def tell(self, scores: Tensor) -> None:
        """Scores [candidate] of the codes asked for last."""


class Made(Protocol):
    """What makes a strategy from a start, so that several can be compared from there."""

    def __call__(self, start: Tensor, sigma: float, seed: int, population: int) -> Strategy: ...


class DenseCholesky:
    """Cholesky CMA-ES of one run with matrices, as published code has it (float32)."""

    def __init__(self, start: Tensor, sigma: float, seed: int, population: int) -> None:
        n = len(start)
        self.n, self.mean, self.sigma, self.population = n, start.clone(), sigma, population
        weights = math.log(population / 2 + 0.5) - torch.arange(1, population // 2 + 1).log()
        self.weights = (weights / weights.sum()).to(start)
        self.mueff = 1 / float((self.weights**2).sum())
        self.cc, self.c1 = 4 / (n + 4), 2 / (n + math.sqrt(2)) ** 2
        self.cs = math.sqrt(self.mueff) / (math.sqrt(self.mueff) + math.sqrt(n))
        self.damping = 1 + self.cs + 2 * max(0.0, math.sqrt((self.mueff - 1) / (n + 1)) - 1)
        self.chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        self.factor = torch.eye(n, device=start.device)
        self.inverse = torch.eye(n, device=start.device)
        self.pc, self.ps = torch.zeros_like(start), torch.zeros_like(start)
        self.draw = torch.Generator(start.device).manual_seed(seed)
        self.steps = self.updated = 0

    def ask(self) -> Tensor:
        shape = (self.population, self.n)
        self.z = torch.randn(shape, generator=self.draw, device=self.mean.device)
        self.codes = self.mean + self.sigma * (self.z @ self.factor)
        self.steps += 1
        return self.codes

    def tell(self, scores: Tensor) -> None:
        best = scores.argsort(descending=True)[: len(self.weights)]
        self.mean = self.weights @ self.codes[best]
        z = self.weights @ self.z[best]
        cs, cc, c1 = self.cs, self.cc, self.c1
        self.ps = (1 - cs) * self.ps + math.sqrt(cs * (2 - cs) * self.mueff) * z
        self.pc = (1 - cc) * self.pc + math.sqrt(cc * (2 - cc) * self.mueff) * (z @ self.factor)
        self.sigma *= math.exp(cs / self.damping * (float(self.ps.norm()) / self.chi - 1))
        if self.steps - self.updated > 10:
            self.updated = self.steps
            v = self.pc @ self.inverse
            squared, a = float(v @ v), math.sqrt(1 - c1)
            root = math.sqrt(1 + squared * c1 / (1 - c1))
            self.factor = a * self.factor + a / squared * (root - 1) * torch.outer(v, self.pc)
            shrink = (1 - 1 / root) / (a * squared)
            self.inverse = self.inverse / a - shrink * torch.outer(self.inverse @ v, v)


class PyCMA:
    """The ``cma`` package.

    Parameters
    ----------
    population
        Zero: what the package takes by default.
    diagonal
        Whether a diagonal covariance is learned (``CMA_diagonal``), which costs time linear in the
        length of the code.
    """

    def __init__(
        self, start: Tensor, sigma: float, seed: int, population: int = 0, diagonal: bool = False
    ) -> None:
        options = {"seed": seed + 1, "verbose": -9, "CMA_diagonal": diagonal}  # seed 0: the clock
        if population:
            options["popsize"] = population
        self.start = start
        self.strategy = cma.CMAEvolutionStrategy(start.double().cpu().numpy(), sigma, options)

    def ask(self) -> Tensor:
        self.codes = self.strategy.ask()
        return torch.from_numpy(np.array(self.codes)).to(self.start)

    def tell(self, scores: Tensor) -> None:
        self.strategy.tell(self.codes, (-scores).tolist())


class CMAES:
    """The ``cmaes`` package with its defaults; ``separable``: its SepCMA, meant for long codes."""

    def __init__(self, start: Tensor, sigma: float, seed: int, separable: bool = False) -> None:
        import cmaes

        kind = cmaes.SepCMA if separable else cmaes.CMA
        self.start = start
        self.strategy = kind(mean=start.double().cpu().numpy(), sigma=sigma, seed=seed)

    def ask(self) -> Tensor:
        self.codes = [self.strategy.ask() for _ in range(self.strategy.population_size)]
        return torch.from_numpy(np.array(self.codes)).to(self.start)

    def tell(self, scores: Tensor) -> None:
        self.strategy.tell(list(zip(self.codes, (-scores).tolist(), strict=True)))


class EvoTorch:
    """CMA-ES of ``evotorch``, with its defaults: a population as one batch of PyTorch.

    ``separable`` is what its documentation suggests where codes are long.

    Of the batched libraries this one is compared because its formulas are those of pycma. In the
    CMA-ES of EvoX up to 1.4.0 the rank-one term is a product of two vectors of one dimension: a
    scalar, added to every entry of the covariance.
    """

    def __init__(
        self, start: Tensor, sigma: float, seed: int, score: Score, separable: bool = False
    ) -> None:
        from evotorch import Problem
        from evotorch.algorithms import CMAES as Searcher

        logging.getLogger("evotorch").setLevel(logging.WARNING)  # it tells of every search

        def seen(codes: Tensor) -> Tensor:
            return score(codes.clone().as_subclass(Tensor))  # it hands out tensors to be read only

        problem = Problem(
            "max",
            seen,
            initial_bounds=(-1, 1),  # asked for, though the search sets out from a centre
            solution_length=len(start),
            dtype=start.dtype,
            device=start.device,
            vectorized=True,
            seed=seed,
        )
        self.searcher = Searcher(problem, stdev_init=sigma, center_init=start, separable=separable)

    def step(self) -> Tensor:
        """One generation; the scores [candidate] of its codes."""
        self.searcher.step()
        return self.searcher.population.evals[:, 0]


def best_of(strategy: Strategy, start: Tensor, score: Score, generations: int) -> float:
    """The best score of so many generations, of which the first is the start alone."""
    best = float(score(start[None])[0])
    for _ in range(generations - 1):
        scores = score(strategy.ask())
        best = max(best, float(scores.max()))
        strategy.tell(scores)
    return best
