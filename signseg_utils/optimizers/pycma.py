"""The ``cma`` package (Hansen et al., doi:10.5281/zenodo.2559634), one run at a time: a reference.

Full covariance, so time and memory grow with the square of the code size and more.
"""

import math
from collections.abc import Mapping
from typing import Any

import cma
import numpy as np
import torch
from torch import Tensor

from signseg_utils.basics.draws import philox
from signseg_utils.optimizers._base import Optimizer


class PyCMA(Optimizer):
    """``cma.CMAEvolutionStrategy`` for each run, with noise keyed on (seed, generation).

    Its state is the history of scores, which is replayed on loading: the package itself can only
    be pickled.
    """

    @staticmethod
    def default_population(code_size: int) -> int:
        """lambda = 4 + floor(3 ln n), the default of the package."""
        return 4 + math.floor(3 * math.log(code_size))

    def _start(self) -> None:
        if self.code_size < 2:
            raise ValueError("expected codes of at least 2 numbers, because cma takes no fewer")
        self.history: list[Tensor] = []
        self.strategies = [
            cma.CMAEvolutionStrategy(
                start.double().cpu().numpy(),
                self.initial_sigma,
                {
                    "popsize": self.population,
                    "randn": self._draws_of(seed),
                    "seed": np.nan,  # leaves numpy's global generator alone
                    "verbose": -9,
                },
            )
            for start, seed in zip(self.initial, self.seeds, strict=True)
        ]

    def _draws_of(self, seed: int) -> Any:
        """Stand-in for numpy.random.randn: one Philox stream for each generation."""
        streams: dict[int, np.random.Generator] = {}

        def draw(*shape: int) -> np.ndarray:
            if self.generation not in streams:
                streams.clear()
                streams[self.generation] = philox(seed, self.generation)
            return streams[self.generation].standard_normal(shape)

        return draw

    def _sample(self) -> Tensor:
        self._candidates = [strategy.ask() for strategy in self.strategies]
        return torch.from_numpy(np.array(self._candidates)).to(self.initial)

    def _update(self, scores: Tensor, order: Tensor) -> None:
        losses = -scores.double().cpu()
        runs = zip(self.strategies, self._candidates, losses.tolist(), strict=True)
        for strategy, candidates, loss in runs:
            strategy.tell(candidates, loss)
        self.history.append(-losses)

    def state_dict(self) -> dict[str, Tensor | int | float]:
        told = torch.zeros((self.runs, 0, self.population), dtype=torch.float64)
        if self.history:
            told = torch.stack(self.history, dim=1)
        return super().state_dict() | {"told": told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.generation = 0
        self._start()
        for scores in state["told"].unbind(dim=1):
            self.ask()
            self.tell(scores)


PLUGIN = PyCMA
