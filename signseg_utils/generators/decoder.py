"""A learned decoder: from the whitened features of a network back to an image.

In the manner of DeePSiM (Dosovitskiy & Brox 2016, arXiv:1602.02644): trained to invert the
features of an AlexNet-like network with a pixel, a feature and an adversarial loss
(``signseg_utils.training.decoder``), at the size that two processor cores can search on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.files import weights


class Decoder(nn.Module):
    """Codes [image, code] to images [image, 3, size, size] in 0..1.

    Codes of natural images are about standard normal, so their norm is about the square root of
    ``code_size``; longer codes are scaled back to ``norm_cap`` times that.
    """

    initial_sigma = 0.6

    def __init__(self, code_size: int, image_size: int, width: int = 192, norm_cap: float = 1.3):
        super().__init__()
        self.code_size = code_size
        self.image_size = image_size
        self.norm_cap = norm_cap
        self.side = image_size // 16
        self.entry = nn.Linear(code_size, width * self.side**2)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2, inplace=True)]
        for channels in (width, width // 2, width // 4):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(width // 8, 3, 4, 2, 1))

    def forward(self, codes: Tensor) -> Tensor:
        longest = self.norm_cap * self.code_size**0.5
        codes = codes * (longest / codes.norm(dim=1, keepdim=True).clamp_min(longest))
        maps = self.entry(codes).unflatten(1, (-1, self.side, self.side))
        images: Tensor = torch.sigmoid(self.layers(maps))
        return images

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """One code of small norm for each seed, [seed, code]; the same seed, the same code."""
        return 0.1 * torch.stack([draws.Twister(seed).randn(self.code_size) for seed in seeds])

    def config(self) -> dict[str, Any]:
        """What defines the decoder; stored in its manifest."""
        width = self.entry.out_features // self.side**2
        return {
            "code_size": self.code_size,
            "image_size": self.image_size,
            "width": width,
            "norm_cap": self.norm_cap,
        }

    @classmethod
    def from_folder(cls, folder: Path, name: str) -> "Decoder":
        """Load the decoder ``name`` from a zoo's folder."""
        tensors, manifest = weights.load(folder / f"{name}.safetensors")
        decoder = cls(**manifest["config"])
        decoder.load_state_dict(tensors)
        return decoder


PLUGIN = Decoder
