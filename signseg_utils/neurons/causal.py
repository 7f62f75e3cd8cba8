"""A session of a causal test: images made with models of neurons, shown to the neurons later.

Eight blocks of fifty images each (`BLOCKS`). The public session 210305 of macaque V4 has them in
this order, told by looking at its images, for the published tables do not say; which image was made
for which model, and which neuron has a model, is not told either. The recording ``simulated`` has
the same blocks, and there both are known: of its neurons some are those that the images were made
for, in another order, and some were never modelled.

Source: Cowley, Stan, Pillow & Smith, doi:10.1101/2023.11.22.568315, Fig. 2, Extended Data Fig. 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from signseg_utils.generators import scenes
from signseg_utils.neurons import compact, in_silico, recordings, simulated, v4
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.recordings import RecordingError

SIZE = 50  # images of a block
BLOCKS = (
    "synthesised first",
    "synthesised second",
    "maximising",
    "smoothed first",
    "smoothed second",
    "natural",
    "natural smoothed first",
    "natural smoothed second",
)
MATCHING = BLOCKS[5:]  # a neuron's model is told by these alone, and tested on the others
SESSION = {"v4": "210305", "simulated": "simulated"}
MODELLED = {"v4": ("190923", "210225"), "simulated": ("simulated",)}  # sessions with models

# The simulated session: neurons, and how their images are made.
KNOWN, STRANGERS, REPEATS = 16, 8, 22
BANK = 400  # scenes that maximising images are taken from
PATCH, PATCHES, BLUR = 8, 6, 7  # side of a smoothed patch, how many, and side of the blur, pixels


def block(name: str) -> slice:
    """Where the images of a block lie."""
    place = BLOCKS.index(name) * SIZE
    return slice(place, place + SIZE)


def load(recording: str) -> xr.Dataset:
    """The session, its images in blocks.

    Raises
    ------
    RecordingError
        For any other recording: nobody made images for the models of its neurons.
    signseg_utils.neurons.recordings.RecordingMissing
        If it is not on this machine.
    """
    if recording not in SESSION:
        raise RecordingError(
            f"expected recording v4 or simulated, because images must have been made with models "
            f"of its neurons and shown to them; got {recording!r}; make such images with chapter "
            "13 and images_to="
        )
    found = v4.read([SESSION["v4"]]) if recording == "v4" else _simulated()[0]
    if found.sizes["image"] != SIZE * len(BLOCKS):
        raise RecordingError(
            f"expected {len(BLOCKS)} blocks of {SIZE} images in session {SESSION[recording]}; "
            f"got {found.sizes['image']} images; is the session whole?"
        )
    return recordings.complete(found)


def models(recording: str) -> tuple[str, ...]:
    """Names of the models that the images may have been made with."""
    if recording == "simulated":
        return in_silico.population().labels
    files = [compact.label_of(file) for file in compact.folder().glob("compact_model_*.pt")]
    of_session = {own: [f for f in files if f.startswith(f"{own}-")] for own in MODELLED["v4"]}
    return tuple(
        name
        for own in of_session.values()
        for name in sorted(own, key=lambda name: int(name.partition("-")[2]))
    )


def population(recording: str, names: Sequence[str]) -> Neurons:
    """Some of the `models`, in this order; FileNotFoundError if one is not on this machine."""
    if recording == "simulated":
        return in_silico.population().pick(names)
    folder = compact.folder()
    pairs = [name.split("-") for name in names]
    return compact.CompactNeurons.from_files(
        folder / f"compact_model_{session}_neuron{number}.pt" for session, number in pairs
    )


def animal(model: str) -> str:
    """The animal whose neuron was modelled; empty where there is none."""
    return v4.animal(model.partition("-")[0])


def truth() -> dict[str, str]:
    """Simulated neurons to the model that they were recorded from; empty: to none."""
    return dict(_simulated()[1])


# ---------------------------------------------------------------- the simulated session


@lru_cache(maxsize=1)
def _simulated() -> tuple[xr.Dataset, dict[str, str]]:
    cells = in_silico.population()
    images = torch.cat([*_made_for(cells), *_natural(cells)])
    pixels = images.mul(255).round().to(torch.uint8)
    order = np.random.default_rng([0, 2]).permutation(len(cells))[:KNOWN]
    known = [cells.labels[number] for number in order]
    others = simulated.population(STRANGERS, seed=1000)
    names = [f"recorded-{number}" for number in range(KNOWN + STRANGERS)]
    shown = dict(zip(names[:KNOWN], cells.pick(known).cells, strict=True))
    shown |= dict(zip(names[KNOWN:], others.cells, strict=True))
    found = simulated.record(simulated.Simulated(shown), pixels, REPEATS, seed=3)
    found["pixels"] = (("image", "channel", "row", "column"), pixels.numpy())
    return found, dict(zip(names, [*known, *[""] * STRANGERS], strict=True))


def _made_for(cells: simulated.Simulated) -> Iterator[Tensor]:
    """The first five blocks: images made for the models in turn."""
    turn = [number % len(cells) for number in range(SIZE)]
    noise = np.random.default_rng([0, 4]).normal(0, 0.1, (SIZE, 3, *[cells.image_size] * 2))
    shapes = torch.stack([cells.preferred(number) for number in turn])
    yield (shapes + torch.from_numpy(noise).float()).clamp(0, 1)
    yield (0.5 + 0.6 * (shapes - 0.5) + torch.from_numpy(noise).float()).clamp(0, 1)
    bank = _scenes(BANK, 5)
    ranks = cells.responses(bank).argsort(0, descending=True)
    best = bank[[int(ranks[place // len(cells), n]) for place, n in enumerate(turn)]]
    yield best
    yield torch.stack(
        [
            _smoothed(image, _salient(image, cells.pick([n])))
            for image, n in zip(best, turn, strict=True)
        ]
    )
    yield torch.stack([_smoothed(image, _anywhere(n, 6)) for n, image in enumerate(best)])


def _natural(cells: simulated.Simulated) -> Iterator[Tensor]:
    """The last three: scenes nobody chose, and with patches smoothed."""
    images = _scenes(SIZE, 7)
    yield images
    for seed in (8, 9):
        yield torch.stack([_smoothed(image, _anywhere(n, seed)) for n, image in enumerate(images)])


def _scenes(count: int, seed: int) -> Tensor:
    """Scenes of all classes in turn ``[image, 3, side, side]``."""
    renderer = scenes.Scenes(in_silico.SIZE)
    labels = np.arange(count) % len(scenes.CLASSES)
    codes = renderer.sample(labels, seed, 0.0)
    return torch.cat([renderer.render(part)[0] for part in codes.split(64)])


def _smoothed(image: Tensor, patches: Sequence[int]) -> Tensor:
    """The image with some patches of a grid blurred."""
    pad = BLUR // 2
    wide = F.pad(image[None], (pad, pad, pad, pad), mode="reflect")
    blurred = F.avg_pool2d(F.avg_pool2d(wide, BLUR, 1), BLUR, 1, pad, count_include_pad=False)[0]
    result = image.clone()
    across = image.shape[-1] // PATCH
    for patch in patches:
        row, column = (PATCH * place for place in divmod(patch, across))
        where = (slice(None), slice(row, row + PATCH), slice(column, column + PATCH))
        result[where] = blurred[where]
    return result


def _salient(image: Tensor, cell: simulated.Simulated) -> list[int]:
    """Patches whose blurring alone lowers a model's response most."""
    count = (image.shape[-1] // PATCH) ** 2
    heard = cell.responses(torch.stack([_smoothed(image, [patch]) for patch in range(count)]))
    return [int(patch) for patch in heard[:, 0].argsort(stable=True)[:PATCHES]]


def _anywhere(image: int, seed: int) -> list[int]:
    count = (in_silico.SIZE // PATCH) ** 2
    drawn = np.random.default_rng([seed, image]).permutation(count)[:PATCHES]
    return [int(patch) for patch in drawn]
