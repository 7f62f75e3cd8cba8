"""Speed of the closed loop: batched over runs, against one run at a time.

``python -m benchmarks.closed_loop --json FILE`` evolves images for units of one network with

- the engine (many runs at once, Cholesky CMA in its low-rank form),
- the ``cma`` package, one run at a time, as one would use it (full covariance),
- Cholesky CMA with dense matrices A and A^-1, one run at a time,

on the same network, generator and number of images a run, in one process: first with a linear
generator of ``--code`` numbers (1,024: between the 256 of BigGAN and the 4,096 of DeePSiM), whose
cost is small beside the network's, then with a generator of the zoo. It also compares float32 with
bfloat16 and times the optimisers without any network at several code sizes.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import cma
import torch
from torch import Tensor, nn

from benchmarks.references import DenseCholesky, Made, PyCMA, best_of
from benchmarks.setting import (
    hardware,
    keep,
    measurement_parser,
    random_network,
    responses,
    versions,
    zoo_parts,
)
from signseg_utils.basics import registry
from signseg_utils.networks import Network
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.search.scoring import Scorer, certify, fast_bfloat16
from signseg_utils.units.readout import concatenate


def one_at_a_time(
    make: Made,
    network: Network,
    generator: nn.Module,
    search: Search,
    repeats: int,
    device: str,
) -> dict[str, float]:
    """Time runs that come one after the other: full network, no batching over runs."""
    seconds, processor, best = 0.0, 0.0, []
    sigma = float(generator.initial_sigma)  # type: ignore[arg-type]
    score_of = responses(network, generator, device)
    for seed in range(repeats):
        start = generator.initial_codes([seed])[0].float().to(device)  # type: ignore[operator]
        score = score_of(seed % len(network.readout))
        begun, worked = time.perf_counter(), time.process_time()
        strategy = make(start, sigma, seed, search.population or 0)
        best.append(best_of(strategy, start, score, search.generations))
        seconds += time.perf_counter() - begun
        processor += time.process_time() - worked
    images = repeats * _images(search)
    return {
        "runs": repeats,
        "seconds_per_visualisation": seconds / repeats,
        "processor_seconds_per_visualisation": processor / repeats,
        "images_per_second": images / seconds,
        "mean_best_activation": sum(best) / repeats,
    }


def batched(
    network: Network,
    generator: nn.Module,
    search: Search,
    runs: int,
    device: str,
    progress: bool,
    compared: int,
) -> dict[str, float]:
    """Time the engine on ``runs`` rows, every one with a seed of its own.

    Its best activation is the mean over the first ``compared`` rows: the units and starting codes
    of the runs that come one at a time.
    """
    units = [row % len(network.readout) for row in range(runs)]
    bank = concatenate([network.readout.rows([unit]) for unit in units])
    worked = time.process_time()
    found = evolve(
        bank, network.backbone, generator, range(runs), search, device=device, progress=progress
    )
    worked = time.process_time() - worked
    return {
        "runs": runs,
        "seconds_per_visualisation": found.seconds / runs,
        "processor_seconds_per_visualisation": worked / runs,
        "images_per_second": found.images_seen / found.seconds,
        "network_share": found.network_seconds / found.seconds,
        "mean_best_activation": float(found.activations[:compared].mean()),
    }


def precision(
    network: Network, generator: nn.Module, population: int, device: str, seconds: float
) -> dict[str, Any]:
    """Images/s in float32 and bfloat16, and how well bfloat16 keeps the ranks of scores."""
    codes = generator.initial_codes(range(population))  # type: ignore[operator]
    speed = {}
    for dtype in (torch.float32, torch.bfloat16):
        scorer = Scorer(network.backbone, generator, device=device, dtype=dtype)
        scorer.features(codes)
        begun, seen = time.perf_counter(), scorer.images_seen
        while time.perf_counter() - begun < seconds:
            scorer.features(codes)
            scorer.watch.seconds  # noqa: B018  waits for a GPU
        rate = (scorer.images_seen - seen) / (time.perf_counter() - begun)
        speed[str(dtype).removeprefix("torch.")] = rate
    certificate = certify(network.readout, network.backbone, generator, device=device, images=64)
    return {
        "images_per_second": speed,
        "rank_agreement": certificate.rank_agreement,
        "rank_agreement_worst": certificate.worst,
        "relative_error": certificate.error,
        "native_bfloat16": fast_bfloat16(device),
    }


def optimisers_alone(sizes: Sequence[int], generations: int, runs: int) -> dict[str, Any]:
    """Milliseconds a run and generation without networks, in units of one run."""
    table: dict[str, Any] = {}
    plugin = registry.load("optimizers", "cholesky_cma")
    for n in sizes:
        population = plugin.default_population(n)

        def score(codes: Tensor) -> Tensor:
            return -(codes - 0.1).square().sum(-1)

        begun = time.perf_counter()
        engine = plugin(torch.zeros(runs, n), 1.0, range(runs), generations=generations)
        for _ in range(generations):
            engine.tell(score(engine.ask()))
        entry = {"engine": (time.perf_counter() - begun) / runs}
        references: dict[str, Made] = {"dense": DenseCholesky}
        if n <= 1024:
            references["pycma"] = PyCMA
        for name, make in references.items():
            begun, start = time.perf_counter(), torch.zeros(n)
            best_of(make(start, 1.0, 0, population), start, score, generations)
            entry[name] = time.perf_counter() - begun
        table[str(n)] = {
            f"{key}_ms_per_generation": 1000 * value / generations for key, value in entry.items()
        }
    return table


def bare_forward(
    network: Network, generator: nn.Module, device: str, seconds: float
) -> dict[int, float]:
    """Images/s of generator and backbone alone, by batch size."""
    found = {}
    for batch in (512, 128) if torch.device(device).type == "cuda" else (48, 28, 16, 8):
        codes = generator.initial_codes(range(batch))  # type: ignore[operator]
        scorer = Scorer(network.backbone, generator, device=device)
        scorer.features(codes)
        begun, seen = scorer.watch.seconds, scorer.images_seen
        while scorer.watch.seconds - begun < seconds:
            scorer.features(codes)
        found[batch] = (scorer.images_seen - seen) / (scorer.watch.seconds - begun)
    return found


def _images(search: Search) -> int:
    return 1 + (search.generations - 1) * (search.population or 0)


def compare(
    network: Network, generator: nn.Module, options: argparse.Namespace, seconds: float, rate: float
) -> dict[str, Any]:
    """The three methods on one network, generator and budget, in about ``seconds``."""
    code_size = int(generator.code_size)  # type: ignore[arg-type]
    population = registry.load("optimizers", "cholesky_cma").default_population(code_size)
    # One visualisation is the unit of time: as many as fit, shared out over the three methods;
    # on a slow or busy machine shorter ones, of one update of the covariance at least.
    longest = max(13, round(seconds * rate / population / 8))
    search = Search(generations=min(options.generations, longest), population=population)
    fitting = seconds * rate / _images(search)
    repeats = int(min(8, max(1, 0.1 * fitting)))
    runs = max(repeats, options.runs or int(min(64, max(4, 0.4 * fitting))))
    # A machine's speed drifts: the bare passes are measured before the engine and after it.
    before = bare_forward(network, generator, options.device, seconds / 60)
    engine = batched(
        network, generator, search, runs, options.device, options.progress, compared=repeats
    )
    after = bare_forward(network, generator, options.device, seconds / 60)
    bare = {batch: (before[batch] + after[batch]) / 2 for batch in before}
    best = max(bare, key=lambda batch: bare[batch])
    pycma = one_at_a_time(PyCMA, network, generator, search, repeats, options.device)
    dense = one_at_a_time(DenseCholesky, network, generator, search, repeats, options.device)
    each = engine["seconds_per_visualisation"]
    return {
        "ratio_vs_pycma": pycma["seconds_per_visualisation"] / each,
        "ratio_vs_dense": dense["seconds_per_visualisation"] / each,
        "network_share": engine["network_share"],
        "share_of_bare_forward": engine["images_per_second"] / bare[best],
        "images_per_second": engine["images_per_second"],
        "seconds_per_visualisation": each,
        "engine": engine,
        "pycma": pycma,
        "dense": dense,
        "bare_forward": {"images_per_second": bare[best], "batch": best},
        "settings": {
            "network": network.name,
            "generator": type(generator).__name__,
            "code_size": code_size,
            "population": population,
            "generations": search.generations,
            "images_per_visualisation": _images(search),
        },
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements as one dictionary.

    Its first level is the comparison with a linear generator of ``--code`` numbers; or, if
    ``--generator`` is given, with that one of the zoo alone.
    """
    begun, machine = time.perf_counter(), hardware(options.device)
    if options.random:
        network, own = random_network(), None
    else:
        network, own = zoo_parts(options.zoo, options.network, options.generator)
        own = own.to(options.device).eval()
    network.backbone.to(options.device).eval()
    readout = network.readout.to(options.device)
    network = Network(network.name, network.backbone, readout, network.card)
    if own is not None and options.generator:
        generator, own = own, None
    else:
        size = network.backbone.image_size
        generator = registry.load("generators", "spectral").pink(size, options.code)
    generator.to(options.device).eval()
    speeds = precision(network, generator, 32, options.device, options.seconds / 40)
    rate = speeds["images_per_second"]["float32"]
    seconds = options.seconds if own is None else 0.6 * options.seconds
    found = compare(network, generator, options, seconds, rate)
    if own is not None:
        found["zoo_generator"] = compare(network, own, options, 0.4 * options.seconds, rate)
    return found | {
        "rank_agreement": speeds["rank_agreement"],
        "precision": speeds,
        "optimisers_alone": optimisers_alone(options.sizes, 14, 4) if options.sizes else {},
        "hardware": machine,
        "versions": versions(cma=cma.__version__.split()[0]),
        "seconds_total": time.perf_counter() - begun,
    }


