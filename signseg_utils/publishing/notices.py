"""What is wrong with a page: kept beside it for the book, listed at the end of the command.

A chapter that fails leaves ``NN_title.failure.json`` beside its earlier copy, if there is one; the
book shows it as a notice over that copy or in place of it. A later run that succeeds removes it.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signseg_utils.files import paths

_FOLDERS = re.compile(
    r"""(?<![\w.:/\\~-])(?:[A-Za-z]:)?[/\\]+(?:[^\s/\\:'"<>|]+[/\\]+)+(?=[^\s/\\:'"<>|])"""
)

SOME_FAILED = 3
"""Exit status of a command that made what it could, but not every page as it should be."""


@dataclass(frozen=True)
class Notice:
    """One page that is not as it should be.

    ``what`` is one sentence for its reader; ``since`` is when it was found, in UTC as ISO 8601;
    ``command`` tries again; ``details`` is a traceback where no notebook holds one; ``published``
    says that the page could be made, and shows an audit that is beyond its bounds.
    """

    zoo: str
    chapter: str
    what: str
    since: str
    command: str
    details: str = ""
    published: bool = False


def now() -> str:
    """The time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def readable(moment: str) -> str:
    """``2026-03-01T09:05:00+00:00`` as ``1 March 2026, 09:05 UTC``."""
    when = datetime.fromisoformat(moment).astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def without_folders(text: str) -> str:
    """``text`` with files named from the root of the checkout, others by their names alone.

    Where a machine keeps its files is nobody's business who reads a page.

    >>> without_folders("cannot read /home/ann/data/a.zip: see https://example.org/a/b")
    'cannot read a.zip: see https://example.org/a/b'
    """
    text = text.replace(f"{paths.repository()}{os.sep}", "")
    return _FOLDERS.sub("", text)


def file_of(folder: Path, chapter: str) -> Path:
    """Where a failure of ``chapter`` is noted; ``folder`` is that of its zoo."""
    return folder / f"{chapter}.failure.json"


def write(folder: Path, notice: Notice) -> None:
    """Note a failure beside the page."""
    text = json.dumps(asdict(notice), indent=1, sort_keys=True) + "\n"
    paths.write_text(file_of(folder, notice.chapter), text)


def read(folder: Path, chapter: str) -> Notice | None:
    """The failure of a page; None if its last run succeeded."""
    path = file_of(folder, chapter)
    return Notice(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def clear(folder: Path, chapter: str) -> None:
    """The page is mended: neither the note nor the notebook with the traceback is needed."""
    for path in (file_of(folder, chapter), folder / f"{chapter}.failed.ipynb"):
        path.unlink(missing_ok=True)


def outcome(audit: Mapping[str, Any] | None) -> str:
    """How a page's audit ended, one of `agreement.OUTCOMES`; records that do not say so agreed."""
    return (audit or {}).get("outcome", "agrees")
