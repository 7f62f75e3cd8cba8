"""Perceptual distance: LPIPS, or its unweighted form on a network of the zoo.

LPIPS (Zhang et al. 2018, doi:10.1109/CVPR.2018.00068, eq. 1): feature maps of several layers are
normalised over channels to unit length, their squared difference is weighted for each channel,
summed over channels, averaged over places and summed over layers. The real one needs an AlexNet
trained on ImageNet. Without it, the weights are all 1, the maps are those of a zoo's backbone, and
layers are averaged rather than summed, so that networks of any depth give 0 to 2 (features that
are not negative) or 4. Each result says which form it is: the second is a deviation from the paper.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.files import checkpoints
from signseg_utils.metrics import Seen

# The torchvision weights that the reference implementation of LPIPS takes.
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"


@dataclass(frozen=True, eq=False)
class PerceptualDistance:
    """Distances, and the form of LPIPS that gave them (``lpips alexnet`` or ``unweighted ...``)."""

    values: Tensor
    form: str

    @property
    def deviates(self) -> bool:
        """Whether this is not the real LPIPS."""
        return not self.form.startswith("lpips")

    def mean(self) -> float:
        """Mean over all values."""
        return float(self.values.mean())


class Perceptual:
    """A perceptual distance between images ``[n, 3, height, width]`` in 0..1.

    Parameters
    ----------
    maps
        Function from images to feature maps ``[n, channel, height, width]``, one for each layer.
    weigh
        Function from layer number and squared difference to a weighted sum over channels,
        ``[n, 1, height, width]``; None for the plain sum.
    form
        Said with each result.
    average
        Whether layers are averaged (else summed).
    """

    def __init__(
        self,
        maps: Callable[[Tensor], Sequence[Tensor]],
        form: str,
        weigh: Callable[[int, Tensor], Tensor] | None = None,
        average: bool = True,
    ):
        self.maps, self.form, self.weigh, self.average = maps, form, weigh, average

    @classmethod
    def unweighted(
        cls, backbone: nn.Module, layers: Sequence[str] | None = None, name: str | None = None
    ) -> Perceptual:
        """The unweighted form on a backbone with a method ``stages``, or on its named layers.

        ``layers`` are names of modules, taken with torchvision's feature extraction.
        """
        form = f"unweighted, {name or type(backbone).__name__}"
        if layers is not None:
            from torchvision.models.feature_extraction import create_feature_extractor

            taps = create_feature_extractor(backbone, {layer: layer for layer in layers})
            return cls(lambda images: list(taps(images).values()), form)
        stages = getattr(backbone, "stages", None)
        if not callable(stages):
            raise TypeError(
                "expected a backbone with a method stages(images) that returns its feature maps; "
                f"got {type(backbone).__name__}; name its layers instead"
            )
        return cls(stages, form)

    @classmethod
    def real(cls, weights: str | os.PathLike[str] | None = None) -> Perceptual:
        """LPIPS 0.1 on AlexNet, with the linear weights that come with the package ``lpips``.

        Parameters
        ----------
        weights
            File of torchvision's AlexNet; by default where ``torch.hub`` keeps it. It is read with
            ``weights_only``: nothing is unpickled, nothing downloaded.

        Raises
        ------
        ImportError
            If the package ``lpips`` is not installed.
        FileNotFoundError
            If the AlexNet weights are not there.
        """
        file = Path(weights or Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_FILE)
        if not file.is_file():
            raise FileNotFoundError(
                f"expected the ImageNet weights of AlexNet at {file}, because LPIPS is defined on "
                f"them; put torchvision's {ALEXNET_FILE} there, or give a backbone of a zoo for "
                "the unweighted form"
            )
        return cls._reference(checkpoints.read(file))

    @classmethod
    def _reference(cls, state: dict[str, Tensor] | None) -> Perceptual:
        """LPIPS by the package ``lpips`` on an AlexNet state; None: random weights (tests)."""
        try:
            import lpips
        except ImportError as error:
            raise ImportError(
                "expected the package lpips, which holds the linear weights of LPIPS; got none; "
                "install signseg-utils[lpips]"
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision: `pretrained` is deprecated
            model: Any = lpips.LPIPS(
                net="alex", pretrained=False, pnet_rand=True, verbose=False
            ).eval()
        shipped = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
        linear = torch.load(shipped, map_location="cpu", weights_only=True)
        model.load_state_dict(linear, strict=False)
        if state is not None:
            features = {k.split(".", 1)[1]: v for k, v in state.items() if k.startswith("features")}
            for part in (getattr(model.net, f"slice{i}") for i in range(1, 6)):
                part.load_state_dict({k: features[k] for k in part.state_dict()})
        model.requires_grad_(False)
        return cls(
            lambda images: model.net(model.scaling_layer(2 * images - 1)),
            "lpips alexnet" if state is not None else "lpips linear weights, random alexnet",
            lambda layer, difference: model.lins[layer](difference),
            average=False,
        )

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> PerceptualDistance:
        """Distance of each image of ``a`` from the one of ``b`` at its place: ``[n]``."""
        if a.shape != b.shape or a.ndim != 4:
            raise ValueError(
                "expected two batches [n, 3, height, width] of one shape; "
                f"got {tuple(a.shape)} and {tuple(b.shape)}"
            )
        values = self._combine(self._directions(a), self._directions(b))
        return PerceptualDistance(values, self.form)

    @torch.no_grad()
    def pairs(self, a: Tensor, b: Tensor) -> PerceptualDistance:
        """Distance of each image of ``a`` from each of ``b``: ``[len(a), len(b)]``."""
        if a.shape[1:] != b.shape[1:] or a.ndim != 4:
            raise ValueError(
                "expected two batches of images [3, height, width] of one shape; "
                f"got {tuple(a.shape)} and {tuple(b.shape)}"
            )
        first, second = self._directions(a), self._directions(b)
        rows = [self._combine([layer[i : i + 1] for layer in first], second) for i in range(len(a))]
        return PerceptualDistance(torch.stack(rows), self.form)

    def _directions(self, images: Tensor) -> list[Tensor]:
        """Feature maps of unit length over channels."""
        maps = (layer.float() for layer in self.maps(images))
        return [m / (m.square().sum(1, keepdim=True).sqrt() + 1e-10) for m in maps]

    def _combine(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        layers = []
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            difference = (one - other).square()
            if self.weigh is None:
                summed = difference.sum(1)
            else:
                summed = self.weigh(number, difference).squeeze(1)
            layers.append(summed.mean((1, 2)))
        total = torch.stack(layers)
        return total.mean(0) if self.average else total.sum(0)


def PLUGIN(seen: Seen) -> dict[str, Tensor]:
    """``change``: mean perceptual distance to the control images of other seeds; NaN of one."""
    other = seen.seeds[None] != torch.arange(len(seen.controls))[:, None]
    apart = torch.cat(
        [seen.perceptual.pairs(seen.controls, part).values for part in seen.images.split(64)], 1
    )
    return {"change": torch.where(other, apart, torch.nan).nanmean(0)}
