"""Keys of pages: a page whose key is unchanged need not be made again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from signseg_utils.files import paths
from signseg_utils.publishing.chapters import Chapter


def lock_file() -> Path:
    """The file that pins the versions of everything installed."""
    return paths.repository() / "requirements" / "constraints.txt"


def hashes(chapter: Chapter) -> dict[str, str]:
    """SHA-256 of everything that a chapter's content depends on, by kind.

    Weights are covered by their manifests, which hold the SHA-256 that `weights.load` verifies.
    Which results a page reads is known once it ran (`signseg_utils.files.reads`).
    """
    package = Path(__file__).parents[1]
    data = paths.data_folder()
    manifests = (data / "zoo" / chapter.zoo).glob("**/*.json")
    claims = [*(data / "reported").glob("*.csv"), *(data / "claims").glob(f"{chapter.number}.csv")]
    lock = lock_file()
    return {
        "notebook": hashlib.sha256(chapter.source.read_bytes()).hexdigest(),
        "utils": _digest(package.glob("**/*.py"), package),
        "zoo": _digest(manifests, data),
        "claims": _digest(claims, data),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
    }


def key(values: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    """One SHA-256 of a run's parameters and of the `hashes` of what it reads."""
    text = json.dumps({"parameters": dict(values), "hashes": dict(parts)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def results() -> str:
    """One SHA-256 of all results that ship."""
    folder = paths.results_folder("")
    return _digest((path for path in folder.glob("**/*") if path.is_file()), folder)


def _digest(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and bytes of ``files``."""
    total = hashlib.sha256()
    for path in sorted(files):
        inner = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {inner}\n".encode())
    return total.hexdigest()
