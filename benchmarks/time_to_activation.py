"""One search at a time: seconds until the activation that dense Cholesky CMA ends with.

``python -m benchmarks.time_to_activation --json FILE`` lets dense Cholesky CMA search an image for
a unit, on the paper's number of images, and asks of each other method how long it takes until its
image is as good, from the same start, on the same network and generator, in the same process:

- the engine, one search alone, with Cholesky CMA and with its diagonal optimiser; also in the
  precision that ``auto`` chooses, where that is another;
- the packages that a user would pick instead (`benchmarks.references`), each with its own defaults,
  once with a full covariance and once with a diagonal one, as they advise where codes are long;
- gradient ascent through the generator's code, and on pixels without a generator, as the pages use
  it: each step looks at the image shifted and scaled. What is compared is the activation of the
  image as it is, so it is scored after each step, too, and the time that this takes is counted;
- gradient ascent through the code that looks at the image as it is.

The clock starts before a method is set up. Dense comes first and, since a machine's speed drifts,
once more after the others; its seconds are the mean. A method whose package is not installed is
listed with the command that installs it.
"""

import argparse
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.references import CMAES, DenseCholesky, EvoTorch, PyCMA, Strategy
from benchmarks.setting import (
    Score,
    hardware,
    keep,
    measurement_parser,
    random_network,
    responses,
    versions,
    zoo_parts,
)
from signseg_utils.basics import registry
from signseg_utils.experiments.ascents import EXPONENT, VIEWED
from signseg_utils.experiments.sweep.precision import AGREEMENT
from signseg_utils.generators.pixels import Pixels
from signseg_utils.networks import Network
from signseg_utils.search import ascent, evolution
from signseg_utils.search.ascent import Ascent
from signseg_utils.search.evolution import Search
from signseg_utils.search.scoring import fast_bfloat16
from signseg_utils.units.readout import Readout

LONGEST = 1024  # numbers of a code; with more, a generation of a full covariance takes seconds
# A decoder draws no grain that shifts would have to keep out. Its rate was chosen on other units
# and starts than those that are measured.
PLAIN = Ascent(steps=64, rate=0.3, jitter=0, zoom=0)


@dataclass(frozen=True)
class Task:
    """An image to be found for one unit, and where the search for it sets out from."""

    network: Network
    generator: nn.Module
    unit: int
    seed: int
    score: Score
    population: int
    generations: int

    @property
    def row(self) -> Readout:
        """The unit alone."""
        return self.network.readout.rows([self.unit])

    @property
    def start(self) -> Tensor:
        """The code from which every method sets out that takes one."""
        start: Tensor = self.generator.initial_codes([self.seed])[0]  # type: ignore[operator]
        return start.float()

    @property
    def sigma(self) -> float:
        """Size of the first steps."""
        return float(self.generator.initial_sigma)  # type: ignore[arg-type]

    @property
    def images(self) -> int:
        """The paper's budget: the start, then whole populations."""
        return 1 + (self.generations - 1) * self.population


Seen = tuple[int, float]  # after a batch: images seen, and the best activation among them
Method = Callable[[Task], Iterator[Seen]]


def dense(task: Task) -> Iterator[Seen]:
    """Cholesky CMA with matrices, as the paper's code has it: the start first."""
    best = float(task.score(task.start[None])[0])
    yield 1, best
    strategy = DenseCholesky(task.start, task.sigma, task.seed, task.population)
    for seen, found in told(strategy, task.score):
        best = max(best, found)
        yield 1 + seen, best


def told(strategy: Strategy, score: Score) -> Iterator[Seen]:
    """A strategy that is asked for codes and told their scores."""
    seen, best = 0, -math.inf
    while True:
        scores = score(strategy.ask())
        strategy.tell(scores)
        seen, best = seen + len(scores), max(best, float(scores.max()))
        yield seen, best


def pycma(task: Task, diagonal: bool) -> Iterator[Seen]:
    """The ``cma`` package."""
    strategy = PyCMA(task.start, task.sigma, task.seed, diagonal=diagonal)
    return told(strategy, task.score)


def cmaes(task: Task, separable: bool) -> Iterator[Seen]:
    """The ``cmaes`` package."""
    return told(CMAES(task.start, task.sigma, task.seed, separable), task.score)


def evotorch(task: Task, separable: bool) -> Iterator[Seen]:
    """The ``evotorch`` package."""
    search = EvoTorch(task.start, task.sigma, task.seed, task.score, separable)
    seen, best = 0, -math.inf
    while True:
        scores = search.step()
        seen, best = seen + len(scores), max(best, float(scores.max()))
        yield seen, best


