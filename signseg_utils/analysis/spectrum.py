"""Spatial frequency: the power of images by distance from the centre of their Fourier plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Luma of ITU-R BT.601, and two opponent axes orthogonal to grey.
_CHANNELS = {
    "luminance": (0.299, 0.587, 0.114),
    "red-green": (0.5, -0.5, 0.0),
    "blue-yellow": (-0.25, -0.25, 0.5),
}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Radial power spectrum.

    Attributes
    ----------
    frequency
        ``[ring]``, cycles per image; ring k holds frequencies that round to k.
    power
        ``[image, ring]``, mean power of the ring's frequencies. Without a window it sums over all
        frequencies to the image's variance, the mean itself (ring 0 for square images) left out.
    count
        ``[ring]``, number of frequencies in the ring.
    """

    frequency: Tensor
    power: Tensor
    count: Tensor

    def share(self, low: float, high: float) -> Tensor:
        """Share of an image's variance at frequencies ``low <= f < high``: ``[image]``.

        NaN for an image without variance.
        """
        if not low < high:
            raise ValueError(f"expected low below high, in cycles per image; got {low} and {high}")
        energy = self.power * self.count
        chosen = (self.frequency >= low) & (self.frequency < high)
        return energy[:, chosen].sum(1) / energy.sum(1)


def radial_spectrum(images: Tensor, channel: str = "luminance", window: bool = False) -> Spectrum:
    """Power of images ``[n, 3, height, width]`` by spatial frequency.

    Parameters
    ----------
    channel
        ``luminance``, ``red-green`` or ``blue-yellow``.
    window
        Apply a Hann window first, against the cross that the borders of an image leave in its
        spectrum; the mean under the window is then removed before.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images [n, 3, height, width]; got {tuple(images.shape)}")
    if channel not in _CHANNELS:
        raise ValueError(f"expected a channel among {tuple(_CHANNELS)}; got {channel!r}")
    plane = torch.einsum(
        "nchw,c->nhw", images.double(), images.new_tensor(_CHANNELS[channel]).double()
    )
    height, width = plane.shape[-2:]
    if window:
        taper = torch.outer(
            torch.hann_window(height, periodic=True, dtype=torch.float64),
            torch.hann_window(width, periodic=True, dtype=torch.float64),
        ).to(plane.device)
        mean = (plane * taper).sum((1, 2), keepdim=True) / taper.sum()
        plane = (plane - mean) * taper / taper.square().mean().sqrt()
    plane = plane - plane.mean((1, 2), keepdim=True)
    # |F|^2 / N^2, so that its sum is the mean square of the plane (Parseval).
    power = torch.fft.fft2(plane).abs().square() / (height * width) ** 2
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * height
    across = torch.fft.fftfreq(width, dtype=torch.float64)[None, :] * width
    ring = (down.square() + across.square()).sqrt().round().long().flatten().to(plane.device)
    rings = int(ring.max()) + 1
    count = torch.bincount(ring, minlength=rings).double()
    summed = torch.zeros(len(plane), rings, dtype=torch.float64, device=plane.device)
    summed.index_add_(1, ring, power.flatten(1))
    return Spectrum(torch.arange(rings, device=plane.device).double(), summed / count, count)
