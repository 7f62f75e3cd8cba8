"""A small set of images that spans what a network tells apart (paper, A.1, "Image dataset").

Principal components of the network's outputs for a pool of images, mini-batch k-means on them, and
the pool's image nearest to each centre. Whether the set spans the space evenly is then asked in
the space of another network, against random sets of the same size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from signseg_utils.basics import draws
from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import EXACTLY, Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.networks import Network
from signseg_utils.zoos import DatasetMissing, Zoo

Array = np.ndarray[Any, np.dtype[np.float64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)
class Space:
    """Principal components of features: ``(x - mean) @ components.T``.

    Attributes
    ----------
    mean, components
        ``[feature]`` and ``[component, feature]``.
    explained
        Share of the variance that each component holds, ``[component]``.
    """

    mean: Array
    components: Array
    explained: Array

    def __call__(self, features: ArrayLike) -> Array:
        """Features ``[image, feature]`` in this space, ``[image, component]``."""
        return np.asarray((np.asarray(features, dtype=np.float64) - self.mean) @ self.components.T)


@dataclass(frozen=True, eq=False)
class DiverseSet:
    """Numbers of the chosen images in the pool, in order of the centres they stand for.

    ``distance`` [image]: from each to its centre, in the space that was clustered.
    """

    images: Numbers
    distance: Array
    space: Space


def image_files(folders: Sequence[str | Path]) -> list[Path]:
    """Image files of some folders and those below them, sorted: a pool to choose from.

    Raises
    ------
    FileNotFoundError
        If a folder is missing or holds no image.
    """
    found: list[Path] = []
    for folder in folders:
        own = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not own:
            raise FileNotFoundError(
                f"expected images ({', '.join(SUFFIXES)}) in {folder}; got none; check the path"
            )
        found += own
    return found


def principal(features: ArrayLike, components: int | float = 0.95, seed: int = 0) -> Space:
    """Principal components of features ``[image, feature]``.

    Parameters
    ----------
    components
        How many, or, below 1, the share of variance they hold together (paper: 300 for about .95).
    """
    from sklearn.decomposition import PCA

    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(
            f"expected finite features [image, feature]; got shape {x.shape}"
            + ("" if x.ndim != 2 else " with NaN or infinity")
        )
    if components >= 1:
        components = min(int(components), *x.shape)
    fitted = PCA(components, svd_solver="full", random_state=seed).fit(x)
    return Space(fitted.mean_, fitted.components_, fitted.explained_variance_ratio_)


def choose(
    features: ArrayLike,
    count: int = 160,
    *,
    components: int | float = 0.95,
    pool: ArrayLike | None = None,
    seed: int = 0,
) -> DiverseSet:
    """Choose ``count`` images that span the space of ``features``.

    Parameters
    ----------
    features
        ``[image, feature]``: a network's outputs before the softmax, as in the paper, or others.
        They define the space and its clusters.
    components
        As `principal`.
    pool
        ``[image, feature]``: images to choose from; default: those of ``features``.
    seed
        Of the clustering.

    Returns
    -------
    DiverseSet
        No image twice: a centre whose nearest image is taken gets the nearest that is free.

    Raises
    ------
    ValueError
        If there are fewer images than wanted.
    """
    from scipy.spatial.distance import cdist

    x = np.asarray(features, dtype=np.float64)
    offered = x if pool is None else np.asarray(pool, dtype=np.float64)
    if not 2 <= count <= min(len(x), len(offered)):
        raise ValueError(
            f"expected 2 to {min(len(x), len(offered))} images, because the pool has no more; "
            f"got {count}"
        )
    space = principal(x, components, seed)
    clusters = _clusters(space(x), count, seed)
    distance = cdist(clusters.cluster_centers_, space(offered))
    # Of two images as near to a centre the first is taken; last digits would take either.
    distance = np.round(distance / distance.max(), 9) * distance.max()
    chosen = np.full(count, -1)
    free = np.ones(len(offered), dtype=bool)
    for centre in np.argsort(distance.min(1)):  # the closest pairs first
        row = np.where(free, distance[centre], np.inf)
        chosen[centre] = int(row.argmin())
        free[chosen[centre]] = False
    return DiverseSet(chosen, distance[np.arange(count), chosen], space)


def _clusters(points: Array, count: int, seed: int) -> Any:
    """Mini-batch k-means of points ``[image, component]`` that last digits do not decide.

    Of two images that make a cluster, or lie nearest to each other, either may be taken at equal
    cost, and what is taken decides all that follows. So each image weighs up to a millionth more
    than another, and no centre is moved onto an image that is one already.
    """
    from sklearn.cluster import MiniBatchKMeans

    weight = 1 + 1e-6 * draws.philox(seed).random(len(points))
    return MiniBatchKMeans(
        count,
        random_state=seed,
        n_init=3,
        batch_size=min(1024, len(points)),
        max_iter=100,
        reassignment_ratio=0,
    ).fit(points, sample_weight=weight)


@dataclass(frozen=True)
class Coverage:
    """How well a set covers a pool, in one space.

    Attributes
    ----------
    gap
        Mean distance of the pool's images to the nearest one of the set, over the same distance
        to the pool's mean: 1 says no better than one average image, 0 that the set is the pool.
    clusters
        Share of as many k-means clusters of the pool as the set has images that it hits.
    evenness
        Entropy of the set's images over these clusters, over its largest value: 1 is one each.
    """

    gap: float
    clusters: float
    evenness: float


class Judge:
    """Coverage of sets in one space of a pool; clusters are made once, for sets of ``count``.

    Parameters
    ----------
    features
        ``[image, feature]`` of the pool, in a network other than the one that chose.
    count
        Size of the sets to be judged.
    components, seed
        As `choose`.
    """

    def __init__(
        self, features: ArrayLike, count: int, *, components: int | float = 0.95, seed: int = 0
    ) -> None:
        self.space = principal(features, components, seed)
        self.points = self.space(features)
        self.count = count
        self.labels = _clusters(self.points, count, seed).labels_
        self._scale = float(np.linalg.norm(self.points, axis=1).mean())  # the mean lies at 0

    def __call__(self, images: ArrayLike) -> Coverage:
        """Coverage by the pool's images with these numbers."""
        from scipy.spatial.distance import cdist

        rows = np.asarray(images, dtype=np.int64)
        if len(rows) != self.count:
            raise ValueError(
                f"expected {self.count} images, because clusters were made for as many; "
                f"got {len(rows)}"
            )
        gap = cdist(self.points, self.points[rows]).min(1).mean() / self._scale
        hits = np.bincount(self.labels[rows], minlength=self.count)
        share = hits[hits > 0] / hits.sum()
        entropy = float(-(share * np.log(share)).sum() / np.log(self.count))
        return Coverage(float(gap), float((hits > 0).mean()), entropy)


