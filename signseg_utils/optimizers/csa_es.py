"""Evolution strategy with one step size for all directions: CMA-ES without its covariance.

(mu/mu_w, lambda)-ES with cumulative step-size adaptation (Hansen & Ostermeier 2001,
doi:10.1162/106365601750190398), with the constants for the path of Hansen, Arnold & Auger 2015
(doi:10.1007/978-3-662-43505-2_44) and one global step size. The formulas are those of Hansen's
tutorial (arXiv:1604.00772; its number after the colon) with C = I; <.>_w is the weighted mean over
the best half, m_eff its effective number and E the mean norm of N(0, I):

    x = m + sigma z,  z ~ N(0, I)                                                     (1: eq. 38-40)
    m <- m + sigma <z>_w                                                              (2: eq. 41-42)
    p <- (1 - c) p + sqrt(c (2 - c) m_eff) <z>_w,  c = sqrt(m_eff / (n + m_eff))         (3: eq. 43)
    sigma <- sigma exp(c / d (|p| / E - 1)),  d = 1 + sqrt(m_eff / n)                    (4: eq. 44)
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from signseg_utils.optimizers._base import (
    Optimizer,
    effective,
    expected_norm,
    log_weights,
    norms,
    pointwise,
)


class CSAES(Optimizer):
    """Isotropic evolution strategy; generation 0 is sampled around the initial code."""

    state_names: ClassVar[tuple[str, ...]] = ("mean", "sigma", "path")

    @staticmethod
    def default_population(code_size: int) -> int:
        """lambda = 4 + floor(3 ln n) (eq. 48)."""
        return 4 + math.floor(3 * math.log(code_size))

    def _start(self) -> None:
        n, parents = self.code_size, self.population // 2
        self.weights = log_weights(parents, parents + 0.5)
        m = self.mu_effective = effective(self.weights)
        self.c_sigma = math.sqrt(m / (n + m))
        self.damping = 1 + math.sqrt(m / n)
        self.mean = self.initial.clone()
        self.sigma = torch.full((self.runs,), self.initial_sigma, dtype=torch.float64)
        self.path = torch.zeros_like(self.initial)

    def _sample(self) -> Tensor:
        shape = (self.population, self.code_size)
        self.noise.draw(self.generation, shape, self.dtype, self.device)
        candidates = self.initial.new_empty((self.runs, *shape))
        sigma = self._like_codes(self.sigma)[:, None, None]
        for runs in self._blocks():
            candidates[runs] = self.mean[runs, None] + sigma[runs] * self.noise.take(runs)  # (1)
        return candidates

    def _update(self, scores: Tensor, order: Tensor) -> None:
        z = self._recombine(self.weights, order)
        self.mean = self.mean + self._like_codes(self.sigma)[:, None] * z  # (2)
        c, m = self.c_sigma, self.mu_effective
        self.path = (1 - c) * self.path + math.sqrt(c * (2 - c) * m) * z  # (3)
        ratio = norms(self.path) / expected_norm(self.code_size)
        self.sigma = self.sigma * pointwise(math.exp, (c / self.damping) * (ratio - 1))  # (4)


PLUGIN = CSAES
