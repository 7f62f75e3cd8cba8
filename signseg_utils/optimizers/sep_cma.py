"""Separable CMA-ES: a diagonal covariance (Ros & Hansen 2008, doi:10.1007/978-3-540-87700-4_30).

The formulas are those of Hansen's tutorial (arXiv:1604.00772; its number after the colon) with
diagonal C and weights of the best half only; <.>_w is their weighted mean, m_eff its effective
number and E the mean norm of N(0, I). All is elementwise:

    x = m + sigma sqrt(C) z,  z ~ N(0, I)                                             (1: eq. 38-40)
    m <- m + sigma <y>_w,  y = sqrt(C) z                                              (2: eq. 41-42)
    p_sigma <- (1 - c_sigma) p_sigma + sqrt(c_sigma (2 - c_sigma) m_eff) <z>_w           (3: eq. 43)
    sigma <- sigma exp(c_sigma / d_sigma (|p_sigma| / E - 1))                            (4: eq. 44)
    p_c <- (1 - c_c) p_c + h sqrt(c_c (2 - c_c) m_eff) <y>_w                             (5: eq. 45)
    h = [|p_sigma| / E < sqrt(1 - (1 - c_sigma)^(2 (g + 1))) (1.4 + 2 / (n + 1))]         (6: p. 28)
    C <- (1 - c_cov) C + c_cov / m_eff p_c^2 + c_cov (1 - 1 / m_eff) <y^2>_w             (7: eq. 47)

with c_cov as in Ros & Hansen: (n + 2) / 3 times that of the full matrix, at most 1.             (8)
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


class SepCMA(Optimizer):
    """Separable CMA-ES; the learning rate of the covariance is (n + 2)/3 times the full one's."""

    state_names: ClassVar[tuple[str, ...]] = (
        "mean",
        "sigma",
        "path_sigma",
        "path_c",
        "variance",
    )

    @staticmethod
    def default_population(code_size: int) -> int:
        """lambda = 4 + floor(3 ln n) (eq. 48)."""
        return 4 + math.floor(3 * math.log(code_size))

    def _start(self) -> None:
        n = self.code_size
        parents = self.population // 2
        self.weights = log_weights(parents, parents + 1)
        m = self.mu_effective = effective(self.weights)
        self.c_c = 4 / (n + 4)
        self.c_sigma = (m + 2) / (n + m + 3)
        self.damping = 1 + self.c_sigma + 2 * max(0.0, math.sqrt((m - 1) / (n + 1)) - 1)
        full = 2 / (m * (n + math.sqrt(2)) ** 2)
        full += (1 - 1 / m) * min(1.0, (2 * m - 1) / ((n + 2) ** 2 + m))
        self.c_cov = min(1.0, full * (n + 2) / 3)  # (8)
        self.mean = self.initial.clone()
        self.sigma = torch.full((self.runs,), self.initial_sigma, dtype=torch.float64)
        self.path_sigma = torch.zeros_like(self.initial)
        self.path_c = torch.zeros_like(self.initial)
        self.variance = torch.ones_like(self.initial)

    def _sample(self) -> Tensor:
        shape = (self.population, self.code_size)
        self.noise.draw(self.generation, shape, self.dtype, self.device)
        candidates = self.initial.new_empty((self.runs, *shape))
        scale = self._like_codes(self.sigma)[:, None] * self.variance.sqrt()
        for runs in self._blocks():
            z = self.noise.take(runs)  # ~ N(0, I)
            candidates[runs] = self.mean[runs, None] + scale[runs, None] * z  # (1)
        return candidates

    def _update(self, scores: Tensor, order: Tensor) -> None:
        deviation = self.variance.sqrt()
        z = self._recombine(self.weights, order)
        squares = torch.zeros_like(self.variance)
        for weight, candidates in zip(self.weights, order.T, strict=False):
            squares = squares + weight * self.noise.take(candidates=candidates) ** 2
        y = deviation * z
        self.mean = self.mean + self._like_codes(self.sigma)[:, None] * y  # (2)
        c, m = self.c_sigma, self.mu_effective
        self.path_sigma = (1 - c) * self.path_sigma + math.sqrt(c * (2 - c) * m) * z  # (3)
        ratio = norms(self.path_sigma) / expected_norm(self.code_size)
        # the path of the covariance pauses while sigma grows fast
        settled = math.sqrt(1 - (1 - c) ** (2 * (self.generation + 1)))
        heard = ratio < settled * (1.4 + 2 / (self.code_size + 1))  # (6)
        gain = self._like_codes(heard.double())[:, None]
        cc = self.c_c
        self.path_c = (1 - cc) * self.path_c + gain * (math.sqrt(cc * (2 - cc) * m) * y)  # (5)
        rank_one, rank_mu = self.c_cov / m, self.c_cov * (1 - 1 / m)
        kept = (1 - self.c_cov) * self.variance
        adapted = kept + rank_one * self.path_c**2  # (7)
        self.variance = adapted + rank_mu * (self.variance * squares)  # (7)
        change = pointwise(math.exp, (self.c_sigma / self.damping) * (ratio - 1))
        self.sigma = self.sigma * change  # (4)


PLUGIN = SepCMA
