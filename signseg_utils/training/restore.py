"""Classifiers whole, batch norm unfolded: as they were trained, and as they were before."""

import torch
from torch import Tensor, nn

from signseg_utils import registry, signs, weights
from signseg_utils.training.classifier import Classifier
from signseg_utils.zoos import Zoo


def classifier(zoo: Zoo, name: str, state: str | int = "trained") -> Classifier:
    """A network of a zoo in one of its states, without gradients.

    Parameters
    ----------
    zoo, name
        Which network; its weights and manifest must be there.
    state
        ``trained``; ``start``: the initial weights from which its training began (the manifest's
        seed); or the seed of another untrained network of the same architecture.

    Raises
    ------
    ValueError
        For another word than these two.
    FileNotFoundError, signseg_utils.weights.DamagedWeights
        If the weights are missing or not those of their manifest.
    """
    if isinstance(state, str) and state not in ("trained", "start"):
        raise ValueError(f"expected state 'trained', 'start' or a seed; got {state!r}")
    if name not in zoo.networks:
        raise KeyError(registry.unknown(f"network of zoo {zoo.name}", name, zoo.networks))
    tensors, card = weights.load(zoo.path(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(card["seed"]) if isinstance(state, str) else state)
        backbone = registry.load("networks", card["module"])(card["config"])
        model = Classifier(backbone, len(zoo.classes)).requires_grad_(False).eval()
    if state == "trained":
        prefix = {key: "" if key.startswith("readout.") else "backbone." for key in tensors}
        model.load_state_dict({prefix[key] + key: value for key, value in tensors.items()})
    return model


def layers_by_depth(model: nn.Module) -> list[tuple[str, Tensor, int]]:
    """Name, weight and groups of a small classifier's layers, first convolution to readout.

    Shortcuts of residual blocks are left out: they bypass the order.
    """
    parts = ("backbone.trunk.", "backbone.head.", "readout")
    found = [layer for layer in signs.layers(model) if ".shortcut." not in layer[0]]
    return [layer for part in parts for layer in found if layer[0].startswith(part)]
