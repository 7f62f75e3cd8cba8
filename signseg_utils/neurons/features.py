"""Features of any layer of a network: a backbone that stops there."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.networks import Network

LAST = "features"  # what the network's own readout weighs


class Features(nn.Module):
    """Images [image, 3, height, width] in 0..1 to the features of one layer, [image, feature].

    It is a backbone: readout rows over these features (a fitted neuron model) are searched by
    `signseg_utils.search.evolution.evolve` with it as they are with the whole backbone.

    Parameters
    ----------
    network
        From a zoo.
    layer
        ``features``: what the network's own readout weighs; ``trunk.<n>``: the map after the stem
        (0) or after a stage (1, 2 ...), flattened; ``trunk.<n>/<side>``: this map, averaged to
        ``side`` x ``side`` places. `layers` lists them. Of a network that others made, n counts
        its ``layer_names``, and what lies behind the layer is computed, too.

    Raises
    ------
    KeyError
        If the network has no such layer.
    """

    def __init__(self, network: Network, layer: str) -> None:
        super().__init__()
        name, _, side = layer.partition("/")
        found = re.fullmatch(r"trunk\.(\d+)", name)
        known = layers(network)
        if name not in known or (side and not (found and side.isdecimal() and int(side) > 0)):
            raise UnknownName(unknown(f"layer of {network.name}", layer, known))
        self.layer = layer
        self.backbone = copy.deepcopy(network.backbone)
        if found:
            number = int(found[1])
            pool = nn.AdaptiveAvgPool2d(int(side)) if side else nn.Identity()
            head = nn.Sequential(pool, nn.Flatten())
            trunk = self.backbone.trunk
            if isinstance(trunk, nn.ModuleList):
                self.backbone.trunk, self.backbone.head = trunk[: number + 1], head
            else:
                self.backbone = _Stage(self.backbone, number, head)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)
        return features


def layers(network: Network) -> tuple[str, ...]:
    """Layers of a network that `Features` can stop at, first to last."""
    stages = getattr(network.backbone, "layer_names", ())
    return (*(f"trunk.{number}" for number in range(len(stages))), LAST)


class _Stage(nn.Module):
    """What a head makes of one map of a backbone that cannot be cut there."""

    def __init__(self, backbone: nn.Module, number: int, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.number, self.head = backbone, number, head

    def forward(self, images: Tensor) -> Tensor:
        maps = self.backbone.stages(images)  # type: ignore[operator]
        features: Tensor = self.head(maps[self.number])
        return features


@torch.inference_mode()
def places(network: Network) -> dict[str, int]:
    """Places along the shorter side of each map of a network; of `LAST`, which has none: 1."""
    size = int(getattr(network.backbone, "image_size", 64))
    maps = network.backbone.stages(torch.zeros(1, 3, size, size))  # type: ignore[operator]
    return {**{f"trunk.{n}": min(map.shape[-2:]) for n, map in enumerate(maps)}, LAST: 1}


@torch.inference_mode()
def extract(features: nn.Module, images: Tensor, batch: int = 32) -> Tensor:
    """Features of uint8 or float images, ``[image, feature]`` float32, in batches."""
    pieces = []
    for part in images.split(batch):
        scaled = part.float() / 255 if part.dtype == torch.uint8 else part
        pieces.append(features(scaled.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(pieces)


@torch.inference_mode()
def extract_layers(
    network: Network, wanted: Sequence[str], images: Tensor, batch: int = 32
) -> dict[str, Tensor]:
    """Features of several layers in one pass: layer -> ``[image, feature]``, as `extract` gives."""
    for layer in wanted:
        Features(network, layer)  # refuses a layer that is not there
    pieces: dict[str, list[Tensor]] = {layer: [] for layer in wanted}
    for part in images.split(batch):
        scaled = part.float() / 255 if part.dtype == torch.uint8 else part
        maps = network.backbone.stages(  # type: ignore[operator]
            scaled.contiguous(memory_format=torch.channels_last)
        )
        for layer in wanted:
            name, _, side = layer.partition("/")
            if name == LAST:
                head = getattr(network.backbone, "head", None)
                found = network.backbone(scaled) if head is None else head(maps[-1])
            else:
                found = maps[int(name.removeprefix("trunk."))]
                found = nn.functional.adaptive_avg_pool2d(found, int(side)) if side else found
            pieces[layer].append(found.flatten(1).float())
    return {layer: torch.cat(parts) for layer, parts in pieces.items()}