def engine(
    task: Task, optimizer: str = "cholesky_cma", dtype: torch.dtype = torch.float32
) -> Iterator[Seen]:
    """`signseg_utils.evolve`, of one row; in another precision its best code is scored again."""
    search = Search(optimizer, generations=100 * task.generations)  # more than it will be given
    parts = (task.row, task.network.backbone, task.generator)
    for loop in evolution.iterate(*parts, [task.seed], search, dtype=dtype):
        best = float(loop.best_scores[0])
        if dtype != torch.float32:
            best = float(task.score(loop.best_codes)[0])
        yield loop.images_seen, best


def climb(task: Task, how: Ascent, pixels: bool = False) -> Iterator[Seen]:
    """Gradient ascent, and after each step the best activation of its images as they are."""
    generator, best = task.generator, -math.inf
    if pixels:
        size = int(task.network.backbone.image_size)  # type: ignore[arg-type]
        generator = Pixels(size, exponent=EXPONENT)
    parts = (task.row, task.network.backbone, generator)
    for step in ascent.iterate(*parts, [task.seed], how):
        if how.jitter or how.zoom:
            score = step.bank.responses(step.scorer.features(step.codes))[0]
        else:
            score = step.trace[0, step.steps_done - 1]  # of the image that the step began from
        best = max(best, float(score))
        yield step.images_seen, best


@dataclass(frozen=True)
class Listed:
    """A method in the table."""

    label: str
    run: Method
    package: str = ""  # that it needs beyond ours
    full: bool = False  # whether it keeps a covariance of all pairs of numbers


METHODS = {
    "dense": Listed("dense Cholesky CMA", dense),
    "engine": Listed("engine", engine),
    "engine_separable": Listed("engine, sep_cma", partial(engine, optimizer="sep_cma")),
    "pycma": Listed("pycma", partial(pycma, diagonal=False), full=True),
    "pycma_diagonal": Listed("pycma, diagonal", partial(pycma, diagonal=True)),
    "cmaes": Listed("cmaes CMA", partial(cmaes, separable=False), "cmaes", full=True),
    "cmaes_separable": Listed("cmaes SepCMA", partial(cmaes, separable=True), "cmaes"),
    "evotorch": Listed("EvoTorch CMAES", partial(evotorch, separable=False), "evotorch", full=True),
    "evotorch_separable": Listed(
        "EvoTorch CMAES, separable", partial(evotorch, separable=True), "evotorch"
    ),
    "ascent_code": Listed("ascent through the code", partial(climb, how=VIEWED)),
    "ascent_code_plain": Listed("ascent through the code, unshifted", partial(climb, how=PLAIN)),
    "ascent": Listed("ascent on pixels", partial(climb, how=VIEWED, pixels=True)),
}


def installed(package: str) -> bool:
    """Whether a package can be imported, with all that it needs."""
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def left_out(method: Listed, code_size: int) -> str:
    """Why a method is not run, in words; empty if it is."""
    if method.full and code_size > LONGEST:
        return f"not run: a full covariance of {code_size:,} numbers"
    if method.package and not installed(method.package):
        return f"not installed: pip install {method.package}"
    return ""


def in_auto(network: Network, generator: nn.Module) -> tuple[torch.dtype, str]:
    """The precision that ``--dtype auto`` chooses here, and why."""
    if not fast_bfloat16():
        return torch.float32, "no fast bfloat16 on this processor"
    found = evolution.certify(network.readout, network.backbone, generator)
    kept = found.rank_agreement >= AGREEMENT
    why = f"rank agreement of bfloat16 {found.rank_agreement:.4f}, needed {AGREEMENT}"
    return torch.bfloat16 if kept else torch.float32, why


@dataclass
class Course:
    """How a search went: one entry a batch."""

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    best: list[float] = field(default_factory=list)

    def reaching(self, target: float) -> int | None:
        """The first batch whose best activation is ``target`` or above."""
        return next((batch for batch, best in enumerate(self.best) if best >= target), None)

    def within(self, images: int) -> int | None:
        """The last batch within so many images, if the search did not end before."""
        if self.images[-1] < images:
            return None
        return max((batch for batch, seen in enumerate(self.images) if seen <= images), default=0)


def followed(run: Method, task: Task, target: float, limit: float) -> Course:
    """A search until it has both reached ``target`` and seen the budget's images, or to its end.

    It is stopped after ``limit`` seconds in any case.
    """
    course, begun, worked = Course(), time.perf_counter(), time.process_time()
    for images, best in run(task):
        course.seconds.append(time.perf_counter() - begun)
        course.processor_seconds.append(time.process_time() - worked)
        course.images.append(images)
        course.best.append(best)
        if course.seconds[-1] > limit or (best >= target and images >= task.images):
            break
    return course


