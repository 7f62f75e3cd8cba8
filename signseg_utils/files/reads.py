"""Which shipped results a page asked for: it is made again when one of them changes, and only then.

The publisher names a file in the environment of the kernel; whoever asks for results that ship adds
their names to it. Outside the publisher nothing is written.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from signseg_utils.files import paths

VARIABLE = "SIGNSEG_READS"  # names the file
ABSENT = "absent"


def tell(files: Iterable[Path]) -> None:
    """Add shipped results, whether they are there or not, to what this page asked for."""
    if VARIABLE not in os.environ:
        return
    root = paths.results_folder("")
    names = "".join(f"{file.relative_to(root).as_posix()}\n" for file in files)
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as list_:
        list_.write(names)


def told(file: Path) -> dict[str, str]:
    """What a page asked for: name below the folder of results -> SHA-256, or `ABSENT`."""
    names = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {name: _digest(name) for name in sorted(set(names))}


def unchanged(known: Mapping[str, str]) -> bool:
    """Whether all of what a page asked for is still as it was."""
    return all(_digest(name) == digest for name, digest in known.items())


def _digest(name: str) -> str:
    file = paths.results_folder("") / name
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ABSENT
