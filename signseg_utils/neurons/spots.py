"""Spots on a grey field: dots, and other forms of equal area.

Grey is the mean colour that compact models subtract, so that the field is nothing to them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from signseg_utils.basics.registry import unknown
from signseg_utils.neurons.compact import IMAGE_SIZE, MEAN

FORMS = ("disc", "square", "level bar", "upright bar")
POLARITIES = ("dark", "light")
BAR = 3.0  # length of a bar over its width


def spots(
    radii: tuple[float, ...], centre: tuple[float, float], polarity: str, form: str = "disc"
) -> Tensor:
    """One spot of each radius, ``[radius, 3, 112, 112]`` in 0..1, black or white.

    Parameters
    ----------
    radii
        Of the disc, or of the disc that has a form's area; pixels.
    centre
        y and x in pixels from the upper left corner.
    polarity, form
        Of `POLARITIES` and `FORMS`.

    Raises
    ------
    ValueError
        For another polarity or form.
    """
    if polarity not in POLARITIES:
        raise ValueError(unknown("polarity", polarity, POLARITIES))
    places = torch.arange(IMAGE_SIZE) + 0.5
    y, x = (places - centre[0])[:, None], (places - centre[1])[None]
    covers = torch.stack([_inside(form, radius, y, x) for radius in radii])[:, None]
    return blank() * (1 - covers) + float(polarity == "light") * covers


def blank() -> Tensor:
    """The field without a spot, ``[1, 3, 112, 112]``."""
    grey = (torch.tensor(MEAN) / 255).view(1, 3, 1, 1)
    return grey.expand(1, 3, IMAGE_SIZE, IMAGE_SIZE).clone()


def _inside(form: str, radius: float, y: Tensor, x: Tensor) -> Tensor:
    """Share of each pixel that a form covers; its edge is one pixel wide."""
    if form == "disc":
        return (radius - (y**2 + x**2).sqrt() + 0.5).clamp(0, 1)
    longer = {"square": 1.0, "level bar": BAR, "upright bar": 1 / BAR}
    if form not in longer:
        raise ValueError(unknown("form", form, FORMS))
    area, ratio = math.pi * radius**2, longer[form]
    wide, high = math.sqrt(area * ratio) / 2, math.sqrt(area / ratio) / 2
    return (wide - x.abs() + 0.5).clamp(0, 1) * (high - y.abs() + 0.5).clamp(0, 1)
