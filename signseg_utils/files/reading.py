"""Files that a user brings, read so that what cannot be read is refused by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signseg_utils.basics.refusals import BadFile, Refusal, first_line


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file of any kind that a user brings.

    Parameters
    ----------
    what
        What it should be, as in "a table of responses".

    Raises
    ------
    BadFile
        If it is no file that can be read: a folder, a pipe, a device, a link in a circle.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "neither a file nor a folder"
            raise BadFile(f"expected {what} in the file {path}; got {kind}; give a file")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadFile(
            f"expected {what} in the file {path}; it cannot be read ({error.strerror or error}); "
            "mend its permissions or the link, or give another file"
        ) from error


def read_text(path: Path, what: str) -> str:
    """Text of a file in UTF-8, with or without a byte order mark. Errors as in `read_bytes`.

    Raises
    ------
    BadFile
        If it is not UTF-8, or holds NUL, as binary files do.
    """
    content = read_bytes(path, what)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadFile(
            f"expected {what} as text in UTF-8 in {path}; got byte {content[error.start]:#04x} in "
            f"line {line}; save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or give another file"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadFile(
            f"expected {what} as text in {path}; got the character NUL in line {line}, so it is "
            "binary or damaged; export it anew"
        )
    return text


def read_json(path: Path, what: str, advice: str) -> dict[str, Any]:
    """A JSON object from a file. Errors as in `read_text`.

    Raises
    ------
    BadFile
        If it is no JSON, or no object.
    """
    try:
        found = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refusal):
            raise
        raise BadFile(
            f"expected {what} as JSON in {path}; got: {first_line(error)}; {advice}"
        ) from error
    if not isinstance(found, Mapping):
        raise BadFile(
            f"expected {what} as a JSON object in {path}; got a {type(found).__name__}; {advice}"
        )
    return dict(found)
