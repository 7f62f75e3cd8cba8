"""A small set of images that spans what a network tells apart (paper, A.1, "Image dataset").

Principal components of the network's outputs for a pool of images, mini-batch k-means on them, and
the pool's image nearest to each centre. Whether the set spans the space evenly is then asked in
the space of another network, against random sets of the same size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[np.float64]]
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

    images: np.ndarray[Any, np.dtype[np.int64]]
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
    from sklearn.cluster import MiniBatchKMeans

    x = np.asarray(features, dtype=np.float64)
    offered = x if pool is None else np.asarray(pool, dtype=np.float64)
    if not 2 <= count <= min(len(x), len(offered)):
        raise ValueError(
            f"expected 2 to {min(len(x), len(offered))} images, because the pool has no more; "
            f"got {count}"
        )
    space = principal(x, components, seed)
    clusters = MiniBatchKMeans(
        count, random_state=seed, n_init=3, batch_size=min(1024, len(x)), max_iter=100
    ).fit(space(x))
    distance = distances(clusters.cluster_centers_, space(offered))
    chosen = np.full(count, -1)
    free = np.ones(len(offered), dtype=bool)
    for centre in np.argsort(distance.min(1)):  # the closest pairs first
        row = np.where(free, distance[centre], np.inf)
        chosen[centre] = int(row.argmin())
        free[chosen[centre]] = False
    return DiverseSet(chosen, distance[np.arange(count), chosen], space)


def distances(a: ArrayLike, b: ArrayLike) -> Array:
    """Euclidean distances between rows, ``[a, b]``."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squared, 0))


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
        from sklearn.cluster import MiniBatchKMeans

        self.space = principal(features, components, seed)
        self.points = self.space(features)
        self.count = count
        self.labels = MiniBatchKMeans(
            count, random_state=seed, n_init=3, batch_size=min(1024, len(self.points))
        ).fit_predict(self.points)
        self._scale = float(np.linalg.norm(self.points, axis=1).mean())  # the mean lies at 0

    def __call__(self, images: ArrayLike) -> Coverage:
        """Coverage by the pool's images with these numbers."""
        rows = np.asarray(images, dtype=np.int64)
        if len(rows) != self.count:
            raise ValueError(
                f"expected {self.count} images, because clusters were made for as many; "
                f"got {len(rows)}"
            )
        gap = distances(self.points, self.points[rows]).min(1).mean() / self._scale
        hits = np.bincount(self.labels[rows], minlength=self.count)
        share = hits[hits > 0] / hits.sum()
        entropy = float(-(share * np.log(share)).sum() / np.log(self.count))
        return Coverage(float(gap), float((hits > 0).mean()), entropy)


def random_sets(pool: int, count: int, sets: int, seed: int = 0) -> list[Array]:
    """Random sets of ``count`` of the pool's images, none twice within one."""
    rng = np.random.default_rng(seed)
    return [rng.choice(pool, count, replace=False) for _ in range(sets)]
