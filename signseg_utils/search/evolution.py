"""The batched closed loop: ask, generate, look, score, tell, for all rows of a bank at once.

Ablated copies of a unit differ in their readout row only, so every run (unit x condition x seed)
shares one generator and one backbone. Runs that share a seed share their noise: differences
between conditions are paired.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils import registry
from signseg_utils.optimizers import response_noise
from signseg_utils.progress import Work
from signseg_utils.search import resuming
from signseg_utils.search.scoring import Certificate, Scorer, certify, rescore
from signseg_utils.units.readout import Readout

__all__ = ["Certificate", "Evolution", "Loop", "Search", "certify", "evolve", "iterate", "rescore"]

State = dict[str, Tensor]


@dataclass(frozen=True)
class Search:
    """How codes are searched; ``None`` stands for the optimiser's or the generator's own value."""

    optimizer: str = "cholesky_cma"
    generations: int = 100
    population: int | None = None
    sigma: float | None = None


@dataclass
class Evolution:
    """What a search found, one entry a row.

    Attributes
    ----------
    codes : Tensor [row, code]
        Best code of each run (with noise: that of the highest noisy response), already rounded to
        float16, so that it can be stored exactly.
    activations : Tensor [row]
        Score of that rounded code, re-rendered alone in float32 (see ``rescore``).
    trace : Tensor [row, generation]
        Best score so far, before rounding; with noise: the score, without noise, of the code whose
        noisy response was highest so far.
    mean_trace : Tensor [row, generation]
        Mean score of the population, without noise.
    images_seen : int
    seconds, network_seconds : float
        Wall time of the loop, and the part of it inside generator and backbone; a resumed search
        counts its earlier part too.
    """

    codes: Tensor
    activations: Tensor
    trace: Tensor
    mean_trace: Tensor
    images_seen: int
    seconds: float
    network_seconds: float


class Loop:
    """A closed loop that can be stopped after any generation; see ``evolve`` for the arguments."""

    def __init__(
        self,
        readout: Readout,
        backbone: nn.Module,
        generator: nn.Module,
        seeds: Sequence[int],
        search: Search,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
        noise: Sequence[float] | None = None,
    ) -> None:
        if len(seeds) != len(readout):
            raise ValueError(
                f"expected one seed for each of the {len(readout)} rows, because each row is one "
                f"run; got {len(seeds)}; repeat the rows for several seeds"
            )
        if dtype not in (torch.float32, torch.bfloat16):
            raise TypeError(
                "expected dtype float32 or bfloat16, because others lack range or speed; "
                f"got {dtype}"
            )
        if noise is not None and not (
            len(noise) == len(readout) and all(0 <= s < float("inf") for s in noise)
        ):
            raise ValueError(
                f"expected noise as one standard deviation of 0 or more for each of the "
                f"{len(readout)} rows, in units of the activation; got {list(noise)}"
            )
        self.noise = None if noise is None else tuple(float(s) for s in noise)
        self.readout, self.backbone, self.generator = readout, backbone, generator
        self.seeds = tuple(int(seed) for seed in seeds)
        self.search = search
        self.bank = readout.to(device, torch.float32)
        self.scorer = Scorer(backbone, generator, device=device, dtype=dtype, chunk=chunk)
        distinct = list(dict.fromkeys(self.seeds))
        starts = generator.initial_codes(distinct)  # type: ignore[operator]
        starts = torch.as_tensor(starts)[[distinct.index(seed) for seed in self.seeds]]
        sigma = generator.initial_sigma if search.sigma is None else search.sigma
        self.optimizer = registry.load("optimizers", search.optimizer)(
            starts.to(self.scorer.device, torch.float32),
            float(sigma),  # type: ignore[arg-type]
            self.seeds,
            generations=search.generations,
            population=search.population,
        )
        rows, generations = len(readout), search.generations
        self.best_codes = starts.to(self.scorer.device, torch.float32).clone()
        self.best_scores = torch.full((rows,), -torch.inf, device=self.scorer.device)
        self.best_heard = self.best_scores.clone()  # with noise; what decides
        self.trace = torch.full((rows, generations), torch.nan)
        self.mean_trace = torch.full((rows, generations), torch.nan)
        self._before = (0, 0.0, 0.0)  # images, seconds, network seconds of an earlier part
        self._seconds = 0.0

    @property
    def generation(self) -> int:
        """Generations finished."""
        return int(self.optimizer.generation)

    @property
    def images_seen(self) -> int:
        """Images scored so far, those before a resume included."""
        return self._before[0] + self.scorer.images_seen

    @property
    def seconds(self) -> float:
        """Seconds spent so far, those before a resume included."""
        return self._before[1] + self._seconds

    @property
    def network_seconds(self) -> float:
        """Seconds of these in generator and network."""
        return self._before[2] + self.scorer.watch.seconds

    @property
    def images_planned(self) -> int:
        """Images of the whole search."""
        each = sum(self.optimizer.candidates(g) for g in range(self.search.generations))
        return len(self.readout) * each

    @torch.inference_mode()
    def step(self) -> None:
        """One generation of every run."""
        begun = time.perf_counter()
        codes = self.optimizer.ask()
        scores = self.scorer.scores(self.bank, codes)
        self._check(scores)
        heard = scores if self.noise is None else scores + self._drawn_noise(scores)
        top, place = heard.max(dim=1)
        better = top > self.best_heard
        rows = torch.arange(len(codes), device=codes.device)
        self.best_codes = torch.where(better[:, None], codes[rows, place], self.best_codes)
        self.best_scores = torch.where(better, scores[rows, place], self.best_scores)
        self.best_heard = torch.where(better, top, self.best_heard)
        self.trace[:, self.generation] = self.best_scores.cpu()
        self.mean_trace[:, self.generation] = scores.mean(dim=1).cpu()
        self.optimizer.tell(heard)
        self._seconds += time.perf_counter() - begun

    def _drawn_noise(self, scores: Tensor) -> Tensor:
        """Noise [row, candidate] of this generation, keyed on (seed, generation)."""
        assert self.noise is not None
        count = scores.shape[1]
        drawn = {s: response_noise(s, self.generation, count) for s in set(self.seeds)}
        rows = [sd * drawn[seed] for sd, seed in zip(self.noise, self.seeds, strict=True)]
        return torch.stack(rows).to(scores)

    def _check(self, scores: Tensor) -> None:
        bad = (~torch.isfinite(scores).all(dim=1)).nonzero().flatten().tolist()
        if bad:
            rows = [f"{row} ({self.readout.labels[row]!r}, seed {self.seeds[row]})" for row in bad]
            more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
            raise ValueError(
                "expected finite activations, because candidates are ranked by them; got NaN or "
                f"infinity in generation {self.generation} for row {', '.join(rows[:5])}{more}; "
                "check the weights of readout, backbone and generator for NaN, and try float32"
            )

    def result(self) -> Evolution:
        """Round the best codes to float16, render them again and score them in float32."""
        begun = time.perf_counter()
        codes = self.best_codes.half().float().cpu()
        activations = rescore(
            self.readout, self.backbone, self.generator, codes, device=self.scorer.device
        )
        self._seconds += time.perf_counter() - begun
        return Evolution(
            codes=codes,
            activations=activations,
            trace=self.trace,
            mean_trace=self.mean_trace,
            images_seen=self.images_seen,
            seconds=self.seconds,
            network_seconds=self.network_seconds,
        )

    def state(self) -> State:
        """Everything that the rest of the search depends on, as a flat dictionary of tensors."""
        state = {
            "loop.best_codes": self.best_codes.clone(),
            "loop.best_scores": self.best_scores.clone(),
            "loop.best_heard": self.best_heard.clone(),
            "loop.trace": self.trace.clone(),
            "loop.mean_trace": self.mean_trace.clone(),
            "loop.images_seen": torch.tensor(self.images_seen),
            "loop.seconds": torch.tensor(self.seconds, dtype=torch.float64),
            "loop.network_seconds": torch.tensor(self.network_seconds, dtype=torch.float64),
            "identity": self._encoded_identity,
        }
        for name, value in self.optimizer.state_dict().items():
            state[f"optimizer.{name}"] = torch.as_tensor(value)
        return {name: tensor.cpu().contiguous() for name, tensor in state.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state()`` of the same search.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another search; the message names what differs.
        """
        resuming.check(state, self.identity, "evolve")
        device = self.scorer.device
        self.best_codes = state["loop.best_codes"].to(device).clone()
        self.best_scores = state["loop.best_scores"].to(device).clone()
        heard = state.get("loop.best_heard", self.best_scores)  # older checkpoints: no noise
        self.best_heard = heard.to(device).clone()
        self.trace = state["loop.trace"].clone()
        self.mean_trace = state["loop.mean_trace"].clone()
        self._before = (
            int(state["loop.images_seen"]),
            float(state["loop.seconds"]),
            float(state["loop.network_seconds"]),
        )
        prefix = "optimizer."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.optimizer.load_state_dict(own)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be continued."""
        noisy = {} if self.noise is None else {"noise": list(self.noise)}
        return {
            **asdict(self.search),
            **noisy,
            "population": self.optimizer.population,
            "sigma": self.optimizer.initial_sigma,
            "seeds": list(self.seeds),
            "labels": list(self.readout.labels),
            "dtype": str(self.scorer.dtype),
            "readout": resuming.digest({"weight": self.readout.weight, "bias": self.readout.bias}),
            "backbone": resuming.digest(self.backbone.state_dict()),
            "generator": resuming.digest(self.generator.state_dict()),
            "initial codes": resuming.digest({"codes": self.optimizer.initial}),
        }

    @cached_property
    def _encoded_identity(self) -> Tensor:
        return resuming.encoded(self.identity)


def iterate(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    seeds: Sequence[int],
    search: Search,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    noise: Sequence[float] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Iterator[Loop]:
    """The loop after each generation: look at it, take ``state()``, stop, or end in ``result()``.

    The arguments are those of `evolve`. A resumed search that had ended yields once, so that the
    last loop seen always holds the result.
    """
    loop = Loop(
        readout, backbone, generator, seeds, search,
        device=device, dtype=dtype, chunk=chunk, noise=noise,
    )
    if resume is not None:
        loop.load(resume)
    return _steps(loop)


def _steps(loop: Loop) -> Iterator[Loop]:
    if loop.generation >= loop.search.generations:
        yield loop
    while loop.generation < loop.search.generations:
        loop.step()
        yield loop


def evolve(
    readout: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    seeds: Sequence[int],
    search: Search,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    noise: Sequence[float] | None = None,
    progress: bool = True,
    checkpoint: Callable[[State], object] | None = None,
    checkpoint_every: int = 10,
    resume: Mapping[str, Any] | None = None,
) -> Evolution:
    """Evolve one image for each row of a readout.

    Parameters
    ----------
    readout : Readout
        Rows to maximise: units, ablated units, neuron models.
    backbone, generator : Module
        Shared by all rows: images [n, 3, h, w] in 0..1 to features [n, feature]; codes to images.
        Neither is changed: the loop works on copies.
    seeds : sequence of int [row]
        Keys of the noise and of the starting code; equal seeds share both.
    search : Search
    device, dtype
        Where, and in which precision generator and backbone run. float32 is the default: without
        hardware for bfloat16 (AVX512-BF16, AMX, a GPU) that is slower, and ``certify`` should
        first show that it keeps the ranks. Final activations are float32 always.
    chunk : int, optional
        Images in one pass; see ``scoring.Scorer``. The default on a CPU makes each run's result
        independent, in every bit, of the rows it is batched with.
    noise : sequence of float [row], optional
        Standard deviation, in units of the activation, of Gaussian noise that is added to each
        response before candidates are compared; keyed on (seed, generation), so that runs of one
        seed share it. What is returned is free of noise; the default adds none.
    progress : bool
        Whether a search that takes long says what is done and left (`signseg_utils.progress`).
    checkpoint : callable, optional
        Called with ``Loop.state()`` (a flat dictionary of CPU tensors) every ``checkpoint_every``
        generations, but not after the last.
    resume : mapping, optional
        Such a state: the search continues from it and ends as if it had never stopped.

    Raises
    ------
    ValueError
        NaN or infinite activations (row label and generation are named), or a checkpoint of
        another search.
    """
    if checkpoint_every < 1:
        raise ValueError(f"expected checkpoint_every of at least 1; got {checkpoint_every}")
    loop = Loop(
        readout, backbone, generator, seeds, search,
        device=device, dtype=dtype, chunk=chunk, noise=noise,
    )
    if resume is not None:
        loop.load(resume)
    with Work(
        loop.images_planned, "images", f"{len(readout)} searches", there=loop.images_seen,
        fine=True, speaks=progress,
    ) as work:  # fmt: skip
        loop.scorer.after_pass = lambda: work.to(loop.images_seen)
        for _ in _steps(loop):
            due = loop.generation % checkpoint_every == 0
            if checkpoint is not None and due and loop.generation < search.generations:
                checkpoint(loop.state())
    return loop.result()
