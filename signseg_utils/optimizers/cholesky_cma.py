"""Cholesky CMA-ES in an exact low-rank form: memory and time linear in code size.

Suttorp, Hansen & Igel 2009 (doi:10.1007/s10994-009-5102-1) and Loshchilov 2015
(arXiv:1511.00221), with the constants and the rare updates that Wang & Ponce 2022
(doi:10.1145/3512290.3528725) used to maximise activations. The factor A of the covariance starts
as the identity and gets one rank-one term every eleventh generation, so after K updates

    A_K = a^K I + sum_k a^(K-k) b_k v_k' p_k,                                              (1)

and z A needs the K vector pairs (v_k, p_k) only: no matrix of code x code is ever formed. The other
formulas, with C = A'A, <.>_w the weighted mean over the best half, m_eff its effective number and
E the mean norm of N(0, I), are those of Hansen's tutorial (arXiv:1604.00772; its number after the
colon) but for the constants:

    x = m + sigma z A,  z ~ N(0, I)                                                   (2: eq. 38-40)
    m <- m + sigma <z>_w A                                                            (3: eq. 41-42)
    p_sigma <- (1 - c_sigma) p_sigma + sqrt(c_sigma (2 - c_sigma) m_eff) <z>_w           (4: eq. 43)
    sigma <- sigma exp(c_sigma / d_sigma (|p_sigma| / E - 1))                            (5: eq. 44)
    p_c <- (1 - c_c) p_c + sqrt(c_c (2 - c_c) m_eff) <z>_w A                             (6: eq. 45)
    v = p_c A^-1,  A <- a A + b v' p_c,  a = sqrt(1 - c_1)       (7: Suttorp et al. 2009, theorem 1)
    b = a / |v|^2 (sqrt(1 + |v|^2 c_1 / (1 - c_1)) - 1)                                          (8)
    A^-1 <- A^-1 / a - d A^-1 v'v,  d = (1 - 1 / sqrt(1 + |v|^2 c_1 / (1 - c_1))) / (a |v|^2)    (9)
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
    ordered_sum,
    pointwise,
)

UPDATE_INTERVAL = 10  # A is updated when more than this many populations have passed


class CholeskyCMA(Optimizer):
    """Cholesky CMA-ES; generation 0 evaluates the initial code alone."""

    state_names: ClassVar[tuple[str, ...]] = (
        "mean",
        "sigma",
        "path_sigma",
        "path_c",
        "v",
        "p",
        "b",
        "d",
        "last_update",
    )

    @staticmethod
    def default_population(code_size: int) -> int:
        """lambda = 4 + floor(3 log2 n), where the tutorial (eq. 48) has the natural logarithm."""
        return 4 + math.floor(3 * math.log2(code_size)) if code_size > 1 else 4

    def candidates(self, generation: int) -> int:
        """One, the initial code, in generation 0; then a whole population."""
        return self.population if generation else 1

    def _start(self) -> None:
        n = self.code_size
        self.weights = log_weights(self.population // 2, self.population / 2 + 0.5)  # (eq. 49)
        self.mu_effective = effective(self.weights)
        root = math.sqrt(self.mu_effective)
        self.c_c = 4 / (n + 4)
        self.c_sigma = root / (root + math.sqrt(n))
        self.c_1 = 2 / (n + math.sqrt(2)) ** 2
        excess = math.sqrt((self.mu_effective - 1) / (n + 1)) - 1
        self.damping = 1 + self.c_sigma + 2 * max(0.0, excess)
        self.a = math.sqrt(1 - self.c_1)
        self.mean = self.initial.clone()
        self.sigma = torch.full((self.runs,), self.initial_sigma, dtype=torch.float64)
        self.path_sigma = torch.zeros_like(self.initial)
        self.path_c = torch.zeros_like(self.initial)
        self.v = self.initial.new_zeros((self.runs, 0, n))  # v_k = p_c A^-1 at update k
        self.p = self.initial.new_zeros((self.runs, 0, n))  # p_k = p_c at update k
        self.b = torch.zeros((self.runs, 0), dtype=torch.float64)
        self.d = torch.zeros((self.runs, 0), dtype=torch.float64)
        self.last_update = torch.zeros((), dtype=torch.int64)  # counted in generations

    def _times_factor(self, z: Tensor, runs: slice = slice(None)) -> Tensor:
        """z A for z [run, ..., code], one rank-one term after the other (1)."""
        updates = self.v.shape[1]
        v, p = self.v[runs], self.p[runs]
        powers = [self.a ** (updates - 1 - k) for k in range(updates)]
        decay = torch.tensor(powers, dtype=torch.float64)
        scale = self._like_codes(self.b[runs] * decay)
        y = z * self.a**updates
        for k in range(updates):
            shape = (z.shape[0],) + (1,) * (z.ndim - 2)
            along = ordered_sum(z * v[:, k].reshape(*shape, -1)) * scale[:, k].reshape(shape)
            y += along[..., None] * p[:, k].reshape(*shape, -1)
        return y

    def _times_inverse(self, row: Tensor) -> Tensor:
        """row A^-1 for row [run, code], update by update (9)."""
        for k in range(self.v.shape[1]):
            v = self.v[:, k]
            along = ordered_sum(row * v) * self._like_codes(self.d[:, k])
            row = row / self.a - along[:, None] * v
        return row

    def _sample(self) -> Tensor:
        if self.generation == 0:
            return self.initial[:, None].clone()
        shape = (self.population, self.code_size)
        self.noise.draw(self.generation, shape, self.dtype, self.device)
        candidates = self.initial.new_empty((self.runs, *shape))
        sigma = self._like_codes(self.sigma)[:, None, None]
        for runs in self._blocks():
            y = self._times_factor(self.noise.take(runs), runs)  # z A ~ N(0, A'A)
            candidates[runs] = self.mean[runs, None] + sigma[runs] * y  # (2)
        return candidates

    def _update(self, scores: Tensor, order: Tensor) -> None:
        if self.generation == 0:
            return
        z = self._recombine(self.weights, order)
        y = self._times_factor(z)
        self.mean = self.mean + self._like_codes(self.sigma)[:, None] * y  # (3)
        c, m = self.c_sigma, self.mu_effective
        self.path_sigma = (1 - c) * self.path_sigma + math.sqrt(c * (2 - c) * m) * z  # (4)
        c = self.c_c
        self.path_c = (1 - c) * self.path_c + math.sqrt(c * (2 - c) * m) * y  # (6)
        ratio = norms(self.path_sigma) / expected_norm(self.code_size)
        change = pointwise(math.exp, (self.c_sigma / self.damping) * (ratio - 1))
        self.sigma = self.sigma * change  # (5)
        if self.generation - int(self.last_update) > UPDATE_INTERVAL:
            self._update_factor()
            self.last_update = torch.tensor(self.generation)

    def _update_factor(self) -> None:
        """One more rank-one term of A (7) and of its inverse (9)."""
        v = self._times_inverse(self.path_c)  # (7)
        squared = norms(v) ** 2
        root = torch.sqrt(1 + squared * self.c_1 / (1 - self.c_1))
        # sqrt(1 + x) - 1 = x / (sqrt(1 + x) + 1): c_1 is 1e-7 for paper-sized codes
        b = self.a * (self.c_1 / (1 - self.c_1)) / (root + 1)  # (8)
        d = (self.c_1 / (1 - self.c_1)) / (root * (root + 1)) / self.a  # (9)
        self.v = torch.cat([self.v, v[:, None]], dim=1)
        self.p = torch.cat([self.p, self.path_c[:, None]], dim=1)
        self.b = torch.cat([self.b, b[:, None]], dim=1)
        self.d = torch.cat([self.d, d[:, None]], dim=1)


PLUGIN = CholeskyCMA
