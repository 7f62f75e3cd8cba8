"""Signs of weights: balance of a unit's inputs, consistency of a unit's outputs, and the gauge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from scipy import stats
from torch import Tensor, nn

from signseg_utils.units.readout import Readout


def sign_ratio(weight: Tensor) -> Tensor:
    """Summed positive over summed magnitude of negative weights: ``[row, feature] -> [row]``.

    Near 1 for units of ImageNet networks (paper, Table 2). Infinite for a row without negative
    weights, NaN for a row of zeros.

    >>> sign_ratio(torch.tensor([[3.0, -1.0, -1.0]]))
    tensor([1.5000], dtype=torch.float64)
    """
    rows = weight.detach().flatten(1).double()
    return rows.clamp(min=0).sum(1) / (-rows).clamp(min=0).sum(1)


def dale_index(weight: Tensor, over: str = "outputs", groups: int = 1) -> Tensor:
    """Dale index ``max(p+, p-)``: share of the commoner sign, .5 (both alike) to 1 (one sign).

    Parameters
    ----------
    weight
        ``[output, input]`` of a linear layer or ``[output, input, height, width]`` of a
        convolution.
    over
        ``outputs``: one index for each presynaptic (input) unit, over its outgoing weights, which
        is what Dale's law is about; ``inputs``: one for each row, over its incoming weights.
    groups
        Of a grouped convolution.

    Notes
    -----
    Final version (ICLR 2026), section "Dale Index". Zero weights have no sign and are not counted;
    a unit with zero weights only gets NaN. The index of random signs is above .5, more so the fewer
    weights there are: compare with `expected_dale_index`.

    >>> dale_index(torch.tensor([[1.0, 1.0], [2.0, -1.0]]))  # the first input is excitatory only
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    if over not in ("outputs", "inputs"):
        raise ValueError(f"expected over to be 'outputs' or 'inputs'; got {over!r}")
    signs = weight.detach().flatten(2) if weight.ndim > 2 else weight.detach().unsqueeze(-1)
    if over == "outputs":
        by_filter = "(group reader) filter place -> (group filter) (reader place)"
        signs = rearrange(signs, by_filter, group=groups)
    else:
        signs = signs.flatten(1)
    positive = (signs > 0).sum(1).double()
    negative = (signs < 0).sum(1).double()
    return torch.maximum(positive, negative) / (positive + negative)


def negative_share(features: Tensor) -> Tensor:
    """Share of the summed magnitude of features [..., feature] that is below zero: ``[...]``.

    0 behind a ReLU or softplus; near .5 behind a Tanh.
    """
    values = features.double()
    return (-values).clamp(min=0).sum(-1) / values.abs().sum(-1)


def drive_through_negative(weight: Tensor, features: Tensor) -> Tensor:
    """Share of what drives a unit that comes from negative weights on negative features.

    Parameters
    ----------
    weight
        ``[..., feature]``, input weights of a unit.
    features
        ``[..., feature]``; leading dimensions broadcast.

    Returns
    -------
    Tensor
        ``[...]``: the products ``w_i f_i > 0`` with ``w_i < 0``, summed, over all products > 0.
        0 by arithmetic where no feature is negative; NaN where nothing drives the unit.
    """
    products = (weight.double() * features.double()).clamp(min=0)
    return (products * (weight < 0)).sum(-1) / products.sum(-1)


def expected_dale_index(weights: int) -> float:
    """Mean Dale index of ``weights`` independent signs, each positive with probability 1/2."""
    if weights < 1:
        raise ValueError(f"expected at least one weight; got {weights}")
    positive = np.arange(weights + 1)
    chance = stats.binom.pmf(positive, weights, 0.5)
    return float((chance * np.maximum(positive, weights - positive)).sum() / weights)


def centre(readout: Readout) -> Readout:
    """The readout in the class-mean-centred gauge; softmax probabilities do not change.

    One vector added to the weights of all classes leaves the softmax as it is, so which weights are
    negative is partly a choice of gauge. Here the mean over classes is subtracted from weights and
    biases. Centre the whole readout, then choose rows.
    """
    return Readout(
        readout.weight - readout.weight.mean(0, keepdim=True),
        readout.bias - readout.bias.mean(),
        readout.labels,
    )


@dataclass(frozen=True, eq=False)
class SignConsistency:
    """For each feature, how far the rows agree on the sign of its weight.

    Attributes
    ----------
    positive_share
        ``[feature]``, share of rows with a positive weight among those with a weight.
    p_value
        ``[feature]``, two-sided binomial test against 1/2, Bonferroni-corrected over features.
    sign
        ``[feature]``, 1 or -1 where ``p_value`` is below ``level``, else 0.
    level
        Of the test after correction.
    """

    positive_share: Tensor
    p_value: Tensor
    sign: Tensor
    level: float


def sign_consistency(weight: Tensor, level: float = 0.05) -> SignConsistency:
    """Features whose weight has one sign in most rows (paper, Fig. 18): ``[row, feature]``."""
    return consistency_of_counts((weight > 0).sum(0), (weight != 0).sum(0), level)


def consistency_of_counts(positive: Tensor, signed: Tensor, level: float = 0.05) -> SignConsistency:
    """`sign_consistency` from numbers of rows: with a positive weight, and with a weight at all.

    Parameters
    ----------
    positive, signed
        ``[..., feature]``; the correction is for the features, the last axis. Leading axes, such
        as shuffles, are in all parts of the result, too.
    """
    above, of = positive.cpu().numpy(), signed.cpu().numpy()
    features = above.shape[-1]
    tail = stats.binom.cdf(np.minimum(above, of - above), np.maximum(of, 1), 0.5)
    p_value = np.minimum(2 * tail, 1.0) * features
    p_value = np.where(of == 0, 1.0, np.minimum(p_value, 1.0))
    sign = np.sign(2 * above - of) * (p_value < level)
    share = np.divide(above, of, out=np.full(above.shape, np.nan), where=of > 0)
    return SignConsistency(
        torch.from_numpy(share), torch.from_numpy(p_value), torch.from_numpy(sign), level
    )


def layers(network: nn.Module) -> Iterator[tuple[str, Tensor, int]]:
    """Name, weight and groups of every convolution and linear layer, in order of definition."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            yield name, module.weight.detach(), module.groups
        elif isinstance(module, nn.Linear):
            yield name, module.weight.detach(), 1
