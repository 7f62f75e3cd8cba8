"""Noise keyed on (seed, generation): a run's draws depend on nothing else.

Philox is counter-based (Salmon et al. 2011, doi:10.1145/2063384.2063405), so generation k of a
run can be drawn without its past, in any batch, shard or process, and after any interruption.
"""

import numbers
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from signseg_utils.basics.draws import philox


def check_seeds(seeds: Sequence[int], runs: int) -> tuple[int, ...]:
    """Seeds as integers, one a run, each in [0, 2**64)."""
    for seed in seeds:
        if not isinstance(seed, numbers.Integral):
            raise ValueError(f"expected whole numbers as seeds; got {seed!r}; give such as 0, 1, 2")
    checked = tuple(int(seed) for seed in seeds)
    if len(checked) != runs:
        raise ValueError(
            f"expected one seed for each of the {runs} runs, because noise is keyed on it; "
            f"got {len(checked)} seeds; pass one a row (equal seeds share their noise)"
        )
    if any(not 0 <= seed < 2**64 for seed in checked):
        raise ValueError(
            "expected seeds in [0, 2**64), because they key a counter-based generator; "
            f"got {checked}"
        )
    return checked


def standard_normal(seed: int, generation: int, shape: tuple[int, ...]) -> Tensor:
    """Draws from N(0, 1) in float32, whatever dtype they are used in."""
    return torch.from_numpy(philox(seed, generation).standard_normal(shape, dtype=np.float32))


def response_noise(seed: int, generation: int, candidates: int) -> Tensor:
    """Draws [candidate] from N(0, 1) for the responses of a run: a stream beside that of its codes.

    The key is that of the codes' noise; the counter begins 2**192 blocks later.
    """
    key = np.array([seed, generation], dtype=np.uint64)
    stream = np.random.Philox(key=key, counter=np.array([0, 0, 0, 1], dtype=np.uint64))
    return torch.from_numpy(np.random.Generator(stream).standard_normal(candidates, np.float32))


class SharedNoise:
    """Noise of one generation for many runs, drawn once for each distinct seed.

    Conditions of one unit share seeds (common random numbers), so a batch holds far fewer
    distinct draws than runs.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.distinct = tuple(dict.fromkeys(seeds))
        place = {seed: index for index, seed in enumerate(self.distinct)}
        self.which = torch.tensor([place[seed] for seed in seeds], dtype=torch.long)
        self.draws: Tensor | None = None

    def draw(
        self, generation: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> None:
        """Draw ``[distinct seed, *shape]`` ~ N(0, I) for this generation."""
        draws = torch.stack([standard_normal(seed, generation, shape) for seed in self.distinct])
        self.draws = draws.to(device=device, dtype=dtype)
        self.which = self.which.to(device)

    def take(self, runs: slice = slice(None), candidates: Tensor | None = None) -> Tensor:
        """Draws of these runs, all candidates, or only one chosen candidate in each run."""
        assert self.draws is not None
        which = self.which[runs]
        return self.draws[which] if candidates is None else self.draws[which, candidates]
