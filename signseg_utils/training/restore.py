"""Classifiers whole, batch norm unfolded: as they were trained, and as they were before."""

from torch import Tensor, nn

from signseg_utils.networks import Classifier, initial
from signseg_utils.units import signs
from signseg_utils.zoos import Zoo


def classifier(zoo: Zoo, name: str, state: str | int = "trained") -> Classifier:
    """A network of a zoo in one of its states, without gradients.

    Parameters
    ----------
    zoo, name
        Which network; its weights and manifest must be there.
    state
        ``trained``; ``start``: the random weights from which its training began, or that of its
        parent if it was fine-tuned (the manifest's seed; of zoo imagenet, whose starts are not
        public, a draw that stands in); or the seed of another untrained network
        of the same architecture.

    Raises
    ------
    ValueError
        For another word than these two.
    KeyError
        If the zoo has no network of that name.
    FileNotFoundError, signseg_utils.files.weights.DamagedWeights
        If the weights are missing or not those of their manifest.
    """
    if isinstance(state, str) and state not in ("trained", "start"):
        raise ValueError(f"expected state 'trained', 'start' or a seed; got {state!r}")
    tensors, card = zoo.state(name)
    seed = card.get("parent", card)["seed"] if isinstance(state, str) else state
    model = initial(card["module"], card["config"], len(zoo.classes), int(seed))
    if state == "trained":
        model.take(tensors)
    return model.requires_grad_(False).eval()


def layers_by_depth(model: nn.Module) -> list[tuple[str, Tensor, int]]:
    """Name, weight and groups of a classifier's layers, first convolution to readout.

    Shortcuts of residual blocks are left out: they bypass the order.
    """
    parts = ("backbone.trunk.", "backbone.head.", "readout")
    bypasses = (".shortcut.", ".downsample.")
    found = [layer for layer in signs.layers(model) if not any(b in layer[0] for b in bypasses)]
    return [layer for part in parts for layer in found if layer[0].startswith(part)]
