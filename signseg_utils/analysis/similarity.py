"""Representational similarity: pairwise cosine between control and ablated images.

Paper, section 3 "Feature analysis" and appendix A.1: the activity that an ensemble of networks has
for the images is compared by the cosine, averaged over all pairs control x ablated, then averaged
over networks.

The features of a ReLU network are not negative, so that the cosine of any two images is high. With
``centre``, the mean feature of a reference set of images is subtracted first, and unrelated images
come out near 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from signseg_utils.refusals import UnknownName
from signseg_utils.registry import unknown

Backbone = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EnsembleSimilarity:
    """Mean over networks, and each network's own value."""

    value: float
    networks: dict[str, float]

    def __float__(self) -> float:
        return self.value


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


def within_similarity(features: Tensor, centre: Tensor | None = None) -> Tensor:
    """Mean over pairs of two different images of one set: ``[..., n, feature] -> [...]``.

    The level to compare `cosine_similarity` with: how alike control images are among themselves.
    """
    directions = _directions(features, centre)
    n = directions.shape[-2]
    if n < 2:
        raise ValueError(f"expected at least 2 images, to pair them with each other; got {n}")
    # sum_{i != j} <u_i, u_j> = |sum_i u_i|^2 - sum_i |u_i|^2
    every = directions.sum(-2).square().sum(-1)
    itself = directions.square().sum((-2, -1))
    return (every - itself) / (n * (n - 1))


@torch.no_grad()
def ensemble_features(
    images: Tensor, backbones: Mapping[str, Backbone], batch: int = 64
) -> dict[str, Tensor]:
    """Features of each network: ``[n, 3, height, width]`` to ``{name: [n, feature]}``, float32."""
    return {
        name: torch.cat([backbone(part).float() for part in images.split(batch)])
        for name, backbone in backbones.items()
    }


def similarity_of_features(
    control: Mapping[str, Tensor],
    ablated: Mapping[str, Tensor],
    leave_out: str | None = None,
    centre: Mapping[str, Tensor] | None = None,
) -> EnsembleSimilarity:
    """Similarity as an ensemble sees it, from features that were computed before.

    ``control`` and ``ablated`` give each network's features, ``{name: [n, feature]}``; the other
    arguments are those of `ensemble_similarity`.
    """
    if set(control) != set(ablated):
        raise ValueError(
            "expected features of the same networks for control and ablated images; "
            f"got {sorted(control)} and {sorted(ablated)}"
        )
    if leave_out is not None and leave_out not in control:
        raise UnknownName(unknown("network to leave out", leave_out, sorted(control)))
    judges = [name for name in control if name != leave_out]
    if not judges:
        raise ValueError("expected at least one network in the ensemble; got none")
    if centre is not None and not set(judges) <= set(centre):
        raise UnknownName(
            f"expected a mean feature for each of {judges} in centre; got {sorted(centre)}"
        )
    values = {
        name: cosine_similarity(
            control[name], ablated[name], None if centre is None else centre[name]
        ).item()
        for name in judges
    }
    return EnsembleSimilarity(sum(values.values()) / len(values), values)


def ensemble_similarity(
    control_images: Tensor,
    ablated_images: Tensor,
    backbones: Mapping[str, Backbone],
    leave_out: str | None = None,
    centre: Mapping[str, Tensor] | None = None,
    batch: int = 64,
) -> EnsembleSimilarity:
    """Similarity of control and ablated images as an ensemble of networks sees them.

    Parameters
    ----------
    control_images, ablated_images
        ``[n, 3, height, width]`` in 0..1; their numbers may differ.
    backbones
        Name to network that maps images to features.
    leave_out
        Name of a network that does not judge: the one whose unit made the images.
    centre
        Name to mean feature ``[feature]``. None is the paper's definition.
    """
    return similarity_of_features(
        ensemble_features(control_images, backbones, batch),
        ensemble_features(ablated_images, backbones, batch),
        leave_out,
        centre,
    )


def _directions(features: Tensor, centre: Tensor | None) -> Tensor:
    """Features as unit vectors, in double precision."""
    vectors = features.double()
    if centre is not None:
        vectors = vectors - centre.to(vectors)
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
