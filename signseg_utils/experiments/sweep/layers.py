"""Searches of a shard that ablates channels of an intermediate layer instead of readout weights.

An ablated row belongs to a bank, and all rows share a backbone; a silent channel belongs to the
backbone, so each condition is a loop of its own over the seeds. The intact unit is searched first:
its preferred images decide what each channel contributes, so that a shard needs no other images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from signseg_utils.basics.progress import Work
from signseg_utils.networks import Network
from signseg_utils.search import evolution
from signseg_utils.units.contributions import contributions, removed_channels, without_channels
from signseg_utils.units.readout import Readout, concatenate

if TYPE_CHECKING:
    from signseg_utils.experiments.sweep.shards import Shard


def search(
    shard: Shard, network: Network, generator: nn.Module, **options: Any
) -> evolution.Evolution:
    """All runs of the shard, condition after condition, the intact unit first.

    ``options`` as of `signseg_utils.search.evolution.evolve`. A stopped shard begins anew.
    """
    unit = network.readout.rows([shard.unit])
    bank = concatenate([unit] * len(shard.seeds))
    options["dtype"] = getattr(torch, shard.dtype)

    def searched(backbone: nn.Module) -> evolution.Evolution:
        return evolution.evolve(bank, backbone, generator, shard.seeds, shard.search, **options)

    with Work(len(shard.conditions), "conditions", shard.key, fine=True) as work:
        done = [searched(network.backbone)]
        for backbone in backbones(shard, network, generator, done[0].codes):
            work.advance()
            done.append(searched(backbone))
    return _joined(done)


def backbones(
    shard: Shard, network: Network, generator: nn.Module, codes: Tensor
) -> Iterator[nn.Module]:
    """The backbone of each condition after the first, without the channels that it ablates.

    Parameters
    ----------
    codes
        ``[seed, code]`` of the intact unit's preferred images.
    """
    unit = network.readout.rows([shard.unit])
    shares = unit_contributions(shard.layer, network, generator, unit, codes[None])[0]
    for condition in shard.conditions[1:]:
        removed = removed_channels(shares, condition, shard.unit)
        yield without_channels(network.backbone, shard.layer, removed)


def unit_contributions(
    layer: str, network: Network, generator: nn.Module, units: Readout, codes: Tensor
) -> Tensor:
    """Contributions ``[unit, channel]`` for the images of codes ``[unit, image, code]``."""
    with torch.inference_mode():
        images = torch.stack([generator(own.float().cpu()) for own in codes])
    return contributions(network.backbone, layer, units, images)


def rescore(
    shard: Shard,
    network: Network,
    generator: nn.Module,
    codes: Tensor,
    chosen: Sequence[tuple[int, ...]],
) -> Tensor:
    """Scores ``[run]`` of stored codes ``[condition, seed, code]``, for runs (condition, seed)."""
    unit = network.readout.rows([shard.unit])
    made = [network.backbone, *backbones(shard, network, generator, codes[0])]
    return torch.cat(
        [evolution.rescore(unit, made[c], generator, codes[c, s][None]) for c, s in chosen]
    )


def _joined(parts: list[evolution.Evolution]) -> evolution.Evolution:
    return evolution.Evolution(
        codes=torch.cat([part.codes for part in parts]),
        activations=torch.cat([part.activations for part in parts]),
        trace=torch.cat([part.trace for part in parts]),
        mean_trace=torch.cat([part.mean_trace for part in parts]),
        images_seen=sum(part.images_seen for part in parts),
        seconds=sum(part.seconds for part in parts),
        network_seconds=sum(part.network_seconds for part in parts),
    )
