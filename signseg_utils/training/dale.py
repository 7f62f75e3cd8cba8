"""Dale's law in training: the outgoing weights of each feature of a readout keep one sign.

Half of the features excite and half inhibit, drawn at the start. After each step, weights that
have crossed zero are put back to it, which is projected gradient descent onto the weights that
obey. The columns of recurrent networks are constrained alike, by rectification, in Song, Yang &
Wang 2016 (doi:10.1371/journal.pcbi.1004792). Cornford et al. 2021
(https://openreview.net/forum?id=eU776ZYxEpz) find that constraining the columns of a network costs
learning, and give inhibitory units between layers a form of their own that costs none; a readout
alone has no room for those.
"""

import torch
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.basics.refusals import BadValue


def half_and_half(features: int, seed: int) -> Tensor:
    """Sign of each feature, [feature] of -1 and +1: half of them each, in an order drawn.

    Raises
    ------
    BadValue
        If ``features`` is odd or below 2.
    """
    if features < 2 or features % 2:
        raise BadValue(
            "expected an even number of features, because half of them excite and half inhibit; "
            f"got {features}"
        )
    signs = torch.ones(features)
    signs[draws.order(features, seed)[: features // 2]] = -1.0
    return signs


@torch.no_grad()
def begin(readout: nn.Linear, signs: Tensor) -> None:
    """Give initial weights ``[class, feature]`` the signs of their features, at equal magnitude."""
    readout.weight.copy_(readout.weight.abs() * signs)


@torch.no_grad()
def project(readout: nn.Linear, signs: Tensor) -> None:
    """The nearest weights that obey: those of the wrong sign become zero."""
    readout.weight.copy_((readout.weight * signs).clamp(min=0) * signs)
