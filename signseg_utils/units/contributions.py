"""Any layer by gradient contribution: which channels drive a unit, and a backbone without some.

A unit's readout weights have signs; the channels of an earlier layer reach the unit through others.
What channel c contributes to the response r of a unit is, to first order,

    C_c = mean over images of sum over places of a_c dr/da_c

with the channel's activation a_c (paper, Discussion: "using gradients to define positive and
negative contributions to any arbitrary unit"; final version, ICLR 2026, section "Graded ablation").
In the layer that the readout reads this is weight times mean feature, and behind a ReLU it has the
sign of the weight. Channels are then ablated by the same rules as weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.units.ablation import Ablation, ablated_mask
from signseg_utils.units.readout import Readout


class Removed(nn.Module):
    """Sets the channels of a map ``[image, channel, ...]`` to zero where ``keep`` is 0."""

    keep: Tensor

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.keep.to(maps.dtype).view(1, -1, *[1] * (maps.ndim - 2))


@torch.no_grad()
def maps(backbone: nn.Module, layer: str, images: Tensor, batch: int = 64) -> Tensor:
    """Activations ``[image, channel, height, width]`` that leave a layer of a backbone.

    Parameters
    ----------
    layer
        Name of a module of the backbone, such as one of its ``layer_names``.
    images
        ``[image, 3, height, width]`` in 0..1.

    Raises
    ------
    KeyError
        If the backbone has no such layer.
    """
    seen: list[Tensor] = []
    module = _named(backbone, layer)
    hook = module.register_forward_hook(lambda _, __, out: seen.append(out.detach().clone()))
    try:
        for part in images.split(batch):
            backbone(part)
    finally:
        hook.remove()
    return torch.cat(seen)


def contributions(backbone: nn.Module, layer: str, units: Readout, images: Tensor) -> Tensor:
    """Contribution of each channel of a layer to each unit: ``[unit, channel]``.

    Parameters
    ----------
    backbone
        Images to features; unchanged afterwards.
    layer
        As for `maps`.
    units
        Rows of the readout.
    images
        ``[image, 3, height, width]``: each unit is shown all of them; or
        ``[unit, image, 3, height, width]``: each unit its own.

    Raises
    ------
    KeyError
        If the backbone has no such layer.
    ValueError
        If the images are not of either shape.
    """
    own = images.ndim == 5
    if images.ndim not in (4, 5) or (own and len(images) != len(units)):
        raise ValueError(
            f"expected images [image, 3, height, width] or [{len(units)}, image, 3, height, "
            f"width], one set for each of {len(units)} units; got {tuple(images.shape)}"
        )
    module = _named(backbone, layer)
    found: list[Tensor] = []
    leaves: list[Tensor] = []

    def cut(_: nn.Module, __: object, out: Tensor) -> Tensor:
        leaves.append(out.detach().requires_grad_(True))
        return leaves[-1] * 1.0  # a copy: a later layer may work in place

    hook = module.register_forward_hook(cut)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for row in range(len(units)):
                features = backbone((images[row] if own else images).clone())
                features.to(units.weight.dtype).matmul(units.weight[row]).sum().backward()
                leaf = leaves.pop()
                assert leaf.grad is not None
                product = (leaf.detach() * leaf.grad).double().flatten(2).sum(2)
                found.append(product.mean(0))
    finally:
        hook.remove()
    return torch.stack(found)


def removed_channels(contribution: Tensor, ablation: Ablation, label: str) -> Tensor:
    """Which channels ``[channel]`` an ablation takes, by cumulative contribution of one sign.

    Rules, strengths and random controls are those of `signseg_utils.units.ablation`, with
    contributions in place of weights; ``label`` seeds the random order.
    """
    return ablated_mask(contribution[None], ablation, (label,))[0]


def without_channels(backbone: nn.Module, layer: str, removed: Tensor) -> nn.Module:
    """A copy of the backbone in which some channels of a layer are silent.

    Parameters
    ----------
    removed
        ``[channel]``, True for those that go.

    Raises
    ------
    KeyError
        If the backbone has no such layer.
    """
    changed = copy.deepcopy(backbone)
    module = _named(changed, layer)
    above, _, name = layer.rpartition(".")
    keep = (~removed).float()
    changed.get_submodule(above)._modules[name] = nn.Sequential(module, Removed(keep))
    return changed


def by_sign(values: Tensor, contribution: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of a channel's property over positive-, and over negative-projecting channels.

    Parameters
    ----------
    values
        ``[channel]``; channels with NaN are left out.
    contribution
        ``[unit, channel]``; each channel counts by the magnitude of its contribution.

    Returns
    -------
    Tensor, Tensor
        ``[unit]`` each; NaN for a unit without channels of that sign.
    """
    if values.shape != contribution.shape[1:]:
        raise ValueError(
            f"expected one value for each of {contribution.shape[1]} channels; "
            f"got {tuple(values.shape)}"
        )
    kept = torch.isfinite(values)
    chosen, weight = values[kept].double(), contribution[:, kept].double()
    positive, negative = weight.clamp(min=0), (-weight).clamp(min=0)
    return (positive @ chosen) / positive.sum(1), (negative @ chosen) / negative.sum(1)


def _named(backbone: nn.Module, layer: str) -> nn.Module:
    modules = dict(backbone.named_modules())
    if layer not in modules or not layer:
        known = getattr(backbone, "layer_names", tuple(name for name in modules if name))
        raise UnknownName(unknown("layer of this backbone", layer, known))
    return modules[layer]
