"""What all optimisers share: the checked ask/tell boundary, state, sums in a fixed order."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from signseg_utils.basics.refusals import UnknownName
from signseg_utils.optimizers._noise import SharedNoise, check_seeds

BLOCK_ELEMENTS = {"cpu": 2**18, "cuda": 2**26}  # numbers worked on at once: cache, launch overhead


def ordered_sum(values: Tensor) -> Tensor:
    """Sum over the last dimension, pairwise, in an order that its length alone fixes.

    Library reductions and matrix products may choose another order for another batch size; then
    a run alone and the same run in a batch would differ in the last bit and, within tens of
    generations, in everything. Elementwise sums cannot.
    """
    while values.shape[-1] > 1:
        half = (values.shape[-1] + 1) // 2
        rest = values.shape[-1] - half
        folded = values[..., :half].clone()
        folded[..., :rest] += values[..., half:]
        values = folded
    return values[..., 0]


def norms(vectors: Tensor) -> Tensor:
    """Euclidean norms over the last dimension in float64, on the CPU."""
    return ordered_sum(vectors * vectors).double().cpu().sqrt()


def pointwise(function: Any, values: Tensor) -> Tensor:
    """A function of the math module applied to a small float64 tensor.

    Vectorised exponentials may differ in the last bit with the place in the array; these do not.
    """
    flat = [function(value) for value in values.double().reshape(-1).tolist()]
    return torch.tensor(flat, dtype=torch.float64).reshape(values.shape)


class Optimizer(ABC):
    """Many independent runs of one evolution strategy; maximises.

    Parameters
    ----------
    initial : Tensor [run, code]
        Starting code of each run; its dtype (float32 or float64) and device are used throughout.
    sigma : float
        Initial step size, in units of the code.
    seeds : sequence of int [run]
        Runs with equal seeds share their noise (common random numbers).
    generations : int
        Planned number of ask/tell rounds; schedules are laid out over it.
    population : int, optional
        Candidates in each generation; the method's own default otherwise.

    Notes
    -----
    The arithmetic of a run depends on neither the number nor the content of the other runs: its
    codes are bit-identical alone and in any batch.
    """

    state_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        initial: Tensor,
        sigma: float,
        seeds: Sequence[int],
        *,
        generations: int,
        population: int | None = None,
    ) -> None:
        if initial.ndim != 2 or min(initial.shape) < 1:
            raise ValueError(
                "expected initial codes of shape [run, code], because runs are batched; "
                f"got {tuple(initial.shape)}; use code[None] for one run"
            )
        if initial.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                "expected float32 or float64 codes, because paths accumulate over generations; "
                f"got {initial.dtype}; convert with .float()"
            )
        if not torch.isfinite(initial).all():
            bad = (~torch.isfinite(initial).all(dim=1)).nonzero().flatten().tolist()
            raise ValueError(f"expected finite initial codes; got NaN or infinity in runs {bad}")
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"expected sigma > 0, because it is the step size; got {sigma}")
        if generations < 1:
            raise ValueError(f"expected at least one generation; got {generations}")
        self.runs, self.code_size = initial.shape
        population = self.default_population(self.code_size) if population is None else population
        if population < 4:
            raise ValueError(
                "expected a population of at least 4, because half of it is recombined; "
                f"got {population}"
            )
        self.population = int(population)
        self.generations = int(generations)
        self.generation = 0
        self.initial_sigma = float(sigma)
        self.initial = initial.detach().clone()
        self.seeds = check_seeds(seeds, self.runs)
        self.noise = SharedNoise(self.seeds)
        self._asked = 0
        self._start()

    @staticmethod
    @abstractmethod
    def default_population(code_size: int) -> int:
        """Candidates in a generation for codes of this size."""

    @abstractmethod
    def _start(self) -> None:
        """Set the state of generation 0."""

    @abstractmethod
    def _sample(self) -> Tensor:
        """Candidates [run, candidate, code] of this generation."""

    @abstractmethod
    def _update(self, scores: Tensor, order: Tensor) -> None:
        """Move on, given scores [run, candidate] and their order, best first."""

    def candidates(self, generation: int) -> int:
        """Candidates asked for in this generation."""
        return self.population

    @property
    def device(self) -> torch.device:
        """Where the codes are kept and moved."""
        return self.initial.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the codes."""
        return self.initial.dtype

    def ask(self) -> Tensor:
        """Candidates [run, candidate, code] to be scored in this generation."""
        candidates = self._sample()
        self._asked = candidates.shape[1]
        return candidates

    def tell(self, scores: Tensor) -> None:
        """Scores [run, candidate] of the candidates last asked for; larger is better."""
        if not self._asked:
            raise RuntimeError(
                "expected ask() before tell(), because scores belong to asked candidates; "
                f"got tell() twice in generation {self.generation}; call ask() first"
            )
        if tuple(scores.shape) != (self.runs, self._asked):
            raise ValueError(
                f"expected scores of shape {(self.runs, self._asked)}, one for each candidate; "
                f"got {tuple(scores.shape)}"
            )
        bad = torch.isnan(scores).any(dim=1).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                "expected scores that can be ranked; got NaN in generation "
                f"{self.generation}, runs {bad}; look for the NaN in the code, image or network"
            )
        scores = scores.detach().to(self.device)
        order = torch.argsort(scores, dim=1, descending=True, stable=True)
        self._update(scores, order)
        self._asked = 0
        self.generation += 1

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Everything that the next generation depends on; taken after tell()."""
        state: dict[str, Tensor | int | float] = {
            name: getattr(self, name).clone() for name in self.state_names
        }
        return state | {
            "generation": self.generation,
            "population": self.population,
            "seeds_high": torch.tensor([seed >> 32 for seed in self.seeds]),
            "seeds_low": torch.tensor([seed & 0xFFFFFFFF for seed in self.seeds]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()`` of an optimiser made with the same arguments."""
        own = self.state_dict()
        for name in own:
            if name not in state:
                raise UnknownName(
                    f"expected {name!r} in the state of {type(self).__name__}; missing"
                )
        if int(state["population"]) != self.population:
            raise ValueError(
                f"expected a state with population {self.population}; got "
                f"{int(state['population'])}; make the optimiser with the population of the state"
            )
        for name in ("seeds_high", "seeds_low"):
            if not torch.equal(state[name].cpu(), own[name]):  # type: ignore[arg-type]
                raise ValueError(
                    "expected a state of the same seeds, because noise is keyed on them; "
                    "got others; make the optimiser with the seeds of the state"
                )
        for name in self.state_names:
            mine = getattr(self, name)
            if state[name].shape[:1] != mine.shape[:1] or state[name].dtype != mine.dtype:
                raise ValueError(
                    f"expected {name} like {tuple(mine.shape)} {mine.dtype}; "
                    f"got {tuple(state[name].shape)} {state[name].dtype}"
                )
            setattr(self, name, state[name].to(mine.device).clone())
        self.generation = int(state["generation"])
        self._asked = 0

    def _blocks(self) -> Iterator[slice]:
        """Slices of runs that fit in cache; how they are cut does not change any number."""
        limit = BLOCK_ELEMENTS["cpu" if self.device.type == "cpu" else "cuda"]
        step = max(1, limit // (self.population * self.code_size))
        return (slice(i, min(i + step, self.runs)) for i in range(0, self.runs, step))

    def _like_codes(self, values: Tensor) -> Tensor:
        """Small float64 results, ready to scale codes."""
        return values.to(device=self.device, dtype=self.dtype)

    def _recombine(self, weights: Sequence[float], order: Tensor) -> Tensor:
        """Weighted sum [run, code] of the draws of the best candidates, best first."""
        total = torch.zeros_like(self.initial)
        for weight, candidates in zip(weights, order.T, strict=False):
            total = total + weight * self.noise.take(candidates=candidates)
        return total


def log_weights(parents: int, offset: float) -> list[float]:
    """Recombination weights ln(offset) - ln(i), i = 1..parents, normalised to sum one.

    With an offset of (lambda + 1) / 2 those of Hansen's tutorial, arXiv:1604.00772, eq. 49.
    """
    raw = [math.log(offset) - math.log(i) for i in range(1, parents + 1)]
    return [value / math.fsum(raw) for value in raw]


def effective(weights: Sequence[float]) -> float:
    """Variance-effective number of parents, 1 / sum w^2 (arXiv:1604.00772, eq. 8)."""
    return 1 / math.fsum(weight**2 for weight in weights)


def expected_norm(code_size: int) -> float:
    """E|N(0, I)|, approximated (Hansen & Ostermeier 2001, doi:10.1162/106365601750190398)."""
    n = code_size
    return math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
