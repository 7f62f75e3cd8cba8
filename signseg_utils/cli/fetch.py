"""``signseg fetch``: files that others publish, checked by hash, into the cache or a folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.files import fetch, paths
from signseg_utils.files.sources import REGISTRY
from signseg_utils.neurons import v4


def main(words: Sequence[str]) -> int:
    """Fetch files, or sessions of the V4 recordings; without names: list what there is."""
    parser = argparse.ArgumentParser(
        prog="signseg fetch",
        description="Fetch and verify files that others publish; without names, list them. "
        "SIGNSEG_MIRROR=folder takes them from there.",
    )
    parser.add_argument("names", nargs="*", help="files, or sessions with --v4")
    parser.add_argument("--folder", type=Path, help="where to keep them (the cache)")
    parser.add_argument(
        "--v4", action="store_true", help=f"sessions of {v4.SOURCE} ({' '.join(v4.SESSIONS)})"
    )
    given = parser.parse_args(words)
    if given.v4:
        print(*v4.fetch(given.names or v4.SESSIONS, given.folder), sep="\n")
        return 0
    for name in given.names:
        print(fetch.fetch(name, given.folder or paths.dataset_folder()))
    if not given.names:
        for name, remote in REGISTRY.items():
            print(f"{name}  {fetch.megabytes(remote.size)}  {remote.url}  {remote.licence}")
        print(f"--v4 {' '.join(v4.SESSIONS)}: {v4.SOURCE}, {v4.LICENCE}")
    return 0
