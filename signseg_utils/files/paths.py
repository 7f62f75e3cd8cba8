"""Where things lie (weights, results, datasets, the book), and how text gets there whole."""

import os
import tempfile
from pathlib import Path


def repository() -> Path:
    """Root of the checkout that holds this package."""
    return Path(__file__).resolve().parents[2]


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


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is whole or not there: read back, then renamed.

    Raises OSError where what is on disk differs, as on a full disk; an older file is kept then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        if temporary.read_text(encoding="utf-8") != text:
            raise OSError(f"expected {path} to hold what was written; it does not; disk full?")
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
