"""What a sweep will take, before it starts: searches, images, hours, disk."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from signseg_utils.basics import draws, registry
from signseg_utils.basics.progress import each
from signseg_utils.experiments.sweep.shards import Shard
from signseg_utils.search.scoring import CPU_PASS, available, ready
from signseg_utils.zoos import Zoo

_CUDA_PASS = 128  # images a pass of the probe; on a CPU, as in the loop, those of one run
_SHARD_BYTES = 6_000  # coordinates and provenance of one file

Pair = tuple[str, str]  # network, generator


@dataclass(frozen=True)
class Estimate:
    """Counts of a plan; hours only where images/s were measured.

    Attributes
    ----------
    shards, searches
        Files, and runs of the optimiser.
    images
        Rendered and looked at, by (network, generator).
    bytes
        Of the finished files, before compression: codes in half precision and traces.
    rates
        Images/s by (network, generator), of both networks alone; empty where not measured.
    """

    shards: int
    searches: int
    images: Mapping[Pair, int]
    bytes: int
    rates: Mapping[Pair, float]

    def hours(self, devices: int = 1) -> float:
        """Hours on ``devices`` of the measured kind, without the optimiser's own share.

        Raises
        ------
        ValueError
            If no rates were measured.
        """
        if not self.rates:
            raise ValueError("expected measured images/s; this estimate only counts; use measured")
        return sum(n / self.rates[pair] for pair, n in self.images.items()) / 3600 / devices

    def words(self, devices: int = 1, kind: str = "like this one") -> str:
        """The estimate as lines of text; ``kind``: which devices, or how fast."""
        lines = [
            f"{self.shards:,} shards, {self.searches:,} searches, "
            f"{sum(self.images.values()):,} images, {self.bytes / 1e9:.2f} GB of results"
        ]
        for pair, rate in self.rates.items():
            hours = self.images[pair] / rate / 3600
            lines.append(f"  {' x '.join(pair)}: {rate:,.1f} images/s, {hours:,.1f} hours")
        if self.rates:
            each = "device" if devices == 1 else f"{devices} devices"
            lines.append(f"  together {self.hours(devices):,.1f} hours on {each} {kind}")
        return "\n".join(lines)


def counted(plan: Sequence[Shard], zoo: Zoo) -> Estimate:
    """What the plan holds; nothing is fetched, nothing is timed.

    Parameters
    ----------
    plan
        Shards of one zoo, with one optimiser and budget.
    """
    names = dict.fromkeys(shard.generator for shard in plan)
    sizes = {name: int(_code_size(zoo.timing_generator(name))) for name in names}
    each = {name: sum(_candidates(plan[0], size)) for name, size in sizes.items()}
    images: dict[Pair, int] = {}
    searches = stored = 0
    for shard in plan:
        runs = len(shard.conditions) * len(shard.seeds)
        pair = (shard.network, shard.generator)
        images[pair] = images.get(pair, 0) + runs * each[shard.generator]
        searches += runs
        traces = 8 + 8 * shard.search.generations
        stored += _SHARD_BYTES + runs * (2 * sizes[shard.generator] + traces)
    return Estimate(len(plan), searches, images, stored, {})


def measured(
    plan: Sequence[Shard], zoo: Zoo, device: str = "cpu", seconds: float = 2.0
) -> Estimate:
    """As `counted`, with images/s measured here: ``seconds`` for each architecture.

    Networks and generators that were not fetched are timed with random weights.
    """
    available(device)
    found = counted(plan, zoo)
    dtype = getattr(torch, plan[0].dtype)
    known: dict[str, float] = {}

    def cost(module: nn.Module, batch: int, *shape: int) -> float:
        key = f"{batch} {module!r}"  # the same layers take the same time
        if key not in known:
            inputs = draws.uniform((batch, *shape), seed=0).to(device, dtype)
            known[key] = seconds_an_image(
                ready(module, torch.device(device), dtype), inputs, seconds
            )
        return known[key]

    side = {name: zoo.timing_generator(name) for name in {pair[1] for pair in found.images}}
    sizes = {name: int(_code_size(made)) for name, made in side.items()}
    batches = {name: _pass(plan[0], size, device) for name, size in sizes.items()}
    generators = {name: cost(side[name], batches[name], sizes[name]) for name in side}
    networks: dict[Pair, float] = {}
    for network, generator in each(found.images, "networks", "measuring speed"):
        size = int(side[generator].image_size)  # type: ignore[arg-type]
        backbone = zoo.timing_backbone(network)
        networks[network, generator] = cost(backbone, batches[generator], 3, size, size)
    rates = {pair: 1 / (networks[pair] + generators[pair[1]]) for pair in found.images}
    return Estimate(found.shards, found.searches, found.images, found.bytes, rates)


def assumed(plan: Sequence[Shard], zoo: Zoo, rate: float) -> Estimate:
    """As `counted`, for devices that are not here and do ``rate`` images/s each."""
    found = counted(plan, zoo)
    return replace(found, rates=dict.fromkeys(found.images, rate))


@torch.inference_mode()
def seconds_an_image(module: nn.Module, inputs: torch.Tensor, seconds: float) -> float:
    """Wall time of one image in passes of ``len(inputs)``, or of fewer where that takes long.

    The first pass does not count, unless it alone takes ``seconds``.
    """
    begun = time.perf_counter()
    module(inputs[:1])
    _wait(inputs)
    first = time.perf_counter() - begun
    if first > seconds and not inputs.is_cuda:
        return first
    inputs = inputs[: max(1, round(4 * seconds / first))]
    module(inputs)
    _wait(inputs)
    begun, passes = time.perf_counter(), 0
    while passes == 0 or time.perf_counter() - begun < seconds:
        module(inputs)
        _wait(inputs)
        passes += 1
    return (time.perf_counter() - begun) / passes / len(inputs)


def _wait(inputs: torch.Tensor) -> None:
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)


def _candidates(shard: Shard, code_size: int) -> list[int]:
    """Images of each generation of one search."""
    search = shard.search
    made = registry.load("optimizers", search.optimizer)(
        torch.zeros(1, code_size),
        1.0,
        [0],
        generations=search.generations,
        population=search.population,
    )
    return [made.candidates(generation) for generation in range(search.generations)]


def _pass(shard: Shard, code_size: int, device: str) -> int:
    """Images of one pass, as `signseg_utils.search.scoring.Scorer` makes them."""
    if torch.device(device).type == "cuda":
        return _CUDA_PASS
    return min(CPU_PASS, max(_candidates(shard, code_size)))


def _code_size(generator: nn.Module) -> int:
    return generator.code_size  # type: ignore[return-value]
