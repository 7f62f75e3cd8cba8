"""First-layer filters: colour, spatial frequency, and the sign with which they are read.

Claim F-L1 of the final version (ICLR 2026): filters that project positively are high-frequency
achromatic edges, filters that project negatively low-frequency colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from signseg_utils.analysis.stats import Estimate, spearman, spearman_gap
from signseg_utils.basics import draws

_POINTS = 32  # at which the spectrum of a filter is sampled along each axis


def first_layer(backbone: nn.Module) -> Tensor:
    """Weights ``[filter, 3, height, width]`` of the convolution that reads the images."""
    convolutions = (module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    found = next((module for module in convolutions if module.in_channels == 3), None)
    if found is None:
        raise ValueError(
            "expected a network with a convolution that reads three colours; got one without"
        )
    return found.weight.detach()


def sign_balance(readers: Sequence[Tensor]) -> Tensor:
    """Summed positive less summed negative outgoing weights, over both: ``[channel]``, -1 to 1.

    Parameters
    ----------
    readers
        Weights ``[output, channel, height, width]`` of all convolutions that read the channels,
        batch norm absorbed, so that a weight's sign is the one with which it acts.

    Returns
    -------
    Tensor
        1 where all outgoing weights are positive, -1 where all are negative; NaN for a channel
        that nobody reads.
    """
    widths = sorted({weight.shape[1] for weight in readers})
    if len(widths) != 1:
        raise ValueError(
            "expected convolutions that read the same channels, at least one; got convolutions of "
            f"{widths or 'no'} channels"
        )
    by_filter = "reader filter h w -> filter (reader h w)"
    out = torch.cat([rearrange(one.detach(), by_filter).double() for one in readers], 1)
    return out.sum(1) / out.abs().sum(1)


def colour_share(filters: Tensor) -> Tensor:
    """Share of a filter's energy off the achromatic axis: ``[filter, 3, h, w] -> [filter]``.

    0 if the filter reads the three colour values alike; 1 if it does not answer grey at all.
    """
    weights = _checked(filters)
    grey = 3 * weights.mean(1).square().sum((1, 2))  # |projection on (1, 1, 1) / sqrt 3|^2
    return 1 - grey / weights.square().sum((1, 2, 3))


def centroid_frequency(filters: Tensor) -> Tensor:
    """Mean spatial frequency of a filter, weighted by its power: ``[filter, 3, h, w] -> [filter]``.

    In cycles per pixel of the image, 0 to sqrt(.5). The mean of a filter counts, at frequency 0;
    powers of the three colours are summed.
    """
    weights = _checked(filters)
    power = torch.fft.fft2(weights, s=(_POINTS, _POINTS)).abs().square().sum(1)
    axis = torch.fft.fftfreq(_POINTS, dtype=torch.float64, device=power.device)
    radius = (axis[:, None].square() + axis[None, :].square()).sqrt()
    return (power * radius).sum((1, 2)) / power.sum((1, 2))


def shuffled_taps(filters: Tensor, seed: int) -> Tensor:
    """Control: each filter with its weights in random order, over places and colours."""
    flat = filters.detach().flatten(1)
    order = draws.Twister(seed).rand(*flat.shape).argsort(dim=1, stable=True).to(flat.device)
    return flat.gather(1, order).view(filters.shape)


def _checked(filters: Tensor) -> Tensor:
    if filters.ndim != 4 or filters.shape[1] != 3:
        raise ValueError(
            "expected filters [filter, 3, height, width] that read images; "
            f"got {tuple(filters.shape)}; is this the first convolution?"
        )
    return filters.detach().double()


def described(backbone: Any, seed: int = 0, shuffles: int = 20) -> dict[str, np.ndarray]:
    """Sign balance, frequency and colour of each first-layer filter: ``[filter]`` each.

    Parameters
    ----------
    backbone
        With batch norm absorbed and a method ``readers(stage)`` that gives the weights of the
        convolutions behind the first one, such as `signseg_utils.networks.small.SmallBackbone`.
    seed, shuffles
        Of the control: ``shuffled frequency`` and ``shuffled colour`` are means over so many
        `shuffled_taps` of each filter. What they keep of a filter is its mean.
    """
    first = first_layer(backbone)
    mixed = [shuffled_taps(first, seed * shuffles + number) for number in range(shuffles)]
    found = {
        "balance": sign_balance(backbone.readers(0)),
        "frequency": centroid_frequency(first),
        "colour": colour_share(first),
        "shuffled frequency": torch.stack([centroid_frequency(m) for m in mixed]).mean(0),
        "shuffled colour": torch.stack([colour_share(m) for m in mixed]).mean(0),
    }
    return {name: values.numpy() for name, values in found.items()}


def shown(backbone: nn.Module, order: Sequence[int] | np.ndarray, rows: int = 2) -> list[Tensor]:
    """First-layer filters as images in 0..1 for `signseg_utils.plots.image_grid`, row after row.

    Each has its own contrast; .5 is a weight of zero.
    """
    weights = first_layer(backbone)[torch.as_tensor(np.array(order))]
    images = 0.5 + 0.5 * weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return list(images.split(-(-len(images) // rows)))


def correlations(
    described: Mapping[str, Mapping[str, np.ndarray]], *, seed: int = 0, resamples: int = 2_000
) -> dict[str, dict[str, Estimate]]:
    """Spearman's rho of a filter's sign balance with its frequency, and with its colour.

    Parameters
    ----------
    described
        Network to `described` filters.
    seed, resamples
        Of the interval of a difference between two correlations.

    Returns
    -------
    dict
        ``frequency`` and ``colour``, and with ``shuffled`` each less the rho with shuffled
        filters: to the estimate in each network, over its filters. Filters of two networks are
        never the same ones, so over networks the sample are the networks' correlations.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for kind in ("frequency", "colour"):
        found[kind] = {n: spearman(own["balance"], own[kind]) for n, own in described.items()}
        found[f"{kind} shuffled"] = {
            name: spearman_gap(
                own["balance"], own[kind], own[f"shuffled {kind}"], seed=seed, resamples=resamples
            )
            for name, own in described.items()
        }
    return found
