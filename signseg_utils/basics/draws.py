"""Random draws that come out alike on every machine: of NumPy, never of PyTorch.

What PyTorch draws depends on the instruction set of the processor, so nothing that ships, that an
audit makes again or that a chapter computes may rest on it. Two streams are here:

- `normal`, `uniform`, `coins` and `order` draw from Philox, which is counter-based (Salmon et al.
  2011, doi:10.1145/2063384.2063405): a draw is named by its seed and its stream and needs no past.
- `Twister` is for what began with PyTorch: weights that were trained from, codes that searches set
  out from, orders of images. It takes the same words from the Mersenne Twister (Matsumoto and
  Nishimura 1998, doi:10.1145/272991.272995) and makes numbers of them as PyTorch does, but in
  double precision, rounded once. So the same seed still names the same network.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Made = TypeVar("Made")

_FEWEST = 16  # normal draws come in groups of so many
_PART = 2**20  # drawn at once: a layer can have 100 million weights


def philox(seed: int, stream: int = 0) -> np.random.Generator:
    """The generator of one stream of one seed, both in [0, 2**64)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))


def normal(shape: int | Sequence[int], seed: int, stream: int = 0) -> Tensor:
    """Draws from N(0, 1), float32."""
    return torch.from_numpy(np.asarray(philox(seed, stream).standard_normal(shape))).float()


def uniform(shape: int | Sequence[int], seed: int, stream: int = 0) -> Tensor:
    """Draws from 0 to below 1, float32: multiples of 2**-24."""
    drawn = philox(seed, stream).integers(2**24, size=shape, dtype=np.uint32)
    return torch.from_numpy(np.asarray(drawn).astype(np.float32)) * 2.0**-24


def coins(shape: int | Sequence[int], seed: int, stream: int = 0) -> Tensor:
    """Tossed coins, -1 or 1, float32."""
    drawn = philox(seed, stream).integers(2, size=shape, dtype=np.uint32)
    return torch.from_numpy(np.asarray(drawn).astype(np.float32)) * 2 - 1


def order(count: int, seed: int, stream: int = 0) -> Tensor:
    """The numbers below ``count`` in random order, int64."""
    return torch.from_numpy(philox(seed, stream).permutation(count))


class Twister:
    """A stream of draws, each of which goes on where the last one ended.

    Methods are those of PyTorch by name and give its numbers: integers and numbers in 0..1 exactly,
    normal ones but for its rounding, of which each processor has its own.

    Parameters
    ----------
    seed
        As of ``torch.manual_seed``; its lower 32 bits count.
    """

    def __init__(self, seed: int) -> None:
        self._source = np.random.RandomState(seed % 2**32)  # frozen for good (NEP 19)

    def words(self, count: int) -> np.ndarray:
        """The next words of 32 bits, as int64."""
        return self._source.randint(0, 2**32, count, dtype=np.uint32).astype(np.int64)

    def rand(self, *shape: int) -> Tensor:
        """Draws from 0 to below 1, float32."""
        return torch.from_numpy(self._shares(shape)).float()

    def randint(self, low: int, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Integers from ``low`` to below ``high``, int64."""
        drawn = low + self.words(int(np.prod(shape))) % (high - low)
        return torch.from_numpy(drawn.reshape(shape))

    def randperm(self, count: int) -> Tensor:
        """The numbers below ``count`` in random order, int64."""
        found = list(range(count))
        ahead = self.words(max(0, count - 1)) % np.arange(count, 1, -1)
        for here, step in enumerate(ahead.tolist()):
            found[here], found[here + step] = found[here + step], found[here]
        return torch.tensor(found, dtype=torch.long)

    def randn(self, *shape: int) -> Tensor:
        """Draws from N(0, 1), float32, by Box and Muller's formula over groups of sixteen."""
        size = int(np.prod(shape))
        shares = self._shares((max(size, _FEWEST),))
        whole = len(shares) // _FEWEST * _FEWEST
        drawn = np.empty(len(shares))
        drawn[:whole] = _normal(shares[:whole])
        if whole < len(shares):  # the last sixteen anew
            drawn[-_FEWEST:] = _normal(self._shares((_FEWEST,)))
        return torch.from_numpy(drawn[:size].reshape(shape)).float()

    def between(self, low: float, high: float, shape: Sequence[int]) -> Tensor:
        """Draws from ``low`` to below ``high``, float32."""
        start, stop = np.float32(low), np.float32(high)
        width, size = np.float64(stop - start), int(np.prod(shape))
        found = np.empty(size, np.float32)
        for first in range(0, size, _PART):
            part = slice(first, min(size, first + _PART))
            found[part] = self._shares((part.stop - first,)) * width + np.float64(start)
        return torch.from_numpy(found.reshape(tuple(shape)))

    def _shares(self, shape: tuple[int, ...]) -> np.ndarray:
        """Multiples of 2**-24 from 0 to below 1, float64."""
        return (self.words(int(np.prod(shape))) % 2**24 * 2.0**-24).reshape(shape)


def _normal(shares: np.ndarray) -> np.ndarray:
    """Of each sixteen, the first eight give lengths and the others angles."""
    length, angle = shares.reshape(-1, 2, _FEWEST // 2).transpose(1, 0, 2)
    length, angle = np.sqrt(-2 * np.log(1 - length)), 2 * np.pi * angle
    return np.stack([length * np.cos(angle), length * np.sin(angle)], 1).ravel()


class _InPlaceOfTorch(TorchDispatchMode):
    """Fills tensors that modules ask PyTorch to fill at random, and refuses other draws."""

    def __init__(self, source: Twister) -> None:
        super().__init__()
        self.source = source

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if name == "uniform_":
            tensor, low, high = _with_defaults(args, (0.0, 1.0))
            return tensor.copy_(self.source.between(low, high, tensor.shape))
        if name == "normal_":
            tensor, mean, deviation = _with_defaults(args, (0.0, 1.0))
            return tensor.copy_(self.source.randn(*tensor.shape) * deviation + mean)
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise NotImplementedError(
                "expected modules to be filled by uniform_ or normal_, which NumPy draws for "
                f"them; got {function}; add it to signseg_utils.basics.draws.made"
            )
        return function(*args, **(kwargs or {}))


def _with_defaults(args: tuple[Any, ...], defaults: tuple[float, ...]) -> tuple[Any, ...]:
    """A tensor and what follows it, the last of which calls may leave out."""
    return (*args, *defaults[len(args) - 1 :])


def made(build: Callable[[], Made], seed: int) -> Made:
    """What ``build`` makes, such as a module, its random weights drawn by `Twister`.

    Weights are drawn in the order in which ``build`` asks for them. PyTorch's own stream is
    neither used nor moved on.

    Raises
    ------
    NotImplementedError
        If something else than ``uniform_`` and ``normal_`` asks PyTorch for random numbers.
    """
    with _InPlaceOfTorch(Twister(seed)):
        return build()
