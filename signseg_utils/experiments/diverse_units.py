"""One unit from each of many clusters of a network's outputs: classes that span what it can say.

The paper takes 100 of 1,000 classes (Fig. 14, appendix A.1, "ImageNet subsampling"): the outputs
of ResNet50 to validation images are clustered by agglomerative clustering of their L2 distances,
"then, one new unique class is selected from each cluster". Linkage and the choice within a cluster
are not stated. Here linkage is Ward's unless told otherwise, since it gives clusters of like size;
and clusters choose in turn, the largest first, the class most of their images show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import AgglomerativeClustering

from signseg_utils.experiments.class_accuracy import outputs
from signseg_utils.zoos import Zoo

LINKAGES = ("ward", "complete", "average", "single")


@dataclass(frozen=True, eq=False)
class OnePerCluster:
    """A class for each cluster.

    Attributes
    ----------
    classes
        ``[cluster]``, column numbers of the outputs, each once; the largest cluster's first.
    cluster
        ``[image]``, the cluster of each image; 0 is the largest.
    share
        ``[cluster]``, images of the cluster that show its class, of all in it. 0 where others had
        taken all classes that it shows.
    """

    classes: np.ndarray[Any, np.dtype[np.int64]]
    cluster: np.ndarray[Any, np.dtype[np.int64]]
    share: np.ndarray[Any, np.dtype[np.float64]]


def one_per_cluster(
    outputs: ArrayLike, labels: ArrayLike, clusters: int, *, linkage: str = "ward"
) -> OnePerCluster:
    """Cluster images by what a network answers, and let each cluster choose a class of its own.

    From the largest cluster to the smallest (of two alike, the one whose first image comes first),
    each takes the class that most of its images show, of those that no other has taken; of two
    shown alike often, or if none of its classes is left, the free one with the largest mean
    output in the cluster. Nothing is random.

    Parameters
    ----------
    outputs
        ``[image, class]``, one column for each unit.
    labels
        ``[image]``, the column of the class that each image shows.
    clusters
        How many; at most as many as there are classes.
    linkage
        ``ward``, ``complete``, ``average`` or ``single``, all on L2 distances.

    Raises
    ------
    ValueError
        For more clusters than classes or images, labels that are no columns, outputs that are not
        finite, or an unknown linkage.
    """
    answers = np.asarray(outputs, dtype=np.float64)
    shown = np.asarray(labels)
    _check(answers, shown, clusters, linkage)
    if clusters == 1:  # scikit-learn wants two images
        found = np.zeros(len(answers), dtype=np.int64)
    else:
        found = AgglomerativeClustering(clusters, linkage=linkage).fit_predict(answers)
    _, first, size = np.unique(found, return_index=True, return_counts=True)
    order = np.lexsort((first, -size))
    cluster = np.argsort(order)[found]
    free = np.ones(answers.shape[1], dtype=bool)
    classes, share = np.zeros(clusters, dtype=np.int64), np.zeros(clusters)
    for number in range(clusters):
        mine = cluster == number
        count = np.bincount(shown[mine], minlength=len(free))
        ranked = np.lexsort((-answers[mine].mean(0), -count))
        classes[number] = ranked[free[ranked]][0]
        share[number] = count[classes[number]] / mine.sum()
        free[classes[number]] = False
    return OnePerCluster(classes, cluster, share)


def diverse_units(
    zoo: Zoo,
    network: str,
    clusters: int,
    *,
    limit: int | None = None,
    linkage: str = "ward",
) -> tuple[str, ...]:
    """Names of classes, one from each of ``clusters`` clusters of a network's outputs.

    Parameters
    ----------
    clusters
        0 or the number of classes: all classes, in the zoo's order. There is then nothing to
        choose, and no image is needed.
    limit
        Validation images to cluster, the first of the zoo's shuffle; default: all. Memory grows
        with the square of their number.

    Raises
    ------
    ValueError
        As `one_per_cluster`.
    signseg_utils.zoos.DatasetMissing
        If images are needed and not on this machine; the message says how to get them.
    """
    if clusters in (0, len(zoo.classes)):
        return tuple(zoo.classes)
    _check_number(clusters, len(zoo.classes))
    answers, labels = outputs(zoo, network, zoo.images("val", limit))
    chosen = one_per_cluster(answers.numpy(), labels.numpy(), clusters, linkage=linkage)
    return tuple(zoo.classes[number] for number in chosen.classes)


def _check_number(clusters: int, classes: int) -> None:
    if not 1 <= clusters <= classes:
        raise ValueError(
            f"expected 1 to {classes} clusters, because each takes a class of its own and there "
            f"are {classes}; got {clusters}; ask for fewer"
        )


def _check(
    answers: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], clusters: int, linkage: str
) -> None:
    if answers.ndim != 2 or labels.shape != answers.shape[:1]:
        raise ValueError(
            "expected outputs [image, class] and labels [image]; "
            f"got shapes {answers.shape} and {labels.shape}"
        )
    images, classes = answers.shape
    _check_number(clusters, classes)
    if clusters > images:
        raise ValueError(
            f"expected at least {clusters} images for {clusters} clusters; got {images}; "
            "take more images or fewer clusters"
        )
    if not np.isfinite(answers).all():
        raise ValueError("expected finite outputs; got NaN or infinity")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"expected labels that are columns of the outputs, 0 to {classes - 1}; got "
            f"{labels.dtype} from {labels.min()} to {labels.max()}; leave images out that show "
            "no class"
        )
    if linkage not in LINKAGES:
        raise ValueError(f"expected linkage to be one of {', '.join(LINKAGES)}; got {linkage!r}")
