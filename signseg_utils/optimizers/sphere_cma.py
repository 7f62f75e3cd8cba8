"""SphereCMA: evolution on a sphere of fixed norm (Wang & Ponce 2022, doi:10.1145/3512290.3528725).

Activations of networks saturate with the norm of the code, so the search moves along angles only.
Each generation scores one basis vector and candidates around it in the tangent space; the next
basis lies on the great circle through the basis and the weighted mean of the candidates, beyond
that mean (SLERP with t = 1.5). The angle of exploration decays over the budget. With e the unit
vector of the basis, n the code size and r the radius:

    t = z - (z . e) e,  z ~ N(0, I)                                                              (1)
    u = cos(theta) e + sin(theta) t / |t|,  theta = angle(g) |t| / sqrt(n),  x = r u             (2)
    angle(g) = 50 deg (7.33 / 50)^(g / (G - 1)) in generation g of G                             (3)
    w = <u>_w / |<u>_w|, the weighted mean over the best half                                    (4)
    e <- (sin((1 - s) omega) e + sin(s omega) w) / sin(omega),  cos(omega) = e . w,  s = 1.5     (5)

Angles, overshoot s and radius are those of the public code of the paper; (5) is the SLERP of
Shoemake 1985 (doi:10.1145/325334.325242).
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from signseg_utils.optimizers._base import (
    Optimizer,
    log_weights,
    norms,
    ordered_sum,
    pointwise,
)
from signseg_utils.optimizers._noise import SharedNoise

FIRST_ANGLE, LAST_ANGLE = math.radians(50), math.radians(7.33)
OVERSHOOT = 1.5
# The paper's radius is 300 for DeePSiM (4,096 codes, sigma 3); other generators scale with sigma.
RADIUS = 300 / (3 * math.sqrt(4096))


class SphereCMA(Optimizer):
    """SphereCMA; the first candidate of each generation is the basis vector itself.

    The radius is 1.5625 sigma sqrt(n): 300 at the paper's n = 4096 and sigma = 3. An initial code
    of zero has no direction; its run starts from a direction drawn with its seed.
    """

    state_names: ClassVar[tuple[str, ...]] = ("basis",)

    @staticmethod
    def default_population(code_size: int) -> int:
        """The basis and 4 + floor(3 log2 n) samples around it."""
        return 5 + (math.floor(3 * math.log2(code_size)) if code_size > 1 else 0)

    def _start(self) -> None:
        if self.code_size < 2:
            raise ValueError("expected codes of at least 2 numbers: a sphere in one has no angles")
        self.radius = RADIUS * self.initial_sigma * math.sqrt(self.code_size)
        samples = self.population - 1
        self.weights = log_weights(samples // 2, samples / 2 + 0.5)
        start = self.initial.clone()
        nothing = norms(start) == 0
        if nothing.any():
            drawn = SharedNoise(self.seeds)
            drawn.draw(2**64 - 1, (self.code_size,), self.dtype, self.device)
            start = torch.where(nothing.to(self.device)[:, None], drawn.take(), start)
        self.basis = self._unit(start)

    def _unit(self, vectors: Tensor) -> Tensor:
        return vectors / self._like_codes(norms(vectors))[..., None]

    def angle(self, generation: int) -> float:
        """Exploration angle in radians: 50 degrees, falling geometrically to 7.33 (3)."""
        share = min(1.0, generation / max(1, self.generations - 1))
        return FIRST_ANGLE * (LAST_ANGLE / FIRST_ANGLE) ** share

    def _tangents(self, runs: slice = slice(None), candidates: Tensor | None = None) -> Tensor:
        """Draws with their component along the basis removed (1)."""
        z = self.noise.take(runs, candidates)
        basis = self.basis[runs] if candidates is not None else self.basis[runs, None]
        return z - ordered_sum(z * basis)[..., None] * basis

    def _on_sphere(self, tangents: Tensor, basis: Tensor) -> Tensor:
        """Unit vectors at angle * |tangent| / sqrt(n) from the basis (2)."""
        length = norms(tangents).clamp(min=1e-30)
        theta = length * (self.angle(self.generation) / math.sqrt(self.code_size))
        along = self._like_codes(pointwise(math.cos, theta))[..., None]
        across = self._like_codes(pointwise(math.sin, theta) / length)[..., None]
        return along * basis + across * tangents

    def _sample(self) -> Tensor:
        shape = (self.population - 1, self.code_size)
        self.noise.draw(self.generation, shape, self.dtype, self.device)
        candidates = self.initial.new_empty((self.runs, self.population, self.code_size))
        candidates[:, 0] = self.basis * self.radius
        for runs in self._blocks():
            around = self._on_sphere(self._tangents(runs), self.basis[runs, None])
            candidates[runs, 1:] = around * self.radius
        return candidates

    def _update(self, scores: Tensor, order: Tensor) -> None:
        order = torch.argsort(scores[:, 1:], dim=1, descending=True, stable=True)  # not the basis
        mean = torch.zeros_like(self.basis)
        for weight, candidates in zip(self.weights, order.T, strict=False):
            tangents = self._tangents(candidates=candidates)
            mean = mean + weight * self._on_sphere(tangents, self.basis)
        mean = self._unit(mean)  # (4)
        cosine = ordered_sum(self.basis * mean).double().cpu()
        omega = pointwise(math.acos, cosine.clamp(-1, 1))
        sine = pointwise(math.sin, omega)
        own = pointwise(math.sin, (1 - OVERSHOOT) * omega) / sine
        other = pointwise(math.sin, OVERSHOOT * omega) / sine
        still = sine < 1e-12  # the mean is the basis: stay
        own, other = torch.where(still, 1.0, own), torch.where(still, 0.0, other)
        own, other = self._like_codes(own)[:, None], self._like_codes(other)[:, None]
        self.basis = self._unit(own * self.basis + other * mean)  # (5)


PLUGIN = SphereCMA
