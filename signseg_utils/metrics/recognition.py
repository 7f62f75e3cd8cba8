"""Recognition: whether networks that took no part still give the unit's class to an image.

The search pleases one network; another, trained apart, has no reason to agree unless the object is
there. So the probability and the rank of the unit's class among a witness's answers say whether
the object is gone, where similarity and objectness only say that an image has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from signseg_utils.metrics import Seen


class Level(NamedTuple):
    """``probability`` of the right class, 0..1, and its ``rank``, 1 for the first."""

    probability: float
    rank: float


def probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax probability ``[image]`` that logits ``[image, class]`` give to ``labels [image]``.

    NaN where the label is below 0: no class.
    """
    return _at(logits.double().softmax(1), labels)


def rank(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank ``[image]`` of the label among the answers: 1 where none is higher; NaN as there."""
    own = _at(logits.double(), labels)
    above = (logits.double() > own[:, None]).sum(1) + 1
    return torch.where(labels >= 0, above.double(), torch.nan)


def chance(classes: int) -> Level:
    """What a network that knows nothing says: one part in ``classes``, and the middle rank."""
    return Level(1 / classes, (classes + 1) / 2)


@torch.inference_mode()
def of_images(
    network: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor, batch: int = 50
) -> Level:
    """Mean level at which a network recognises images ``[image, 3, h, w]`` uint8: a ceiling.

    ``network`` gives logits for images in 0..1. Images without a class (label below 0) are left
    out.
    """
    known = labels >= 0
    parts = pixels[known].split(batch)
    logits = torch.cat([network(part / 255) for part in parts])
    own = labels[known]
    return Level(float(probability(logits, own).mean()), float(rank(logits, own).mean()))


def PLUGIN(seen: Seen) -> dict[str, Tensor]:
    """``recognition``, the probability of the unit's class, and ``recognition_rank``.

    Both are means over the networks of ``seen.answers``; NaN where nobody was asked, or where the
    unit is no class.
    """
    answers: Mapping[str, Tensor] = seen.answers
    if seen.labels is None or not answers:
        nothing = torch.full((len(seen.images),), torch.nan, dtype=torch.float64)
        return {"recognition": nothing, "recognition_rank": nothing.clone()}
    labels = seen.labels
    every = list(answers.values())
    return {
        "recognition": torch.stack([probability(each, labels) for each in every]).mean(0),
        "recognition_rank": torch.stack([rank(each, labels) for each in every]).mean(0),
    }


def _at(values: Tensor, labels: Tensor) -> Tensor:
    """Values ``[image, class]`` at each image's label; NaN where it has none."""
    found = values.gather(1, labels.clamp_min(0)[:, None])[:, 0]
    return torch.where(labels >= 0, found, torch.nan)
