"""A network of your own: any classifier whose last layer is linear, cut before that layer.

    network = by_name("mobilenet_v3_small", weights="my.pth")      # torchvision, or timm
    network = wrap(model, labels)                                  # any nn.Module

Nothing is downloaded.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signseg_utils.basics import draws
from signseg_utils.basics.refusals import Refusal, UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.files import checkpoints
from signseg_utils.networks import Network
from signseg_utils.networks._cut import MEAN, STD, Cut
from signseg_utils.units.readout import Readout


class NoLinearReadout(Refusal, ValueError):
    """The last layer of a network is not linear, so that its units have no rows of weights."""


@torch.no_grad()
def wrap(
    model: nn.Module,
    labels: Sequence[str] | None = None,
    *,
    name: str = "mine",
    image_size: int = 224,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Network:
    """Cut a classifier before its last linear layer; the model itself is left as it is.

    Parameters
    ----------
    model
        Images [image, 3, height, width], normalised, to [image, class].
    labels
        Name of each class; default: their numbers.
    image_size, mean, std
        What it was trained on: side in pixels, and mean and s.d. of each colour (0..1). They go
        into the backbone, which takes images of any size in 0..1.

    Raises
    ------
    NoLinearReadout
        If the network does not end in a linear layer.
    """
    whole = copy.deepcopy(model).eval().requires_grad_(False)
    probe = _probe(image_size)
    normalised = (probe - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    expected, name_of_last = _last_linear(whole, normalised)
    last = whole.get_submodule(name_of_last)
    assert isinstance(last, nn.Linear)
    bias = last.bias if last.bias is not None else torch.zeros(last.out_features)
    names = tuple(labels) if labels is not None else tuple(map(str, range(last.out_features)))
    readout = Readout(last.weight.clone(), bias.clone(), names)
    cut = Cut(whole, name_of_last, image_size, mean, std).eval()
    if not torch.allclose(expected, readout.responses(cut(probe)), rtol=1e-3, atol=1e-4):
        raise NoLinearReadout(
            _no_readout(whole, f"behind {name_of_last} it does something else with the features")
        )
    return Network(name, cut.to(memory_format=torch.channels_last), readout)


def _last_linear(whole: nn.Module, images: Tensor) -> tuple[Tensor, str]:
    """Output of a network, and the name of the linear layer that gives it."""
    given: dict[str, Tensor] = {}

    def note(key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: given.__setitem__(key, output)

    linear = {k: module for k, module in whole.named_modules() if isinstance(module, nn.Linear)}
    if not linear:
        raise NoLinearReadout(_no_readout(whole, "it has no linear layer at all"))
    handles = [module.register_forward_hook(note(key)) for key, module in linear.items()]
    try:
        expected = whole(images)
    finally:
        for handle in handles:
            handle.remove()
    for key in reversed(given):
        output = given[key]
        if isinstance(expected, Tensor) and expected.ndim == 2 and torch.equal(output, expected):
            return expected, key
    raise NoLinearReadout(_no_readout(whole, "none of its linear layers gives its output"))


def by_name(
    name: str,
    labels: Sequence[str] | None = None,
    *,
    weights: str | Path | None = None,
    image_size: int = 224,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Network:
    """A classifier of torchvision, or else of timm, by its name there.

    Parameters
    ----------
    weights
        File with its state dict (also under ``state_dict`` or ``model``), read without running
        code; ``None``: random weights.
    labels, image_size, mean, std
        Names of the classes, side of the images in pixels, and the mean and spread of the colours
        that the network expects, as `wrap` takes them.

    Raises
    ------
    KeyError
        If neither library has it.
    NoLinearReadout, signseg_utils.files.weights.DamagedWeights
        If it does not end in a linear layer; if the file does not fit.
    """
    model = _built(name)
    if weights is not None:
        found = checkpoints.read(Path(weights))
        tensors = checkpoints.state_dict(found, "state_dict", "model", source=str(weights))
        checkpoints.fit(model, tensors, weights)
    return wrap(model, labels, name=name, image_size=image_size, mean=mean, std=std)


def _built(name: str) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name in known:
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        found: nn.Module = models.get_model(name, weights=None, **options)
        return found
    try:
        import timm
    except ImportError as error:
        raise UnknownName(
            f"{unknown('torchvision classifier', name, known)}; for one of timm: pip install timm"
        ) from error
    if name not in timm.list_models():
        raise UnknownName(unknown("classifier of torchvision or timm", name, timm.list_models()))
    model: nn.Module = timm.create_model(name, pretrained=False)
    return model


def _probe(image_size: int) -> Tensor:
    return draws.uniform((2, 3, image_size, image_size), seed=0)


def _no_readout(model: nn.Module, why: str) -> str:
    return (
        f"expected {type(model).__name__} to end in a linear layer, because a unit's signed "
        f"inputs are a row of its weights; {why}; a convolution with kernel 1 that is followed "
        "by a mean over places can be rewritten as a linear layer behind that mean, if nothing "
        "but the mean stands between"
    )


PLUGIN = wrap