def _table(found: dict[str, Any]) -> list[str]:
    settings = found["settings"]
    lines = [
        "",
        f"network {settings['network']}, generator {settings['generator']} with codes of "
        f"{settings['code_size']}, {settings['images_per_visualisation']} images a visualisation",
        f"{'':20}{'images/s':>10}{'s each':>10}{'CPU s each':>12}{'best activation':>18}",
    ]
    for name in ("engine", "pycma", "dense"):
        row = found[name]
        lines.append(
            f"{name + ' (' + str(row['runs']) + ' runs)':20}{row['images_per_second']:10.1f}"
            f"{row['seconds_per_visualisation']:10.2f}"
            f"{row['processor_seconds_per_visualisation']:12.2f}"
            f"{row['mean_best_activation']:18.3f}"
        )
    return lines + [
        f"engine is {found['ratio_vs_pycma']:.2f} x pycma, {found['ratio_vs_dense']:.2f} x dense; "
        f"{found['network_share']:.1%} of its time is inside generator and backbone; "
        f"{found['share_of_bare_forward']:.2f} of their bare forward passes, which do "
        f"{found['bare_forward']['images_per_second']:.1f} images/s at best",
    ]


def report(found: dict[str, Any]) -> str:
    """A few lines to read."""
    lines = _table(found)
    if "zoo_generator" in found:
        lines += _table(found["zoo_generator"])
    speed, network = found["precision"]["images_per_second"], found["settings"]["network"]
    lines += [
        "",
        f"float32 {speed['float32']:.1f} images/s, bfloat16 {speed['bfloat16']:.1f}; "
        f"rank agreement {found['rank_agreement']:.5f} "
        f"(worst row {found['precision']['rank_agreement_worst']:.5f})"
        + " (of random weights: trained ones agree better)"
        * ("random" in network),
    ]
    for size, row in found["optimisers_alone"].items():
        cells = ", ".join(f"{k.split('_')[0]} {v:.2f}" for k, v in row.items())
        lines.append(f"optimiser alone, code size {size}: {cells} ms a run and generation")
    lines.append(f"measured in {found['seconds_total']:.0f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = measurement_parser(__doc__)
    parser.add_argument("--network", default="", help="of the zoo; default: its last one")
    parser.add_argument("--generator", default="", help="of the zoo, and no other")
    parser.add_argument("--random", action="store_true", help="network of random weights")
    parser.add_argument("--code", type=int, default=1024, help="code size of the linear generator")
    parser.add_argument("--generations", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0, help="of the engine; default: what fits")
    parser.add_argument("--seconds", type=float, default=90, help="aimed at, about")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[256, 1024, 4096],
        help="code sizes at which optimisers are timed alone",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args(arguments)
    found = measure(options)
    print(report(found))
    keep(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