def told_of(course: Course, task: Task, target: float) -> dict[str, Any]:
    """What is kept of a search: when it reached the target, what the budget bought, its end."""
    reached, spent = course.reaching(target), course.within(task.images)
    columns: dict[str, Sequence[float]] = {
        "seconds": course.seconds,
        "processor_seconds": course.processor_seconds,
        "images": course.images,
        "activation": course.best,
    }
    kept: dict[str, Any] = {"unit": task.network.readout.labels[task.unit], "seed": task.seed}
    for name, column in columns.items():
        kept[f"{name}_to_target"] = None if reached is None else column[reached]
        kept[f"{name}_at_budget"] = None if spent is None else column[spent]
        kept[name] = column[-1]
    return kept


def searched(task: Task, methods: dict[str, Listed], patience: float) -> dict[str, Any]:
    """One unit by every method; dense sets what is to be reached and how long others may take."""
    others = {name: method for name, method in methods.items() if name != "dense"}
    before = followed(dense, task, -math.inf, math.inf)
    target, limit = before.best[-1], patience * before.seconds[-1]
    found = {
        name: told_of(followed(method.run, task, target, limit), task, target)
        for name, method in others.items()
    }
    after = followed(dense, task, -math.inf, math.inf)
    both = Course(
        _means(before.seconds, after.seconds),
        _means(before.processor_seconds, after.processor_seconds),
        before.images,
        before.best,
    )
    return {"dense": told_of(both, task, target), **found}


