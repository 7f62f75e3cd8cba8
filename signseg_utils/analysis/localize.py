"""Where in the image is the feature that drives a neuron?

Random discs of the image are destroyed by shuffling their pixels; where that lowers the response
lies what the neuron sees (paper, appendix A.1, feature localisation in vivo). No gradient is
needed, so a neuron in an animal, a model of it and a unit are treated alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

COUNT = 30  # discs, in the paper
DIAMETER = 50 / 256  # of a disc, share of the image's side
SMOOTHING = 30 / 256  # standard deviation of the Gaussian, share of the image's side
FILLS = ("grey", "mean", "blur")


@dataclass(frozen=True, eq=False)
class Perturbed:
    """An image with one disc shuffled at a time.

    Attributes
    ----------
    images : Tensor [disc, 3, height, width]
        What to show, in 0..1.
    discs : Tensor [disc, height, width]
        True where pixels were shuffled.
    """

    images: Tensor
    discs: Tensor


@dataclass(frozen=True, eq=False)
class Location:
    """Where the feature lies.

    Attributes
    ----------
    found : bool
        Whether there is a place at all; ``why`` says why not.
    why : str
        Empty if found.
    mask : Tensor [height, width]
        True where the feature lies; nowhere if not found.
    map : Tensor [height, width]
        Response change at each place: 1 where shuffling takes the whole response away.
    changes : Tensor [disc]
        Response change of each disc.
    """

    found: bool
    why: str
    mask: Tensor
    map: Tensor
    changes: Tensor

    @property
    def share(self) -> float:
        """Share of the image that the mask covers."""
        return float(self.mask.float().mean())


def perturb(
    image: Tensor, seed: int, *, count: int = COUNT, diameter: float = DIAMETER
) -> Perturbed:
    """Shuffle the pixels of random discs, one disc in each copy of the image.

    Shuffling keeps the colours of a disc, hence its mean and contrast, and destroys structure.

    Parameters
    ----------
    image
        ``[3, height, width]``.
    seed
        Of places and shuffles.
    count
        Discs, each wholly inside the image; places are independent and uniform.
    diameter
        Of a disc, as a share of the shorter side (paper: 50 of 256 pixels).
    """
    if image.ndim != 3:
        raise ValueError(f"expected one image [3, height, width]; got {tuple(image.shape)}")
    height, width = image.shape[1:]
    radius = diameter * min(height, width) / 2
    if count < 1 or not 1 <= radius < min(height, width) / 2:
        raise ValueError(
            "expected at least one disc, of at least 2 pixels and narrower than the image; "
            f"got {count} of {2 * radius:.1f} pixels in an image of {height} x {width}"
        )
    rng = np.random.default_rng(seed)
    reach = int(radius)
    rows = rng.integers(reach, height - reach, size=count)
    columns = rng.integers(reach, width - reach, size=count)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = down**2 + right**2 <= radius**2
    down, right = down[inside], right[inside]
    flat = torch.from_numpy((rows[:, None] + down) * width + columns[:, None] + right)
    order = torch.from_numpy(rng.random(flat.shape).argsort(1))
    pixels = image.reshape(image.shape[0], -1)
    shuffled = pixels[:, flat.gather(1, order)].movedim(0, 1)  # [disc, 3, pixel]
    images = pixels.expand(count, -1, -1).clone()
    images.scatter_(2, flat[:, None].expand_as(shuffled), shuffled)
    discs = torch.zeros(count, height * width, dtype=torch.bool).scatter_(1, flat, True)
    return Perturbed(images.reshape(count, *image.shape), discs.reshape(count, height, width))


def locate(
    perturbed: Perturbed,
    intact: float,
    responses: Tensor | np.ndarray,
    *,
    floor: float = 0.0,
    smoothing: float = SMOOTHING,
    level: float = 0.5,
    absolute: bool = False,
    least: float = 0.1,
) -> Location:
    """Map of response changes, and the mask where it is high.

    The change of a disc is (intact - response) / (intact - floor). The map at a place is the mean
    change of the discs around it: discs weighted by change over discs, both smoothed.

    Parameters
    ----------
    perturbed
        What was shown.
    intact
        Response to the intact image.
    responses
        ``[disc]``: responses to ``perturbed.images``; NaN where one is missing.
    floor
        Response that means nothing: 0 for rates; 0, too, for z-scores, where it is the mean
        response to natural images.
    smoothing
        Standard deviation of the Gaussian, share of the shorter side (paper: 30 of 256 pixels).
    level
        The mask is where the map reaches this share of its highest value (.5: full width at half
        maximum; paper, Fig. 8).
    absolute
        Compare the map itself with ``level`` instead: .5 is half the response gone (appendix A.1).
    least
        The highest value of the map below which there is no localisation; raise it where responses
        are noisy, to a few standard errors over the intact response.

    Raises
    ------
    ValueError
        If responses do not belong to the perturbed images, or all are missing.
    """
    values = np.asarray(torch.as_tensor(responses).detach().cpu(), dtype=float).reshape(-1)
    discs = perturbed.discs.numpy().astype(float)
    if len(values) != len(discs):
        raise ValueError(
            f"expected {len(discs)} responses, one for each perturbed image; got {len(values)}"
        )
    if np.isnan(values).all() or np.isinf(values).any() or not np.isfinite(intact):
        raise ValueError(
            "expected finite responses to the intact and to some perturbed images; got "
            f"{intact} for the intact one and {int(np.isfinite(values).sum())} of {len(values)}"
        )
    empty = torch.zeros(perturbed.discs.shape[1:])
    if intact <= floor:
        nothing = torch.full((len(values),), torch.nan)
        why = f"the intact image gives no response ({intact:.3g}, nothing being {floor:.3g})"
        return Location(False, why, empty.bool(), empty, nothing)
    changes = (intact - values) / (intact - floor)
    known = ~np.isnan(changes)
    sigma = smoothing * min(discs.shape[1:])
    summed, covered = (
        ndimage.gaussian_filter(np.tensordot(weights, discs[known], 1), sigma, mode="constant")
        for weights in (changes[known], np.ones(known.sum()))
    )
    height = summed / np.maximum(covered, 1e-12 + 1e-6 * covered.max())
    top = height.max()
    shown = torch.from_numpy(height).float()
    if top < least:
        most = f"no place takes more than {max(top, 0):.0%} of the response away"
        why = f"{most} (least: {least:.0%})"
        return Location(False, why, empty.bool(), shown, torch.from_numpy(changes).float())
    mask = torch.from_numpy(height >= (level if absolute else level * top))
    why = "" if mask.any() else f"no place takes {level:.0%} of the response away (most: {top:.0%})"
    return Location(not why, why, mask, shown, torch.from_numpy(changes).float())


@torch.inference_mode()
def localise(
    respond: Callable[[Tensor], Tensor],
    image: Tensor,
    seed: int,
    *,
    count: int = COUNT,
    diameter: float = DIAMETER,
    floor: float = 0.0,
    smoothing: float = SMOOTHING,
    level: float = 0.5,
    absolute: bool = False,
    least: float = 0.1,
) -> Location:
    """Perturb an image, ask for responses, and locate the feature: `perturb`, then `locate`.

    ``respond`` maps images [n, 3, h, w] to the responses [n] (or [n, 1]) of one neuron.
    """
    perturbed = perturb(image, seed, count=count, diameter=diameter)
    answers = respond(torch.cat([image[None], perturbed.images]))
    if answers.numel() != count + 1:
        raise ValueError(
            f"expected the response of one neuron to each of {count + 1} images; got "
            f"{tuple(answers.shape)}; pick one neuron"
        )
    answers = answers.flatten()
    return locate(
        perturbed,
        float(answers[0]),
        answers[1:],
        floor=floor,
        smoothing=smoothing,
        level=level,
        absolute=absolute,
        least=least,
    )


def clear_background(
    image: Tensor, mask: Tensor, fill: str = "grey", softness: float = 8 / 256
) -> Tensor:
    """Keep the image where the mask is true and replace the rest, behind a soft edge.

    Parameters
    ----------
    image
        ``[3, height, width]`` in 0..1.
    mask
        ``[height, width]`` bool: what to keep unchanged.
    fill
        "grey" (.5); "mean", the mean colour of what is replaced, which leaves luminance as it is;
        or "blur", what is replaced without its structure (Gaussian of a tenth of the side).
    softness
        Standard deviation of the edge outside of the mask, share of the shorter side.
    """
    if fill not in FILLS:
        raise ValueError(f"expected fill among {', '.join(FILLS)}; got {fill!r}")
    if image.ndim != 3 or mask.shape != image.shape[1:] or mask.dtype != torch.bool:
        raise ValueError(
            "expected an image [3, height, width] and a bool mask [height, width]; got "
            f"{tuple(image.shape)} and {mask.dtype} {tuple(mask.shape)}"
        )
    if not mask.any():
        raise ValueError("expected a mask that keeps something; is there no localisation?")
    side = min(mask.shape)
    away = torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy())).float()
    kept = torch.exp(-0.5 * (away / max(softness * side, 1e-6)) ** 2)
    if fill == "blur":
        blurred = ndimage.gaussian_filter(image.numpy(), (0, side / 10, side / 10), mode="nearest")
        rest = torch.from_numpy(blurred)
    elif fill == "mean" and not mask.all():
        rest = image[:, ~mask].mean(1)[:, None, None].expand_as(image)
    else:
        rest = torch.full_like(image, 0.5)
    return kept * image + (1 - kept) * rest


def elsewhere(mask: Tensor, seed: int, tries: int = 32) -> Tensor:
    """A mask of the same shape at another place (wrapped round), as a control.

    Of ``tries`` random places the one with the least overlap.
    """
    rng = np.random.default_rng(seed)
    height, width = mask.shape
    shifts = zip(rng.integers(height, size=tries), rng.integers(width, size=tries), strict=True)
    moved = [torch.roll(mask, (int(down), int(right)), (0, 1)) for down, right in shifts]
    return min(moved, key=lambda other: int((other & mask).sum()))


def overlap(mask: Tensor, other: Tensor) -> float:
    """Intersection over union of two masks; 0 if both are empty."""
    union = int((mask | other).sum())
    return int((mask & other).sum()) / union if union else 0.0
