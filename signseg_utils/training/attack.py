"""Images changed, within bounds, so that a loss rises: what robust networks must withstand."""

from collections.abc import Callable

import torch
from torch import Tensor


def perturb(
    loss: Callable[[Tensor], Tensor],
    images: Tensor,
    noise: Tensor,
    epsilon: float,
    steps: int,
    step: float,
) -> Tensor:
    """Images [image, 3, height, width] in 0..1, moved by at most ``epsilon`` in each value.

    Projected gradient ascent on ``loss`` by ``steps`` steps of size ``step``, beginning at
    ``images + noise`` (Madry et al. 2018, arXiv:1706.06083, eq. 2.2). One step from uniform noise
    is the attack of Wong et al. 2020, arXiv:2001.03994, algorithm 3.
    """
    for _ in range(steps):
        noise = noise.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss((images + noise).clamp(0, 1)), noise)
        noise = (noise.detach() + step * gradient.sign()).clamp(-epsilon, epsilon)
    return (images + noise).clamp(0, 1)