def _means(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def summary(searches: Sequence[dict[str, Any]], dense: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of one method beside dense: medians over searches, and their range.

    A search that did not reach what dense reached took longer than it was given: it counts as the
    slowest. Where half of them did not, there is no median (None).
    """
    fast = _ratios(searches, dense, "seconds_to_target")
    equal = _ratios(searches, dense, "seconds_at_budget")
    reached = sum(ratio > 0 for ratio in fast)
    enough = 2 * reached > len(searches)
    found = {
        "reached": reached,
        "times_as_fast": median(fast) if enough else None,
        "times_as_fast_range": [ratio or None for ratio in (min(fast), max(fast))],
        "times_as_fast_by_processor": (
            median(_ratios(searches, dense, "processor_seconds_to_target")) if enough else None
        ),
        "times_as_fast_at_equal_images": median(equal) if min(equal) > 0 else None,
    }
    for name in ("seconds_to_target", "images_to_target"):
        taken = [math.inf if one[name] is None else one[name] for one in searches]
        found[name] = median(taken) if enough else None
    for name in ("activation_at_budget", "activation"):
        pairs = zip(searches, dense, strict=True)
        shares = [one[name] / two["activation"] for one, two in pairs if one[name] is not None]
        found[f"{name}_of_dense"] = median(shares) if len(shares) == len(searches) else None
    return found


def _ratios(
    searches: Sequence[dict[str, Any]], dense: Sequence[dict[str, Any]], name: str
) -> list[float]:
    """Dense's seconds over those of each search; 0 where there are none."""
    pairs = zip(searches, dense, strict=True)
    return [two[name] / one[name] if one[name] is not None else 0.0 for one, two in pairs]


def tasks(network: Network, generator: nn.Module, options: argparse.Namespace) -> Iterator[Task]:
    """Searches for units from all over the readout, each from a start of its own."""
    code_size = int(generator.code_size)  # type: ignore[arg-type]
    population = registry.load("optimizers", "cholesky_cma").default_population(code_size)
    score_of = responses(network, generator, "cpu")
    for seed in range(options.units):
        unit = seed * len(network.readout) // options.units
        yield Task(network, generator, unit, seed, score_of(unit), population, options.generations)


def warm_up(task: Task, methods: dict[str, Listed]) -> None:
    """Two batches of every method: imports, and what PyTorch prepares for each batch size."""
    for method in methods.values():
        for _ in islice(method.run(task), 2):
            pass


def parts(options: argparse.Namespace) -> tuple[Network, nn.Module]:
    """The network and the generator that are asked for."""
    if options.random:
        network = random_network()
        size = network.backbone.image_size
        generator: nn.Module = registry.load("generators", "spectral").pink(size, options.code)
    else:
        network, generator = zoo_parts(options.zoo, options.network, options.generator)
    network.backbone.eval()
    return network, generator.eval()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements as one dictionary."""
    begun, machine = time.perf_counter(), hardware("cpu")
    network, generator = parts(options)
    dtype, why = in_auto(network, generator)
    methods = dict(METHODS)
    if dtype != torch.float32:
        methods["engine_auto"] = Listed("engine, precision auto", partial(engine, dtype=dtype))
    planned = list(tasks(network, generator, options))
    absent = {name: left_out(method, len(planned[0].start)) for name, method in methods.items()}
    present = {name: method for name, method in methods.items() if not absent[name]}
    warm_up(planned[0], present)
    found: list[dict[str, Any]] = []
    for task in planned:
        if found and time.perf_counter() - begun > options.seconds:
            break
        found.append(searched(task, present, options.patience))
    return {
        "time_to_activation": table(methods, absent, found),
        "settings": {
            "network": network.name,
            "generator": type(generator).__name__,
            "code_size": len(planned[0].start),
            "population": planned[0].population,
            "generations": planned[0].generations,
            "images": planned[0].images,
            "searches": len(found),
            "patience": options.patience,
            "precision_auto": f"{str(dtype).removeprefix('torch.')}, {why}",
            "ascent": asdict(VIEWED),
            "ascent_plain": asdict(PLAIN),
        },
        "hardware": machine,
        "versions": versions(**_packages(present)),
        "seconds_total": time.perf_counter() - begun,
    }


def table(
    methods: dict[str, Listed], absent: dict[str, str], found: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """One entry a method, those left out included."""
    rows: dict[str, Any] = {}
    for name, method in methods.items():
        rows[name] = {"label": method.label, "left_out": absent[name]}
        if not absent[name]:
            own = [one[name] for one in found]
            rows[name] |= summary(own, [one["dense"] for one in found]) | {"searches": own}
    return rows


def _packages(present: dict[str, Listed]) -> dict[str, str]:
    """Versions of the packages that were compared."""
    names = {"cma"} | {method.package for method in present.values() if method.package}
    return {name: importlib.import_module(name).__version__.split()[0] for name in sorted(names)}


def report(found: dict[str, Any]) -> str:
    """A few lines to read."""
    settings = found["settings"]
    lines = [
        f"network {settings['network']}, generator {settings['generator']} with codes of "
        f"{settings['code_size']}; dense sees {settings['images']} images; "
        f"{settings['searches']} searches; precision auto is {settings['precision_auto']}",
        "x dense: times as fast, to the activation of dense, with range; by processor time;",
        "and at equal images. Activation of each, in that of dense: at equal images; at its end.",
        f"{'':34}{'reached':>8}{'seconds':>9}{'images':>8}{'x dense':>9}{'range':>16}"
        f"{'processor':>11}{'equal':>7}{'equal':>8}{'end':>6}",
    ]
    for row in found["time_to_activation"].values():
        if row["left_out"]:
            lines.append(f"{row['label']:34}{row['left_out']}")
            continue
        low, high = (number(bound, ".2f") for bound in row["times_as_fast_range"])
        lines.append(
            f"{row['label']:34}{row['reached']:8}{number(row['seconds_to_target'], '.2f'):>9}"
            f"{number(row['images_to_target'], '.0f'):>8}"
            f"{number(row['times_as_fast'], '.2f'):>9}{low + ' to ' + high:>16}"
            f"{number(row['times_as_fast_by_processor'], '.2f'):>11}"
            f"{number(row['times_as_fast_at_equal_images'], '.2f'):>7}"
            f"{number(row['activation_at_budget_of_dense'], '.0%'):>8}"
            f"{number(row['activation_of_dense'], '.0%'):>6}"
        )
    return "\n".join([*lines, f"measured in {found['seconds_total']:.0f} s"])


def number(value: float | None, form: str) -> str:
    """As text; what there is not is a dash."""
    return "–" if value is None else format(value, form)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = measurement_parser(__doc__)
    parser.add_argument("--network", default="", help="of the zoo; default: its last one")
    parser.add_argument("--generator", default="decoder", help="of the zoo; empty: longest codes")
    parser.add_argument("--random", action="store_true", help="network of random weights")
    parser.add_argument("--code", type=int, default=256, help="code size with --random")
    parser.add_argument("--units", type=int, default=5, help="searches, each of another unit")
    parser.add_argument("--generations", type=int, default=100, help="of dense; the paper's: 100")
    parser.add_argument("--patience", type=float, default=3, help="time given, in that of dense")
    parser.add_argument("--seconds", type=float, default=900, help="no unit is begun after that")
    options = parser.parse_args(arguments)
    found = measure(options)
    print(report(found))
    keep(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
