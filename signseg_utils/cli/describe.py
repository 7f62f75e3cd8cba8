"""``signseg describe``: the repository for archives and for independent checks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from signseg_utils.files import paths
from signseg_utils.publishing import codecheck, crate


def main(words: Sequence[str]) -> int:
    """Write both descriptions anew, or say which is not current; returns 1 then."""
    parser = argparse.ArgumentParser(
        prog="signseg describe",
        description="Write codecheck.yml and ro-crate-metadata.json from what there is.",
    )
    parser.add_argument("--root", type=Path, help="checkout to describe")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    given = parser.parse_args(words)
    root, stale = given.root or paths.repository(), 0
    for kind in (codecheck, crate):  # the crate describes the other, which must be there
        path, text = root / kind.FILE, kind.text(root)
        current = path.exists() and path.read_text(encoding="utf-8") == text
        if not current and not given.check:
            paths.write_text(path, text)
        stale += not current
        state = "current" if current else "not current; run `signseg describe`"
        print(f"{kind.FILE}: {state if given.check or current else 'written'}")
    return int(given.check and stale > 0)
