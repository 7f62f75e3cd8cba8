"""Ablate the inputs of readout rows by sign and cumulative magnitude.

With the weights of one sign sorted by decreasing magnitude, an ablation of strength alpha sets the
first k of them to zero, where k follows from ``sum_{i<=k} |w_i| / sum_i |w_i|`` and alpha
(paper, section 3 "Ablation"). The submission's section 3 takes the largest k whose share does not
exceed alpha, its appendix A.1 and the final version (ICLR 2026) the smallest k whose share reaches
it; both are here.

With non-negative features, ``alpha = 1`` of the positive sign bounds the score by the bias: that
the maximum activation falls is then arithmetic, the images are the finding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from signseg_utils.basics.registry import unknown
from signseg_utils.units.readout import Readout

SIGNS = ("none", "positive", "negative", "random_magnitude", "random_count")
RANDOM_SIGNS = ("random_magnitude", "random_count")
RULES = ("smallest", "largest")

# Relative tolerance on cumulative magnitudes: far above the rounding of a float64 sum of float32
# weights, far below the share of any weight that matters. .1 + .2 and .3 ablate alike.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Ablation:
    """What to remove from a readout row.

    Attributes
    ----------
    sign
        ``none`` (intact), ``positive``, ``negative``; or a control that takes weights of either
        sign in random order: ``random_magnitude`` until as much magnitude is gone as the ablation
        of ``reference`` removes, ``random_count`` until as many weights are gone.
    alpha
        Share of the sign's summed magnitude to remove, 0 to 1. 0 is the identity, 1 removes the
        sign whole.
    rule
        ``smallest``: fewest weights whose share reaches alpha. ``largest``: most weights whose
        share does not exceed alpha.
    reference
        The sign that a random control is matched to.
    seed
        Of the random controls; other ablations ignore it.
    """

    sign: str = "none"
    alpha: float = 0.0
    rule: str = "smallest"
    reference: str = "positive"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise ValueError(unknown("sign", self.sign, SIGNS))
        if self.rule not in RULES:
            raise ValueError(unknown("rule", self.rule, RULES))
        if self.reference not in ("positive", "negative"):
            raise ValueError(unknown("reference sign", self.reference, ("positive", "negative")))
        if not 0.0 <= self.alpha <= 1.0:  # NaN fails too
            raise ValueError(
                "expected alpha in [0, 1], because it is the share of the summed magnitude of one "
                f"sign; got {self.alpha}; use 1 to remove the sign whole"
            )
        if self.seed < 0:
            raise ValueError(f"expected a seed of 0 or more; got {self.seed}")
        if self.sign == "none" and self.alpha > 0:
            raise ValueError(
                f"expected alpha 0 with sign 'none', because nothing is removed; got {self.alpha}; "
                "name the sign to ablate"
            )

    @property
    def intact(self) -> bool:
        """Whether nothing is removed."""
        return self.alpha == 0

    @property
    def label(self) -> str:
        """Short name: ``intact``, ``positive 0.5``, ``random_magnitude 0.5 of negative``."""
        if self.intact:
            return "intact"
        name = f"{self.sign} {self.alpha:g}"
        if self.sign in RANDOM_SIGNS and self.reference != "positive":
            name += f" of {self.reference}"
        if self.sign in RANDOM_SIGNS and self.seed != 0:
            name += f" seed {self.seed}"
        return name


def conditions(
    signs: Sequence[str],
    alphas: Sequence[float],
    *,
    rule: str = "smallest",
    reference: str = "positive",
    seed: int = 0,
) -> tuple[Ablation, ...]:
    """The conditions of a sweep: intact once and first, then each sign with each alpha above 0.

    >>> [condition.label for condition in conditions(["positive", "negative"], [0, 0.5, 1])]
    ['intact', 'positive 0.5', 'positive 1', 'negative 0.5', 'negative 1']
    """
    for sign in signs:
        if sign not in SIGNS:
            raise ValueError(unknown("sign", sign, SIGNS))
    swept = (
        Ablation(sign, float(alpha), rule, reference, seed)
        for sign in signs
        for alpha in alphas
        if sign != "none" and alpha != 0
    )
    return tuple(dict.fromkeys((Ablation(rule=rule, reference=reference, seed=seed), *swept)))


def ablated_mask(weight: Tensor, ablation: Ablation, labels: Sequence[str] | None = None) -> Tensor:
    """Which weights an ablation removes.

    Parameters
    ----------
    weight
        ``[row, feature]`` or one row ``[feature]``.
    labels
        One for each row; the random controls need them, because a row's random order is drawn from
        ``(seed, label)`` and so does not depend on which other rows are in the bank.

    Returns
    -------
    Tensor
        Boolean, shaped like ``weight``; True where the weight goes. A row without weights of the
        sign loses nothing; zero weights are never counted.
    """
    rows = weight.detach().reshape(-1, weight.shape[-1]).to("cpu", torch.float64)
    if not torch.isfinite(rows).all():
        bad = (~torch.isfinite(rows).all(1)).nonzero().flatten().tolist()
        raise ValueError(f"expected finite weights; got NaN or infinity in rows {bad}")
    if ablation.intact:
        mask = torch.zeros_like(rows, dtype=torch.bool)
    elif ablation.sign in RANDOM_SIGNS:
        mask = _random_mask(rows, ablation, labels)
    else:
        mask = _sign_mask(rows, ablation.sign, ablation.alpha, ablation.rule)
    return mask.reshape(weight.shape).to(weight.device)


def ablate(readout: Readout, ablation: Ablation) -> Readout:
    """The bank with the ablated weights set to zero; biases and labels are kept.

    >>> unit = Readout(torch.tensor([[4.0, -2.0, 3.0, 1.0, -6.0]]), torch.zeros(1), ("cat",))
    >>> ablate(unit, Ablation("positive", alpha=0.5)).weight  # 4 of 8: half is reached
    tensor([[ 0., -2.,  3.,  1., -6.]])
    """
    mask = ablated_mask(readout.weight, ablation, readout.labels)
    return Readout(readout.weight.masked_fill(mask, 0.0), readout.bias, readout.labels)


def removed(readout: Readout, ablation: Ablation) -> tuple[Tensor, Tensor]:
    """How many weights, and how much summed magnitude, an ablation removes: two ``[row]``.

    >>> unit = Readout(torch.tensor([[4.0, -2.0, 3.0, 1.0, -6.0]]), torch.zeros(1), ("cat",))
    >>> count, magnitude = removed(unit, Ablation("negative", alpha=1))
    >>> int(count), float(magnitude)
    (2, 8.0)
    """
    mask = ablated_mask(readout.weight, ablation, readout.labels)
    return mask.sum(1), (readout.weight.double().abs() * mask).sum(1)


def _sign_mask(rows: Tensor, sign: str, alpha: float, rule: str) -> Tensor:
    """Mask of the largest weights of one sign, by cumulative magnitude."""
    chosen = rows > 0 if sign == "positive" else rows < 0
    if alpha == 1:
        return chosen
    magnitude = rows.abs() * chosen
    ordered, order = magnitude.sort(dim=1, descending=True, stable=True)
    target = alpha * magnitude.sum(1, keepdim=True)
    taken = _first(ordered, target, rule) & (ordered > 0)
    return torch.zeros_like(chosen).scatter(1, order, taken)


def _random_mask(rows: Tensor, ablation: Ablation, labels: Sequence[str] | None) -> Tensor:
    """Mask of weights of either sign in random order, matched to the reference sign."""
    if labels is None or len(labels) != len(rows):
        raise ValueError(
            f"expected {len(rows)} labels, because a random control is drawn for each label; "
            f"got {None if labels is None else len(labels)}"
        )
    matched = _sign_mask(rows, ablation.reference, ablation.alpha, ablation.rule)
    order = _random_order(labels, rows.shape[1], ablation.seed)
    magnitude = rows.abs().gather(1, order)
    present = magnitude > 0
    if ablation.sign == "random_count":
        count = matched.sum(1, keepdim=True)
        taken = present & (present.cumsum(1) <= count)
    else:
        target = (rows.abs() * matched).sum(1, keepdim=True)
        taken = present & _first(magnitude, target, ablation.rule)
    return torch.zeros_like(matched).scatter(1, order, taken)


def _first(ordered: Tensor, target: Tensor, rule: str) -> Tensor:
    """True for the first k columns, k by the rule on the cumulative magnitude and the target."""
    cumulative = ordered.cumsum(1)
    if rule == "largest":  # most weights with sum <= target
        return cumulative <= target * (1 + _TOLERANCE)
    before = torch.zeros_like(cumulative)
    before[:, 1:] = cumulative[:, :-1]
    return before < target * (1 - _TOLERANCE)  # one more is taken while the target is not reached


def _random_order(labels: Sequence[str], features: int, seed: int) -> Tensor:
    """A permutation of the features for each row, drawn from ``(seed, label)``: Philox."""
    orders = [
        np.random.Generator(np.random.Philox(key=[seed, _hash(label)])).permutation(features)
        for label in labels
    ]
    return torch.from_numpy(np.stack(orders)) if orders else torch.empty(0, features).long()


def _hash(label: str) -> int:
    """64 bits of a label, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(str(label).encode(), digest_size=8).digest(), "little")
