"""Train what a zoo ships, in the order in which it builds on each other."""

from collections.abc import Sequence
from pathlib import Path

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.metrics.objectness import ARTEFACT
from signseg_utils.training import components, decoder, detector, networks
from signseg_utils.training.networks import altered
from signseg_utils.zoos import Zoo
from signseg_utils.zoos._families import parted

# Recipes of the shipped decoders and detectors: natural images take more of both.
DECODERS = {
    "shapes": decoder.DecoderRecipe(),
    "tinyimagenet": decoder.DecoderRecipe(width=192, images=100_000),
}
DETECTORS = {
    "shapes": detector.Recipe(steps=640),
    "tinyimagenet": detector.Recipe(steps=4_500, images=40_000),
}


def artefacts(zoo: Zoo) -> tuple[str, ...]:
    """What is trained for a zoo, each after what it builds on; of networks the first seed."""
    if not networks.STANDARD[zoo.name]:
        return tuple(networks.recipes(zoo))
    fitted = ("decoder", "spectral")
    generators = [name for name in zoo.generators if zoo.generator_modules[name] in fitted]
    families = zoo.all_networks[len(zoo.networks) :]
    return (*zoo.networks, *generators, ARTEFACT, *families)


def make(zoo: Zoo, name: str, scratch: Path, changes: Sequence[str] = ()) -> Path:
    """Train one network, generator or the detector; one that was cut off goes on where it was.

    Parameters
    ----------
    scratch
        Folder of checkpoints.
    changes
        To fields of its recipe, such as ``"epochs=3"``, values as in JSON.

    Raises
    ------
    KeyError
        If the zoo has no such artefact, or its recipe no such field.
    """
    known = artefacts(zoo)
    if parted(name)[0] not in known:
        raise UnknownName(registry.unknown(f"artefact of zoo {zoo.name}", name, known))
    if name == ARTEFACT:
        return detector.train(zoo, altered(DETECTORS[zoo.name], changes))
    if name not in zoo.generators:
        return networks.make(zoo, name, scratch, changes)
    if zoo.generator_modules[name] == "decoder":
        return decoder.train(zoo, name, altered(DECODERS[zoo.name], changes), scratch)
    if changes:
        raise ValueError(f"expected no changes, because {name} has no recipe; got {changes}")
    return components.fit(zoo, name)