def random_sets(pool: int, count: int, sets: int, seed: int = 0) -> list[Numbers]:
    """Random sets of ``count`` of the pool's images, none twice within one."""
    rng = np.random.default_rng(seed)
    return [rng.choice(pool, count, replace=False) for _ in range(sets)]


# ---------------------------------------------------------------- is the set spread evenly?

PIXELS = "pixels"  # a chooser that knows no network
MEASURES = ("gap", "clusters", "evenness")


@dataclass(frozen=True)
class DiverseImages(Experiment):
    """Sets chosen by several means from one pool, judged by networks that did not choose.

    Attributes
    ----------
    zoo
        Whose images are the pool.
    networks
        The first chooses, the other trained ones judge; untrained ones choose, as controls.
    images
        Size of a set.
    pool
        Number of images to choose from, of split "val".
    seeds
        Of the clustering; one set each.
    random_sets
        Number of random sets.
    """

    KIND: ClassVar[str] = "diverse_set"
    UNIT: ClassVar[str] = "diverse sets"
    WHAT: ClassVar[str] = "stored sets of images, chosen again"
    # Doubles and a rule for ties make the clustering the same everywhere.
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        "chosen": EXACTLY,
        **dict.fromkeys(MEASURES, Agreement(1e-6)),
    }
    MOST_AUDITED: ClassVar[int] = 1
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "whose images are the pool", "tinyimagenet"),
        Option("networks", "one chooses, others judge", "alexnet,vgg,resnet,alexnet-untrained"),
    )

    zoo: str
    networks: tuple[str, ...]
    images: int = 160
    pool: int = 2000
    seeds: tuple[int, ...] = tuple(range(10))
    random_sets: int = 100

    @property
    def names(self) -> tuple[str, ...]:
        return (self.networks[0],)

    @property
    def hashed(self) -> dict[str, Any]:
        return self.settings

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        return {**self.settings, "weights": [zoo.card(name)["sha256"] for name in self.networks]}

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """As `measure`; DatasetMissing if the zoo's images are not on this machine."""
        networks = {name: zoo.network(name) for name in self.networks}
        return measure(zoo.images("val", self.pool).pixels, networks, self)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[DiverseImages]:
        """One, of all networks together."""
        return [DiverseImages(given.zoo, given.networks)]

    @classmethod
    def told(cls, plan: Sequence[DiverseImages], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """How well sets cover the pool, chosen and at random."""
        own = found[0][list(MEASURES)].mean("set").to_dataframe()
        chance = found[0][[f"random_{kind}" for kind in MEASURES]].mean("random").to_dataframe()
        return "\n".join(table.round(3).to_string() for table in (own, chance))

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Sets, if the images are here."""
        try:
            zoo.images("val", 1)
        except DatasetMissing:
            return []
        return [(place,) for place in range(len(self.seeds))]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Choose the sets of one seed again."""
        places = [place for (place,) in sample]
        seeds = tuple(self.seeds[place] for place in places)
        again, kept = replace(self, seeds=seeds).compute(zoo), stored.isel(set=places)
        return [self.compared(name, kept[name], again[name]) for name in ("chosen", *MEASURES)]


def measure(pixels: Tensor, networks: Mapping[str, Network], study: DiverseImages) -> xr.Dataset:
    """Choose sets and judge them.

    Parameters
    ----------
    pixels
        ``[image, 3, height, width]`` uint8, the pool.
    networks
        Those of the study, by name.

    Returns
    -------
    xarray.Dataset
        ``gap``, ``clusters``, ``evenness`` [chooser, set, judge] of `Coverage`, where ``set``
        counts seeds; the same for random sets, ``random_gap`` ... [random, judge]; ``chosen``
        [chooser, set, image], numbers in the pool; ``components`` and ``explained`` [chooser].
    """
    trained = [name for name in study.networks if not name.endswith("-untrained")]
    if len(trained) < 2:
        raise ValueError(
            "expected two trained networks or more, because the one that chooses must not judge; "
            f"got {', '.join(trained)}"
        )
    spaces = {name: outputs(network, pixels) for name, network in networks.items()}
    small = torch.nn.functional.adaptive_avg_pool2d(pixels.double(), 12)
    spaces[PIXELS] = small.flatten(1).numpy()
    choosers = [trained[0], *(n for n in study.networks if n not in trained), PIXELS]
    judges = {name: Judge(spaces[name], study.images) for name in trained[1:]}
    sets = {
        c: [choose(spaces[c], study.images, seed=s) for s in study.seeds]
        for c in each(choosers, "choosers", "diverse sets")
    }
    chance = random_sets(len(pixels), study.images, study.random_sets)
    out: dict[str, Any] = {}
    for kind in MEASURES:
        out[kind] = (
            ("chooser", "set", "judge"),
            [
                [[getattr(judge(own.images), kind) for judge in judges.values()] for own in sets[c]]
                for c in choosers
            ],
        )
        out[f"random_{kind}"] = (
            ("random", "judge"),
            [[getattr(judge(rows), kind) for judge in judges.values()] for rows in chance],
        )
    out["chosen"] = (("chooser", "set", "image"), [[s.images for s in sets[c]] for c in choosers])
    first = [sets[c][0].space.explained for c in choosers]
    out["components"] = ("chooser", [len(one) for one in first])
    out["explained"] = ("chooser", [float(one.sum()) for one in first])
    return xr.Dataset(out, {"chooser": choosers, "judge": list(judges), "set": list(study.seeds)})


@torch.inference_mode()
def outputs(network: Network, pixels: Tensor, batch: int = 64) -> Array:
    """Outputs before the softmax, ``[image, class]``, of uint8 images.

    In double precision: a clustering that meets other last digits ends elsewhere, and those of
    single precision differ from one processor to the next. Of doubles they hardly ever decide.
    """
    body, rows = copy.deepcopy(network.backbone).double(), network.readout
    exact = replace(rows, weight=rows.weight.double(), bias=rows.bias.double())
    batches = each(pixels.split(batch), "batches", f"outputs of {network.name}")
    parts = [exact.responses(body(part.double() / 255)) for part in batches]
    return np.asarray(torch.cat(parts).numpy())


PLUGIN = DiverseImages
