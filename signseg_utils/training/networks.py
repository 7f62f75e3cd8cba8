"""Which recipe makes which network of a zoo, in the order in which they build on each other."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from signseg_utils.basics import registry
from signseg_utils.basics.refusals import BadValue, UnknownName
from signseg_utils.training import classifier, simsiam, untrained
from signseg_utils.training.classifier import Recipe
from signseg_utils.zoos import Zoo
from signseg_utils.zoos._families import ROBUST, SECOND, TWINS, parted, seeded

# Epochs of the standard networks: the deeper, the longer.
STANDARD = {
    "shapes": {"alexnet": 8, "vgg": 8, "resnet": 8},
    "tinyimagenet": {"alexnet": 9, "vgg": 12, "resnet": 12},
    "efficientnet": {},  # others trained them; what is made here is their untrained twin
}
# Fine-tuning against attacks: an epoch costs 1.8 plain ones.
ADVERSARIAL = {"shapes": 2, "tinyimagenet": 2}
# Twins need to be alike, not as good as can be: all are trained equally long.
TWIN = {"shapes": 6, "tinyimagenet": 6}
# An epoch at three quarters of the size costs 1.3 plain ones. In scenes, the hue is part of the
# class, and small crops miss the object.
UNLABELLED = {
    "shapes": simsiam.Recipe(epochs=8, size=36, smallest_area=0.5, hue=0.0, grey=0.0, swap=True),
    "tinyimagenet": simsiam.Recipe(epochs=6),
}


AnyRecipe = Recipe | simsiam.Recipe
R = TypeVar("R")


def recipes(zoo: Zoo) -> dict[str, AnyRecipe]:
    """Recipe of the first network of each design; those that it builds on come before it."""
    plain = Recipe(small_size=min(48, zoo.image_size))
    drawn: dict[str, AnyRecipe] = {
        name: replace(plain, epochs=0) for name in zoo.families.get("untrained", ())
    }
    if not STANDARD[zoo.name]:
        return drawn
    twin = replace(plain, epochs=TWIN[zoo.name], seed=1)
    robust = replace(
        plain, parent="resnet", epochs=ADVERSARIAL[zoo.name], learning_rate=0.05, small_share=0.4
    )
    found: dict[str, AnyRecipe] = {}
    for name, epochs in STANDARD[zoo.name].items():
        found[name] = replace(plain, epochs=epochs)
    for name, epsilon in ROBUST.items():
        found[name] = replace(robust, epsilon=epsilon)
    found |= dict.fromkeys(TWINS, twin)
    found["alexnet-relu-matched"] = replace(twin, match="alexnet-tanh")
    found["resnet-simsiam"] = UNLABELLED[zoo.name]
    return found | drawn


def recipe(zoo: Zoo, name: str) -> AnyRecipe:
    """Recipe of a network; of a further seed, it builds on networks of the same seed.

    Raises
    ------
    KeyError
        If the zoo has no such network.
    """
    zoo.config(name)
    design, seed = parted(name)
    found = recipes(zoo)[design]
    if seed is None:
        return found
    own: dict[str, Any] = {field: seeded(elder, seed) for field, elder in _elders(found).items()}
    return replace(found, seed=seed, **own)


def siblings(zoo: Zoo, designs: Sequence[str], count: int) -> tuple[str, ...]:
    """The sample that claims about designs need: ``count`` networks of each, from further seeds.

    Seed after seed, so that a training that is cut off leaves as many of each design; what a
    network builds on comes before it, whether it was asked for or not.

    Raises
    ------
    KeyError
        If the zoo has no such design.
    """
    rounds = [list(designs)]
    rounds += [[seeded(name, seed) for name in designs] for seed in range(SECOND, count + 1)]
    named = (name for each in rounds for wanted in each for name in _lineage(zoo, wanted))
    return tuple(dict.fromkeys(named))


def _elders(recipe: AnyRecipe) -> dict[str, str]:
    """The networks that a recipe builds on, by the field that names them."""
    fields = {field: getattr(recipe, field, None) for field in ("parent", "match")}
    return {field: elder for field, elder in fields.items() if elder}


def _lineage(zoo: Zoo, name: str) -> list[str]:
    """A network and all that it builds on, elders first."""
    elders = _elders(recipe(zoo, name)).values()
    return [*(each for elder in elders for each in _lineage(zoo, elder)), name]


def make(zoo: Zoo, name: str, scratch: Path, changes: Sequence[str] = ()) -> Path:
    """Make one network by its recipe, with ``changes`` such as "epochs=3".

    Raises
    ------
    KeyError
        If the zoo has no such network, or the recipe no such field.
    FileNotFoundError
        If a network that it builds on is not there yet.
    """
    own = altered(recipe(zoo, name), changes)
    if isinstance(own, simsiam.Recipe):
        return simsiam.train(zoo, name, own, scratch)
    if own.epochs == 0:
        return untrained.make(zoo, name, own)
    return classifier.train(zoo, name, own, scratch)


def altered(recipe: R, changes: Sequence[str]) -> R:
    """``recipe`` with fields replaced, each given as "field=value", the value as in JSON."""
    for change in changes:
        field, _, value = change.partition("=")
        known = tuple(vars(recipe))
        if field not in known:
            raise UnknownName(registry.unknown("field of this recipe", field, known))
        try:
            recipe = replace(recipe, **{field: json.loads(value)})  # type: ignore[type-var]
        except json.JSONDecodeError as error:
            raise BadValue(
                f'expected field=value with a value as in JSON (3, 0.1, "resnet", null); '
                f"got {change!r}"
            ) from error
    return recipe
