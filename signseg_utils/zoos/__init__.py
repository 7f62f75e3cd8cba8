"""Zoos: which networks, generators, images and detector belong together."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from signseg_utils.basics import draws, registry
from signseg_utils.basics.refusals import BadFile, Refusal, UnknownName
from signseg_utils.files import checkpoints, weights
from signseg_utils.files.paths import zoo_folder
from signseg_utils.networks import Network, initial
from signseg_utils.units.readout import Readout
from signseg_utils.zoos._families import SECOND, parted, seeded

ORDER = 24  # seed of the order in which a zoo draws its classes


class DatasetMissing(Refusal, FileNotFoundError):
    """The images of a zoo are not on this machine; the message says how to get them."""


@dataclass(frozen=True)
class Images:
    """A set of labelled images.

    ``pixels`` uint8 [image, 3, height, width]; ``labels`` [image], -1 where there is no object;
    ``boxes`` [image, 4] as x0 y0 x1 y1 in pixels, NaN where there is none; ``masks``
    [image, height, width] bool where the object's exact mask is known.
    """

    pixels: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> "Images":
        masks = None if self.masks is None else self.masks[index]
        return Images(self.pixels[index], self.labels[index], self.boxes[index], masks)


class Zoo(ABC):
    """One zoo; what it ships lies in ``folder`` as ``<artefact>.safetensors`` and ``.json``."""

    name: str
    ships: bool = True  # whether its weights come with the repository
    seeds_ship: bool = True  # whether those of further seeds do; else their manifests alone
    architectures: str = "small"  # the file of `signseg_utils.networks` that defines its networks
    calibrating: str = "train"  # the split that an untrained network's batch norms are given
    image_size: int
    classes: tuple[str, ...]
    default_units: tuple[str, ...]
    network_configs: dict[str, dict[str, Any]]
    family_configs: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
    generators: tuple[str, ...]

    def __init__(self, folder: Path | None = None):
        self.folder = Path(folder) if folder is not None else zoo_folder(self.name)

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of this zoo's standard networks."""
        return tuple(self.network_configs)

    @property
    def judges(self) -> tuple[str, ...]:
        """Names of the networks whose features say how alike images are."""
        return self.networks

    @property
    def families(self) -> dict[str, tuple[str, ...]]:
        """Names of the networks that differ from a standard one in one respect, by family."""
        return {family: tuple(configs) for family, configs in self.family_configs.items()}

    @property
    def all_networks(self) -> tuple[str, ...]:
        """Names of the standard networks, then of all families: the first of each design."""
        return (*self.networks, *(name for names in self.families.values() for name in names))

    def in_random_order(self, count: int = 0) -> tuple[str, ...]:
        """The first ``count`` classes in an order that is drawn once; 0: all of them."""
        chosen = draws.order(len(self.classes), ORDER).tolist()
        return tuple(self.classes[number] for number in chosen[: count or None])

    def placed(self, kind: str) -> dict[str, dict[str, Any]]:
        """Manifests of further artefacts of a kind that were put into the folder, by name.

        So a network or generator of one's own joins a zoo without a change of its code: its
        manifest says ``kind`` (``network`` or ``generator``), ``module``, the plugin that builds
        it, and what its plugin needs besides.
        """
        own = {*self.networks, *self.generators}
        own |= {name for configs in self.family_configs.values() for name in configs}
        found = {}
        for name in sorted(file.stem for file in self.folder.glob("*.safetensors")):
            if {name, parted(name)[0]} & own:
                continue
            with suppress(BadFile, FileNotFoundError):  # it is named when it is asked for
                found[name] = self.card(name)
        return {name: card for name, card in found.items() if card.get("kind") == kind}

    @property
    def known_networks(self) -> tuple[str, ...]:
        """Names of all networks that can be asked for: the zoo's, then those `placed` in it."""
        return (*self.all_networks, *self.placed("network"))

    @property
    def known_generators(self) -> tuple[str, ...]:
        """Names of all generators that can be asked for: the zoo's, then those `placed` in it."""
        return (*self.generators, *self.placed("generator"))

    def config(self, network: str) -> Mapping[str, Any]:
        """Architecture of a network, trained or not.

        Any network that this project trains has siblings from further seeds: ``resnet-seed2``.

        Raises
        ------
        KeyError
            If the zoo has no network of that name.
        """
        first, seed = parted(network) if self.ships else (network, None)
        for configs in (self.network_configs, *self.family_configs.values()):
            if first in configs:
                if seed is not None and seed < SECOND:
                    raise UnknownName(
                        f"expected a further seed of {first} to be {SECOND} or more, because "
                        f"seeds below belong to the networks without a seed in their name; got "
                        f"{network!r}; take {first}, or {seeded(first, SECOND)}"
                    )
                return configs[first]
        placed = self.placed("network")
        if network in placed:
            config: Mapping[str, Any] = placed[network]["config"]
            return config
        known = self.known_networks
        raise UnknownName(registry.unknown(f"network of zoo {self.name}", network, known))

    @abstractmethod
    def images(self, split: str, limit: int | None = None) -> Images:
        """Images of ``split`` ("train" or "val"), the first ``limit`` of a fixed shuffle.

        Raises
        ------
        DatasetMissing
            If they are not on this machine.
        """

    def path(self, artefact: str) -> Path:
        """Where the weights of one network, generator or the detector lie."""
        return self.folder / f"{artefact}.safetensors"

    @classmethod
    def absent(cls) -> str:
        """Why its pages are left out unless they are asked for, and what to do; empty: they are
        made, because all that they take is here.
        """
        return "" if cls.ships else f"its weights are fetched first; ask for it: --zoo {cls.name}"

    def holds(self, artefact: str) -> bool:
        """Whether weights and manifest of an artefact are here: training wrote both to the end."""
        path = self.path(artefact)
        return path.exists() and path.with_suffix(".json").exists()

    def card(self, artefact: str) -> dict[str, Any]:
        """Manifest of one artefact: configuration, seed, scores, seconds, sha256."""
        return weights.read_manifest(self.path(artefact), alone=self._alone(artefact))

    def _alone(self, artefact: str) -> bool:
        """Whether a manifest may lie there without weights: they are of a further seed."""
        return not self.seeds_ship and parted(artefact)[1] is not None

    def told_only(self, network: str) -> bool:
        """Whether of a network the manifest is here alone, because its weights do not ship."""
        file = self.path(network)
        return self._alone(network) and file.with_suffix(".json").exists() and not file.exists()

    def fingerprint(self, artefact: str) -> str | None:
        """SHA-256 of the weights of an artefact; None for a generator that code alone makes."""
        if artefact in self.generators and not self.path(artefact).exists():
            return None
        return str(self.card(artefact)["sha256"])

    def state(self, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights of a network as they were trained, batch norm not folded, and its manifest.

        The file of an untrained network holds its batch-norm statistics; the rest is drawn from
        the manifest's seed.

        Raises
        ------
        KeyError
            If the zoo has no network of that name.
        FileNotFoundError, signseg_utils.files.weights.DamagedWeights
            If its weights are missing or not the ones of its manifest.
        """
        self.config(network)
        if self.told_only(network):
            raise weights.MissingWeights(
                f"expected the weights of {network} at {self.path(network)}, because they are to "
                f"compute something new; of further seeds zoo {self.name} ships manifests and "
                f"results, no weights; train it: signseg train --zoo {self.name} --only {network} "
                "(minutes; it will not be the same network to the last bit, so what is shown of "
                "it is then computed anew, too)"
            )
        tensors, manifest = weights.load(self.path(network))
        if "drawn_sha256" in manifest:
            with weights.fitting(self.path(network)):
                architecture = (manifest["module"], manifest["config"], len(self.classes))
                drawn = initial(*architecture, manifest["seed"]).shipped()
            if weights.digest(drawn) != manifest["drawn_sha256"]:
                raise weights.DamagedWeights(
                    f"expected seed {manifest['seed']} to draw the weights of {network} that its "
                    "manifest describes; it draws others, so the architecture or the order in "
                    "which its layers are made is another; restore the code or make the network "
                    "anew (make zoo)"
                )
            tensors = drawn | tensors
        return tensors, manifest

    def network(self, name: str) -> Network:
        """Load a network, batch norm folded, ready for search on the CPU.

        Raises
        ------
        KeyError, FileNotFoundError, signseg_utils.files.weights.DamagedWeights
            As `state`.
        """
        tensors, manifest = self.state(name)
        file = self.path(name)
        with weights.fitting(file):
            readout = Readout(
                tensors.pop("readout.weight"), tensors.pop("readout.bias"), tuple(self.classes)
            )
            backbone = registry.load("networks", manifest["module"])(manifest["config"])
            checkpoints.fit(backbone, tensors, file)
        return Network(name, backbone.folded(), readout, manifest)

    def generator(self, name: str) -> nn.Module:
        """Load a generator: codes [image, code] to images [image, 3, height, width] in 0..1."""
        if name not in self.known_generators:
            raise UnknownName(
                registry.unknown(f"generator of zoo {self.name}", name, self.known_generators)
            )
        plugin = self.generator_modules.get(name) or self.card(name)["module"]
        with weights.fitting(self.path(name)):
            module: nn.Module = registry.load("generators", plugin).from_folder(self.folder, name)
        return module.eval().requires_grad_(False)

    generator_modules: dict[str, str]

    def detector(self) -> Any:
        """The object detector trained on this zoo's boxes."""
        from signseg_utils.metrics.objectness import Detector

        return Detector.load(self.folder)

    def perceptual(self, judge: str) -> Any:
        """The perceptual distance of this zoo: its unweighted form on the network ``judge``."""
        from signseg_utils.metrics.lpips import Perceptual

        return Perceptual.unweighted(kept(self, judge).backbone, name=judge)

    def timing_backbone(self, network: str) -> nn.Module:
        """A backbone that takes as long as this one."""
        return self.network(network).backbone

    def timing_generator(self, name: str) -> nn.Module:
        """A generator that takes as long as this one."""
        return self.generator(name)


def load_zoo(name: str, folder: Path | None = None) -> Zoo:
    """Zoo ``name`` with its weights in ``folder`` (default: ``data/zoo/<name>``)."""
    zoo: Zoo = registry.load("zoos", name)(folder)
    return zoo


def kept(zoo: Zoo, name: str) -> Network:
    """`Zoo.network`, loaded once for all who only look through it: nobody may change it."""
    return _kept(zoo, name, zoo.fingerprint(name))


@lru_cache(maxsize=4)
def _kept(zoo: Zoo, name: str, fingerprint: str | None) -> Network:
    return zoo.network(name)


def shipped() -> tuple[str, ...]:
    """Names of the zoos whose weights are in the repository; others are fetched."""
    return tuple(name for name in registry.names("zoos") if registry.load("zoos", name).ships)


@lru_cache(maxsize=4)
def shuffled(count: int, seed: int = 0) -> Tensor:
    """A fixed permutation of ``count`` items, the same on every machine."""
    return draws.Twister(seed).randperm(count)
