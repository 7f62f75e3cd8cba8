"""Random search: every candidate is a fresh draw around the initial code; nothing is learned.

x = m_0 + sigma_0 z,  z ~ N(0, I)                                                            (1)
"""

import math

from torch import Tensor

from signseg_utils.optimizers._base import Optimizer


class RandomSearch(Optimizer):
    """The floor that an evolution strategy has to leave behind at the same budget."""

    @staticmethod
    def default_population(code_size: int) -> int:
        """4 + floor(3 ln n), as most evolution strategies; how draws are cut changes little."""
        return 4 + math.floor(3 * math.log(code_size))

    def _start(self) -> None:
        pass

    def _sample(self) -> Tensor:
        shape = (self.population, self.code_size)
        self.noise.draw(self.generation, shape, self.dtype, self.device)
        return self.initial[:, None] + self.initial_sigma * self.noise.take()  # (1)

    def _update(self, scores: Tensor, order: Tensor) -> None:
        pass


PLUGIN = RandomSearch
