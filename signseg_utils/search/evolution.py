"""The batched closed loop: ask, generate, look, score, tell, for all rows of a bank at once.

Ablated copies of a unit differ in their readout row only, so every run (unit x condition x seed)
shares one generator and one backbone. Runs that share a seed share their noise: differences
between conditions are paired.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.basics import registry
from signseg_utils.optimizers import response_noise
from signseg_utils.search import resuming
from signseg_utils.search.resuming import Resumable, State
from signseg_utils.search.scoring import Certificate, certify, rescore
from signseg_utils.units.readout import Readout

__all__ = ["Certificate", "Evolution", "Loop", "Search", "certify", "evolve", "iterate", "rescore"]


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


class Loop(Resumable):
    """A closed loop that can be stopped after any generation; see ``evolve`` for the arguments."""

    MADE_BY, STEP = "evolve", "generation"

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
        super().__init__(
            readout, backbone, generator, seeds, device=device, dtype=dtype, chunk=chunk
        )
        if noise is not None and not (
            len(noise) == len(readout) and all(0 <= s < float("inf") for s in noise)
        ):
            raise ValueError(
                f"expected noise as one standard deviation of 0 or more for each of the "
                f"{len(readout)} rows, in units of the activation; got {list(noise)}"
            )
        self.noise = None if noise is None else tuple(float(s) for s in noise)
        self.search = search
        sigma = generator.initial_sigma if search.sigma is None else search.sigma
        self.optimizer = registry.load("optimizers", search.optimizer)(
            self.start,
            float(sigma),  # type: ignore[arg-type]
            self.seeds,
            generations=search.generations,
            population=search.population,
        )
        rows, generations = len(readout), search.generations
        self.best_codes = self.start.clone()
        self.best_scores = torch.full((rows,), -torch.inf, device=self.scorer.device)
        self.best_heard = self.best_scores.clone()  # with noise; what decides
        self.trace = torch.full((rows, generations), torch.nan)
        self.mean_trace = torch.full((rows, generations), torch.nan)

    @property
    def generation(self) -> int:
        """Generations finished."""
        return int(self.optimizer.generation)

    @property
    def steps_done(self) -> int:
        return self.generation

    @property
    def steps_planned(self) -> int:
        return self.search.generations

    @property
    def images_planned(self) -> int:
        each = sum(self.optimizer.candidates(g) for g in range(self.search.generations))
        return len(self.readout) * each

    @torch.inference_mode()
    def step(self) -> None:
        """One generation of every run."""
        begun = time.perf_counter()
        codes = self.optimizer.ask()
        scores = self.scorer.scores(self.bank, codes)
        good = torch.isfinite(scores).all(dim=1)
        self.refuse(good, "activations", "candidates are ranked by them")
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

    def result(self) -> Evolution:
        """Round the best codes to float16, render them again and score them in float32."""
        return Evolution(
            **self.rounded(self.best_codes), trace=self.trace, mean_trace=self.mean_trace
        )

    def own_state(self) -> State:
        state = {
            "loop.best_codes": self.best_codes,
            "loop.best_scores": self.best_scores,
            "loop.best_heard": self.best_heard,
            "loop.trace": self.trace,
            "loop.mean_trace": self.mean_trace,
        }
        for name, value in self.optimizer.state_dict().items():
            state[f"optimizer.{name}"] = torch.as_tensor(value)
        return state

    def load_own(self, state: Mapping[str, Any]) -> None:
        device = self.scorer.device
        self.best_codes = state["loop.best_codes"].to(device).clone()
        self.best_scores = state["loop.best_scores"].to(device).clone()
        heard = state.get("loop.best_heard", self.best_scores)  # older checkpoints: no noise
        self.best_heard = heard.to(device).clone()
        self.trace = state["loop.trace"].clone()
        self.mean_trace = state["loop.mean_trace"].clone()
        prefix = "optimizer."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.optimizer.load_state_dict(own)

    def settings(self) -> dict[str, Any]:
        noisy = {} if self.noise is None else {"noise": list(self.noise)}
        return {
            **asdict(self.search),
            **noisy,
            "population": self.optimizer.population,
            "sigma": self.optimizer.initial_sigma,
        }


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
        readout,
        backbone,
        generator,
        seeds,
        search,
        device=device,
        dtype=dtype,
        chunk=chunk,
        noise=noise,
    )
    return resuming.steps(loop, resume)


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
        Whether a search that takes long says what is done and left
            (`signseg_utils.basics.progress`).
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
    loop = Loop(
        readout,
        backbone,
        generator,
        seeds,
        search,
        device=device,
        dtype=dtype,
        chunk=chunk,
        noise=noise,
    )
    resuming.run(
        loop,
        f"{len(readout)} searches",
        progress=progress,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    return loop.result()
