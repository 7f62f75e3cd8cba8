"""Images without a generator: the code is the image, as decorrelated Fourier coefficients.

For gradient ascent (`signseg_utils.search.ascent`). Coefficients are divided by the 1/f amplitudes
of natural images and colours are decorrelated, so that a step of one length in every number of the
code changes an image as natural images differ from each other: mostly at low frequencies, and in
luminance (Olah, Mordvintsev & Schubert 2017, 10.23915/distill.00007, "Preconditioning and
parameterization").
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.generators import COLOURS


class Pixels(nn.Module):
    """Codes ``[image, code]`` to images ``[image, 3, size, size]`` in 0..1.

    A code of independent standard normals gives the spectrum and the contrast of natural images.

    Parameters
    ----------
    image_size
        Side in pixels, even.
    norm_cap
        Longest code in units of sqrt(code), the length of a typical natural one; longer codes are
        shortened to it, so that activation cannot be bought with contrast.
    contrast
        Standard deviation of what goes into the sigmoid, for such codes.
    exponent
        Of the frequency by which amplitudes fall: 1 as in natural images. Above it steps are
        larger where things are large, so that an ascent draws forms rather than grain.
    """

    initial_sigma = 1.0
    amplitude: Tensor
    colours: Tensor

    def __init__(
        self,
        image_size: int = 128,
        norm_cap: float = 1.0,
        contrast: float = 1.0,
        exponent: float = 1.0,
    ):
        super().__init__()
        if image_size < 2 or image_size % 2:
            raise ValueError(f"expected an even image_size of at least 2; got {image_size}")
        self.image_size, self.norm_cap = image_size, norm_cap
        columns = image_size // 2 + 1
        self.shape = (3, image_size, columns, 2)  # colour, row, column, real and imaginary
        self.code_size = 3 * image_size * columns * 2
        down = torch.fft.fftfreq(image_size, 1 / image_size)
        across = torch.arange(columns)
        frequency = (down[:, None] ** 2 + across**2).sqrt()  # cycles per image
        amplitude = frequency.clamp_min(1) ** -exponent
        edges = [0, columns - 1]  # these columns hold both waves of a pair, the others one
        amplitude[:, edges] *= 2**0.5
        weight = torch.full((columns,), 4.0)
        weight[edges] = 1.0
        colours = torch.tensor(COLOURS)
        variance = (weight * amplitude**2).sum() * colours.square().sum() / 3
        scale = contrast * image_size**2 / variance.sqrt()
        self.register_buffer("amplitude", scale * amplitude)
        self.register_buffer("colours", colours)

    @classmethod
    def from_folder(cls, folder: Path, name: str) -> Self:
        """Of 128 pixels, whatever the folder: nothing of it is learned."""
        return cls()

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """Starting codes ``[seed, code]``: a faint natural spectrum around grey."""
        return 0.1 * torch.stack([draws.normal(self.code_size, seed) for seed in seeds])

    def forward(self, codes: Tensor) -> Tensor:
        wide = codes.float()
        longest = self.norm_cap * self.code_size**0.5
        wide = wide * (longest / wide.norm(dim=1, keepdim=True).clamp_min(longest))
        pairs = wide.view(-1, *self.shape) * self.amplitude.float()[..., None]
        waves = torch.fft.irfft2(torch.view_as_complex(pairs), s=(self.image_size,) * 2)
        logits = torch.einsum("nkhw,kc->nchw", waves, self.colours.float())
        return torch.sigmoid(logits).to(codes.dtype)


PLUGIN = Pixels
