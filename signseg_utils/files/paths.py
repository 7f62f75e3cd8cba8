"""Where things lie (weights, results, datasets, the book), and how text gets there whole."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from signseg_utils.basics.refusals import Refusal


class Unwritable(Refusal, OSError):
    """The disk is full or a folder cannot be written; the message names the file."""

    def __str__(self) -> str:
        return str(self.args[-1])


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

    Raises
    ------
    Unwritable
        If the disk is full or the folder cannot be written; an older file is kept then.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if temporary.read_text(encoding="utf-8") != text:
            raise OSError(errno.ENOSPC, "what is read back differs: disk full?")
        temporary.chmod(0o644)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which it replaces when the block has ended well.

    Raises
    ------
    Unwritable
        If the disk is full or the folder cannot be written; an older file is kept then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, Refusal):
            raise
        raise Unwritable(
            error.errno,
            f"expected to write {path}; {reason(error)}; what was there before is untouched: make "
            "room or choose another folder, and give the same command",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Why something could not be written, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full ({error.strerror})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the folder cannot be written ({error.strerror})"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"a file is where its folder should be ({error.filename})"
    return str(error)
