"""Representational similarity: pairwise cosine between control and ablated images.

Paper, section 3 "Feature analysis" and appendix A.1: the activity that an ensemble of networks has
for the images is compared by the cosine, averaged over all pairs control x ablated, then averaged
over networks.

Images of one search are alike for that reason alone: whatever the condition, a search of one seed
begins at the same code and draws the same noise. So pairs are of images from different searches
(`across_searches`), and the level of control images among themselves is that of the same pairs.

The features of a ReLU network are not negative, so that the cosine of any two images is high. With
``centre``, the mean feature of a reference set of images is subtracted first, and unrelated images
come out near 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Backbone = Callable[[Tensor], Tensor]


def cosine_similarity(control: Tensor, ablated: Tensor, centre: Tensor | None = None) -> Tensor:
    """Mean over all pairs of the cosine between control and ablated features.

    Parameters
    ----------
    control
        ``[..., a, feature]``.
    ablated
        ``[..., b, feature]``; leading dimensions broadcast.
    centre
        ``[feature]``, subtracted from both.

    Returns
    -------
    Tensor
        ``[...]``, -1 to 1. A zero vector has cosine 0 with any other.

    >>> cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item()
    0.5
    """
    first, second = _directions(control, centre), _directions(ablated, centre)
    # mean_ij <u_i, v_j> = <mean_i u_i, mean_j v_j>
    return (first.mean(-2) * second.mean(-2)).sum(-1)


def across_searches(control: Tensor, ablated: Tensor, centre: Tensor | None = None) -> Tensor:
    """Mean cosine between control and ablated features, over pairs of two different searches.

    Of control images with themselves it is the level that another search of the intact unit
    reaches, so that ablation which does nothing comes out at this level.

    Parameters
    ----------
    control, ablated
        ``[..., seed, image, feature]``: searches of the same seeds in the same order, such as the
        images of one seed through several generators; leading dimensions broadcast.
    centre
        ``[feature]``, subtracted from both.

    Returns
    -------
    Tensor
        ``[...]``; NaN where there is a single seed, for it has no pairs.
    """
    if control.shape[-3] != ablated.shape[-3]:
        raise ValueError(
            "expected control and ablated images of the same seeds, because pairs of one seed are "
            f"left out; got {control.shape[-3]} and {ablated.shape[-3]} seeds"
        )
    first, second = (_directions(own, centre).sum(-2) for own in (control, ablated))
    # sum_{s != t} <U_s, V_t> = <sum_s U_s, sum_t V_t> - sum_s <U_s, V_s>
    every = (first.sum(-2) * second.sum(-2)).sum(-1)
    own = (first * second).sum((-2, -1))
    seeds = control.shape[-3]
    pairs = seeds * (seeds - 1) * control.shape[-2] * ablated.shape[-2]
    if not pairs:
        return torch.full_like(every, torch.nan)
    return (every - own) / pairs


@torch.no_grad()
def ensemble_features(
    images: Tensor, backbones: Mapping[str, Backbone], batch: int = 64
) -> dict[str, Tensor]:
    """Features of each network: ``[n, 3, height, width]`` to ``{name: [n, feature]}``, float32."""
    return {
        name: torch.cat([backbone(part).float() for part in images.split(batch)])
        for name, backbone in backbones.items()
    }


def _directions(features: Tensor, centre: Tensor | None) -> Tensor:
    """Features as unit vectors, in double precision."""
    vectors = features.double()
    if centre is not None:
        vectors = vectors - centre.to(vectors)
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
