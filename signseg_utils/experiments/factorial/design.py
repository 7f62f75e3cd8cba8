"""Nine factors at two levels in 64 networks: 2^(9-3), resolution IV.

Six factors run through all 64 combinations; each of the other three is the product of four of
them. Every main effect is then orthogonal to all other main effects and to every interaction of
two factors. Interactions of two factors are told apart as well, but for those of one set of four
factors (A, D, G, H), which are confounded in three pairs: ADGH is the only word of four letters in
the defining relation, and 2^(9-3) designs have no fewer.

Box, Hunter & Hunter, Statistics for Experimenters, 2nd ed. 2005, chapter 6 (Table 6.22); Fries &
Hunter 1980, Technometrics 22(4), on fewest short words (minimum aberration).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np


class Factor(NamedTuple):
    """What is varied: ``low`` is written -1, ``high`` +1. ``words`` say what high has more of."""

    letter: str
    name: str
    low: Any
    high: Any
    words: str


FACTORS = (
    Factor("A", "classes", 12, 36, "36 classes rather than 12"),
    Factor("B", "empty", 0.0, 0.15, "15 % of images without an object rather than none"),
    Factor("C", "context", 0.0, 0.9, "backgrounds that go with the class rather than any"),
    Factor("D", "hues", "shared", "own", "a hue for each class rather than three for all"),
    Factor("E", "loss", "softmax", "one_vs_rest", "one-vs-rest loss rather than softmax"),
    Factor("F", "optimizer", "sgd", "adamw", "AdamW rather than SGD"),
    Factor("G", "features", 24, 96, "96 features rather than 24"),
    Factor("H", "epochs", 4, 8, "8 epochs of training rather than 4"),
    Factor("J", "dale", False, True, "a readout under Dale's law rather than free signs"),
)
BASIC = "ABCDEF"
GENERATORS = {"G": "ACEF", "H": "CDEF", "J": "ABCD"}

IMAGES = 10_000  # that each network learns from

# Classes that every world has, two of each hue.
UNITS = "red disc,green square,blue triangle,red star,green ring,blue cross"

VERSION = 2  # raise by hand when a change of worlds or training makes other networks of a setting


@dataclass(frozen=True)
class Setting:
    """One network of the experiment: a row of the design, and what all rows share.

    Attributes
    ----------
    row
        Of the design, 0 to 63.
    classes, empty, context, hues, loss, optimizer, features, epochs, dale
        Levels of the factors, see `FACTORS`.
    images
        Images that it learns from; a fifth as many say how good it is.
    replicate
        0, 1, ...: further networks of the same row.
    """

    row: int
    classes: int
    empty: float
    context: float
    hues: str
    loss: str
    optimizer: str
    features: int
    epochs: int
    dale: bool = False
    images: int = IMAGES
    replicate: int = 0

    @property
    def seed(self) -> int:
        """Of images, initial weights and order: no two networks share any of these."""
        return 1000 * self.replicate + self.row

    @property
    def key(self) -> str:
        """Name of its files: readable, and different for different settings."""
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"run-{self.row:02d}-{self.replicate}-{digest}"


def columns(basic: str = BASIC, generators: Mapping[str, str] = GENERATORS) -> np.ndarray:
    """The design ``[row, factor]`` of -1 and +1; the first basic factor changes fastest.

    Raises
    ------
    ValueError
        If a generator names a factor that is not basic.
    """
    rows = np.arange(2 ** len(basic))
    found = {letter: 2 * (rows >> place & 1) - 1 for place, letter in enumerate(basic)}
    for letter, word in generators.items():
        if not set(word) <= set(basic):
            raise ValueError(
                f"expected a generator of basic factors ({basic}), because the others are made "
                f"from them; got {letter} = {word}; name basic ones only"
            )
        found[letter] = np.prod([found[one] for one in word], axis=0)
    return np.stack(list(found.values()), axis=1)


def levels(row: int) -> dict[str, Any]:
    """Level of each factor in one row of the design."""
    chosen = columns()[row]
    return {
        factor.name: factor.high if sign > 0 else factor.low
        for factor, sign in zip(FACTORS, chosen, strict=True)
    }


def settings(images: int = IMAGES, replicates: int = 1) -> tuple[Setting, ...]:
    """All networks of the experiment, row by row, replicate after replicate."""
    if images < 128 or replicates < 1:
        raise ValueError(
            "expected images of 128 or more, for there must be batches to learn from, and "
            f"replicates of 1 or more; got {images} and {replicates}"
        )
    return tuple(
        Setting(row, **levels(row), images=images, replicate=replicate)
        for replicate in range(replicates)
        for row in range(len(columns()))
    )


def aliases(
    basic: str = BASIC, generators: Mapping[str, str] = GENERATORS
) -> list[tuple[str, ...]]:
    """Two-factor interactions by what the design can tell: alone, or as a string such as AD, GH."""
    design = columns(basic, generators)
    letters = [*basic, *generators]
    strings: dict[tuple[int, ...], list[str]] = {}
    for first, second in combinations(range(len(letters)), 2):
        product = design[:, first] * design[:, second]
        product = product * product[0]  # the same contrast, whichever its sign
        strings.setdefault(tuple(product.tolist()), []).append(letters[first] + letters[second])
    return [tuple(names) for names in strings.values()]
