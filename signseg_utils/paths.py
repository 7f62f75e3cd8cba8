"""Where things lie: weights, results, datasets, the book."""

import os
from pathlib import Path


def repository() -> Path:
    """Root of the checkout that holds this package."""
    return Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """Shipped weights and results: ``$SIGNSEG_DATA`` or ``data/`` of the checkout."""
    return Path(os.environ.get("SIGNSEG_DATA", repository() / "data"))


def zoo_folder(zoo: str) -> Path:
    """Weights and manifests of one zoo."""
    return data_folder() / "zoo" / zoo


def results_folder(zoo: str) -> Path:
    """Finished sweeps of one zoo."""
    return data_folder() / "results" / zoo


def cache_folder() -> Path:
    """What can be made or fetched again: ``$SIGNSEG_CACHE`` or ``~/.cache/signseg``."""
    return Path(os.environ.get("SIGNSEG_CACHE", Path.home() / ".cache" / "signseg"))


def dataset_folder() -> Path:
    """Datasets of images: ``$SIGNSEG_DATASETS`` or ``datasets/`` in the cache."""
    return Path(os.environ.get("SIGNSEG_DATASETS", cache_folder() / "datasets"))


def book_folder() -> Path:
    """Prose pages, static files and executed chapters."""
    return repository() / "book"
